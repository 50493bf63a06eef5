//! A member with a disk and a state machine made of vectors: it executes outputs as a driver would.

use std::collections::{BTreeSet, VecDeque};

use api::{
    ids::{MemberId, RaftIndex, Term},
    raftpb::{
        ConfChange, ConfChangeType, ConfState, Entry, EntryType, HardState, Message, Snapshot,
        SnapshotMetadata,
    },
};
use bytes::Bytes;
use prost::Message as _;

use crate::{Config, Input, Node, Output, Recovered, bootstrap_entries};

/// The log that survives a crash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    /// Index and term of the snapshot before the first entry.
    pub(crate) start: (RaftIndex, Term),
    pub(crate) hard_state: HardState,
    pub(crate) entries: Vec<Entry>,
}

impl Disk {
    fn save(&mut self, hard_state: Option<HardState>, entries: Vec<Entry>) {
        if let Some(hard_state) = hard_state {
            self.hard_state = hard_state;
        }
        if let Some(first) = entries.first() {
            self.entries.truncate((first.index - self.start.0.0 - 1) as usize);
            self.entries.extend(entries);
        }
    }
}

/// The state machine: payloads in order of application, and the members.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Machine {
    pub(crate) applied: u64,
    pub(crate) payloads: Vec<Bytes>,
    pub(crate) conf_state: ConfState,
    pub(crate) removed: BTreeSet<u64>,
}

impl Machine {
    /// The change if it makes sense, else one of node 0, as membership would decide.
    fn judge(&mut self, change: ConfChange) -> ConfChange {
        let ConfState { voters, learners, .. } = &self.conf_state;
        let id = change.node_id;
        let sensible = match change.r#type() {
            ConfChangeType::ConfChangeAddNode => !self.removed.contains(&id),
            ConfChangeType::ConfChangeAddLearnerNode => {
                !self.removed.contains(&id) && !voters.contains(&id) && !learners.contains(&id)
            }
            ConfChangeType::ConfChangeRemoveNode => {
                let known = voters.contains(&id) || learners.contains(&id);
                known && voters.as_slice() != [id]
            }
            ConfChangeType::ConfChangeUpdateNode => true,
        };
        if !sensible {
            return ConfChange { node_id: 0, ..change };
        }
        if change.r#type() == ConfChangeType::ConfChangeRemoveNode {
            self.removed.insert(id);
        }
        change
    }
}

/// Something for the disk to do.
enum Write {
    Save { ready: u64, hard_state: Option<HardState>, entries: Vec<Entry>, must_sync: bool },
    Restore(Snapshot),
}

pub(crate) struct Member {
    pub(crate) node: Node,
    pub(crate) disk: Disk,
    pub(crate) machine: Machine,
    /// The machine as a crash would leave it, when that is not all of it.
    pub(crate) flushed: Option<Machine>,
    /// Everything it has put out, in order.
    pub(crate) trace: Vec<Output>,
    /// While set, writes wait.
    pub(crate) disk_stalls: bool,
    writes: VecDeque<Write>,
    /// While set, committed entries wait to be applied.
    pub(crate) machine_stalls: bool,
    commits: VecDeque<Vec<Entry>>,
    /// Messages for others.
    pub(crate) outbox: Vec<Message>,
    pub(crate) now_ms: u64,
}

pub(crate) fn config(id: u64, seed: u64) -> Config {
    Config::new(MemberId(id), seed.wrapping_mul(1000) + id)
}

impl Member {
    /// A founding member of a cluster of `members`.
    pub(crate) fn found(id: u64, members: &[u64], seed: u64) -> Member {
        let members: Vec<_> = members.iter().map(|id| (MemberId(*id), Bytes::new())).collect();
        let (hard_state, entries) = bootstrap_entries(&members);
        let disk = Disk { hard_state, entries, ..Disk::default() };
        Member::start(config(id, seed), disk, Machine::default())
    }

    /// A member that is added to a running cluster.
    pub(crate) fn join(id: u64, seed: u64) -> Member {
        Member::start(config(id, seed), Disk::default(), Machine::default())
    }

