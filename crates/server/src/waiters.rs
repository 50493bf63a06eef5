//! Who waits for the result of which request.
//!
//! A wait has a deadline, which [`Waiters::expire`] holds it to: one look at all of them ten times a
//! second instead of a timer for each.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::cores::{self, Mailbox, Posts};

const SHARDS: usize = 16;

/// One-shot receivers by request id, in shards so that clients and the apply thread rarely meet.
pub(crate) struct Waiters<T> {
    shards: [Mutex<Shard<T>>; SHARDS],
}

type Shard<T> = HashMap<u64, Waiter<T>, BuildHasherDefault<ById>>;

struct Waiter<T> {
    sender: oneshot::Sender<Option<T>>,
    /// The thread of the task that waits.
    home: Option<Arc<Mailbox>>,
    deadline_ms: u64,
}

/// Spreads request ids, which this member makes itself and counts up.
#[derive(Default)]
struct ById(u64);

impl Hasher for ById {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

/// A registered wait; dropping it (a client that went away) forgets the request.
pub(crate) struct Wait<'a, T> {
    waiters: &'a Waiters<T>,
    id: u64,
    receiver: oneshot::Receiver<Option<T>>,
}

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended<T> {
    /// With the result.
    Answered(T),
    /// Its time is up.
    Expired,
    /// The result will never be given.
    Dropped,
}

impl<T: Send + 'static> Waiters<T> {
    /// Nobody waits.
    pub(crate) fn new() -> Waiters<T> {
        Waiters { shards: std::array::from_fn(|_| Mutex::default()) }
    }

    fn shard(&self, id: u64) -> &Mutex<Shard<T>> {
        &self.shards[id as usize % SHARDS]
    }

    /// Registers a wait for the request `id`, which must be new, until `deadline_ms`.
    pub(crate) fn register(&self, id: u64, deadline_ms: u64) -> Wait<'_, T> {
        let (sender, receiver) = oneshot::channel();
        let waiter = Waiter { sender, home: cores::home(), deadline_ms };
        let old = self.shard(id).lock().insert(id, waiter);
        assert!(old.is_none(), "request id {id:x} is waited for twice");
        Wait { waiters: self, id, receiver }
    }

    /// Answers requests; those that nobody waits for (any more) are passed over. Each thread that
    /// has waiting tasks is woken once.
    pub(crate) fn answer(&self, answers: impl IntoIterator<Item = (u64, T)>) {
        let mut posts = Posts::new();
        for (id, result) in answers {
            let waiter = self.shard(id).lock().remove(&id);
            if let Some(waiter) = waiter {
                posts.add(waiter.home, (waiter.sender, result));
            }
        }
        posts.deliver(|(sender, result)| {
            let _gone = sender.send(Some(result));
        });
    }

    /// Answers one request, with something that takes no time to send: this thread may do that itself
    /// ([`cores::attend`]).
    pub(crate) fn answer_shortly(&self, id: u64, result: T) {
        let waiter = self.shard(id).lock().remove(&id);
        if let Some(waiter) = waiter {
            cores::note(|| {
                let _gone = waiter.sender.send(Some(result));
            });
        }
    }

    /// Ends the waits whose deadline has passed.
    pub(crate) fn expire(&self, now_ms: u64) {
        for shard in &self.shards {
            let late = |_: &u64, waiter: &mut Waiter<T>| waiter.deadline_ms <= now_ms;
            let expired: Vec<_> = shard.lock().extract_if(late).collect();
            for (_, waiter) in expired {
                let _gone = waiter.sender.send(None);
            }
        }
    }

    /// Ends all waits: there will be no more results.
    pub(crate) fn forget(&self) {
        self.shards.iter().for_each(|shard| shard.lock().clear());
    }

    /// Whether somebody waits for the request `id`.
    pub(crate) fn waits(&self, id: u64) -> bool {
        self.shard(id).lock().contains_key(&id)
    }
}

impl<T> Wait<'_, T> {
    /// The result, once [`Waiters::answer`] gave it.
    pub(crate) async fn result(&mut self) -> Ended<T> {
        match (&mut self.receiver).await {
            Ok(Some(result)) => Ended::Answered(result),
            Ok(None) => Ended::Expired,
            Err(_) => Ended::Dropped,
        }
    }
}

impl<T> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        self.waiters.shards[self.id as usize % SHARDS].lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_reach_who_waits_and_no_one_else() {
        let waiters = Waiters::new();
        let mut wait = waiters.register(7, 100);
        assert!(waiters.waits(7));
        waiters.answer([(8, "other")]);
        assert!(waiters.waits(7));
        waiters.answer([(9, "other"), (7, "mine")]);
        assert_eq!(wait.result().await, Ended::Answered("mine"));
        drop(waiters.register(9, 100));
        assert!(!waiters.waits(9));
    }

    #[tokio::test]
    async fn waits_end_at_their_deadline() {
        let waiters = Waiters::<()>::new();
        let (mut early, mut late) = (waiters.register(1, 100), waiters.register(2, 101));
        waiters.expire(100);
        assert_eq!(early.result().await, Ended::Expired);
        assert!(!waiters.waits(1) && waiters.waits(2));
        waiters.forget();
        assert_eq!(late.result().await, Ended::Dropped);
    }

    #[test]
    fn ids_that_count_up_are_spread() {
        let hash = |id: u64| {
            let mut hasher = ById::default();
            hasher.write_u64(id);
            hasher.finish()
        };
        let of_one_shard = (0..1024_u64).map(|n| hash(n * SHARDS as u64));
        let low: std::collections::HashSet<u64> = of_one_shard.map(|hash| hash % 1024).collect();
        assert!(low.len() > 256, "{} of 1024 places", low.len());
    }
}
