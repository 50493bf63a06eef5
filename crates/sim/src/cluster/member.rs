//! One simulated member: the real log, consensus, state machine and store on a simulated disk, driven
//! as the server's threads drive them, but one step at a time and in virtual time.

use std::{
    collections::{BTreeSet, VecDeque},
    path::PathBuf,
    sync::Arc,
};

use api::{
    ids::{ClusterId, MemberId, RaftIndex, Term},
    raftpb::{ConfState, Entry, HardState, Message, Snapshot},
    walpb,
};
use apply::{Applied, Context, Effect, StateMachine};
use bytes::Bytes;
use lease::LeaseAction;
use mutants::{Mutant, is_on};
use mvcc::Compaction;
use replica::{Input, Node, Output, Role};
use storage::{Backend, ReadTx, Window, schema};
use vfs::fault::{Fault, FaultFs, Operation};
use wal::Wal;

use super::{
    disk::{Disk, Failing},
    watchers::Watching,
};

/// Small segments, so that cutting and purging happen all the time.
const SEGMENT_BYTES: u64 = 64 << 10;
/// Segments kept on disk behind the last snapshot.
pub(super) const WALS_KEPT: usize = 2;

/// Something for the log's disk to do.
pub(super) enum Write {
    Save { ready: u64, hard_state: Option<HardState>, entries: Vec<Entry> },
    Snapshot(walpb::Snapshot),
    Restore(Snapshot),
}

/// A message on its way, with the database that a `MsgSnap` carries beside it.
#[derive(Clone)]
pub(super) struct Letter {
    pub(super) message: Message,
    pub(super) database: Option<Bytes>,
}

/// Something that has happened in a member and concerns others.
pub(super) enum Happened {
    /// To be sent.
    Send(Vec<Letter>),
    /// An entry was applied.
    Applied(Entry, Box<Applied>),
    /// A snapshot was installed.
    Restored,
    /// A linearizable read may be served once this index is applied.
    ReadReady { id: u64, index: RaftIndex },
    /// There was no room for a proposal.
    Dropped(u64),
    /// The lessor of the leader of a term wants these leases revoked.
    Expired(Vec<i64>, Term),
    /// Another leader, or none.
    LeaderChanged(MemberId),
    /// This member was removed.
    RemovedSelf,
}

/// The disk failed under the member: it must stop.
#[derive(Debug)]
pub(super) struct Died(pub(super) String);

/// Which cluster a member belongs to.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) member: MemberId,
    pub(super) cluster: ClusterId,
    /// The founding members, with the contexts of their entries; empty for one that joins.
    pub(super) founders: Vec<(MemberId, Bytes)>,
    pub(super) pre_vote: bool,
    /// A log snapshot is recorded after so many entries.
    pub(super) snapshot_count: u64,
    /// Revisions that watchers are given at a time.
    pub(super) watch_batch: usize,
}

/// A member that runs.
pub(super) struct Live {
    pub(super) identity: Identity,
    pub(super) node: Node,
    pub(super) wal: Wal,
    pub(super) faults: FaultFs,
    pub(super) machine: StateMachine,
    pub(super) disk: Disk,
    pub(super) backend: Arc<Failing>,
    pub(super) window: Window,
    pub(super) writes: VecDeque<Write>,
    pub(super) commits: VecDeque<Commit>,
    /// The members as of the last applied change, and its index.
    pub(super) conf_state: ConfState,
    pub(super) conf_index: RaftIndex,
    pub(super) snapshot_index: RaftIndex,
    /// Snapshots of leaders that the log has, with their terms.
    pub(super) restored: Vec<(u64, Term)>,
    pub(super) at: (RaftIndex, Term),
    pub(super) leads: bool,
    pub(super) compacting: bool,
    /// Term and vote as saved last, and whether they are news.
    pub(super) vote: (u64, u64),
    pub(super) voted: bool,
    pub(super) watching: Watching,
    /// The ids of requests whose clients wait here.
    pub(super) waiting: BTreeSet<u64>,
    pub(super) happened: Vec<Happened>,
    /// The disk failed where nothing could say so at once.
    pub(super) failed: Option<Died>,
}

/// Work of the state machine, in order.
pub(super) enum Commit {
    Entries(Vec<Entry>),
    Restore { index: u64, ready: bool },
}

pub(super) fn wal_dir() -> PathBuf {
    PathBuf::from("/member/wal")
}

pub(super) fn wal_options() -> wal::Options {
    wal::Options { segment_bytes: SEGMENT_BYTES, sync: true, zero_fill: false }
}

impl Live {
    /// The last applied entry.
    pub(super) fn applied(&self) -> RaftIndex {
        self.at.0
    }

