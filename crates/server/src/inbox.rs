//! The queue in front of a driver thread: many producers, one consumer that takes all at once.
//!
//! Taking the whole queue in one lock is what makes batches: while a thread works on one batch the
//! next one gathers. Every inbox has a limit; what cannot be refused (an answer of the member's own
//! disk) is pushed past it by name.

use std::time::Instant;

use parking_lot::{Condvar, Mutex};

/// A bounded multi-producer queue drained in batches by one thread.
pub(crate) struct Inbox<T> {
    queue: Mutex<Vec<T>>,
    filled: Condvar,
    limit: usize,
}

/// The inbox is at its limit; the item was not taken.
#[derive(Debug)]
pub(crate) struct Full;

impl<T> Inbox<T> {
    /// An empty inbox that refuses items beyond `limit`.
    pub(crate) fn new(limit: usize) -> Inbox<T> {
        Inbox { queue: Mutex::new(Vec::new()), filled: Condvar::new(), limit }
    }

    /// Adds a refusable item.
    pub(crate) fn push(&self, item: T) -> Result<(), Full> {
        let mut queue = self.queue.lock();
        if queue.len() >= self.limit {
            return Err(Full);
        }
        self.add(&mut queue, item);
        Ok(())
    }

    /// Adds an item that is bounded by its nature and must not be lost.
    pub(crate) fn push_always(&self, item: T) {
        self.add(&mut self.queue.lock(), item);
    }

    fn add(&self, queue: &mut Vec<T>, item: T) {
        queue.push(item);
        if queue.len() == 1 {
            self.filled.notify_one();
        }
    }

    /// Moves everything queued into `batch` (which must be empty), waiting until there is something
    /// or `deadline` has passed; for ever without a deadline.
    pub(crate) fn drain(&self, deadline: Option<Instant>, batch: &mut Vec<T>) {
        assert!(batch.is_empty(), "an inbox is drained into an empty batch");
        let mut queue = self.queue.lock();
        while queue.is_empty() {
            match deadline {
                None => self.filled.wait(&mut queue),
                Some(deadline) => {
                    if self.filled.wait_until(&mut queue, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        std::mem::swap(&mut *queue, batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_beyond_its_limit_and_drains_in_order() {
        let inbox = Inbox::new(2);
        inbox.push(1).unwrap();
        inbox.push(2).unwrap();
        assert!(inbox.push(3).is_err());
        inbox.push_always(4);
        let mut batch = Vec::new();
        inbox.drain(None, &mut batch);
        assert_eq!(batch, [1, 2, 4]);
        batch.clear();
        inbox.drain(Some(Instant::now()), &mut batch);
        assert!(batch.is_empty());
    }
}
