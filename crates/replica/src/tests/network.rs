//! Several members, a network that can be cut, and one order in which everything happens.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use api::{
    ids::MemberId,
    raftpb::{Message, MessageType},
};

use super::harness::Member;
use crate::{Input, Output, Role};

pub(crate) struct Network {
    pub(crate) members: BTreeMap<u64, Member>,
    /// Links, by sender and receiver, that lose everything.
    pub(crate) cut: BTreeSet<(u64, u64)>,
    /// Types of messages that are lost wherever they go.
    pub(crate) lose: BTreeSet<i32>,
    /// Whether senders are told what became of their snapshots.
    pub(crate) report_snapshots: bool,
    pub(crate) in_flight: VecDeque<Message>,
    seed: u64,
}

impl Network {
    /// Founding members `ids`, with no leader yet.
    pub(crate) fn found(ids: &[u64], seed: u64) -> Network {
        let members = ids.iter().map(|id| (*id, Member::found(*id, ids, seed))).collect();
        Network {
            members,
            cut: BTreeSet::new(),
            lose: BTreeSet::new(),
            report_snapshots: false,
            in_flight: VecDeque::new(),
            seed,
        }
    }

    /// Founding members with a leader.
    pub(crate) fn led(ids: &[u64], seed: u64) -> Network {
        let mut network = Network::found(ids, seed);
        network.elect();
        network
    }

    pub(crate) fn member(&mut self, id: u64) -> &mut Member {
        self.members.get_mut(&id).expect("the member exists")
    }

    /// Lets one member act and all messages arrive.
    pub(crate) fn act(&mut self, id: u64, input: Input) {
        self.member(id).step(input);
        self.deliver();
    }

    pub(crate) fn propose(&mut self, id: u64, data: &'static str) {
        self.act(id, Input::Propose { ticket: 0, data: data.into() });
    }

    /// Delivers until nobody says anything more.
    pub(crate) fn deliver(&mut self) {
        loop {
            self.collect();
            let Some(message) = self.in_flight.pop_front() else { return };
            self.arrive(message);
        }
    }

    /// One message reaches its receiver or is lost.
    pub(crate) fn arrive(&mut self, message: Message) {
        let lost = self.is_lost(&message);
        self.arrive_or_not(message, !lost);
    }

    /// As [`Network::arrive`], as the caller decides.
    pub(crate) fn arrive_or_not(&mut self, message: Message, delivered: bool) {
        let (from, to) = (message.from, message.to);
        let is_snapshot = message.r#type() == MessageType::MsgSnap;
        if delivered && let Some(receiver) = self.members.get_mut(&to) {
            receiver.step(Input::Message(message));
        }
        if is_snapshot && self.report_snapshots {
            let status = Input::SnapshotStatus { to: MemberId(to), delivered };
            self.member(from).step(status);
        }
    }

    /// Takes what members want to send.
    pub(crate) fn collect(&mut self) {
        for member in self.members.values_mut() {
            for mut message in std::mem::take(&mut member.outbox) {
                if message.snapshot.is_some() {
                    message.snapshot = Some(member.store_snapshot());
                }
                self.in_flight.push_back(message);
            }
        }
    }

    fn is_lost(&self, message: &Message) -> bool {
        self.cut.contains(&(message.from, message.to)) || self.lose.contains(&message.r#type)
    }

    /// Passes one tick on every member, in order of id.
    pub(crate) fn tick(&mut self) {
        for member in self.members.values_mut() {
            member.tick();
        }
        self.deliver();
    }

    pub(crate) fn ticks(&mut self, count: usize) {
        for _ in 0..count {
            self.tick();
        }
    }

    /// Ticks until there is a leader that everybody it reaches follows.
    pub(crate) fn elect(&mut self) -> u64 {
        for _ in 0..200 {
            self.tick();
            if let Some(leader) = self.leader() {
                return leader;
            }
        }
        panic!("no leader after 200 ticks");
    }

    /// The leader of the highest term, if it is known to a majority.
    pub(crate) fn leader(&self) -> Option<u64> {
        let statuses: Vec<_> = self.members.values().map(|m| m.node.status()).collect();
        let leading = statuses.iter().filter(|s| s.role == Role::Leader);
        let leader = leading.max_by_key(|s| s.term)?;
        let followers = statuses.iter().filter(|s| s.leader == leader.id && s.term == leader.term);
        (followers.count() > statuses.len() / 2).then_some(leader.id.0)
    }

    /// A member that does not lead.
    pub(crate) fn follower(&self) -> u64 {
        let leader = self.leader().expect("there is a leader");
        *self.members.keys().find(|id| **id != leader).expect("there are followers")
    }

    /// Cuts a member off, in both directions.
    pub(crate) fn isolate(&mut self, id: u64) {
        let others: Vec<u64> = self.members.keys().copied().collect();
        for other in others {
            self.cut.extend([(id, other), (other, id)]);
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.lose.clear();
    }

    pub(crate) fn lose(&mut self, kind: MessageType) {
        self.lose.insert(kind as i32);
    }

    pub(crate) fn restart(&mut self, id: u64) {
        self.crash(id, 0);
    }

    /// Crashes a member after `done` of its waiting writes, and starts it again.
    pub(crate) fn crash(&mut self, id: u64, done: usize) {
        let member = self.members.remove(&id).expect("the member exists");
        self.seed += 1;
        self.members.insert(id, member.crash(self.seed, done));
    }

    /// Adds a member with an empty log, which hears of the cluster from its leader.
    pub(crate) fn join(&mut self, id: u64) {
        self.members.insert(id, Member::join(id, self.seed));
    }

    /// Asserts that all members have applied exactly `payloads`.
    #[track_caller]
    pub(crate) fn assert_payloads(&self, payloads: &[&str]) {
        for (id, member) in &self.members {
            assert_eq!(member.payloads(), payloads, "member {id}");
        }
    }

    /// The answered reads of a member.
    pub(crate) fn reads(&self, id: u64) -> Vec<(u64, u64)> {
        self.members[&id].outputs(0, |o| match o {
            Output::ReadReady { id, index } => Some((*id, index.0)),
            _ => None,
        })
    }

    pub(crate) fn transfer(&mut self, to: u64) {
        let leader = self.leader().expect("there is a leader");
        self.act(leader, Input::TransferLeader(MemberId(to)));
    }
}