    /// Whether the log's disk has work.
    pub(super) fn must_write(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Whether the state machine has work.
    pub(super) fn must_apply(&self) -> bool {
        !self.commits.is_empty()
    }

    /// Whether that is a whole store, which takes its time.
    pub(super) fn must_install(&self) -> bool {
        matches!(self.commits.front(), Some(Commit::Restore { .. }))
    }

    /// Takes in one event and executes all that consensus asks for.
    pub(super) fn handle(&mut self, input: Input, now_ms: u64) {
        let mut outputs = Vec::new();
        self.node.handle(input, now_ms, &mut outputs);
        loop {
            self.node.poll_ready(&mut outputs);
            if outputs.is_empty() {
                return;
            }
            for output in std::mem::take(&mut outputs) {
                self.execute(output);
            }
        }
    }

    /// A message of another member. A store that comes with it is kept before it is acted upon.
    pub(super) fn receive(&mut self, letter: Letter, now_ms: u64) {
        if let Some(database) = letter.database {
            let metadata = letter.message.snapshot.as_ref().and_then(|s| s.metadata.as_ref());
            let index = metadata.map_or(0, |metadata| metadata.index);
            self.disk.received.insert(index, database);
        }
        self.handle(Input::Message(letter.message), now_ms);
    }

    fn execute(&mut self, output: Output) {
        match output {
            Output::Persist { ready, hard_state, entries, .. } => {
                self.writes.push_back(Write::Save { ready, hard_state, entries });
            }
            Output::Commit { entries } => self.commits.push_back(Commit::Entries(entries)),
            Output::Restore { snapshot } => {
                let index = snapshot.metadata.as_ref().map_or(0, |metadata| metadata.index);
                self.commits.push_back(Commit::Restore { index, ready: false });
                self.writes.push_back(Write::Restore(snapshot));
            }
            Output::Send(messages) => {
                let letters = messages.into_iter().filter_map(|m| self.letter(m)).collect();
                self.happened.push(Happened::Send(letters));
            }
            Output::ReadReady { id, index } => {
                self.happened.push(Happened::ReadReady { id, index });
            }
            Output::SoftState { role, leader } => {
                self.leads = role == Role::Leader;
                self.happened.push(Happened::LeaderChanged(leader));
                if !self.leads {
                    self.machine.shared().lessor.lock().demote();
                }
            }
            Output::Dropped { ticket } => self.happened.push(Happened::Dropped(ticket)),
            Output::ConfState { conf_state, index } => {
                self.conf_state = conf_state;
                self.conf_index = index;
            }
            Output::Term(_) | Output::Refused { .. } => {}
        }
    }

    /// The disk has done all that waits; what became durable is acknowledged.
    pub(super) fn write(&mut self, now_ms: u64) -> Result<(), Died> {
        let (mut last, mut received) = (None, Vec::new());
        for write in std::mem::take(&mut self.writes) {
            match write {
                Write::Save { ready, hard_state, entries } => {
                    let vote = hard_state.as_ref().map_or(self.vote, |s| (s.term, s.vote));
                    self.voted |= std::mem::replace(&mut self.vote, vote) != vote;
                    self.wal
                        .save(hard_state.as_ref(), &entries)
                        .map_err(|error| Died(error.to_string()))?;
                    last = Some(ready);
                }
                Write::Snapshot(snapshot) => self.save_snapshot(&snapshot)?,
                Write::Restore(snapshot) => received.push(self.save_received(&snapshot)?),
            }
        }
        if !received.is_empty() {
            // Only now is the record valid: the state that covers it follows it.
            self.wal.sync().map_err(|error| Died(error.to_string()))?;
            for commit in &mut self.commits {
                if let Commit::Restore { index, ready } = commit {
                    *ready |= received.contains(index);
                }
            }
        }
        if let Some(ready) = last {
            self.handle(Input::Persisted { ready }, now_ms);
        }
        Ok(())
    }

    /// The state machine does one piece of work.
    pub(super) fn apply(&mut self, now_ms: u64) {
        match self.commits.front() {
            None | Some(Commit::Restore { ready: false, .. }) => {}
            Some(Commit::Restore { .. }) => {
                let Some(Commit::Restore { index, .. }) = self.commits.pop_front() else { return };
                self.install(index);
                self.handle(Input::Applied { index: RaftIndex(index) }, now_ms);
            }
            Some(Commit::Entries(_)) => {
                let Some(Commit::Entries(entries)) = self.commits.pop_front() else { return };
                self.apply_entries(entries, now_ms);
            }
        }
    }

    fn apply_entries(&mut self, entries: Vec<Entry>, now_ms: u64) {
        for entry in entries {
            let has_waiter = self.waiting.contains(&apply::request_id(&entry));
            let context = Context { now_ms, has_waiter, size_in_use: 0, unix_ns: 0 };
            let applied = self.machine.apply(&entry, context);
            self.at = (RaftIndex(entry.index), Term(entry.term));
            let revision = self.machine.shared().store.revision();
            self.window.append(applied.ops.clone(), self.at, revision);
            if let Some(changes) = applied.changes.clone() {
                self.watching.changed(changes, &self.machine.shared().store);
            }
            for effect in &applied.effects {
                match effect {
                    Effect::ConfChange(change) => {
                        self.handle(Input::ApplyConfChange { change: change.clone() }, now_ms);
                    }
                    Effect::LeaderElected { term } => self.promote(*term, now_ms),
                    Effect::Compact { .. } => self.compacting = true,
                    Effect::RemovedSelf => self.happened.push(Happened::RemovedSelf),
                    _ => {}
                }
            }
            self.happened.push(Happened::Applied(entry, Box::new(applied)));
        }
        self.handle(Input::Applied { index: self.at.0 }, now_ms);
    }

    /// An empty entry of a term: its leader is the one to expire leases.
    fn promote(&mut self, term: Term, now_ms: u64) {
        if self.leads && self.node.status().term == term {
            self.machine.shared().lessor.lock().promote(term, 1000, now_ms);
        }
    }

    /// Commits the window, and records a snapshot of the log when enough is safe in the store.
    pub(super) fn flush(&mut self, compaction_batch: usize, now_ms: u64) -> Result<(), Died> {
        if self.compacting {
            let mut ops = Vec::new();
            let store = &self.machine.shared().store;
            let step = store.compaction_step(compaction_batch, &mut ops);
            let step = step.map_err(|error| Died(error.to_string()))?;
            self.compacting = step == Compaction::More;
            self.window.append_background(ops);
        }
        let (index, term) = self.at;
        let behind = index.0.saturating_sub(self.snapshot_index.0);
        let due = behind >= self.identity.snapshot_count
            && self.conf_index <= index
            && !self.must_apply();
        if !(due && is_on(Mutant::RecordBeforeStore)) {
            self.flush_store()?;
        }
        if !due {
            return Ok(());
        }
        let conf_state = Some(self.conf_state.clone());
        self.writes.push_back(Write::Snapshot(walpb::Snapshot {
            index: index.0,
            term: term.0,
            conf_state,
        }));
        self.snapshot_index = index;
        let conf_state = self.conf_state.clone();
        self.handle(Input::SnapshotTaken { index, term, conf_state }, now_ms);
        let keep = RaftIndex(index.0.saturating_sub(self.identity.snapshot_count / 3));
        self.handle(Input::Compact { index: keep }, now_ms);
        Ok(())
    }

    pub(super) fn flush_store(&mut self) -> Result<(), Died> {
        let flushed = self.window.flush(&*self.backend);
        if let Some(flushed) = flushed.map_err(|error| Died(error.to_string()))? {
            self.machine.shared().store.committed(flushed.revision);
        }
        Ok(())
    }

    /// A client asks for a defragmentation: the window is committed out of turn.
    pub(super) fn defragment(&mut self) -> Result<(), Died> {
        if is_on(Mutant::DefragIndex) {
            let index = schema::meta::put_consistent(self.at.0, self.at.1);
            let index: Vec<storage::Op> = index.into_iter().collect();
            return self.backend.commit(&index).map_err(|error| Died(error.to_string()));
        }
        self.flush_store()
    }

    /// What the lessor wants done.
    pub(super) fn tick_leases(&mut self, now_ms: u64) {
        let mut actions = Vec::new();
        let shared = self.machine.shared();
        let mut lessor = shared.lessor.lock();
        let Some(term) = lessor.primary_term() else { return };
        lessor.handle_tick(now_ms, &mut actions);
        drop(lessor);
        for action in actions {
            if let LeaseAction::Revoke(ids) = action {
                let ids = ids.into_iter().map(|id| id.0).collect();
                self.happened.push(Happened::Expired(ids, term));
            }
        }
    }

    /// The next operation of this kind on the log's files fails.
    pub(super) fn plan_disk_failure(&mut self, operation: Operation, fault: Fault) {
        self.faults.fail(operation, 1, fault);
    }

    /// The next commit of the store finds no room.
    pub(super) fn fill_store(&mut self) {
        self.backend.fill();
    }

    /// What a power loss leaves. With `mid_write` the log was being written: its bytes have left the
    /// process and were not synced. Without a seed only the process ends: what it has written stays
    /// where it is, durable or not.
    pub(super) fn crash(mut self, mid_write: bool, seed: Option<u64>) -> Disk {
        if mid_write && self.must_write() {
            self.plan_disk_failure(Operation::Sync, Fault::Error(5));
            let _lost = self.write(0);
        }
        let Live { disk, .. } = self;
        disk.after_crash(seed)
    }

    /// What leases have left.
    pub(super) fn describe_leases(&self, now_ms: u64) -> String {
        let shared = self.machine.shared();
        let lessor = shared.lessor.lock();
        let left = |id: &api::ids::LeaseId| (id.0, lessor.time_to_live(*id, now_ms));
        let left: Vec<_> = lessor.leases().iter().map(left).collect();
        format!("primary {} leases {left:?}", lessor.is_primary())
    }

    /// A hash over all buckets, of the last commit.
    pub(super) fn hash(&self) -> u32 {
        storage::hash_all(&*view(&*self.backend)).expect("a store that was written can be read")
    }

    /// Whether nothing waits for the store and nothing is being removed from it: then its hash is
    /// that of every member that has applied as much.
    pub(super) fn is_settled(&self) -> bool {
        let store = &self.machine.shared().store;
        self.window.pending_ops() == 0 && store.compacting().is_none()
    }
}

pub(super) fn view(backend: &dyn Backend) -> Box<dyn ReadTx + '_> {
    backend.read().expect("a store that was written can be read")
}
