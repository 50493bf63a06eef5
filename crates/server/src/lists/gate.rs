//! How much of long answers is in memory at once.
//!
//! Invariants: an answer waits only while others that are on their way to their clients fill the
//! room; those who wait are let in in the order they came. What its client takes no more of keeps
//! nobody waiting: whoever sends it says so ([`Share::forgo`]).

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::cores::Long;

/// Answers of fewer bytes than this do not wait.
const LIGHT_BYTES: usize = 1 << 20;

/// See the module.
pub(super) struct Gate {
    room: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Bytes of the answers that are in.
    bytes: usize,
    /// Who waits, and with how many bytes.
    waiting: VecDeque<(usize, oneshot::Sender<Share>)>,
}

/// The part of the room that an answer takes, until it is sent or dropped.
pub(crate) struct Share {
    gate: Arc<Gate>,
    bytes: usize,
    /// Kept for as long as the connection is to be elsewhere.
    long: Option<Long>,
}

impl Gate {
    /// A gate that lets nobody in while the bytes that are in are `room` or more.
    pub(super) fn new(room: usize) -> Arc<Gate> {
        Arc::new(Gate { room, state: Mutex::default() })
    }

    /// Waits until there is room for some of an answer of about so many bytes.
    pub(super) async fn enter(self: &Arc<Gate>, bytes: usize) -> Share {
        if bytes < LIGHT_BYTES {
            self.state.lock().bytes += bytes;
            return self.share(bytes);
        }
        let long = Long::begin();
        let waiting = {
            let mut state = self.state.lock();
            if state.waiting.is_empty() && state.bytes < self.room {
                state.bytes += bytes;
                None
            } else {
                let (sender, receiver) = oneshot::channel();
                state.waiting.push_back((bytes, sender));
                Some(receiver)
            }
        };
        let mut share = match waiting {
            None => self.share(bytes),
            Some(waiting) => waiting.await.expect("whoever waits is let in"),
        };
        share.long = long;
        share
    }

    fn share(self: &Arc<Gate>, bytes: usize) -> Share {
        Share { gate: self.clone(), bytes, long: None }
    }

    fn leave(self: &Arc<Gate>, bytes: usize) {
        let mut let_in = Vec::new();
        {
            let mut state = self.state.lock();
            state.bytes -= bytes;
            while state.bytes < self.room {
                let Some((bytes, sender)) = state.waiting.pop_front() else { break };
                state.bytes += bytes;
                let_in.push((bytes, sender));
            }
        }
        for (bytes, sender) in let_in {
            // Whoever is gone gives back what it would have had.
            drop(sender.send(self.share(bytes)));
        }
    }
}

impl Share {
    /// The answer turned out to have so many bytes.
    pub(super) fn set(&mut self, bytes: usize) {
        match bytes.checked_sub(self.bytes) {
            Some(more) => {
                self.gate.state.lock().bytes += more;
                self.bytes = bytes;
            }
            None => self.sent(self.bytes - bytes),
        }
    }

    /// So much of it is on its way.
    pub(crate) fn sent(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        if bytes > 0 {
            self.gate.leave(bytes);
        }
    }

    /// Its client is slow: others do not wait for it.
    pub(crate) fn forgo(&mut self) {
        self.sent(self.bytes);
    }

    /// Whether others may be waiting for it.
    pub(crate) fn counts(&self) -> bool {
        self.bytes > 0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.forgo();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };

    use super::*;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn now<F: Future>(future: F) -> F::Output {
        match poll(pin!(future)) {
            Poll::Ready(done) => done,
            Poll::Pending => panic!("it waits"),
        }
    }

    const LONG: usize = 4 * LIGHT_BYTES;

    #[test]
    fn who_finds_the_room_full_waits_and_is_let_in_in_turn() {
        let gate = Gate::new(LONG + 1);
        let one = now(gate.enter(LONG));
        let mut two = now(gate.enter(LONG));
        let mut third = pin!(gate.enter(LONG));
        let mut fourth = pin!(gate.enter(LONG));
        assert!(poll(third.as_mut()).is_pending());
        assert!(poll(fourth.as_mut()).is_pending());
        let light = now(gate.enter(LIGHT_BYTES - 1));
        drop(light);
        assert!(poll(third.as_mut()).is_pending());
        two.sent(LONG - 2);
        assert!(poll(third.as_mut()).is_pending());
        drop(one);
        let Poll::Ready(third) = poll(third) else { panic!("there is room") };
        assert!(poll(fourth.as_mut()).is_pending());
        // One of the two in front turns out to be short.
        two.set(1);
        drop(third);
        let Poll::Ready(fourth) = poll(fourth) else { panic!("there is room") };
        assert!(fourth.counts());
        drop((two, fourth));
        assert_eq!(gate.state.lock().bytes, 0);
    }

    #[test]
    fn what_a_slow_client_has_keeps_nobody_waiting() {
        let gate = Gate::new(LONG);
        let mut slow = now(gate.enter(LONG));
        slow.set(LONG + 7);
        let mut next = pin!(gate.enter(LONG));
        assert!(poll(next.as_mut()).is_pending());
        slow.forgo();
        assert!(!slow.counts());
        let Poll::Ready(next) = poll(next) else { panic!("there is room") };
        drop((slow, next));
        assert_eq!(gate.state.lock().bytes, 0);
    }

    #[test]
    fn who_goes_away_while_it_waits_takes_nothing() {
        let gate = Gate::new(1);
        let first = now(gate.enter(LONG));
        let mut gone = Box::pin(gate.enter(LONG));
        let mut let_in = Box::pin(gate.enter(LONG));
        let mut last = pin!(gate.enter(LONG));
        assert!(poll(gone.as_mut()).is_pending());
        assert!(poll(let_in.as_mut()).is_pending());
        assert!(poll(last.as_mut()).is_pending());
        drop(gone);
        drop(first);
        // It was let in, and goes away before it knows.
        drop(let_in);
        let Poll::Ready(last) = poll(last) else { panic!("there is room") };
        drop(last);
        assert_eq!(gate.state.lock().bytes, 0);
    }
}
