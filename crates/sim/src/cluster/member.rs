//! One simulated member: the real log, consensus, state machine and store on a simulated disk, driven
//! as the server's threads drive them, but one step at a time and in virtual time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
};

use api::{
    ids::{ClusterId, MemberId, RaftIndex, Term},
    raftpb::{ConfState, Entry, HardState, Message, MessageType, Snapshot, SnapshotMetadata},
    walpb,
};
use apply::{Applied, Context, Effect, StateMachine};
use bytes::Bytes;
use lease::LeaseAction;
use mvcc::Compaction;
use replica::{Input, Node, Output, Recovered, Role, bootstrap_entries};
use storage::{Backend, Window, mem::MemBackend, schema};
use vfs::{
    Fs,
    fault::{Fault, FaultFs, Operation},
    mem::MemFs,
};
use wal::Wal;

use super::watchers::Watching;

/// Small segments, so that cutting and purging happen all the time.
const SEGMENT_BYTES: u64 = 64 << 10;
/// A log snapshot is recorded after so many entries.
pub(super) const SNAPSHOT_COUNT: u64 = 60;
/// Entries kept in memory behind a snapshot for slow followers.
const CATCHUP_ENTRIES: u64 = 20;
/// Segments kept on disk behind the last snapshot.
const WALS_KEPT: usize = 2;

/// What outlives a crash.
#[derive(Clone)]
pub(super) struct Disk {
    /// The file system of the log.
    pub(super) fs: MemFs,
    /// The store: one commit is there as a whole or not at all.
    pub(super) store: MemBackend,
    /// Stores of other members that arrived as snapshots, by their index, until they are installed.
    pub(super) received: BTreeMap<u64, MemBackend>,
}

impl Disk {
    pub(super) fn new() -> Disk {
        Disk { fs: MemFs::new(), store: MemBackend::new(), received: BTreeMap::new() }
    }
}

/// Something for the log's disk to do.
enum Write {
    Save { ready: u64, hard_state: Option<HardState>, entries: Vec<Entry> },
    Snapshot(walpb::Snapshot),
    Restore(Snapshot),
}

/// A message on its way, with the store that a `MsgSnap` carries beside it.
#[derive(Clone)]
pub(super) struct Letter {
    pub(super) message: Message,
    pub(super) store: Option<MemBackend>,
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
    /// The lessor wants these leases revoked.
    Expired(Vec<i64>),
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
}

/// A member that runs.
pub(super) struct Live {
    identity: Identity,
    pub(super) node: Node,
    wal: Wal,
    faults: FaultFs,
    pub(super) machine: StateMachine,
    disk: Disk,
    window: Window,
    writes: VecDeque<Write>,
    commits: VecDeque<Commit>,
    /// The members as of the last applied change, and its index.
    conf_state: ConfState,
    conf_index: RaftIndex,
    snapshot_index: RaftIndex,
    at: (RaftIndex, Term),
    pub(super) leads: bool,
    compacting: bool,
    pub(super) watching: Watching,
    /// The ids of requests whose clients wait here.
    pub(super) waiting: BTreeSet<u64>,
    pub(super) happened: Vec<Happened>,
}

/// Work of the state machine, in order.
enum Commit {
    Entries(Vec<Entry>),
    Restore { index: u64, ready: bool },
}

fn wal_dir() -> PathBuf {
    PathBuf::from("/member/wal")
}

fn wal_options() -> wal::Options {
    wal::Options { segment_bytes: SEGMENT_BYTES, sync: true, zero_fill: false }
}

