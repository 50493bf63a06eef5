//! Passwords of logins: compared off the threads that serve connections, a few at a time, and never
//! twice for the same one.
//!
//! Bcrypt is slow on purpose. Thousands of clients that come back at once mostly bring passwords
//! that were compared before, so what a comparison said is kept, under a digest of the user, the
//! stored hash and the password, keyed with a secret of this process. Because the stored hash is in
//! it, what was kept dies with the password it was about, and not with every change of the store.
//!
//! The threads that compare have a low priority: what they do can wait for everything else.

use std::{collections::HashMap, io, sync::Arc};

use api::error::{Code, Error};
use auth::password;
use bytes::Bytes;
use parking_lot::Mutex;
use rand::Rng;
use ring::hmac;
use tokio::sync::{Semaphore, watch};

use crate::{
    limits::{PASSWORDS_KEPT_MAX, PASSWORDS_WAITING_MAX, PASSWORDS_WAITING_OF_USER_MAX},
    status::Failure,
    workers::Workers,
};

type Digest = [u8; 32];

/// Compares and hashes passwords.
pub(super) struct Passwords {
    inner: Arc<Inner>,
    /// `--bcrypt-cost`.
    cost: u32,
}

struct Inner {
    secret: hmac::Key,
    /// One permit for each password that may be worked on at once.
    turns: Semaphore,
    /// One permit for each that may wait.
    places: Arc<Semaphore>,
    answers: Mutex<Answers>,
    /// The threads that do the slow work; they end with this.
    workers: Workers,
}

/// What is known, or being found out.
#[derive(Default)]
struct Answers {
    pending: HashMap<Digest, watch::Receiver<Option<bool>>>,
    /// How many of them there are of each user.
    pending_of: HashMap<String, usize>,
    recent: HashMap<Digest, bool>,
    older: HashMap<Digest, bool>,
}

impl Answers {
    fn known(&mut self, digest: &Digest) -> Option<bool> {
        if let Some(answer) = self.recent.get(digest) {
            return Some(*answer);
        }
        let answer = self.older.remove(digest)?;
        self.keep(*digest, answer);
        Some(answer)
    }

    /// Counts one more comparison for a user; false when there are enough. Whoever guesses the
    /// password of one user must not keep all others waiting.
    fn enter(&mut self, user: &str) -> bool {
        let count = self.pending_of.entry(user.to_owned()).or_default();
        let fits = *count < PASSWORDS_WAITING_OF_USER_MAX;
        *count += usize::from(fits);
        fits
    }

    fn leave(&mut self, user: &str) {
        let Some(count) = self.pending_of.get_mut(user) else { return };
        *count -= 1;
        if *count == 0 {
            self.pending_of.remove(user);
        }
    }

    fn keep(&mut self, digest: Digest, answer: bool) {
        if self.recent.len() >= PASSWORDS_KEPT_MAX {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(digest, answer);
    }
}

impl Passwords {
    /// At most `turns` passwords are worked on at once.
    pub(super) fn new(cost: u32, turns: usize) -> io::Result<Passwords> {
        let secret: Digest = rand::rng().random();
        let inner = Inner {
            secret: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            turns: Semaphore::new(turns),
            places: Arc::new(Semaphore::new(PASSWORDS_WAITING_MAX)),
            answers: Mutex::default(),
            workers: workers(turns)?,
        };
        Ok(Passwords { inner: Arc::new(inner), cost })
    }

    /// Whether `password` is the one of `hash`, which is stored for `user`.
    pub(super) async fn matches(
        &self,
        user: &str,
        hash: Bytes,
        password: String,
    ) -> Result<bool, Failure> {
        let digest = self.inner.digest(user, &hash, &password);
        let mut answer = {
            let mut answers = self.inner.answers.lock();
            if let Some(answer) = answers.known(&digest) {
                return Ok(answer);
            }
            match answers.pending.get(&digest) {
                Some(pending) => pending.clone(),
                None => {
                    let place = self.inner.places.clone().try_acquire_owned();
                    let place = place.map_err(|_| Failure::from(Error::TooManyRequests))?;
                    if !answers.enter(user) {
                        return Err(Error::TooManyRequests.into());
                    }
                    let user = user.to_owned();
                    let (sender, receiver) = watch::channel(None);
                    answers.pending.insert(digest, receiver.clone());
                    // On its own: others may wait for it when this caller is gone.
                    let inner = self.inner.clone();
                    tokio::spawn(async move {
                        let answer = inner.compare(hash, password).await;
                        let mut answers = inner.answers.lock();
                        answers.pending.remove(&digest);
                        answers.leave(&user);
                        if let Some(answer) = answer {
                            answers.keep(digest, answer);
                        }
                        sender.send_replace(answer);
                        drop(place);
                    });
                    receiver
                }
            }
        };
        let answer = answer.wait_for(Option::is_some).await.map(|answer| *answer);
        answer.ok().flatten().ok_or_else(|| Error::Stopped.into())
    }

