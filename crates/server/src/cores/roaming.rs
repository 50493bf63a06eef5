//! Connections with a long answer to send, off the threads that serve everybody.
//!
//! A thread that sends lists has used up what it has of the processors when a short request comes to
//! it, and has others of its connections to poll first. So a connection moves to a thread for such
//! ones when it begins a long answer, and back when that is sent. It is the same task all the while:
//! the same future, polled elsewhere.
//!
//! Invariant: a future is polled once after each move, so that nothing that happened meanwhile is
//! missed.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use tokio::runtime::Handle;

use super::Task;

thread_local! {
    /// The long answers of the connection that this thread is polling.
    static POLLED: RefCell<Option<Arc<AtomicUsize>>> = const { RefCell::new(None) };
}

/// A long answer, until it is sent or dropped.
pub(crate) struct Long(Arc<AtomicUsize>);

impl Long {
    /// Says that the connection that is being polled begins a long answer. `None` outside of one.
    pub(crate) fn begin() -> Option<Long> {
        let answers = POLLED.with_borrow(Clone::clone)?;
        answers.fetch_add(1, Ordering::Relaxed);
        Some(Long(answers))
    }
}

impl Drop for Long {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that moves.
pub(super) struct Roaming {
    work: Task,
    /// Long answers that it has under way.
    answers: Arc<AtomicUsize>,
    /// The thread that it belongs to, and that for long answers.
    home: Handle,
    away: Handle,
    is_away: bool,
}

impl Roaming {
    /// A connection that is polled at home first.
    pub(super) fn new(work: Task, home: Handle, away: Handle) -> Roaming {
        Roaming { work, answers: Arc::default(), home, away, is_away: false }
    }
}

impl Future for Roaming {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let before = POLLED.replace(Some(self.answers.clone()));
        let polled = self.work.as_mut().poll(cx);
        POLLED.set(before);
        if polled.is_ready() {
            return Poll::Ready(());
        }
        let has_long = self.answers.load(Ordering::Relaxed) > 0;
        if has_long == self.is_away {
            return Poll::Pending;
        }
        let next = Roaming {
            work: std::mem::replace(&mut self.work, Box::pin(async {})),
            answers: self.answers.clone(),
            home: self.home.clone(),
            away: self.away.clone(),
            is_away: has_long,
        };
        let there = if has_long { &self.away } else { &self.home };
        // After its end a runtime drops what it is given.
        drop(there.spawn(next));
        Poll::Ready(())
    }
}
