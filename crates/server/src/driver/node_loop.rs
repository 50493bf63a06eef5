//! The node thread: feeds the consensus machine with ticks, proposals and acknowledgements, and
//! sends what it asks for to the wal and apply threads. It waits for no disk, unless there are no other
//! members: then it does itself what waking another thread would be most of the work of.

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use api::{
    ids::{MemberId, RaftIndex, Term},
    raftpb,
};
use config::GoDuration;
use replica::{Input, Node, Output, Role};

use super::{
    NodeEvent,
    applier::{self, Applier},
    apply_loop::{ApplyEvent, size_of_entries},
    disk_watch::{DiskWatch, Verdict},
    wal_loop::{self, Logger, Save, WalEvent},
};
use crate::{consensus::Inspection, cores, handle::Handle, inbox::Gather, peers};

/// The node thread's state.
pub(crate) struct NodeLoop {
    pub(crate) node: Node,
    pub(crate) logger: Arc<Logger>,
    pub(crate) applier: Arc<Applier>,
    /// Length of one raft tick (`--heartbeat-interval`).
    pub(crate) tick: Duration,
    /// The members as of the last applied configuration change.
    pub(crate) conf_state: raftpb::ConfState,
    /// The index of that change.
    pub(crate) conf_index: RaftIndex,
    /// The index of the snapshot that followers are offered.
    pub(crate) memory_index: RaftIndex,
    /// The last index that the apply thread has reported.
    pub(crate) applied: RaftIndex,
    /// A snapshot that the log is to record once the store has it.
    pub(crate) cut: Option<Box<raftpb::Snapshot>>,
    /// The last index that the store is known to have.
    pub(crate) flushed: RaftIndex,
    /// The index of the last snapshot of the leader.
    pub(crate) restored: RaftIndex,
    /// Whether the disk of the log answers.
    pub(crate) disk: DiskWatch,
    /// Until when the log in memory stays whole: a member has just been sent the store.
    pub(crate) whole_until: Option<Instant>,
    /// When a member began to be sent the store.
    pub(crate) store_sent_at: Option<Instant>,
    /// The own role, as last heard.
    pub(crate) role: Role,
    /// When raft ticked last.
    pub(crate) ticked_at: Option<Instant>,
    /// The last ready that the wal thread was given.
    pub(crate) given: u64,
    /// The last ready that is durable.
    pub(crate) saved: u64,
    /// The ready that this thread has saved itself, until raft knows.
    pub(crate) saved_here: Option<u64>,
}

/// How long a member that was sent the store may take to install it before the entries after it are
/// let go of, beside twice the time of the transfer.
const INSTALL: Duration = Duration::from_secs(30);

impl NodeLoop {
    /// How many proposals make a batch worth its sync: with many clients waiting, a third of them. By
    /// Little's law the wait for them costs a third of the latency that clients see anyway, and saves
    /// most syncs and wake-ups.
    ///
    /// With fewer clients nothing waits for that. But a member on its own, whose log is being synced,
    /// could only queue them up: until that is done, or a third of them are there, they wait here and
    /// wake nobody.
    fn gather(&self, handle: &Handle) -> Gather {
        let pending = usize::try_from(handle.metrics.proposals_pending.get()).unwrap_or(0);
        if pending >= handle.limits.batch_pending_min {
            return Gather::For(pending / 3, handle.limits.batch_linger);
        }
        if self.is_alone() && self.given > self.saved {
            return Gather::UntilUrgent(pending / 3);
        }
        Gather::Nothing
    }

    fn is_alone(&self) -> bool {
        self.conf_state.voters.len() <= 1
    }

    /// Whether there is nobody, learners included, that this thread must not keep waiting.
    fn has_no_others(&self) -> bool {
        self.is_alone() && self.conf_state.learners.is_empty()
    }

