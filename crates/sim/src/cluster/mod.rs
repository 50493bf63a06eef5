//! A whole cluster in one thread: real members on a simulated disk, network and clock, all from one
//! seed. The same seed gives the same run, to the byte.
//!
//! A run has two parts. First clients work while faults are injected; then faults stop, and the
//! cluster must make progress again (liveness), all members must reach the same state, and
//! everything that clients were told must agree with the committed log.

mod clients;
mod faults;
mod history;
mod member;
mod swarm;
mod watchers;

use std::collections::{BTreeMap, BTreeSet};

use api::{
    ids::{ClusterId, MemberId},
    raftpb::MessageType,
};
use membership::Member;
use rand::{Rng, SeedableRng, rngs::StdRng};
use replica::Input;

use clients::Client;
use history::{History, Told};
use member::{Disk, Happened, Identity, Letter, Live};
pub use swarm::Swarm;
use watchers::Watcher;

const CLUSTER: ClusterId = ClusterId(7);
/// A raft tick.
const TICK_US: u64 = 100_000;
/// How often the store is flushed.
const FLUSH_US: u64 = 100_000;
/// How often leases are looked after.
const LEASES_US: u64 = 500_000;
/// After the last fault the cluster may take so long to be well again.
const RECOVERY_US: u64 = 60_000_000;
/// What is under way when clients stop has ended after this long.
const QUIET_US: u64 = 10_000_000;

/// What one run did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Simulated time.
    pub simulated_us: u64,
    /// Operations that clients asked for.
    pub operations: u64,
    /// Of those, answered.
    pub answered: u64,
    /// Events that watchers were sent.
    pub events: u64,
    /// Entries committed.
    pub entries: u64,
    /// Messages delivered.
    pub messages: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// A hash of everything that happened: equal for equal seeds.
    pub digest: u64,
}

/// Something that is due at a time.
enum Event {
    Tick { member: u64, life: u64 },
    Deliver(Box<Letter>),
    Written { member: u64, life: u64 },
    Apply { member: u64, life: u64 },
    Flush { member: u64, life: u64 },
    Leases { member: u64, life: u64 },
    Watch { member: u64, life: u64 },
    Start { member: u64 },
    SnapshotStatus { from: u64, to: u64, delivered: bool },
    Client(usize),
    GiveUp { client: usize, operation: usize },
    Fault(faults::Kind),
    Heal,
    Stop { member: u64 },
}

/// A place for a member: its disk, and the member while it runs.
struct Slot {
    identity: Identity,
    /// While the member does not run.
    disk: Option<Disk>,
    live: Option<Live>,
    /// Counts starts: events of a former life mean nothing.
    life: u64,
    /// It stands still until then.
    paused_until_us: u64,
    writing: bool,
    applying: bool,
    /// Its monotonic clock is ahead of the world's by so much.
    clock_ahead_ms: u64,
    /// Of its clock: a tick takes so many per mille of the nominal time.
    tick_pace: u64,
    /// Linearizable reads that wait for an index (once known): operation by read id.
    reads: BTreeMap<u64, (usize, Option<u64>)>,
    /// It was removed from the cluster and has stopped for ever.
    gone: bool,
}

/// The world of one run.
pub(crate) struct World {
    rng: StdRng,
    swarm: Swarm,
    now_us: u64,
    sequence: u64,
    events: BTreeMap<(u64, u64), Event>,
    slots: BTreeMap<u64, Slot>,
    /// Cut links, sender first.
    cut: BTreeSet<(u64, u64)>,
    clients: Vec<Client>,
    watchers: Vec<Watcher>,
    history: History,
    next_id: u64,
    /// Members that were ever part of the cluster; new ones get new ids.
    next_member: u64,
    faulty: bool,
    /// Clients ask for nothing more.
    quiet: bool,
    report: Report,
}

/// Runs one seed. An error tells what went wrong; the same seed shows it again.
pub fn run(seed: u64) -> Result<Report, String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let swarm = Swarm::draw(&mut rng);
    let told = |what: String| format!("seed {seed}: {what}\n{swarm:?}");
    let mut world = World::new(rng, swarm.clone());
    world.work().map_err(told)?;
    world.recover().map_err(told)?;
    let model = world.history.check().map_err(told)?;
    let events = world.check_watchers(model.keys()).map_err(told)?;
    let (operations, answered) = world.history.counts();
    let mut report = world.report;
    report.simulated_us = world.now_us;
    report.operations = operations;
    report.answered = answered;
    report.events = events;
    report.entries = world.history.committed();
    Ok(report)
}

