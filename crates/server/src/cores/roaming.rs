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

use super::{Mailbox, Task, visits::Seat};

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

/// Does `work`, which polls the connection whose long answers are these.
pub(super) fn counting<T>(answers: &Arc<AtomicUsize>, work: impl FnOnce() -> T) -> T {
    let before = POLLED.replace(Some(answers.clone()));
    let done = work();
    POLLED.set(before);
    done
}

/// One of the threads that a connection moves between.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) runtime: Handle,
    pub(super) mailbox: Arc<Mailbox>,
}

/// The task of a connection that moves.
pub(super) struct Roaming {
    seat: Arc<Seat>,
    /// Long answers that it has under way.
    answers: Arc<AtomicUsize>,
    /// The thread that it belongs to, and that for long answers.
    home: Place,
    away: Place,
    is_away: bool,
}

impl Roaming {
    /// A connection that is polled at home first.
    pub(super) fn new(work: Task, home: Place, away: Place) -> Roaming {
        Self::at(work, Arc::default(), home, away, false)
    }

    fn at(
        work: Task,
        answers: Arc<AtomicUsize>,
        home: Place,
        away: Place,
        is_away: bool,
    ) -> Roaming {
        let place = if is_away { away.clone() } else { home.clone() };
        let seat = Seat::new(work, answers.clone(), place, !is_away);
        Roaming { seat, answers, home, away, is_away }
    }
}

impl Future for Roaming {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_away {
            priority::let_others();
        }
        if self.seat.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let has_long = self.seat.has_long();
        if has_long == self.is_away {
            return Poll::Pending;
        }
        // It may have ended meanwhile, in a visit.
        let Some(work) = self.seat.take() else { return Poll::Ready(()) };
        let (home, away) = (self.home.clone(), self.away.clone());
        let next = Roaming::at(work, self.answers.clone(), home, away, has_long);
        let there = if has_long { &self.away } else { &self.home };
        // After its end a runtime drops what it is given.
        drop(there.runtime.spawn(next));
        Poll::Ready(())
    }
}

impl Drop for Roaming {
    fn drop(&mut self) {
        // What would wake the connection holds its seat.
        drop(self.seat.take());
    }
}