    /// The hash of a new password, as requests carry it.
    pub(super) async fn hash(&self, password: String) -> Result<String, Failure> {
        if password.len() > password::BYTES_MAX {
            let message = "bcrypt: password length exceeds 72 bytes".into();
            return Err(Failure { code: Code::Unknown, message });
        }
        let place = self.inner.places.try_acquire();
        let _place = place.map_err(|_| Failure::from(Error::TooManyRequests))?;
        let cost = self.cost;
        let salt = rand::rng().random();
        let hashing = move || {
            let hash = password::hash(password.as_bytes(), cost, salt);
            password::encode(&hash.expect("the length was checked"))
        };
        self.inner.work(hashing).await.ok_or_else(|| Error::Stopped.into())
    }
}

impl Inner {
    /// Each part with its length before it, so that no two triples give one digest.
    fn digest(&self, user: &str, hash: &[u8], password: &str) -> Digest {
        let mut context = hmac::Context::with_key(&self.secret);
        for part in [user.as_bytes(), hash, password.as_bytes()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().expect("the digest has 32 bytes")
    }

    async fn compare(&self, hash: Bytes, password: String) -> Option<bool> {
        self.work(move || password::matches(password.as_bytes(), &hash)).await
    }

    /// Does slow work when it is its turn; `None` when the member stops.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let _turn = self.turns.acquire().await.ok()?;
        self.workers.run(work).await
    }
}

/// Threads that compare, of low priority.
fn workers(count: usize) -> io::Result<Workers> {
    Workers::start("passwords", count, priority::give_way)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(password: &str) -> Bytes {
        password::hash(password.as_bytes(), 4, [7; 16]).unwrap().into()
    }

    #[tokio::test]
    async fn a_password_is_compared_once() {
        let passwords = Passwords::new(4, 1).unwrap();
        let stored = hash("secret");
        let ask = |password: &str| passwords.matches("alice", stored.clone(), password.to_owned());
        assert!(ask("secret").await.unwrap());
        assert!(!ask("wrong").await.unwrap());
        // Nothing can be compared any more; what is known still is.
        passwords.inner.turns.close();
        assert!(ask("secret").await.unwrap());
        assert!(!ask("wrong").await.unwrap());
        assert!(ask("another").await.is_err());
    }

    #[tokio::test]
    async fn what_is_known_dies_with_the_stored_hash() {
        let passwords = Passwords::new(4, 1).unwrap();
        assert!(passwords.matches("alice", hash("secret"), "secret".into()).await.unwrap());
        passwords.inner.turns.close();
        let changed = passwords.matches("alice", hash("other"), "secret".into()).await;
        assert!(changed.is_err(), "it would have to be compared");
        let of_another = passwords.matches("bob", hash("secret"), "secret".into()).await;
        assert!(of_another.is_err());
    }

    #[tokio::test]
    async fn guesses_at_one_user_do_not_keep_others_waiting() {
        let passwords = Arc::new(Passwords::new(4, 1).unwrap());
        let turn = passwords.inner.turns.acquire().await.unwrap();
        let stored = hash("secret");
        let mut guesses = tokio::task::JoinSet::new();
        for guess in 0..=PASSWORDS_WAITING_OF_USER_MAX {
            let (passwords, stored) = (passwords.clone(), stored.clone());
            let guess = async move { passwords.matches("alice", stored, guess.to_string()).await };
            guesses.spawn(guess);
        }
        let refused = guesses.join_next().await.unwrap().unwrap().unwrap_err();
        assert_eq!(refused.message, Error::TooManyRequests.message());
        let (others, theirs) = (passwords.clone(), stored.clone());
        let bob = tokio::spawn(async move { others.matches("bob", theirs, "secret".into()).await });
        drop(turn);
        assert!(bob.await.unwrap().unwrap());
        while let Some(guess) = guesses.join_next().await {
            assert!(!guess.unwrap().unwrap());
        }
        assert!(passwords.inner.answers.lock().pending_of.is_empty());
    }

    #[tokio::test]
    async fn those_who_come_together_share_one_comparison() {
        let passwords = Arc::new(Passwords::new(4, 1).unwrap());
        let turn = passwords.inner.turns.acquire().await.unwrap();
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let (passwords, stored) = (passwords.clone(), hash("secret"));
                tokio::spawn(
                    async move { passwords.matches("a", stored, "secret".to_owned()).await },
                )
            })
            .collect();
        while passwords.inner.answers.lock().pending.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.inner.places.available_permits(), PASSWORDS_WAITING_MAX - 1);
        waiting[0].abort();
        drop(turn);
        for waiting in waiting.into_iter().skip(1) {
            assert!(waiting.await.unwrap().unwrap());
        }
        assert!(passwords.inner.answers.lock().pending.is_empty());
    }

    #[tokio::test]
    async fn new_passwords_are_hashed() {
        let passwords = Passwords::new(4, 1).unwrap();
        let one = passwords.hash("secret".into()).await.unwrap();
        assert_ne!(one, passwords.hash("secret".into()).await.unwrap(), "salted");
        let long = passwords.hash("p".repeat(73)).await.unwrap_err();
        assert_eq!(long.message, "bcrypt: password length exceeds 72 bytes");
    }

    #[tokio::test]
    async fn the_threads_that_compare_give_way() {
        // SAFETY: it reads the priority of the thread.
        let own = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let there = workers(1).unwrap().run(own).await;
        assert_eq!(there, Some(priority::NICENESS.max(own())));
    }

    #[test]
    fn answers_are_kept_within_bounds() {
        let mut answers = Answers::default();
        let digest = |n: usize| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&n.to_be_bytes());
            digest
        };
        for n in 0..3 * PASSWORDS_KEPT_MAX {
            answers.keep(digest(n), true);
            assert_eq!(answers.known(&digest(0)), Some(true), "asked for all the time");
        }
        assert!(answers.recent.len() + answers.older.len() <= 2 * PASSWORDS_KEPT_MAX);
        assert_eq!(answers.known(&digest(1)), None);
    }
}
