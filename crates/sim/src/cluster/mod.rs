//! A whole cluster in one thread: real members on a simulated disk, network and clock, all from one
//! seed. The same seed gives the same run, to the byte.
//!
//! A run has two parts. First clients work while faults are injected; then faults stop, and the
//! cluster must make progress again (liveness), all members must reach the same state, and
//! everything that clients were told must agree with the committed log.

mod boot;
mod clients;
mod disk;
mod faults;
mod history;
mod lockers;
mod member;
mod network;
mod reads;
mod snapshots;
mod steps;
mod swarm;
mod watchers;

use std::collections::{BTreeMap, BTreeSet};

use api::{
    etcdserverpb::InternalRaftRequest,
    ids::{ClusterId, MemberId, Term},
};
use membership::{Member, Membership};
use rand::{Rng, SeedableRng, rngs::StdRng};

use clients::Client;
use disk::Disk;
use history::{History, Who};
use member::{Identity, Letter, Live};
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
/// Watchers have taken all there is after this long.
const TOLD_US: u64 = 3_000_000;
/// Everything that waits is in the store after so many flushes.
const FLUSHES_MAX: usize = 10_000;
/// Lockers use leases above this.
const LOCK_LEASES: i64 = 1_000;

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
    /// Of the operations, reads, changes and renewals of leases.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Times that a member's store was compared with others at the same index.
    pub hashes: u64,
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
    Again { member: u64, operation: usize, request: Box<InternalRaftRequest>, who: Who },
    AskIndex { member: u64, life: u64, number: u64 },
    Revoke { member: u64, life: u64, leases: Vec<i64>, term: Term, decided: (u64, u64) },
    Replace { member: u64 },
    Fault(faults::Kind),
    Heal,
    Stop { member: u64 },
    PowerLoss { member: u64 },
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
    /// Its monotonic clock runs at so many per mille.
    clock_pace: u64,
    gate: reads::Gate,
    /// Its disk was damaged: it may refuse to start or to go on, and is then replaced.
    damaged: bool,
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
    next_lease: i64,
    /// The revisions at which the store was compacted.
    compactions: BTreeSet<i64>,
    /// The lease that a lessor has found expired last.
    last_expired: i64,
    /// The term of the latest leader there was.
    newest_term: Term,
    /// When members were changed last.
    members_changed_us: u64,
    /// Hashes of the store by applied index.
    hashes: BTreeMap<u64, u32>,
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
    report.kinds = world.history.kinds();
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
            history: History::new(swarm.drift),
            next_id: 1,
            next_lease: LOCK_LEASES,
            last_expired: 0,
            compactions: BTreeSet::new(),
            newest_term: Term(0),
            members_changed_us: 0,
            hashes: BTreeMap::new(),
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
        for client in world.swarm.clients..world.swarm.clients + world.swarm.lockers {
            world.clients.push(Client::locker());
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
            snapshot_count: self.swarm.snapshot_count,
            watch_batch: self.swarm.watch_batch,
        };
        let drift = if self.swarm.drift { self.rng.random_range(950..1050) } else { 1000 };
        let slot = Slot {
            identity,
            disk: Some(Disk::new(self.swarm.real)),
            live: None,
            life: 0,
            paused_until_us: 0,
            writing: false,
            applying: false,
            clock_ahead_ms: self.rng.random_range(0..100_000),
            tick_pace: 1000,
            clock_pace: drift,
            gate: reads::Gate::default(),
            damaged: false,
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
            let (runs, gone, damaged) = (slot.live.is_some(), slot.gone, slot.damaged);
            if !runs && !gone && slot.disk.is_some() {
                self.after(1, Event::Start { member: id });
            }
            if damaged && runs {
                // Whoever looks through its store finds what nobody has read so far.
                self.found_damage(id, "found by a scrub")?;
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
        let mut settled = self.now_us + QUIET_US;
        let mut all_ended = false;
        while self.now_us < deadline {
            self.step()?;
            if self.now_us < settled {
                continue;
            }
            let ended = self.leases() == 0;
            if self.is_even() && ended && all_ended {
                return self.check_hashes();
            }
            // Watchers are told of the last end of a lease, too.
            all_ended = ended;
            settled = self.now_us + TOLD_US;
        }
        if self.is_even() {
            return Err(format!("{} leases are forgotten: {}", self.leases(), self.describe()));
        }
        Err(format!("the members do not become even: {}", self.describe()))
    }

    /// The members that belong to the cluster in the eyes of its most advanced one.
    fn members(&self) -> BTreeSet<u64> {
        self.membership(|members| members.members().map(|member| member.id.0).collect())
    }

    /// Those of them that vote.
    fn voters(&self) -> BTreeSet<u64> {
        self.membership(|members| members.voters().map(|member| member.id.0).collect())
    }

    fn membership(&self, ids: impl Fn(&Membership) -> BTreeSet<u64>) -> BTreeSet<u64> {
        let live = self.slots.values().filter_map(|slot| slot.live.as_ref());
        let ahead = live.max_by_key(|live| live.applied());
        ahead.map_or_else(BTreeSet::new, |ahead| ids(&ahead.machine.shared().membership.read()))
    }

    /// The leases that are alive: all are short, and nobody renews them any more.
    fn leases(&self) -> usize {
        let members = self.members();
        let live = members.iter().filter_map(|id| self.slots.get(id)?.live.as_ref());
        live.map(|live| live.machine.shared().lessor.lock().count()).max().unwrap_or(0)
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
                let mut flushes = 0;
                while !live.is_settled() {
                    flushes += 1;
                    if flushes > FLUSHES_MAX {
                        return Err(format!("the store of member {id} is never even with its log"));
                    }
                    live.flush(1000, 0).map_err(|died| format!("member {id}: {}", died.0))?;
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
                Some(live) => {
                    format!("{:?} {}", live.node.status(), live.describe_leases(self.clock(*id)))
                }
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
        let slot = &self.slots[&id];
        self.now_us / 1000 * slot.clock_pace / 1000 + slot.clock_ahead_ms
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
