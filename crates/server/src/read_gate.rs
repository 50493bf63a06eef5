//! Linearizable reads: one ReadIndex round serves every reader that arrived while the round before
//! it was under way (raft paper section 6.4 of the thesis; spec raft-server.md section 3).

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use api::{error::Error, ids::RaftIndex};
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::timeout};

use crate::{driver::NodeEvent, handle::Handle, status::Failure};

/// How long one attempt waits for its answer before a new id is sent.
const RETRY: Duration = Duration::from_millis(500);

type Reader = oneshot::Sender<Result<(), Failure>>;

/// Readers that wait for the next round, and the rounds that raft has not answered.
pub(crate) struct ReadGate {
    state: Mutex<State>,
    rounds: Mutex<HashMap<u64, oneshot::Sender<RaftIndex>>>,
}

struct State {
    waiting: Vec<Reader>,
    running: bool,
}

impl ReadGate {
    /// An open gate.
    pub(crate) fn new() -> ReadGate {
        ReadGate {
            state: Mutex::new(State { waiting: Vec::new(), running: false }),
            rounds: Mutex::new(HashMap::new()),
        }
    }

    /// Raft's answer to the attempt `id`: reads are linearizable from `index` on.
    pub(crate) fn answer(&self, id: u64, index: RaftIndex) {
        if let Some(round) = self.rounds.lock().remove(&id) {
            let _gone = round.send(index);
        }
    }
}

/// Waits for a round that began after this call, and for its index to be applied.
pub(crate) async fn pass(handle: &Handle) -> Result<(), Failure> {
    let (sender, receiver) = oneshot::channel();
    let start = {
        let mut state = handle.reads.state.lock();
        state.waiting.push(sender);
        !std::mem::replace(&mut state.running, true)
    };
    if start {
        tokio::spawn(run_rounds(handle.clone()));
    }
    receiver.await.unwrap_or_else(|_| Err(Error::Stopped.into()))
}

/// Runs rounds until nobody waits.
async fn run_rounds(handle: Handle) {
    loop {
        let readers = {
            let mut state = handle.reads.state.lock();
            if state.waiting.is_empty() {
                state.running = false;
                return;
            }
            std::mem::take(&mut state.waiting)
        };
        let result = round(&handle).await;
        for reader in readers {
            let _gone = reader.send(result.clone());
        }
    }
}

/// One round: attempts with fresh ids until raft answers, then waits for apply. A context is never
/// used twice: an answer to an older attempt may be stale.
async fn round(handle: &Handle) -> Result<(), Failure> {
    let began = Instant::now();
    while began.elapsed() < handle.limits.request_timeout {
        if handle.progress.stopping() {
            return Err(Error::Stopped.into());
        }
        let id = handle.ids.next();
        let (sender, receiver) = oneshot::channel();
        handle.reads.rounds.lock().insert(id, sender);
        handle.node.push_always(NodeEvent::ReadIndex { id });
        let answer = timeout(RETRY, receiver).await;
        handle.reads.rounds.lock().remove(&id);
        if let Ok(Ok(index)) = answer {
            let left = handle.limits.request_timeout.saturating_sub(began.elapsed());
            return match timeout(left, handle.progress.wait_applied(index)).await {
                Ok(()) => Ok(()),
                Err(_) => break,
            };
        }
    }
    Err(Error::Timeout.into())
}
