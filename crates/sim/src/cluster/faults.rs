//! The faults that are injected, each at random times.

use api::{
    ids::MemberId,
    raftpb::{ConfChange, ConfChangeType},
};
use rand::Rng;
use replica::Input;
use vfs::fault::{Fault, Operation};

use super::{
    Event, World,
    member::{Died, Live, wal_dir},
    member_of,
    reads::Gate,
};

/// The operating system's number of a failed operation on a disk.
const EIO: i32 = 5;

/// A change of members has taken effect or was lost after this long.
const CHANGE_US: u64 = 20_000_000;

/// Whether a member's death is one that was planned.
pub(super) fn is_planned(died: &Died) -> bool {
    ["os error 5)", "Input/output", "No space left"].iter().any(|text| died.0.contains(text))
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Crash,
    Blackout,
    Partition,
    Pause,
    DiskFailure,
    FullDisk,
    Damage,
    ClockJump,
    Transfer,
    Membership,
    Defragmentation,
}

const KINDS: [Kind; 11] = [
    Kind::Crash,
    Kind::Blackout,
    Kind::Partition,
    Kind::Pause,
    Kind::DiskFailure,
    Kind::FullDisk,
    Kind::Damage,
    Kind::ClockJump,
    Kind::Transfer,
    Kind::Membership,
    Kind::Defragmentation,
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
            Kind::FullDisk => swarm.full_disk_ms,
            Kind::Damage => swarm.damage_ms,
            Kind::ClockJump => swarm.clock_jump_ms,
            Kind::Transfer => swarm.transfer_ms,
            Kind::Membership => swarm.membership_ms,
            Kind::Defragmentation => swarm.defragmentation_ms,
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
                self.count("losses of power and killed processes");
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
                // A leader that stands still is replaced and does not know it.
                let leader = self.leader().filter(|_| self.rng.random_bool(0.5));
                let victim = leader.unwrap_or(victim);
                let longest = if self.rng.random_bool(0.3) { 15_000_000 } else { 5_000_000 };
                let length = self.rng.random_range(100_000..longest);
                self.slot(victim).paused_until_us = self.now_us + length;
            }
            Kind::DiskFailure => {
                self.count("disk failures");
                let operation = match self.rng.random_range(0..3) {
                    0 => Operation::Write,
                    _ => Operation::Sync,
                };
                if let Some(live) = &mut self.slot(victim).live {
                    live.plan_disk_failure(operation, Fault::Error(EIO));
                }
            }
            Kind::FullDisk => self.fill_disk(victim),
            Kind::Damage => self.damage(victim)?,
            Kind::ClockJump => {
                self.count("clock jumps");
                let ms = self.rng.random_range(10..5_000);
                self.slot(victim).clock_ahead_ms += ms;
                let jump = (victim, self.now_us, ms);
                self.history.jumps.push(jump);
            }
            Kind::Defragmentation => {
                self.count("defragmentations");
                self.attempt(victim, Live::defragment)?;
                if self.rng.random_bool(0.3) {
                    self.crash(victim, false);
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

    /// There is no room for the next write of the log, of which a part may get through, or for the
    /// next commit of the store.
    fn fill_disk(&mut self, victim: u64) {
        self.count("full disks");
        let (store, bytes) = (self.rng.random(), self.rng.random_range(0..200));
        let Some(live) = &mut self.slot(victim).live else { return };
        match store {
            true => live.fill_store(),
            false => live.plan_disk_failure(Operation::Write, Fault::ShortWrite(bytes)),
        }
    }

    /// A member loses power, and its disk a bit or all there is. Only where the others can go on
    /// without it, and one at a time.
    fn damage(&mut self, victim: u64) -> Result<(), String> {
        // An operator waits for the end of one change before the next.
        let changed = self.members_changed_us;
        let busy = self.is_replacing() || (changed > 0 && self.now_us < changed + CHANGE_US);
        let mut voters = self.voters();
        voters.retain(|id| self.slots.get(id).is_some_and(|slot| !slot.gone));
        if busy || voters.len() < 3 || !voters.contains(&victim) {
            return Ok(());
        }
        self.crash(victim, false);
        let (kind, seed) = (self.rng.random_range(0..5), self.rng.random());
        let real = self.swarm.real;
        let slot = self.slot(victim);
        let Some(disk) = &slot.disk else { return Ok(()) };
        let (kind, done) = match kind {
            0 => ("wiped disks", true),
            1 | 2 if real => ("bits turned over in stores", disk.damage_store(seed)),
            _ => ("bits turned over in logs", disk.damage_log(&wal_dir(), seed)),
        };
        if !done {
            return Ok(());
        }
        slot.damaged = true;
        self.count(kind);
        if kind == "wiped disks" { self.found_damage(victim, "nothing is left") } else { Ok(()) }
    }

    /// A member has found its disk damaged: it stops, and an operator replaces it.
    pub(super) fn found_damage(&mut self, member: u64, what: &str) -> Result<(), String> {
        let slot = self.slot(member);
        if !slot.damaged {
            return Err(format!("member {member}: {what}"));
        }
        (slot.live, slot.disk) = (None, None);
        slot.gate = Gate::default();
        self.lose_watchers(member);
        self.count("damaged members replaced");
        self.after(1_000_000, Event::Replace { member });
        Ok(())
    }

    /// Whether a member is damaged and still one.
    fn is_replacing(&self) -> bool {
        self.slots.values().any(|slot| slot.damaged && !slot.gone)
    }

    /// Removes a member that will not come back, over and over until that is done. Another one is
    /// added as any other is.
    pub(super) fn replace(&mut self, member: u64) -> Result<(), String> {
        let ids: Vec<u64> = self.slots.keys().copied().collect();
        if ids.iter().any(|id| self.is_removed(*id, member)) {
            self.slot(member).gone = true;
            self.members_changed_us = self.now_us;
            return Ok(());
        }
        self.after(2_000_000, Event::Replace { member });
        let Some(leader) = self.leader() else { return Ok(()) };
        self.next_id += 1;
        let change = ConfChange {
            id: self.next_id,
            r#type: ConfChangeType::ConfChangeRemoveNode as i32,
            node_id: member,
            context: bytes::Bytes::new(),
        };
        self.feed(leader, Input::ProposeConfChange { ticket: change.id, change })
    }

    /// A member loses power, or only its process ends, and it comes back after a while. Now and then
    /// power goes soon after a process was killed: what that one had not synced must not have become
    /// a foundation of the next.
    pub(super) fn crash(&mut self, member: u64, mid_write: bool) {
        let killed = self.rng.random_bool(0.3);
        let off_us = self.end_life(member, mid_write, killed);
        if killed && self.faulty && self.rng.random_bool(0.3) {
            let later = off_us + self.rng.random_range(1_000..300_000);
            self.after(later, Event::PowerLoss { member });
        }
    }

    /// Power goes soon after a process was killed, or before a leader has saved its term.
    pub(super) fn lose_power(&mut self, member: u64) {
        if !self.faulty {
            return;
        }
        if self.slots[&member].live.is_some() {
            self.count("losses of power soon after a kill, or before a term is saved");
        }
        self.end_life(member, false, false);
    }

    /// Ends a life; returns when the next one begins.
    fn end_life(&mut self, member: u64, mid_write: bool, killed: bool) -> u64 {
        let seed = (!killed).then(|| self.rng.random());
        let longest = if self.rng.random_bool(0.3) { 100_000 } else { 4_000_000 };
        let off_us = self.rng.random_range(1_000..longest);
        if killed {
            self.count("of all ends: only the process");
        }
        let slot = self.slot(member);
        let Some(live) = slot.live.take() else { return off_us };
        slot.disk = Some(live.crash(mid_write, seed));
        slot.gate = Gate::default();
        slot.paused_until_us = 0;
        self.lose_watchers(member);
        self.after(off_us, Event::Start { member });
        off_us
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
        let Some(leader) = self.leader().filter(|_| !self.is_replacing()) else { return Ok(()) };
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
        self.members_changed_us = self.now_us;
        self.next_id += 1;
        let change = ConfChange {
            id: self.next_id,
            r#type: kind as i32,
            node_id: member,
            context: context.into(),
        };
        self.feed(leader, Input::ProposeConfChange { ticket: change.id, change })
    }

    /// Changes, asked of several members at once, of what is known of a member to what it is already:
    /// a leader takes one, and leaves empty entries in the place of those that others forward to it.
    pub(super) fn update_at_once(&mut self, leader: u64) -> Result<(), String> {
        self.count("changes of members at once");
        let running = self.slots.iter().filter(|(_, slot)| slot.live.is_some());
        for member in running.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.next_id += 1;
            let change = ConfChange {
                id: self.next_id,
                r#type: ConfChangeType::ConfChangeUpdateNode as i32,
                node_id: leader,
                context: membership::change_context(&member_of(leader, false), false).into(),
            };
            self.feed(member, Input::ProposeConfChange { ticket: change.id, change })?;
        }
        Ok(())
    }

    /// A removed member stops for good.
    pub(super) fn stop_removed(&mut self, member: u64) {
        let slot = self.slot(member);
        slot.live = None;
        slot.disk = None;
        slot.gone = true;
        slot.gate = Gate::default();
        self.lose_watchers(member);
    }
}
