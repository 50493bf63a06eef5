//! The node thread: feeds the consensus machine with ticks, proposals and acknowledgements, and
//! sends what it asks for to the wal and apply threads. It never waits for a disk.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use api::{
    ids::{MemberId, RaftIndex, Term},
    raftpb, walpb,
};
use replica::{Input, Node, Output};

use super::{NodeEvent, apply_loop::ApplyEvent, fatal, wal_loop::WalEvent};
use crate::{consensus::Inspection, handle::Handle, inbox::Inbox};

/// The node thread's state.
pub(crate) struct NodeLoop {
    pub(crate) node: Node,
    pub(crate) wal: Arc<Inbox<WalEvent>>,
    pub(crate) apply: Arc<Inbox<ApplyEvent>>,
    /// Length of one raft tick (`--heartbeat-interval`).
    pub(crate) tick: Duration,
    /// The members as of the last applied configuration change.
    pub(crate) conf_state: raftpb::ConfState,
    /// The index of that change.
    pub(crate) conf_index: RaftIndex,
    /// The index of the last snapshot record in the log.
    pub(crate) snapshot_index: RaftIndex,
    /// The last index that the apply thread has reported.
    pub(crate) applied: RaftIndex,
}

/// How many proposals make a batch worth its sync: with many clients waiting, a third of them. By
/// Little's law the wait for them costs a third of the latency that clients see anyway, and saves
/// most syncs and wake-ups. With few clients nothing waits.
fn batch_wanted(handle: &Handle) -> usize {
    let pending = usize::try_from(handle.metrics.proposals_pending.get()).unwrap_or(0);
    if pending < handle.limits.batch_pending_min { 1 } else { pending / 3 }
}

impl NodeLoop {
    /// Runs until [`NodeEvent::Stop`].
    pub(crate) fn run(mut self, handle: &Handle) {
        let mut batch = Vec::new();
        let mut outputs = Vec::new();
        let mut next_tick = Instant::now() + self.tick;
        loop {
            let enough = batch_wanted(handle);
            let linger = handle.limits.batch_linger;
            handle.node.drain_many(Some(next_tick), enough, linger, &mut batch);
            let now = Instant::now();
            let now_ms = handle.clock.now_ms();
            if now >= next_tick {
                self.node.handle(Input::Tick, now_ms, &mut outputs);
                // A late thread does not make up for ticks: that would shorten timeouts.
                next_tick = now + self.tick;
            }
            let mut stop = false;
            for event in batch.drain(..) {
                match event {
                    NodeEvent::Stop => stop = true,
                    event => self.handle(handle, event, now_ms, &mut outputs),
                }
            }
            self.node.poll_ready(&mut outputs);
            for output in outputs.drain(..) {
                self.execute(handle, output);
            }
            if stop {
                return;
            }
        }
    }

    fn handle(
        &mut self,
        handle: &Handle,
        event: NodeEvent,
        now_ms: u64,
        outputs: &mut Vec<Output>,
    ) {
        let input = match event {
            NodeEvent::Propose { id, data } => {
                handle.progress.remove_unsynced(data.len());
                Input::Propose { ticket: id, data }
            }
            NodeEvent::ProposeConfChange { change } => {
                Input::ProposeConfChange { ticket: change.id, change }
            }
            NodeEvent::TransferLeader { target } => Input::TransferLeader(target),
            NodeEvent::Inspect(sender) => {
                let (status, peers) = (self.node.status(), self.node.peers());
                let _gone = sender.send(Inspection { status, peers });
                return;
            }
            NodeEvent::ReadIndex { id } => Input::ReadIndex { id },
            NodeEvent::Persisted { ready } => Input::Persisted { ready },
            NodeEvent::Applied { index } => {
                self.applied = index;
                Input::Applied { index }
            }
            NodeEvent::ConfChange { change } => Input::ApplyConfChange { change },
            NodeEvent::Flushed { index, term } => {
                self.snapshot(handle, index, term, now_ms, outputs);
                return;
            }
            NodeEvent::Stop => unreachable!("handled by the loop"),
        };
        self.node.handle(input, now_ms, outputs);
    }

    fn execute(&mut self, handle: &Handle, output: Output) {
        match output {
            Output::Persist { ready, hard_state, entries, .. } => {
                let bytes = entries.iter().map(|entry| entry.data.len()).sum();
                handle.progress.add_unsynced(bytes);
                self.wal.push_always(WalEvent::Persist { ready, hard_state, entries, bytes });
            }
            Output::Commit { entries } => {
                if let Some(last) = entries.last() {
                    handle.progress.set_committed(RaftIndex(last.index));
                    self.apply.push_always(ApplyEvent::Committed(entries));
                }
            }
            Output::ReadReady { id, index } => handle.reads.answer(id, index),
            Output::SoftState { leader, .. } => self.leader_changed(handle, leader),
            Output::Term(term) => handle.progress.set_term(term),
            Output::ConfState { conf_state, index } => {
                self.conf_state = conf_state;
                self.conf_index = index;
            }
            Output::Dropped { ticket } => {
                let failure = api::error::Error::TooManyRequests.into();
                handle.waiters.answer(ticket, Err(failure));
            }
            Output::Send(messages) => {
                if let Some(message) = messages.first() {
                    fatal("a single member has nobody to send to", &format!("{message:?}"));
                }
            }
            Output::Restore { .. } => fatal("a single member was sent a snapshot", &"no peers"),
            Output::Refused { refusal, .. } => fatal("a single member has no peers", &refusal),
        }
    }

    fn leader_changed(&mut self, handle: &Handle, leader: MemberId) {
        let before = handle.progress.leader();
        let leads = leader == handle.member;
        handle.progress.set_leader(leader, leads.then(|| handle.clock.now_ms()));
        if leader == before {
            return;
        }
        if leader.0 != 0 {
            handle.metrics.leader_changes.inc();
            tracing::info!(
                "local-member-id" = %handle.member,
                "leader-member-id" = %leader,
                "leader changed"
            );
        }
        if !leads {
            handle.shared.lessor.lock().demote();
        }
    }

    /// Once enough entries are safely in the store, records a snapshot in the log and lets go of the
    /// entries before it. Waits while a configuration change is newer than the store's commit, or
    /// word of the commit has overtaken that of the apply.
    fn snapshot(
        &mut self,
        handle: &Handle,
        index: RaftIndex,
        term: Term,
        now_ms: u64,
        outputs: &mut Vec<Output>,
    ) {
        let behind = index.0.saturating_sub(self.snapshot_index.0);
        if behind < handle.limits.snapshot_count || self.conf_index > index || index > self.applied
        {
            return;
        }
        let conf_state = Some(self.conf_state.clone());
        let snapshot = walpb::Snapshot { index: index.0, term: term.0, conf_state };
        self.wal.push_always(WalEvent::Snapshot { snapshot });
        self.snapshot_index = index;
        let conf_state = self.conf_state.clone();
        self.node.handle(Input::SnapshotTaken { index, term, conf_state }, now_ms, outputs);
        let keep = index.0.saturating_sub(handle.limits.catchup_entries);
        self.node.handle(Input::Compact { index: RaftIndex(keep) }, now_ms, outputs);
        tracing::info!(index = index.0, term = term.0, "recorded a snapshot of the log");
    }
}