impl World {
    fn new(rng: StdRng, swarm: Swarm) -> World {
        let mut world = World {
            rng,
            now_us: 0,
            sequence: 0,
            events: BTreeMap::new(),
            slots: BTreeMap::new(),
            cut: BTreeSet::new(),
            clients: Vec::new(),
            watchers: Vec::new(),
            history: History::default(),
            next_id: 1,
            next_member: swarm.members + 1,
            faulty: true,
            quiet: false,
            report: Report::default(),
            swarm,
        };
        let founders: Vec<_> = (1..=world.swarm.members)
            .map(|id| {
                (MemberId(id), membership::change_context(&member_of(id, false), false).into())
            })
            .collect();
        for id in 1..=world.swarm.members {
            world.add_slot(id, founders.clone());
        }
        for client in 0..world.swarm.clients {
            world.clients.push(Client::default());
            world.after(10_000, Event::Client(client));
        }
        world.add_watchers();
        world.plan_faults();
        world
    }

    fn add_slot(&mut self, id: u64, founders: Vec<(MemberId, bytes::Bytes)>) {
        let identity = Identity {
            member: MemberId(id),
            cluster: CLUSTER,
            founders,
            pre_vote: self.swarm.pre_vote,
        };
        let slot = Slot {
            identity,
            disk: Some(Disk::new()),
            live: None,
            life: 0,
            paused_until_us: 0,
            writing: false,
            applying: false,
            clock_ahead_ms: self.rng.random_range(0..100_000),
            tick_pace: 1000,
            reads: BTreeMap::new(),
            gone: false,
        };
        self.slots.insert(id, slot);
        self.after(1, Event::Start { member: id });
    }

