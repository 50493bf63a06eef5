//! The faults that are injected, each at random times.

use api::{
    ids::MemberId,
    raftpb::{ConfChange, ConfChangeType},
};
use rand::Rng;
use replica::Input;
use vfs::fault::Operation;

use super::{Event, World, member::Died, member_of};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Crash,
    Blackout,
    Partition,
    Pause,
    DiskFailure,
    Transfer,
    Membership,
}

const KINDS: [Kind; 7] = [
    Kind::Crash,
    Kind::Blackout,
    Kind::Partition,
    Kind::Pause,
    Kind::DiskFailure,
    Kind::Transfer,
    Kind::Membership,
];

impl World {
    pub(super) fn plan_faults(&mut self) {
        for kind in KINDS {
            self.plan(kind);
        }
    }

    fn mean_ms(&self, kind: Kind) -> Option<u64> {
        let swarm = &self.swarm;
        match kind {
            Kind::Crash => swarm.crash_ms,
            Kind::Blackout => swarm.blackout_ms,
            Kind::Partition => swarm.partition_ms,
            Kind::Pause => swarm.pause_ms,
            Kind::DiskFailure => swarm.disk_failure_ms,
            Kind::Transfer => swarm.transfer_ms,
            Kind::Membership => swarm.membership_ms,
        }
    }

    fn plan(&mut self, kind: Kind) {
        let Some(mean) = self.mean_ms(kind) else { return };
        let delay = self.rng.random_range(mean * 100..mean * 2000);
        self.after(delay, Event::Fault(kind));
    }

    pub(super) fn fault(&mut self, kind: Kind) -> Result<(), String> {
        if !self.faulty {
            return Ok(());
        }
        self.plan(kind);
        let running: Vec<u64> =
            self.slots.iter().filter(|(_, slot)| slot.live.is_some()).map(|(id, _)| *id).collect();
        if running.is_empty() {
            return Ok(());
        }
        let victim = running[self.rng.random_range(0..running.len())];
        match kind {
            Kind::Crash => {
                self.count("power losses");
                let mid_write = self.rng.random();
                self.crash(victim, mid_write);
            }
            Kind::Blackout => {
                self.count("blackouts");
                for id in running {
                    let mid_write = self.rng.random();
                    self.crash(id, mid_write);
                }
            }
            Kind::Partition => self.partition(),
            Kind::Pause => {
                self.count("pauses");
                let length = self.rng.random_range(100_000..5_000_000);
                self.slot(victim).paused_until_us = self.now_us + length;
            }
            Kind::DiskFailure => {
                self.count("disk failures");
                let operation = match self.rng.random_range(0..3) {
                    0 => Operation::Write,
                    _ => Operation::Sync,
                };
                if let Some(live) = &mut self.slot(victim).live {
                    live.plan_disk_failure(operation);
                }
            }
            Kind::Transfer => {
                self.count("transfers");
                let leader = self.leader();
                if let Some(leader) = leader {
                    self.feed(leader, Input::TransferLeader(MemberId(victim)))?;
                }
            }
            Kind::Membership => self.change_members()?,
        }
        Ok(())
    }

    /// Whether a member's death is one that was planned.
    pub(super) fn faulty_disk(&self, died: &Died) -> bool {
        died.0.contains("os error 5") || died.0.contains("Input/output")
    }

    /// A member loses power and comes back after a while.
    pub(super) fn crash(&mut self, member: u64, mid_write: bool) {
        let seed = self.rng.random();
        let off_us = self.rng.random_range(1_000..4_000_000);
        let slot = self.slot(member);
        let Some(live) = slot.live.take() else { return };
        slot.disk = Some(live.crash(mid_write, seed));
        slot.reads.clear();
        slot.paused_until_us = 0;
        self.lose_watchers(member);
        self.after(off_us, Event::Start { member });
    }

    /// Cuts links: one member off, two halves, some links one way.
    fn partition(&mut self) {
        self.count("partitions");
        let ids: Vec<u64> = self.slots.keys().copied().collect();
        let shape = self.rng.random_range(0..3);
        let alone = ids[self.rng.random_range(0..ids.len())];
        let half: Vec<bool> = ids.iter().map(|_| self.rng.random()).collect();
        for (a, from) in ids.iter().enumerate() {
            for (b, to) in ids.iter().enumerate() {
                let cut = match shape {
                    0 => *from == alone || *to == alone,
                    1 => half[a] != half[b],
                    _ => self.rng.random_bool(0.3),
                };
                if cut && from != to {
                    self.cut.insert((*from, *to));
                }
            }
        }
        let length = self.rng.random_range(100_000..8_000_000);
        self.after(length, Event::Heal);
    }

    pub(super) fn leader(&self) -> Option<u64> {
        let leads = |id: &&u64| self.slots[*id].live.as_ref().is_some_and(|live| live.leads);
        self.slots.keys().find(leads).copied()
    }

    /// Adds a learner, promotes one or removes a member, as an operator with care would: while all
    /// voters run, and never the last ones.
    fn change_members(&mut self) -> Result<(), String> {
        let Some(leader) = self.leader() else { return Ok(()) };
        let Some(live) = &self.slots[&leader].live else { return Ok(()) };
        let shared = live.machine.shared();
        let membership = shared.membership.read();
        let voters: Vec<u64> = membership.voters().map(|member| member.id.0).collect();
        let learner = membership.learners().map(|member| member.id.0).next();
        drop(membership);
        let all_run = voters.iter().all(|id| self.slots.get(id).is_some_and(|s| s.live.is_some()));
        if !all_run {
            return Ok(());
        }
        let (kind, member, context) = match learner {
            Some(id) if self.rng.random_bool(0.7) => {
                let context = membership::change_context(&member_of(id, false), true);
                (ConfChangeType::ConfChangeAddNode, id, context)
            }
            Some(id) => (ConfChangeType::ConfChangeRemoveNode, id, Vec::new()),
            None if voters.len() > 3 || (voters.len() == 3 && self.rng.random_bool(0.3)) => {
                let id = voters[self.rng.random_range(0..voters.len())];
                (ConfChangeType::ConfChangeRemoveNode, id, Vec::new())
            }
            None => {
                let id = self.next_member;
                self.next_member += 1;
                self.add_slot(id, Vec::new());
                let context = membership::change_context(&member_of(id, true), false);
                (ConfChangeType::ConfChangeAddLearnerNode, id, context)
            }
        };
        self.count("changes of members");
        self.next_id += 1;
        let change = ConfChange {
            id: self.next_id,
            r#type: kind as i32,
            node_id: member,
            context: context.into(),
        };
        self.feed(leader, Input::ProposeConfChange { ticket: change.id, change })
    }

    /// A removed member stops for good.
    pub(super) fn stop_removed(&mut self, member: u64) {
        let slot = self.slot(member);
        slot.live = None;
        slot.disk = None;
        slot.gone = true;
        slot.reads.clear();
        self.lose_watchers(member);
    }
}
