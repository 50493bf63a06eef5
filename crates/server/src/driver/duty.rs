//! Work that has a thread of its own, and that the node thread does itself where waking another would
//! be most of it.
//!
//! Invariants: things are done in the order in which the node thread gives them away or does them
//! itself, and never two at once. What it does itself comes after everything that was given away
//! before, which is why it does so only while nothing of that is left.

use std::{
    ops::ControlFlow,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::{Mutex, MutexGuard};

use crate::{cores, inbox::Inbox};

/// See the module.
pub(crate) struct Duty<W, E> {
    work: Mutex<W>,
    inbox: Inbox<E>,
    /// Events that the thread was given.
    given: AtomicU64,
    /// How many of them it is done with.
    done: AtomicU64,
}

impl<W, E> Duty<W, E> {
    /// Nothing waits.
    pub(crate) fn new(work: W) -> Duty<W, E> {
        let (given, done) = (AtomicU64::new(0), AtomicU64::new(0));
        Duty { work: Mutex::new(work), inbox: Inbox::new(usize::MAX), given, done }
    }

    /// Leaves something to the thread.
    pub(crate) fn give(&self, event: E) {
        self.given.fetch_add(1, Ordering::Relaxed);
        self.inbox.push_always(event);
    }

    /// The work, if the caller may do it now: the thread is done with everything it was given. Only
    /// the node thread calls this.
    pub(crate) fn here(&self) -> Option<MutexGuard<'_, W>> {
        let idle = self.done.load(Ordering::Acquire) == self.given.load(Ordering::Relaxed);
        if idle { self.work.try_lock() } else { None }
    }

    /// The thread: has `each` take what was given, a batch at a time, until it says that this was all.
    pub(crate) fn run(&self, mut each: impl FnMut(&mut W, &mut Vec<E>) -> ControlFlow<()>) {
        let mut batch = Vec::new();
        loop {
            self.inbox.drain(None, &mut batch);
            let given = batch.len() as u64;
            let mut work = || {
                let flow = each(&mut self.work.lock(), &mut batch);
                self.done.fetch_add(given, Ordering::Release);
                flow
            };
            // With more to do, others send what comes of it.
            let flow = if given == 1 { cores::attend(work) } else { work() };
            batch.clear();
            if flow.is_break() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    #[test]
    fn what_is_done_here_comes_after_everything_given_away() {
        let duty = Arc::new(Duty::<Vec<u32>, Option<u32>>::new(Vec::new()));
        let (go, wait) = mpsc::channel::<()>();
        let thread = std::thread::spawn({
            let duty = duty.clone();
            move || {
                duty.run(|done, batch| {
                    wait.recv().unwrap();
                    done.extend(batch.iter().flatten());
                    match batch.contains(&None) {
                        true => ControlFlow::Break(()),
                        false => ControlFlow::Continue(()),
                    }
                });
            }
        });
        duty.here().expect("nothing is given").push(1);
        duty.give(Some(2));
        assert!(duty.here().is_none(), "it has not been done");
        go.send(()).unwrap();
        let mut here = loop {
            if let Some(here) = duty.here() {
                break here;
            }
            std::thread::yield_now();
        };
        here.push(3);
        drop(here);
        duty.give(Some(4));
        duty.give(None);
        // However these two are taken.
        go.send(()).unwrap();
        let _taken_as_one = go.send(());
        thread.join().unwrap();
        assert_eq!(*duty.work.lock(), [1, 2, 3, 4]);
    }
}
