//! A member with a disk and a state machine made of vectors: it executes outputs as a driver would.

use std::collections::VecDeque;

use api::{
    ids::{MemberId, RaftIndex, Term},
    raftpb::{ConfChange, ConfState, Entry, EntryType, HardState, Message},
};
use bytes::Bytes;
use prost::Message as _;

use crate::{Config, Input, Node, Output, Recovered, bootstrap_entries};

/// What survives a crash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    /// Index, term and members of the store's snapshot before the first entry.
    pub(crate) start: (RaftIndex, Term, ConfState),
    pub(crate) hard_state: HardState,
    pub(crate) entries: Vec<Entry>,
}

impl Disk {
    pub(crate) fn save(&mut self, hard_state: Option<HardState>, entries: Vec<Entry>) {
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
}

pub(crate) struct Member {
    pub(crate) node: Node,
    pub(crate) disk: Disk,
    pub(crate) machine: Machine,
    /// Everything it has put out, in order.
    pub(crate) trace: Vec<Output>,
    /// While set, saved readies are not acknowledged.
    pub(crate) disk_stalls: bool,
    /// Readies that were saved and not acknowledged.
    pub(crate) unacknowledged: VecDeque<u64>,
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
        let (index, term, _) = disk.start;
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
            trace: Vec::new(),
            disk_stalls: false,
            unacknowledged: VecDeque::new(),
            outbox: Vec::new(),
            now_ms: 0,
        };
        member.run();
        member
    }

    /// Crashes and comes back with what its disk has.
    pub(crate) fn restart(self, seed: u64) -> Member {
        let id = self.node.status().id.0;
        Member::start(config(id, seed), self.disk, self.machine)
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

    /// Acknowledges what a stalling disk has saved.
    pub(crate) fn unstall(&mut self) {
        self.disk_stalls = false;
        while let Some(ready) = self.unacknowledged.pop_front() {
            self.handle(Input::Persisted { ready });
        }
        self.run();
    }

    fn execute(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            self.trace.push(output.clone());
            match output {
                Output::Persist { ready, hard_state, entries, must_sync } => {
                    self.disk.save(hard_state, entries);
                    if self.disk_stalls {
                        self.unacknowledged.push_back(ready);
                    } else if must_sync {
                        self.handle(Input::Persisted { ready });
                    }
                }
                Output::Commit { entries } => self.apply(entries),
                Output::Send(messages) => self.outbox.extend(messages),
                Output::ConfState { conf_state, .. } => self.machine.conf_state = conf_state,
                Output::Restore { snapshot } => {
                    let metadata = snapshot.metadata.expect("a restored snapshot is described");
                    let conf_state = metadata.conf_state.expect("a snapshot names its members");
                    let payloads = decode_payloads(&snapshot.data);
                    self.machine.applied = metadata.index;
                    self.machine.payloads = payloads;
                    self.machine.conf_state = conf_state.clone();
                    let (index, term) = (RaftIndex(metadata.index), Term(metadata.term));
                    self.disk.entries.clear();
                    self.disk.start = (index, term, conf_state);
                    self.handle(Input::Applied { index });
                }
                Output::Term(_)
                | Output::SoftState { .. }
                | Output::ReadReady { .. }
                | Output::Dropped { .. }
                | Output::Refused { .. } => {}
            }
        }
    }

    fn apply(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            assert_eq!(entry.index, self.machine.applied + 1, "entries come once and in order");
            if entry.r#type() == EntryType::EntryConfChange {
                let change = ConfChange::decode(entry.data).expect("conf changes decode");
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
        let position = (index.0 - self.disk.start.0.0 - 1) as usize;
        let term = Term(self.disk.entries[position].term);
        let conf_state = self.machine.conf_state.clone();
        self.handle(Input::SnapshotTaken { index, term, conf_state });
        self.step(Input::Compact { index: RaftIndex(index.0 - keep) });
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

/// The data of a test's snapshot: payloads, one a line.
pub(crate) fn encode_payloads(payloads: &[Bytes]) -> Bytes {
    payloads.iter().flat_map(|p| p.iter().copied().chain([b'\n'])).collect::<Vec<u8>>().into()
}

fn decode_payloads(data: &Bytes) -> Vec<Bytes> {
    let lines = data.split(|b| *b == b'\n').map(Bytes::copy_from_slice);
    lines.filter(|line| !line.is_empty()).collect()
}
