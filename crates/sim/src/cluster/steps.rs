//! One event after another: what each does to its member, and what follows.

use std::panic::{AssertUnwindSafe, catch_unwind};

use api::ids::MemberId;
use apply::Effect;
use rand::Rng;
use replica::Input;

use super::{
    Event, FLUSH_US, LEASES_US, TICK_US, World,
    faults::is_planned,
    history::Told,
    member::{Died, Happened, Live},
};

/// So much longer takes a save of a term that power forestalls: others hear of it first.
const UNSAVED_US: u64 = 400_000;

impl World {
    /// The next event.
    pub(super) fn step(&mut self) -> Result<(), String> {
        let Some(((at, sequence), event)) = self.events.pop_first() else {
            return Err("nothing is due any more".to_owned());
        };
        self.now_us = self.now_us.max(at);
        if let Some(until) = self.postponed(&event) {
            self.events.insert((until, sequence), event);
            return Ok(());
        }
        self.mix(at);
        match event {
            Event::Start { member } => self.start(member)?,
            Event::Tick { member, life } => {
                if self.lives(member, life) {
                    let pace = self.slots[&member].tick_pace;
                    self.after(TICK_US * pace / 1000, Event::Tick { member, life });
                    self.feed(member, Input::Tick)?;
                }
            }
            Event::Deliver(letter) => self.deliver(*letter)?,
            Event::Written { member, life } => self.written(member, life)?,
            Event::Apply { member, life } => self.apply(member, life)?,
            Event::Flush { member, life } => {
                if self.lives(member, life) {
                    self.after(FLUSH_US, Event::Flush { member, life });
                    let (batch, now_ms) = (self.rng.random_range(1..30), self.clock(member));
                    self.attempt(member, |live| live.flush(batch, now_ms))?;
                    self.compare_hashes(member)?;
                }
            }
            Event::Leases { member, life } => {
                if self.lives(member, life) {
                    self.after(LEASES_US, Event::Leases { member, life });
                    let now_ms = self.clock(member);
                    self.with(member, |live| live.tick_leases(now_ms))?;
                }
            }
            Event::Watch { member, life } => {
                if self.lives(member, life) {
                    self.plan_watch_turn(member, life);
                    self.watch_turn(member, life)?;
                }
            }
            Event::SnapshotStatus { from, to, delivered } => {
                let to = MemberId(to);
                self.feed(from, Input::SnapshotStatus { to, delivered })?;
            }
            Event::AskIndex { member, life, number } => {
                if self.lives(member, life) {
                    self.ask_index(member, number)?;
                }
            }
            Event::Revoke { member, life, leases, term, decided } => {
                if self.lives(member, life) {
                    self.revoke(member, leases, term, decided)?;
                }
            }
            Event::Again { member, operation, request, who } => {
                self.again(member, operation, *request, who)?;
            }
            Event::Replace { member } => self.replace(member)?,
            Event::Client(client) => self.client_acts(client)?,
            Event::GiveUp { client, operation } => self.client_gives_up(client, operation),
            Event::Fault(kind) => self.fault(kind)?,
            Event::Heal => self.cut.clear(),
            Event::PowerLoss { member } => self.lose_power(member),
            Event::Stop { member } => self.stop_removed(member),
        }
        Ok(())
    }

    /// A member that stands still does so until this time.
    pub(super) fn postponed(&self, event: &Event) -> Option<u64> {
        let member = match event {
            Event::Tick { member, .. }
            | Event::Written { member, .. }
            | Event::Apply { member, .. }
            | Event::Flush { member, .. }
            | Event::Leases { member, .. }
            | Event::AskIndex { member, .. }
            | Event::Revoke { member, .. }
            | Event::Watch { member, .. } => member,
            Event::SnapshotStatus { from, .. } => from,
            Event::Deliver(letter) => &letter.message.to,
            _ => return None,
        };
        let until = self.slots.get(member)?.paused_until_us;
        (until > self.now_us).then_some(until)
    }