    /// A member with this disk and this (durable) state machine.
    pub(crate) fn start(config: Config, disk: Disk, machine: Machine) -> Member {
        let (index, term) = disk.start;
        let recovered = Recovered {
            snapshot: (index, term, machine.conf_state.clone()),
            hard_state: disk.hard_state,
            entries: disk.entries.clone(),
            applied: RaftIndex(machine.applied),
        };
        let node = Node::new(config, recovered).expect("what was saved is sound");
        let mut member = Member {
            node,
            disk,
            machine,
            flushed: None,
            trace: Vec::new(),
            disk_stalls: false,
            writes: VecDeque::new(),
            machine_stalls: false,
            commits: VecDeque::new(),
            outbox: Vec::new(),
            now_ms: 0,
        };
        member.run();
        member
    }

    /// Crashes and comes back with what its disk has.
    pub(crate) fn restart(self, seed: u64) -> Member {
        self.crash(seed, 0)
    }

    /// Crashes while the disk has done the first `done` of the writes that wait.
    pub(crate) fn crash(mut self, seed: u64, done: usize) -> Member {
        let id = self.node.status().id.0;
        for write in self.writes.drain(..).take(done).collect::<Vec<_>>() {
            match write {
                Write::Save { hard_state, entries, .. } => self.disk.save(hard_state, entries),
                Write::Restore(snapshot) => self.replace(&snapshot),
            }
        }
        let machine = self.flushed.unwrap_or(self.machine);
        Member::start(config(id, seed), self.disk, machine)
    }

    pub(crate) fn waiting_writes(&self) -> usize {
        self.writes.len()
    }

    pub(crate) fn handle(&mut self, input: Input) {
        let mut out = Vec::new();
        self.node.handle(input, self.now_ms, &mut out);
        self.execute(out);
    }

    /// Handles one input and everything that follows from it here.
    pub(crate) fn step(&mut self, input: Input) {
        self.handle(input);
        self.run();
    }

    pub(crate) fn tick(&mut self) {
        self.now_ms += 100;
        self.step(Input::Tick);
    }

    pub(crate) fn propose(&mut self, data: &'static str) {
        self.step(Input::Propose { ticket: 0, data: data.into() });
    }

    /// Polls until nothing is due.
    pub(crate) fn run(&mut self) {
        loop {
            let mut out = Vec::new();
            self.node.poll_ready(&mut out);
            if out.is_empty() {
                return;
            }
            self.execute(out);
        }
    }

    /// Does and acknowledges what a stalling disk has left.
    pub(crate) fn unstall(&mut self) {
        self.disk_stalls = false;
        self.machine_stalls = false;
        self.write();
        self.apply_waiting();
        self.run();
    }

    /// Does all writes that wait and acknowledges the last alone.
    pub(crate) fn unstall_at_once(&mut self) {
        self.disk_stalls = false;
        let mut last = None;
        for write in std::mem::take(&mut self.writes) {
            let Write::Save { ready, hard_state, entries, .. } = write else {
                panic!("no snapshot is restored here");
            };
            self.disk.save(hard_state, entries);
            last = Some(ready);
        }
        self.step(Input::Persisted { ready: last.expect("something was written") });
    }