    fn after(&mut self, delay_us: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now_us + delay_us, self.sequence), event);
    }

    fn count(&mut self, fault: &'static str) {
        *self.report.faults.entry(fault).or_default() += 1;
    }

    /// The faulty part.
    fn work(&mut self) -> Result<(), String> {
        let end = self.swarm.duration_ms * 1000;
        while self.now_us < end {
            self.step()?;
        }
        Ok(())
    }

    /// Faults stop; all must be well soon.
    fn recover(&mut self) -> Result<(), String> {
        self.faulty = false;
        self.cut.clear();
        let ids: Vec<u64> = self.slots.keys().copied().collect();
        for id in ids {
            let slot = self.slot(id);
            slot.paused_until_us = 0;
            if slot.live.is_none() && !slot.gone {
                self.after(1, Event::Start { member: id });
            }
        }
        let deadline = self.now_us + RECOVERY_US;
        let settled = self.now_us + RECOVERY_US / 4;
        let answered = self.history.counts().1;
        while self.now_us < deadline {
            self.step()?;
            let worked = self.history.counts().1 > answered + 20;
            if self.now_us > settled && worked {
                return self.quieten();
            }
        }
        Err(format!("the cluster does not recover: {}", self.describe()))
    }

    /// Nobody asks for anything more; everything that is under way ends.
    fn quieten(&mut self) -> Result<(), String> {
        self.quiet = true;
        let deadline = self.now_us + RECOVERY_US;
        let settled = self.now_us + QUIET_US;
        while self.now_us < deadline {
            self.step()?;
            if self.now_us > settled && self.is_even() {
                return self.check_hashes();
            }
        }
        Err(format!("the members do not become even: {}", self.describe()))
    }

    /// The members that belong to the cluster in the eyes of its most advanced one.
    fn members(&self) -> BTreeSet<u64> {
        let live = self.slots.values().filter_map(|slot| slot.live.as_ref());
        let ahead = live.max_by_key(|live| live.applied());
        let Some(ahead) = ahead else { return BTreeSet::new() };
        let shared = ahead.machine.shared();
        let membership = shared.membership.read();
        membership.members().map(|member| member.id.0).collect()
    }

    /// Whether all members run and have applied the same.
    fn is_even(&self) -> bool {
        let committed = self.history.committed();
        let members = self.members();
        !members.is_empty()
            && members.iter().all(|id| {
                let live = self.slots.get(id).and_then(|slot| slot.live.as_ref());
                live.is_some_and(|live| live.applied().0 == committed)
            })
    }

    fn check_hashes(&mut self) -> Result<(), String> {
        let mut hashes = BTreeMap::new();
        for id in self.members() {
            if let Some(live) = &mut self.slot(id).live {
                // Removals of a compaction reach members at different times.
                while live.machine.shared().store.compacting().is_some() {
                    live.flush(1000, 0);
                }
                hashes.insert(id, live.hash());
            }
        }
        let distinct: BTreeSet<u32> = hashes.values().copied().collect();
        if distinct.len() == 1 {
            return Ok(());
        }
        Err(format!("members differ at the same entry: {hashes:?}"))
    }

    fn describe(&self) -> String {
        let (asked, answered) = self.history.counts();
        let mut text = format!(
            "committed {}, asked {asked}, answered {answered}, members {:?}",
            self.history.committed(),
            self.members()
        );
        for (id, slot) in &self.slots {
            let state = match &slot.live {
                Some(live) => format!("{:?}", live.node.status()),
                None => format!("not running, gone {}", slot.gone),
            };
            text.push_str(&format!("\n  member {id}: {state}"));
        }
        text
    }

    fn slot(&mut self, id: u64) -> &mut Slot {
        self.slots.get_mut(&id).expect("members are never forgotten")
    }

    /// A member's own clock.
    fn clock(&self, id: u64) -> u64 {
        self.now_us / 1000 + self.slots[&id].clock_ahead_ms
    }

    /// The next event.
    fn step(&mut self) -> Result<(), String> {
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
                    self.with(member, |live| live.flush(batch, now_ms))?;
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
            Event::Client(client) => self.client_acts(client)?,
            Event::GiveUp { client, operation } => self.client_gives_up(client, operation),
            Event::Fault(kind) => self.fault(kind)?,
            Event::Heal => self.cut.clear(),
            Event::Stop { member } => self.stop_removed(member),
        }
        Ok(())
    }

    /// A member that stands still does so until this time.
    fn postponed(&self, event: &Event) -> Option<u64> {
        let member = match event {
            Event::Tick { member, .. }
            | Event::Written { member, .. }
            | Event::Apply { member, .. }
            | Event::Flush { member, .. }
            | Event::Leases { member, .. }
            | Event::Watch { member, .. } => member,
            Event::SnapshotStatus { from, .. } => from,
            Event::Deliver(letter) => &letter.message.to,
            _ => return None,
        };
        let until = self.slots.get(member)?.paused_until_us;
        (until > self.now_us).then_some(until)
    }

    /// The digest takes in what happened.
    fn mix(&mut self, value: u64) {
        self.report.digest =
            (self.report.digest.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn lives(&self, member: u64, life: u64) -> bool {
        self.slots.get(&member).is_some_and(|slot| slot.live.is_some() && slot.life == life)
    }

    fn start(&mut self, member: u64) -> Result<(), String> {
        let seed = self.rng.random();
        let pace = self.rng.random_range(900..1100);
        let slot = self.slot(member);
        let Some(disk) = slot.disk.take() else { return Ok(()) };
        let live = Live::start(slot.identity.clone(), disk, seed)
            .map_err(|what| format!("member {member} cannot start: {what}"))?;
        slot.live = Some(live);
        slot.life += 1;
        (slot.writing, slot.applying, slot.tick_pace) = (false, false, pace);
        let life = slot.life;
        self.after(pace, Event::Tick { member, life });
        self.after(FLUSH_US, Event::Flush { member, life });
        self.after(LEASES_US, Event::Leases { member, life });
        self.plan_watch_turn(member, life);
        self.with(member, |_| ())
    }

    /// Gives a member an input, if it runs.
    fn feed(&mut self, member: u64, input: Input) -> Result<(), String> {
        let now_ms = self.clock(member);
        self.with(member, |live| live.handle(input, now_ms))
    }

    /// Does something with a member, if it runs, and then what follows from it.
    fn with(&mut self, member: u64, act: impl FnOnce(&mut Live)) -> Result<(), String> {
        let Some(live) = &mut self.slot(member).live else { return Ok(()) };
        act(live);
        let happened = std::mem::take(&mut live.happened);
        for happened in happened {
            self.happened(member, happened)?;
        }
        self.set_to_work(member);
        Ok(())
    }

    /// Plans the disk's and the state machine's next work.
    fn set_to_work(&mut self, member: u64) {
        let (least, most) = self.swarm.sync_us;
        let mut sync_us = self.rng.random_range(least..most);
        if self.rng.random_range(0..1000) < self.swarm.slow_syncs && self.faulty {
            sync_us *= 100;
        }
        let apply_us = self.rng.random_range(1..500);
        let slot = self.slot(member);
        let Some(live) = &slot.live else { return };
        let life = slot.life;
        let write = live.must_write() && !slot.writing;
        let apply = live.must_apply() && !slot.applying;
        slot.writing |= write;
        slot.applying |= apply;
        if write {
            self.after(sync_us, Event::Written { member, life });
        }
        if apply {
            self.after(apply_us, Event::Apply { member, life });
        }
    }

    fn written(&mut self, member: u64, life: u64) -> Result<(), String> {
        if !self.lives(member, life) {
            return Ok(());
        }
        let now_ms = self.clock(member);
        let slot = self.slot(member);
        slot.writing = false;
        let Some(live) = &mut slot.live else { return Ok(()) };
        if let Err(died) = live.write(now_ms) {
            if !self.faulty_disk(&died) {
                return Err(format!("member {member}: {}", died.0));
            }
            self.crash(member, false);
            return Ok(());
        }
        self.with(member, |_| ())
    }

    fn apply(&mut self, member: u64, life: u64) -> Result<(), String> {
        if !self.lives(member, life) {
            return Ok(());
        }
        let now_ms = self.clock(member);
        self.slot(member).applying = false;
        self.with(member, |live| live.apply(now_ms))?;
        self.serve_reads(member)
    }

    fn happened(&mut self, member: u64, happened: Happened) -> Result<(), String> {
        match happened {
            Happened::Send(letters) => {
                for letter in letters {
                    self.send(member, letter);
                }
            }
            Happened::Applied(entry, applied) => {
                self.mix(entry.index);
                let id = applied.request_id;
                self.history.applied(member, entry, &applied, self.now_us)?;
                self.changed(member, id, applied.result);
            }
            Happened::Restored => self.count("snapshots installed"),
            Happened::ReadReady { id, index } => {
                if let Some(read) = self.slot(member).reads.get_mut(&id) {
                    read.1 = Some(index.0);
                }
                self.serve_reads(member)?;
            }
            Happened::Dropped(id) => self.dropped(member, id),
            Happened::Expired(ids) => self.revoke(member, ids)?,
            Happened::RemovedSelf => self.after(1_000_000, Event::Stop { member }),
        }
        Ok(())
    }

    fn send(&mut self, from: u64, letter: Letter) {
        let to = letter.message.to;
        let is_snapshot = letter.store.is_some();
        let lossy = self.faulty && self.rng.random_range(0..1000) < self.swarm.loss;
        let lost = lossy || self.cut.contains(&(from, to)) || !self.slots.contains_key(&to);
        if is_snapshot {
            let (took, delivered) = (self.delay(), !lost);
            self.count("snapshots sent");
            self.after(2 * took, Event::SnapshotStatus { from, to, delivered });
        }
        if lost {
            return;
        }
        let is_proposal = letter.message.r#type == MessageType::MsgProp as i32;
        let twice =
            self.faulty && !is_proposal && self.rng.random_range(0..1000) < self.swarm.duplication;
        if twice {
            let delay = self.delay();
            self.after(delay, Event::Deliver(Box::new(letter.clone())));
        }
        let delay = self.delay();
        self.after(delay, Event::Deliver(Box::new(letter)));
    }

    fn delay(&mut self) -> u64 {
        let (least, most) = self.swarm.delay_us;
        let most = if self.faulty { most } else { most.min(2_000) };
        self.rng.random_range(least..most)
    }

    fn deliver(&mut self, letter: Letter) -> Result<(), String> {
        let (from, to) = (letter.message.from, letter.message.to);
        if self.cut.contains(&(from, to)) || self.is_removed(to, from) {
            return Ok(());
        }
        self.report.messages += 1;
        self.mix(from << 32 | to);
        let now_ms = self.clock(to);
        self.with(to, |live| live.receive(letter, now_ms))
    }

    /// Whether a member knows that another one was removed: it does not listen to it any more.
    fn is_removed(&self, member: u64, other: u64) -> bool {
        let live = self.slots.get(&member).and_then(|slot| slot.live.as_ref());
        live.is_some_and(|live| live.machine.shared().membership.read().is_removed(MemberId(other)))
    }

    /// Answers the linearizable reads whose index has been applied.
    fn serve_reads(&mut self, member: u64) -> Result<(), String> {
        let slot = self.slot(member);
        let Some(live) = &slot.live else { return Ok(()) };
        let applied = live.applied().0;
        let due: Vec<(u64, usize)> = slot
            .reads
            .iter()
            .filter(|(_, (_, index))| index.is_some_and(|index| index <= applied))
            .map(|(id, (operation, _))| (*id, *operation))
            .collect();
        for (id, operation) in due {
            self.slot(member).reads.remove(&id);
            self.answer_read(member, operation);
        }
        Ok(())
    }

    /// A change was applied where its client waits.
    fn changed(
        &mut self,
        member: u64,
        id: u64,
        result: Result<apply::Response, apply::ApplyError>,
    ) {
        let Some(live) = &mut self.slot(member).live else { return };
        if live.waiting.remove(&id)
            && let Some(operation) = self.history.by_id.get(&id).copied()
        {
            self.end(operation, Told::Changed(Box::new(result)));
        }
    }

    fn dropped(&mut self, member: u64, id: u64) {
        let Some(live) = &mut self.slot(member).live else { return };
        if live.waiting.remove(&id)
            && let Some(operation) = self.history.by_id.get(&id).copied()
        {
            self.end(operation, Told::Refused);
        }
    }
}

/// A member as the cluster knows it.
fn member_of(id: u64, is_learner: bool) -> Member {
    Member {
        id: MemberId(id),
        name: format!("m{id}"),
        peer_urls: vec![format!("http://m{id}:2380")],
        client_urls: vec![format!("http://m{id}:2379")],
        is_learner,
    }
}

#[cfg(test)]
mod tests;