    /// Runs until [`NodeEvent::Stop`].
    pub(crate) fn run(mut self, handle: &Handle) {
        let mut batch = Vec::new();
        let mut outputs = Vec::new();
        let mut next_tick = Instant::now() + self.tick;
        loop {
            let deadline = self.paced_at().map_or(next_tick, |at| at.min(next_tick));
            handle.node.drain_many(Some(deadline), self.gather(handle), &mut batch);
            let now = Instant::now();
            let now_ms = handle.clock.now_ms();
            if now >= next_tick {
                self.tick(handle, now, now_ms, &mut outputs);
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
            self.node.keep_pace(now_ms);
            loop {
                self.node.poll_ready(&mut outputs);
                let serves = self.node.serves_reads_alone();
                if !serves {
                    // Before anybody hears of what ends it.
                    handle.progress.set_serves_reads(false);
                }
                for output in outputs.drain(..) {
                    self.execute(handle, output);
                }
                handle.progress.set_serves_reads(serves);
                let Some(ready) = self.saved_here.take() else { break };
                self.persisted(ready);
                self.node.handle(Input::Persisted { ready }, now_ms, &mut outputs);
            }
            if stop {
                handle.progress.set_serves_reads(false);
                return;
            }
        }
    }

    /// When followers far behind may be sent more.
    fn paced_at(&self) -> Option<Instant> {
        self.node.due_in_ms().map(|ms| Instant::now() + Duration::from_millis(ms))
    }

    /// One tick of raft, unless the disk is stuck: then leadership goes elsewhere, and a member that
    /// could not answer for its vote does not ask for any.
    fn tick(&mut self, handle: &Handle, now: Instant, now_ms: u64, outputs: &mut Vec<Output>) {
        let leads = self.role == Role::Leader;
        let verdict = match self.conf_state.voters.len() {
            0 | 1 => Verdict::Fine,
            _ => {
                let positions = self.node.positions();
                let others_have_more = positions.committed > positions.persisted;
                self.disk.look(now, leads, others_have_more)
            }
        };
        match verdict {
            Verdict::Fine => {}
            Verdict::HandOver if leads => {
                tracing::warn!("the disk of the write-ahead log does not answer: handing over");
                let others = self.node.peers().into_iter();
                let heirs = others.filter(|peer| !peer.learner && peer.id != handle.member);
                let heir = heirs.filter(|peer| peer.recent_active).max_by_key(|peer| peer.matched);
                if let Some(heir) = heir {
                    self.node.handle(Input::TransferLeader(heir.id), now_ms, outputs);
                }
            }
            Verdict::Waiting if leads => {}
            Verdict::Silent if leads => {
                tracing::warn!("the disk of the write-ahead log does not answer: stepping down");
                self.node.handle(Input::StepDown, now_ms, outputs);
                return;
            }
            Verdict::HandOver | Verdict::Waiting | Verdict::Silent => return,
        }
        self.watch_heartbeats(handle, now, leads);
        self.node.handle(Input::Tick, now_ms, outputs);
        handle.signals.ticked(now_ms);
    }

    /// A leader whose heartbeats are late may be deposed: that is worth a warning.
    fn watch_heartbeats(&mut self, handle: &Handle, now: Instant, leads: bool) {
        let last = self.ticked_at.replace(now).filter(|_| leads);
        let late = last.and_then(|last| (now - last).checked_sub(2 * self.tick));
        if let Some(exceeded) = late {
            for peer in self.node.peers().into_iter().filter(|peer| peer.id != handle.member) {
                handle.metrics.heartbeats_late.inc();
                tracing::warn!(
                    to = %peer.id,
                    "heartbeat-interval" = %GoDuration::from(self.tick),
                    "expected-duration" = %GoDuration::from(2 * self.tick),
                    "exceeded-duration" = %GoDuration::from(exceeded),
                    "leader failed to send out heartbeat on time; took too long, leader is \
                     overloaded likely from slow disk"
                );
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
            NodeEvent::Propose { id, data, as_leader_of } => {
                handle.progress.remove_unsynced(data.len());
                match as_leader_of {
                    None => Input::Propose { ticket: id, data },
                    Some(term) => Input::ProposeAsLeader { ticket: id, data, term },
                }
            }
            NodeEvent::ProposeConfChange { change } => {
                Input::ProposeConfChange { ticket: change.id, change }
            }
            NodeEvent::TransferLeader { target } => Input::TransferLeader(target),
            NodeEvent::Inspect(sender) => {
                let _gone = sender.send(Inspection {
                    #[cfg(test)]
                    status: self.node.status(),
                    peers: self.node.peers(),
                });
                return;
            }
            NodeEvent::Messages { messages, bytes } => {
                handle.progress.remove_peer_bytes(bytes);
                for message in messages {
                    self.node.handle(Input::Message(message), now_ms, outputs);
                }
                return;
            }
            NodeEvent::Unreachable(member) => Input::Unreachable(member),
            NodeEvent::SnapshotStatus { to, delivered } => {
                if delivered {
                    let now = Instant::now();
                    let took = self.store_sent_at.map_or(Duration::ZERO, |at| now - at);
                    self.whole_until = Some(now + INSTALL + 2 * took);
                }
                Input::SnapshotStatus { to, delivered }
            }
            NodeEvent::AdvanceTicks(count) => {
                self.node.advance_ticks(count);
                return;
            }
            NodeEvent::Cut(snapshot) => {
                // One from before a snapshot of the leader is history.
                let index = snapshot.metadata.as_ref().map_or(0, |metadata| metadata.index);
                if index > self.restored.0 {
                    self.cut = Some(snapshot);
                    // The store may have it already: an idle cluster flushes nothing more.
                    self.record_cut(self.flushed);
                }
                return;
            }
            NodeEvent::ReadIndex { id } => Input::ReadIndex { id },
            NodeEvent::Persisted { ready } => {
                self.persisted(ready);
                Input::Persisted { ready }
            }
            NodeEvent::Applied { index } => {
                self.applied = index;
                Input::Applied { index }
            }
            NodeEvent::ConfChange { change } => Input::ApplyConfChange { change },
            NodeEvent::Flushed { index, term } => {
                self.flushed = index;
                self.record_cut(index);
                self.trim(handle, index, term, now_ms, outputs);
                return;
            }
            NodeEvent::Stop => unreachable!("handled by the loop"),
        };
        self.node.handle(input, now_ms, outputs);
    }

    fn persisted(&mut self, ready: u64) {
        self.disk.end(ready);
        self.saved = self.saved.max(ready);
    }

    /// Has a ready made durable, by this thread if it keeps nobody waiting.
    fn save(&mut self, handle: &Handle, ready: Save) {
        let number = ready.ready;
        handle.progress.add_unsynced(ready.bytes);
        // With many clients the sync is when the next batch is taken in.
        let left = match ready.entries.len() <= 1 && self.has_no_others() {
            true => wal_loop::save_here(&self.logger, handle, ready).err(),
            false => Some(ready),
        };
        match left {
            None => self.saved_here = Some(number),
            Some(ready) => {
                self.given = number;
                self.logger.give(WalEvent::Persist(ready));
            }
        }
    }

    fn execute(&mut self, handle: &Handle, output: Output) {
        match output {
            Output::Persist { ready, hard_state, entries, must_sync } => {
                if must_sync {
                    self.disk.begin(ready, Instant::now());
                }
                let bytes = entries.iter().map(|entry| entry.data.len()).sum();
                self.save(handle, Save { ready, hard_state, entries, bytes });
            }
            Output::Commit { entries } => {
                if let Some(last) = entries.last() {
                    handle.progress.set_committed(RaftIndex(last.index));
                    // With others, heartbeats wait for nothing.
                    let apply_here = || applier::apply_here(&self.applier, handle, &entries);
                    if self.is_alone() && cores::attend(apply_here) {
                        return;
                    }
                    handle.progress.add_unapplied(size_of_entries(&entries));
                    self.applier.give(ApplyEvent::Committed(entries));
                }
            }
            Output::ReadReady { id, index } => handle.reads.answer(id, index),
            Output::SoftState { leader, role } => {
                self.role = role;
                self.leader_changed(handle, leader);
            }
            Output::Term(term) => handle.progress.set_term(term),
            Output::ConfState { conf_state, index } => {
                self.conf_state = conf_state;
                self.conf_index = index;
            }
            Output::Dropped { ticket } => {
                let failure = api::error::Error::TooManyRequests.into();
                handle.waiters.answer([(ticket, Err(failure))]);
            }
            Output::Send(messages) => {
                if peers::send(handle, messages) {
                    self.store_sent_at = Some(Instant::now());
                }
            }
            Output::Restore { snapshot } => self.restore(handle, snapshot),
            Output::Refused { from, refusal } => {
                tracing::warn!("remote-peer-id" = %from, error = %refusal, "refused a message");
            }
        }
    }

    /// Raft takes a snapshot of the leader: first the log follows, then the store.
    fn restore(&mut self, handle: &Handle, snapshot: raftpb::Snapshot) {
        let metadata = snapshot.metadata.clone().unwrap_or_default();
        let index = RaftIndex(metadata.index);
        self.conf_state = metadata.conf_state.unwrap_or_default();
        self.conf_index = index;
        self.memory_index = index;
        self.restored = index;
        self.cut = None;
        handle.progress.set_committed(index);
        let snapshot = Box::new(snapshot);
        let (saved, is_saved) = mpsc::channel();
        self.logger.give(WalEvent::Restore { snapshot: snapshot.clone(), saved });
        self.applier.give(ApplyEvent::Restore { snapshot, saved: is_saved });
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
        }
        say_who_leads(handle, before, leader);
        if !leads {
            handle.shared.lessor.lock().demote();
        }
    }

    /// The store has everything up to `index`: a snapshot that was cut there or before counts now.
    fn record_cut(&mut self, index: RaftIndex) {
        let metadata = self.cut.as_ref().and_then(|cut| cut.metadata.as_ref());
        if metadata.is_none_or(|metadata| metadata.index > index.0) {
            return;
        }
        let snapshot = self.cut.take().expect("just seen");
        let metadata = snapshot.metadata.as_ref().expect("just seen");
        tracing::info!(
            index = metadata.index,
            term = metadata.term,
            "recorded a snapshot of the log"
        );
        self.logger.give(WalEvent::Snapshot { snapshot });
    }

    /// Once enough entries are safely in the store, lets go of old ones in memory. Waits while a
    /// change of members is newer than the store's commit, word of the commit has overtaken that of
    /// the apply, or somebody may still need the entries.
    fn trim(
        &mut self,
        handle: &Handle,
        index: RaftIndex,
        term: Term,
        now_ms: u64,
        outputs: &mut Vec<Output>,
    ) {
        let behind = index.0.saturating_sub(self.memory_index.0);
        if behind < handle.limits.memory_snapshot_count
            || self.conf_index > index
            || index > self.applied
        {
            return;
        }
        self.memory_index = index;
        let conf_state = self.conf_state.clone();
        self.node.handle(Input::SnapshotTaken { index, term, conf_state }, now_ms, outputs);
        if self.whole_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        self.whole_until = None;
        let keep = index.0.saturating_sub(handle.limits.catchup_entries);
        self.node.handle(Input::Compact { index: RaftIndex(keep) }, now_ms, outputs);
    }
}

/// Says in raft's own words whom this member follows.
fn say_who_leads(handle: &Handle, before: MemberId, leader: MemberId) {
    let (member, term) = (handle.member, handle.progress.term().0);
    if leader == member {
        tracing::info!(target: "logger:raft", "{member} became leader at term {term}");
    }
    let what = match (before.0, leader.0) {
        (_, 0) => format!("lost leader {before}"),
        (0, _) => format!("elected leader {leader}"),
        _ => format!("changed leader from {before} to {leader}"),
    };
    tracing::info!(target: "logger:raft", "raft.node: {member} {what} at term {term}");
}
