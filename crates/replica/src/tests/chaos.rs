//! Random schedules from a seed: messages are lost, doubled and reordered, disks stall, members crash
//! with half of their writes done, logs are compacted, members come and go. What raft promises must
//! hold all the time, and everybody must agree once it is quiet.
//!
//! To look into a failure put its seed into [`SEEDS`].

use std::collections::BTreeMap;

use api::raftpb::{ConfChange, ConfChangeType};

use super::{harness::Member, network::Network};
use crate::{Input, Output, Role, timeout::SplitMix64};

const SEEDS: std::ops::Range<u64> = 0..60;
const STEPS: u64 = 400;

struct Chaos {
    network: Network,
    random: SplitMix64,
    seed: u64,
    /// Whether members are added and removed.
    reconfigures: bool,
    proposed: u64,
    /// Who led each term.
    leaders: BTreeMap<u64, u64>,
    /// What was applied first, anywhere: what everybody must apply.
    history: Vec<String>,
    /// What had been applied somewhere when each read was asked for.
    read_floors: BTreeMap<u64, u64>,
    /// How much of each trace has been checked, and the term at its end.
    checked: BTreeMap<u64, (usize, u64)>,
}

impl Chaos {
    fn new(seed: u64, reconfigures: bool) -> Chaos {
        let mut network = Network::found(&[1, 2, 3], seed);
        network.report_snapshots = true;
        Chaos {
            network,
            random: SplitMix64(seed),
            seed,
            reconfigures,
            proposed: 0,
            leaders: BTreeMap::new(),
            history: Vec::new(),
            read_floors: BTreeMap::new(),
            checked: BTreeMap::new(),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.next() % bound
    }

    fn any_member(&mut self) -> u64 {
        let ids: Vec<u64> = self.network.members.keys().copied().collect();
        ids[self.below(ids.len() as u64) as usize]
    }

    fn step(&mut self) {
        let id = self.any_member();
        match self.below(100) {
            0..30 => self.network.member(id).tick(),
            30..60 => self.shuffle_messages(),
            60..75 => self.propose(id),
            75..80 => self.read(id),
            80..83 => self.network.isolate(id),
            83..87 => self.network.heal(),
            87..89 => self.network.member(id).disk_stalls = true,
            89 => self.network.member(id).machine_stalls = true,
            90..94 => self.network.member(id).unstall(),
            94..96 => self.crash(id),
            96..98 => self.compact(id),
            98 => self.transfer(id),
            _ => self.reconfigure(id),
        }
        self.network.collect();
        self.check();
    }

    fn shuffle_messages(&mut self) {
        for _ in 0..8 {
            let waiting = self.network.in_flight.len() as u64;
            if waiting == 0 {
                return;
            }
            // Mostly in order, as a stream would be.
            let position = if self.below(4) == 0 { self.below(waiting) } else { 0 };
            let fate = self.below(20);
            let message = if fate == 0 {
                self.network.in_flight.get(position as usize).cloned()
            } else {
                self.network.in_flight.remove(position as usize)
            };
            let message = message.expect("the position exists");
            if fate == 1 {
                self.network.arrive_or_not(message, false);
            } else {
                self.network.arrive(message);
            }
            self.network.collect();
        }
    }

    fn propose(&mut self, id: u64) {
        self.proposed += 1;
        let data = format!("{}", self.proposed).into();
        self.network.member(id).step(Input::Propose { ticket: self.proposed, data });
    }

    fn read(&mut self, id: u64) {
        let applied = self.network.members.values().map(|m| m.machine.applied);
        let floor = applied.max().expect("there are members");
        let read = self.read_floors.len() as u64;
        self.read_floors.insert(read, floor);
        self.network.member(id).step(Input::ReadIndex { id: read });
    }

    fn crash(&mut self, id: u64) {
        if self.network.members[&id].machine.removed.contains(&id) {
            return; // It would be gone for good, perhaps with a vote that others still count on.
        }
        let writes = self.network.members[&id].waiting_writes() as u64;
        let done = self.below(writes + 1) as usize;
        self.network.crash(id, done);
        self.checked.remove(&id);
    }

    fn compact(&mut self, id: u64) {
        let keep = self.below(10);
        let member = self.network.member(id);
        // The log of what is applied may still wait for the disk after a restore.
        if member.waiting_writes() == 0 {
            member.snapshot(keep);
            member.flushed = Some(member.machine.clone());
        }
    }

    fn transfer(&mut self, id: u64) {
        let heir = self.any_member();
        self.network.member(id).step(Input::TransferLeader(api::ids::MemberId(heir)));
    }

    fn reconfigure(&mut self, id: u64) {
        if !self.reconfigures {
            return;
        }
        let newest = *self.network.members.keys().last().expect("there are members");
        let (kind, node_id) = match self.below(4) {
            0 if newest < 8 => {
                self.network.join(newest + 1);
                (ConfChangeType::ConfChangeAddLearnerNode, newest + 1)
            }
            0 | 1 => (ConfChangeType::ConfChangeAddNode, newest),
            2 => (ConfChangeType::ConfChangeRemoveNode, self.any_member()),
            _ => (ConfChangeType::ConfChangeUpdateNode, self.any_member()),
        };
        let change = ConfChange { r#type: kind as i32, node_id, ..ConfChange::default() };
        self.network.member(id).step(Input::ProposeConfChange { ticket: 0, change });
    }

    fn check(&mut self) {
        for (id, member) in &self.network.members {
            let (from, mut term) = self.checked.get(id).copied().unwrap_or_default();
            for output in &member.trace[from..] {
                match output {
                    Output::Term(new) => term = new.0,
                    Output::SoftState { role: Role::Leader, .. } => {
                        let leader = *self.leaders.entry(term).or_insert(*id);
                        assert_eq!(leader, *id, "seed {}: one leader in term {term}", self.seed);
                    }
                    Output::ReadReady { id: read, index } => {
                        let floor = self.read_floors[read];
                        assert!(floor <= index.0, "seed {}: read {read} is stale", self.seed);
                    }
                    _ => {}
                }
            }
            self.checked.insert(*id, (member.trace.len(), term));
            let applied = member.payloads();
            let known = applied.len().min(self.history.len());
            assert_eq!(applied[..known], self.history[..known], "seed {}, {id}", self.seed);
            self.history.extend(applied[known..].iter().map(|p| (*p).to_owned()));
        }
    }

    /// Lets everything recover; then all members of the last configuration agree.
    fn calm_down(&mut self) {
        self.network.heal();
        for member in self.network.members.values_mut() {
            member.unstall();
        }
        self.network.ticks(100);
        let leader =
            self.network.members.iter().find(|(_, m)| m.node.status().role == Role::Leader);
        let leader = *leader.unwrap_or_else(|| panic!("seed {}: nobody leads", self.seed)).0;
        self.network.propose(leader, "last");
        self.network.ticks(5);
        self.check();
        let conf_state = self.network.members[&leader].machine.conf_state.clone();
        for id in conf_state.voters.iter().chain(&conf_state.learners) {
            let member: &Member = &self.network.members[id];
            assert_eq!(member.payloads(), self.history, "seed {}, member {id}", self.seed);
            assert_eq!(member.machine.conf_state, conf_state, "seed {}, {id}", self.seed);
        }
        assert_eq!(self.history.last().map(String::as_str), Some("last"));
    }
}

#[test]
fn three_members_keep_their_promises() {
    let mut applied = 0;
    for seed in SEEDS {
        let mut chaos = Chaos::new(seed, false);
        for _ in 0..STEPS {
            chaos.step();
        }
        chaos.calm_down();
        applied += chaos.history.len();
    }
    assert!(applied > 1000, "much was applied: {applied}");
}

#[test]
fn changing_members_keep_their_promises() {
    let mut members = 0;
    for seed in SEEDS {
        let mut chaos = Chaos::new(seed, true);
        for _ in 0..2 * STEPS {
            chaos.step();
        }
        chaos.calm_down();
        members += chaos.network.members.len();
    }
    assert!(members > 3 * SEEDS.count(), "members came: {members}");
}
