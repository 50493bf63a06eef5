//! Linearizable reads: one ReadIndex round serves every reader that arrived while the round before
//! it was under way (raft paper section 6.4 of the thesis; spec raft-server.md section 3).
//!
//! A member without others that leads needs none: whatever has been acknowledged, it has applied
//! (`replica::Node::serves_reads_alone`).

use std::{collections::HashMap, sync::Arc, time::Duration};

use api::{error::Error, ids::RaftIndex};
use config::GoDuration;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, sleep_until},
};

use crate::{
    cores::{self, Mailbox, Posts},
    driver::NodeEvent,
    handle::Handle,
    status::Failure,
};

/// How long one attempt waits for its answer before a new id is sent.
const RETRY: Duration = Duration::from_millis(500);

/// A task that waits, and the thread that it is on.
type Reader = (Option<Arc<Mailbox>>, oneshot::Sender<Result<(), Failure>>);

/// Readers that wait for the next round, and the rounds that raft has not answered.
pub(crate) struct ReadGate {
    state: Mutex<State>,
    rounds: Mutex<HashMap<u64, mpsc::UnboundedSender<RaftIndex>>>,
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
    if handle.progress.serves_reads() {
        return Ok(());
    }
    let (sender, receiver) = oneshot::channel();
    let start = {
        let mut state = handle.reads.state.lock();
        state.waiting.push((cores::home(), sender));
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
        let mut posts = Posts::new();
        for (home, reader) in readers {
            posts.add(home, (reader, result.clone()));
        }
        posts.deliver(|(reader, result)| {
            let _gone = reader.send(result);
        });
    }
}

/// The ids of one round, each of one attempt. A context is never used twice, for raft could take an
/// answer to an older round for one to this.
struct Attempts<'a> {
    handle: &'a Handle,
    answer: mpsc::UnboundedSender<RaftIndex>,
    ids: Vec<u64>,
}

impl Attempts<'_> {
    /// Asks raft (again).
    fn ask(&mut self) {
        let id = self.handle.ids.next();
        self.ids.push(id);
        self.handle.reads.rounds.lock().insert(id, self.answer.clone());
        self.handle.node.push_always(NodeEvent::ReadIndex { id });
    }
}

impl Drop for Attempts<'_> {
    fn drop(&mut self) {
        let mut rounds = self.handle.reads.rounds.lock();
        for id in &self.ids {
            rounds.remove(id);
        }
    }
}

/// One round: an index from raft, then the wait for apply.
async fn round(handle: &Handle) -> Result<(), Failure> {
    let deadline = Instant::now() + handle.limits.request_timeout;
    let index = match confirmed_index(handle, deadline).await {
        Err(failure) => {
            handle.metrics.read_indexes_failed.inc();
            return Err(failure);
        }
        Ok(index) => index,
    };
    tokio::select! {
        () = handle.progress.wait_applied(index) => Ok(()),
        () = sleep_until(deadline) => Err(Error::Timeout.into()),
        () = handle.progress.wait_stopping() => Err(Error::Stopped.into()),
    }
}

/// Asks raft until it answers: again when it is late, and when a new leader has committed its first
/// entry, before which it answers nobody. A change of leaders ends the round.
async fn confirmed_index(handle: &Handle, deadline: Instant) -> Result<RaftIndex, Failure> {
    if handle.progress.stopping() {
        return Err(Error::Stopped.into());
    }
    let mut leader = handle.progress.watch_leader();
    let mut first_commit = handle.signals.watch_first_commit();
    let (answer, mut answers) = mpsc::unbounded_channel();
    let mut attempts = Attempts { handle, answer, ids: Vec::new() };
    loop {
        attempts.ask();
        let retry = sleep(RETRY);
        tokio::pin!(retry);
        loop {
            tokio::select! {
                biased;
                Some(index) = answers.recv() => return Ok(index),
                changed = leader.changed() => {
                    changed.expect("the sender is in the handle");
                    if *leader.borrow_and_update() != 0 {
                        return Err(Error::LeaderChanged.into());
                    }
                }
                changed = first_commit.changed() => {
                    changed.expect("the sender is in the handle");
                    break;
                }
                () = sleep_until(deadline) => {
                    handle.metrics.read_indexes_slow.inc();
                    tracing::warn!(
                        timeout = %GoDuration::from(handle.limits.request_timeout),
                        "timed out waiting for read index response (local node might have slow network)"
                    );
                    return Err(Error::Timeout.into());
                }
                () = &mut retry => {
                    tracing::warn!(
                        "sent-request-id" = attempts.ids.last(),
                        "retry-timeout" = %GoDuration::from(RETRY),
                        "waiting for ReadIndex response took too long, retrying"
                    );
                    break;
                }
                () = handle.progress.wait_stopping() => return Err(Error::Stopped.into()),
            }
        }
    }
}