    fn execute(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            self.trace.push(output.clone());
            match output {
                Output::Persist { ready, hard_state, entries, must_sync } => {
                    let write = Write::Save { ready, hard_state, entries, must_sync };
                    self.writes.push_back(write);
                }
                Output::Restore { snapshot } => self.writes.push_back(Write::Restore(snapshot)),
                Output::Commit { entries } => self.commits.push_back(entries),
                Output::Send(messages) => self.outbox.extend(messages),
                Output::ConfState { conf_state, .. } => self.machine.conf_state = conf_state,
                Output::Term(_)
                | Output::SoftState { .. }
                | Output::ReadReady { .. }
                | Output::Dropped { .. }
                | Output::Refused { .. } => {}
            }
        }
        if !self.machine_stalls {
            self.apply_waiting();
        }
        self.write();
    }

    fn write(&mut self) {
        while !self.disk_stalls {
            match self.writes.pop_front() {
                None => return,
                Some(Write::Save { ready, hard_state, entries, must_sync }) => {
                    self.disk.save(hard_state, entries);
                    if must_sync {
                        self.handle(Input::Persisted { ready });
                    }
                }
                Some(Write::Restore(snapshot)) => {
                    // The machine is replaced in its turn.
                    self.apply_waiting();
                    self.replace(&snapshot);
                    // Sooner than the log's own acknowledgement, as a fast store may be.
                    self.handle(Input::Applied { index: RaftIndex(self.machine.applied) });
                }
            }
        }
    }

    /// Replaces log and machine by a snapshot.
    fn replace(&mut self, snapshot: &Snapshot) {
        let metadata = snapshot.metadata.as_ref().expect("a restored snapshot is described");
        let (payloads, removed) = decode(&snapshot.data);
        self.machine = Machine {
            applied: metadata.index,
            payloads,
            conf_state: metadata.conf_state.clone().expect("a snapshot names its members"),
            removed,
        };
        self.flushed = None;
        self.disk.entries.clear();
        self.disk.start = (RaftIndex(metadata.index), Term(metadata.term));
    }

    fn apply_waiting(&mut self) {
        let stalls = std::mem::replace(&mut self.machine_stalls, true);
        while let Some(entries) = self.commits.pop_front() {
            self.apply(entries);
        }
        self.machine_stalls = stalls;
    }

    fn apply(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            assert_eq!(entry.index, self.machine.applied + 1, "entries come once and in order");
            if entry.r#type() == EntryType::EntryConfChange {
                let change = ConfChange::decode(entry.data).expect("conf changes decode");
                let change = self.machine.judge(change);
                self.handle(Input::ApplyConfChange { change });
            } else if !entry.data.is_empty() {
                self.machine.payloads.push(entry.data);
            }
            self.machine.applied = entry.index;
        }
        self.handle(Input::Applied { index: RaftIndex(self.machine.applied) });
    }

    /// Takes a snapshot at what is applied and lets go of all but `keep` entries.
    pub(crate) fn snapshot(&mut self, keep: u64) {
        let index = RaftIndex(self.machine.applied);
        let conf_state = self.machine.conf_state.clone();
        self.handle(Input::SnapshotTaken { index, term: self.applied_term(), conf_state });
        self.step(Input::Compact { index: RaftIndex(index.0.saturating_sub(keep)) });
    }

    fn applied_term(&self) -> Term {
        let position = self.machine.applied.checked_sub(self.disk.start.0.0 + 1);
        position.map_or(self.disk.start.1, |p| Term(self.disk.entries[p as usize].term))
    }

    /// The transport's part of a snapshot: the store as it is by now.
    pub(crate) fn store_snapshot(&self) -> Snapshot {
        let removed = self.machine.removed.iter().map(|id| format!("-{id}").into());
        let lines: Vec<Bytes> = self.machine.payloads.iter().cloned().chain(removed).collect();
        let metadata = SnapshotMetadata {
            conf_state: Some(self.machine.conf_state.clone()),
            index: self.machine.applied,
            term: self.applied_term().0,
        };
        Snapshot { data: lines.join(&b"\n"[..]).into(), metadata: Some(metadata) }
    }

    pub(crate) fn payloads(&self) -> Vec<&str> {
        let texts = self.machine.payloads.iter().map(|p| std::str::from_utf8(p));
        texts.collect::<Result<_, _>>().expect("payloads are texts")
    }

    /// The outputs since `from` that `pick` picks.
    pub(crate) fn outputs<T>(&self, from: usize, pick: impl Fn(&Output) -> Option<T>) -> Vec<T> {
        self.trace[from..].iter().filter_map(pick).collect()
    }
}

/// Payloads and removed members, one a line.
fn decode(data: &Bytes) -> (Vec<Bytes>, BTreeSet<u64>) {
    let lines = data.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let (removed, payloads): (Vec<&[u8]>, _) = lines.partition(|line| line.starts_with(b"-"));
    let id = |line: &[u8]| std::str::from_utf8(&line[1..]).ok()?.parse().ok();
    let removed = removed.into_iter().map(|line| id(line).expect("an id after the dash"));
    (payloads.into_iter().map(Bytes::copy_from_slice).collect(), removed.collect())
}