impl Live {
    /// Starts from a disk: a first start, or a recovery (spec storage.md section 7).
    pub(super) fn start(identity: Identity, mut disk: Disk, seed: u64) -> Result<Live, String> {
        let faults = FaultFs::new(Arc::new(disk.fs.clone()));
        let fs: Arc<dyn Fs> = Arc::new(faults.clone());
        let exists = Wal::exists(&*fs, &wal_dir()).map_err(|error| error.to_string())?;
        if !exists {
            let metadata =
                walpb::Metadata { node_id: identity.member.0, cluster_id: identity.cluster.0 };
            fs.create_dir_all(Path::new("/member")).map_err(|error| error.to_string())?;
            fs.sync_dir(Path::new("/")).map_err(|error| error.to_string())?;
            Wal::create(fs.clone(), &wal_dir(), &metadata, wal_options())
                .map_err(|error| error.to_string())?;
        }
        let snapshot = newest_snapshot(&*fs, &mut disk)?;
        let opened = Wal::open(fs.clone(), &wal_dir(), &snapshot, wal_options());
        let (mut wal, log) = opened.map_err(|error| error.to_string())?;
        let (mut hard_state, mut entries) = (log.hard_state, log.entries);
        let is_first = snapshot.index == 0 && entries.is_empty() && hard_state.term == 0;
        if is_first && !identity.founders.is_empty() {
            (hard_state, entries) = bootstrap_entries(&identity.founders);
            wal.save(Some(&hard_state), &entries).map_err(|error| error.to_string())?;
        }
        let (machine, (applied, applied_term)) = open_machine(&identity, &disk.store)?;
        hard_state.commit = hard_state.commit.max(applied.0);
        hard_state.term = hard_state.term.max(applied_term.0);
        let conf_state = conf_state(&machine, &snapshot);
        let recovered = Recovered {
            snapshot: (RaftIndex(snapshot.index), Term(snapshot.term), conf_state.clone()),
            hard_state,
            entries,
            applied: RaftIndex(applied.0.max(snapshot.index)),
        };
        let applied = recovered.applied;
        let config = replica::Config {
            pre_vote: identity.pre_vote,
            ..replica::Config::new(identity.member, seed)
        };
        let node = Node::new(config, recovered).map_err(|error| error.to_string())?;
        let compacting = machine.shared().store.compacting().is_some();
        let watching = Watching::new(machine.shared().store.revision());
        Ok(Live {
            identity,
            node,
            wal,
            faults,
            machine,
            disk,
            window: Window::new(),
            writes: VecDeque::new(),
            commits: VecDeque::new(),
            conf_state,
            conf_index: applied,
            snapshot_index: RaftIndex(snapshot.index),
            at: (applied, applied_term),
            leads: false,
            compacting,
            watching,
            waiting: BTreeSet::new(),
            happened: Vec::new(),
        })
    }

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
        if let Some(store) = letter.store {
            let metadata = letter.message.snapshot.as_ref().and_then(|s| s.metadata.as_ref());
            let index = metadata.map_or(0, |metadata| metadata.index);
            self.disk.received.insert(index, store);
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
            Output::SoftState { role, .. } => {
                self.leads = role == Role::Leader;
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

    /// A `MsgSnap` leaves with the store as it is now.
    fn letter(&mut self, mut message: Message) -> Option<Letter> {
        if message.r#type != MessageType::MsgSnap as i32 {
            return Some(Letter { message, store: None });
        }
        self.flush_store();
        let store = self.disk.store.fork();
        let view = store.read().expect("a store in memory can be read");
        let (index, term) = schema::read_consistent(&*view).expect("written by this member")?;
        let members = membership::Membership::load(&*view, self.identity.cluster, 1)
            .expect("written by this member");
        let conf_state = Some(ConfState {
            voters: members.voters().map(|member| member.id.0).collect(),
            learners: members.learners().map(|member| member.id.0).collect(),
            ..ConfState::default()
        });
        drop(view);
        let metadata = Some(SnapshotMetadata { conf_state, index: index.0, term: term.0 });
        message.snapshot = Some(Snapshot { data: Bytes::new(), metadata });
        Some(Letter { message, store: Some(store) })
    }

    /// The disk has done all that waits; what became durable is acknowledged.
    pub(super) fn write(&mut self, now_ms: u64) -> Result<(), Died> {
        let (mut last, mut received) = (None, Vec::new());
        for write in std::mem::take(&mut self.writes) {
            match write {
                Write::Save { ready, hard_state, entries } => {
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

    fn save_snapshot(&mut self, snapshot: &walpb::Snapshot) -> Result<(), Died> {
        let died = |error: wal::Error| Died(error.to_string());
        self.wal.save_snapshot(snapshot).map_err(died)?;
        self.wal.release_to(RaftIndex(snapshot.index));
        self.wal.purge(WALS_KEPT).map_err(died)?;
        Ok(())
    }

    /// The record of a snapshot that came from the leader; returns its index.
    fn save_received(&mut self, snapshot: &Snapshot) -> Result<u64, Died> {
        let metadata = snapshot.metadata.clone().unwrap_or_default();
        let record = walpb::Snapshot {
            index: metadata.index,
            term: metadata.term,
            conf_state: metadata.conf_state.clone(),
        };
        self.wal.save_snapshot(&record).map_err(|error| Died(error.to_string()))?;
        self.conf_state = metadata.conf_state.unwrap_or_default();
        self.conf_index = RaftIndex(metadata.index);
        self.snapshot_index = RaftIndex(metadata.index);
        Ok(metadata.index)
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

    /// Replaces the store by a received one.
    fn install(&mut self, index: u64) {
        let received = self.disk.received.get(&index);
        let store = received.expect("a snapshot is kept before it is acted upon").fork();
        self.disk.received.retain(|kept, _| *kept > index);
        self.disk.store = store;
        self.window = Window::new();
        let opened = open_machine(&self.identity, &self.disk.store);
        let (machine, at) = opened.expect("a received store is sound");
        assert!(at.0.0 == index, "a received store is at the index of its message");
        self.machine = machine;
        self.at = at;
        self.compacting = self.machine.shared().store.compacting().is_some();
        self.watching.replaced();
        self.happened.push(Happened::Restored);
    }

    fn apply_entries(&mut self, entries: Vec<Entry>, now_ms: u64) {
        for entry in entries {
            let has_waiter = self.waiting.contains(&apply::request_id(&entry));
            let context = Context { now_ms, has_waiter, size_in_use: 0 };
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
                    Effect::LeaderElected if self.leads => {
                        self.machine.shared().lessor.lock().promote(1000, now_ms);
                    }
                    Effect::Compact { .. } => self.compacting = true,
                    Effect::RemovedSelf => self.happened.push(Happened::RemovedSelf),
                    _ => {}
                }
            }
            self.happened.push(Happened::Applied(entry, Box::new(applied)));
        }
        self.handle(Input::Applied { index: self.at.0 }, now_ms);
    }

    /// Commits the window, and records a snapshot of the log when enough is safe in the store.
    pub(super) fn flush(&mut self, compaction_batch: usize, now_ms: u64) {
        if self.compacting {
            let mut ops = Vec::new();
            let store = &self.machine.shared().store;
            let step = store.compaction_step(compaction_batch, &mut ops);
            self.compacting = step.expect("a store in memory can be read") == Compaction::More;
            self.window.append_background(ops);
        }
        self.flush_store();
        let (index, term) = self.at;
        let behind = index.0.saturating_sub(self.snapshot_index.0);
        if behind < SNAPSHOT_COUNT || self.conf_index > index || self.must_apply() {
            return;
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
        let keep = RaftIndex(index.0.saturating_sub(CATCHUP_ENTRIES));
        self.handle(Input::Compact { index: keep }, now_ms);
    }

    pub(super) fn flush_store(&mut self) {
        let flushed =
            self.window.flush(&self.disk.store).expect("a store in memory can be written");
        if let Some(flushed) = flushed {
            self.machine.shared().store.committed(flushed.revision);
        }
    }

    /// What the lessor wants done.
    pub(super) fn tick_leases(&mut self, now_ms: u64) {
        let mut actions = Vec::new();
        self.machine.shared().lessor.lock().handle_tick(now_ms, &mut actions);
        for action in actions {
            if let LeaseAction::Revoke(ids) = action {
                let ids = ids.into_iter().map(|id| id.0).collect();
                self.happened.push(Happened::Expired(ids));
            }
        }
    }

    /// The next sync of the log, or the write before it, fails.
    pub(super) fn plan_disk_failure(&mut self, operation: Operation) {
        self.faults.fail(operation, 1, Fault::Error(5));
    }

    /// What a power loss leaves. With `mid_write` the log was being written: its bytes have left the
    /// process and were not synced.
    pub(super) fn crash(mut self, mid_write: bool, seed: u64) -> Disk {
        if mid_write && self.must_write() {
            self.plan_disk_failure(Operation::Sync);
            let _lost = self.write(0);
        }
        let Disk { fs, store, received } = self.disk;
        drop(self.wal);
        Disk { fs: fs.crash_clone(seed), store: store.fork(), received }
    }

    /// A hash over all buckets.
    pub(super) fn hash(&mut self) -> u32 {
        self.flush_store();
        let view = self.disk.store.read().expect("a store in memory can be read");
        storage::hash_all(&*view).expect("a store in memory can be read")
    }
}

fn open_machine(
    identity: &Identity,
    store: &MemBackend,
) -> Result<(StateMachine, (RaftIndex, Term)), String> {
    let config = apply::Config {
        member_id: identity.member,
        cluster_id: identity.cluster,
        max_learners: 1,
        quota_bytes: -1,
        lease: lease::Options::new(2),
        store_checkpoints: false,
        token_ttl_ms: 300_000,
    };
    let backend: Arc<dyn Backend> = Arc::new(store.clone());
    StateMachine::open(backend, config).map_err(|error| error.to_string())
}

/// The newest snapshot record of the log that the store, or a received one, covers.
fn newest_snapshot(fs: &dyn Fs, disk: &mut Disk) -> Result<walpb::Snapshot, String> {
    let consistent = |store: &MemBackend| {
        let view = store.read().expect("a store in memory can be read");
        schema::read_consistent(&*view).expect("written by a member").map_or(0, |at| at.0.0)
    };
    let snapshots = Wal::valid_snapshots(fs, &wal_dir()).map_err(|error| error.to_string())?;
    let newest = snapshots.last().cloned().ok_or("the log has no snapshot record")?;
    if newest.index > consistent(&disk.store) {
        let Some(received) = disk.received.get(&newest.index) else {
            return Err(format!(
                "store (index {}) does not match with snapshot (index {})",
                consistent(&disk.store),
                newest.index
            ));
        };
        disk.store = received.fork();
    }
    disk.received.retain(|index, _| *index > newest.index);
    Ok(newest)
}

/// The members known to the store; before the first entry is applied, those of the snapshot.
fn conf_state(machine: &StateMachine, snapshot: &walpb::Snapshot) -> ConfState {
    let shared = machine.shared();
    let membership = shared.membership.read();
    if membership.members().next().is_none() {
        return snapshot.conf_state.clone().unwrap_or_default();
    }
    ConfState {
        voters: membership.voters().map(|member| member.id.0).collect(),
        learners: membership.learners().map(|member| member.id.0).collect(),
        ..ConfState::default()
    }
}