    /// The digest takes in what happened.
    pub(super) fn mix(&mut self, value: u64) {
        self.report.digest =
            (self.report.digest.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    pub(super) fn lives(&self, member: u64, life: u64) -> bool {
        self.slots.get(&member).is_some_and(|slot| slot.live.is_some() && slot.life == life)
    }

    pub(super) fn start(&mut self, member: u64) -> Result<(), String> {
        let seed = self.rng.random();
        let pace = self.rng.random_range(900..1100);
        let slot = self.slot(member);
        let Some(disk) = slot.disk.take() else { return Ok(()) };
        match Live::start(slot.identity.clone(), disk, seed) {
            Ok(live) => slot.live = Some(live),
            Err(what) if slot.damaged => return self.found_damage(member, &what),
            Err(what) => return Err(format!("member {member} cannot start: {what}")),
        }
        slot.life += 1;
        if slot.damaged && !self.faulty {
            return self.found_damage(member, "found by a scrub");
        }
        let slot = self.slot(member);
        (slot.writing, slot.applying, slot.tick_pace) = (false, false, pace);
        let life = slot.life;
        self.after(pace, Event::Tick { member, life });
        self.after(FLUSH_US, Event::Flush { member, life });
        self.after(LEASES_US, Event::Leases { member, life });
        self.plan_watch_turn(member, life);
        self.with(member, |_| ())
    }

    /// Gives a member an input, if it runs.
    pub(super) fn feed(&mut self, member: u64, input: Input) -> Result<(), String> {
        let now_ms = self.clock(member);
        self.with(member, |live| live.handle(input, now_ms))
    }

    /// Does something with a member, if it runs, and then what follows from it.
    pub(super) fn with(&mut self, member: u64, act: impl FnOnce(&mut Live)) -> Result<(), String> {
        self.attempt(member, |live| {
            act(live);
            Ok(())
        })
    }

    /// As `with`, of something that may find the disk failing: then the member stops.
    pub(super) fn attempt(
        &mut self,
        member: u64,
        act: impl FnOnce(&mut Live) -> Result<(), Died>,
    ) -> Result<(), String> {
        let slot = self.slot(member);
        let Some(live) = &mut slot.live else { return Ok(()) };
        let outcome = match slot.damaged {
            false => act(live),
            // A member that meets damage where it cannot go on without the data ends its process.
            true => catch_unwind(AssertUnwindSafe(|| act(live)))
                .unwrap_or_else(|_| Err(Died("stopped by damage".to_owned()))),
        };
        let failed = live.failed.take();
        if let Some(died) = outcome.err().or(failed) {
            return self.died(member, &died);
        }
        let happened = std::mem::take(&mut live.happened);
        for happened in happened {
            self.happened(member, happened)?;
        }
        self.set_to_work(member);
        Ok(())
    }

    /// A member's disk has failed it: by plan, or because it is damaged.
    pub(super) fn died(&mut self, member: u64, died: &Died) -> Result<(), String> {
        if is_planned(died) {
            self.crash(member, false);
            return Ok(());
        }
        self.found_damage(member, &died.0)
    }

    /// Now and then a member's whole store is compared with that of others at the same index.
    pub(super) fn compare_hashes(&mut self, member: u64) -> Result<(), String> {
        let looks = self.rng.random_bool(0.1);
        let slot = &self.slots[&member];
        let Some(live) = slot.live.as_ref().filter(|live| looks && live.is_settled()) else {
            return Ok(());
        };
        if slot.damaged {
            return Ok(());
        }
        let (index, hash) = (live.applied().0, live.hash());
        let known = *self.hashes.entry(index).or_insert(hash);
        self.report.hashes += 1;
        if known == hash {
            return Ok(());
        }
        Err(format!("member {member} differs from others after entry {index}"))
    }

    /// Plans the disk's and the state machine's next work.
    pub(super) fn set_to_work(&mut self, member: u64) {
        let (least, most) = self.swarm.sync_us;
        let mut sync_us = self.rng.random_range(least..most);
        let slow = self.rng.random_range(0..1000) < self.swarm.slow_syncs && self.faulty;
        if slow {
            sync_us *= 100;
        }
        let mut apply_us = self.rng.random_range(1..500);
        let install_us = self.rng.random_range(1..3_000_000);
        let slot = self.slot(member);
        let Some(live) = &slot.live else { return };
        let life = slot.life;
        let write = live.must_write() && !slot.writing;
        // Only who needs no other vote leads before its term is saved.
        let unsaved = write && live.leads && live.node.status().term.0 > live.vote.0;
        let apply = live.must_apply() && !slot.applying;
        slot.writing |= write;
        slot.applying |= apply;
        if live.must_install() && self.faulty {
            apply_us = install_us;
        }
        if write && slow {
            self.count("slow syncs");
        }
        if unsaved && self.faulty && self.rng.random_range(0..1000) < self.swarm.vote_crashes {
            sync_us += UNSAVED_US;
            self.after(sync_us - 1, Event::PowerLoss { member });
        }
        if write {
            self.after(sync_us, Event::Written { member, life });
        }
        if apply {
            self.after(apply_us, Event::Apply { member, life });
        }
    }

    pub(super) fn written(&mut self, member: u64, life: u64) -> Result<(), String> {
        if !self.lives(member, life) {
            return Ok(());
        }
        let now_ms = self.clock(member);
        self.slot(member).writing = false;
        self.attempt(member, |live| live.write(now_ms))?;
        let voted = |live: &mut Live| std::mem::take(&mut live.voted);
        let voted = self.slot(member).live.as_mut().is_some_and(voted);
        if voted && self.faulty && self.rng.random_range(0..1000) < self.swarm.vote_crashes {
            self.count("power losses after a vote");
            self.crash(member, false);
        }
        Ok(())
    }

    pub(super) fn apply(&mut self, member: u64, life: u64) -> Result<(), String> {
        if !self.lives(member, life) {
            return Ok(());
        }
        let now_ms = self.clock(member);
        self.slot(member).applying = false;
        self.with(member, |live| live.apply(now_ms))?;
        self.serve_reads(member)
    }

    pub(super) fn happened(&mut self, member: u64, happened: Happened) -> Result<(), String> {
        match happened {
            Happened::Send(letters) => {
                for letter in letters {
                    self.send(member, letter);
                }
            }
            Happened::Applied(entry, applied) => {
                self.mix(entry.index);
                let id = applied.request_id;
                for effect in &applied.effects {
                    if let Effect::Compact { revision, .. } = effect {
                        self.compactions.insert(*revision);
                    }
                }
                self.history.applied(member, entry, &applied, self.now_us)?;
                self.changed(member, id, applied.result);
            }
            Happened::Restored => self.count("snapshots installed"),
            Happened::ReadReady { id, index } => self.read_index(member, id, index.0)?,
            Happened::LeaderChanged(leader) => self.leader_changed(member, leader)?,
            Happened::Dropped(id) => self.dropped(member, id),
            Happened::Expired(leases, term) => {
                // The server looks first whether it leads, which may take a while.
                let slow = self.rng.random_bool(0.2);
                let delay = self.rng.random_range(0..if slow { 3_000_000 } else { 5_000 });
                let slot = &self.slots[&member];
                let applied = slot.live.as_ref().map_or(0, |live| live.applied().0);
                let (life, decided) = (slot.life, (self.now_us, applied));
                self.last_expired = leases.first().copied().unwrap_or(self.last_expired);
                self.after(delay, Event::Revoke { member, life, leases, term, decided });
                if self.faulty && self.rng.random_bool(0.1) {
                    self.update_at_once(member)?;
                }
            }
            Happened::RemovedSelf => self.after(1_000_000, Event::Stop { member }),
        }
        Ok(())
    }

    /// A change was applied where its client waits.
    pub(super) fn changed(
        &mut self,
        member: u64,
        id: u64,
        result: Result<apply::Response, apply::ApplyError>,
    ) {
        let slot = self.slot(member);
        let Some(live) = &mut slot.live else { return };
        // A member may say that its store is damaged. Its client does not learn what became of it.
        let damage = api::error::Error::Corrupt.message();
        if slot.damaged && result.as_ref().is_err_and(|error| error.message == damage) {
            live.waiting.remove(&id);
            return;
        }
        if live.waiting.remove(&id)
            && let Some(operation) = self.history.by_id.get(&id).copied()
        {
            self.end(operation, Told::Changed(Box::new(result)));
        }
    }

    pub(super) fn dropped(&mut self, member: u64, id: u64) {
        let Some(live) = &mut self.slot(member).live else { return };
        if live.waiting.remove(&id)
            && let Some(operation) = self.history.by_id.get(&id).copied()
        {
            self.end(operation, Told::Refused);
        }
    }
}
