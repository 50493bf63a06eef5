//! Who waits for the result of which request.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::oneshot;

const SHARDS: usize = 16;

/// One-shot receivers by request id, in shards so that clients and the apply thread rarely meet.
pub(crate) struct Waiters<T> {
    shards: [Mutex<HashMap<u64, oneshot::Sender<T>>>; SHARDS],
}

/// A registered wait; dropping it (a client that went away) forgets the request.
pub(crate) struct Wait<'a, T> {
    waiters: &'a Waiters<T>,
    id: u64,
    receiver: oneshot::Receiver<T>,
}

impl<T> Waiters<T> {
    /// Nobody waits.
    pub(crate) fn new() -> Waiters<T> {
        Waiters { shards: std::array::from_fn(|_| Mutex::new(HashMap::new())) }
    }

    fn shard(&self, id: u64) -> &Mutex<HashMap<u64, oneshot::Sender<T>>> {
        &self.shards[id as usize % SHARDS]
    }

    /// Registers a wait for the request `id`, which must be new.
    pub(crate) fn register(&self, id: u64) -> Wait<'_, T> {
        let (sender, receiver) = oneshot::channel();
        let old = self.shard(id).lock().insert(id, sender);
        assert!(old.is_none(), "request id {id:x} is waited for twice");
        Wait { waiters: self, id, receiver }
    }

    /// Answers the request `id`; false when nobody waits (any more).
    pub(crate) fn answer(&self, id: u64, result: T) -> bool {
        let sender = self.shard(id).lock().remove(&id);
        sender.is_some_and(|sender| sender.send(result).is_ok())
    }

    /// Whether somebody waits for the request `id`.
    pub(crate) fn waits(&self, id: u64) -> bool {
        self.shard(id).lock().contains_key(&id)
    }
}

impl<T> Wait<'_, T> {
    /// The result, once [`Waiters::answer`] gave it; `None` if it never will be given.
    pub(crate) async fn result(&mut self) -> Option<T> {
        (&mut self.receiver).await.ok()
    }
}

impl<T> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        self.waiters.shard(self.id).lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_reach_who_waits_and_no_one_else() {
        let waiters = Waiters::new();
        let mut wait = waiters.register(7);
        assert!(waiters.waits(7));
        assert!(!waiters.answer(8, "other"));
        assert!(waiters.answer(7, "mine"));
        assert_eq!(wait.result().await, Some("mine"));
        drop(waiters.register(9));
        assert!(!waiters.waits(9));
    }
}
