//! Who makes the faults, and ends them.

use std::time::{Duration, Instant};

use anyhow::Result;
use api::etcdserverpb as pb;
use rand::{
    Rng, SeedableRng,
    rngs::SmallRng,
    seq::{IndexedRandom, SliceRandom},
};
use tokio::task::JoinSet;

use super::{
    Plan,
    fault::{self, Fault},
    summary::Summary,
};
use crate::{
    cluster::Cluster,
    load::{Clock, Load},
    network::{CLIENT, Rule},
};

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(100);
/// Makes another seed of the plan's.
const UPKEEP: u64 = 0x4755_6b65_6570;

/// Makes and ends faults.
pub(super) struct Nemesis<'a> {
    pub(super) plan: &'a Plan,
    pub(super) rng: SmallRng,
    clock: Clock,
    pub(super) summary: Summary,
    process: Schedule,
    network: Schedule,
    operator: Instant,
    upkeep: Upkeep,
}

/// What an operator does to a store now and then, beside all faults: these are drawn on their own.
struct Upkeep {
    rng: SmallRng,
    due: Instant,
    under_way: JoinSet<()>,
}

/// When the next fault of a class is due, or when the present one ends.
struct Schedule {
    due: Instant,
    active: bool,
}

impl Schedule {
    fn new(rng: &mut SmallRng) -> Schedule {
        Schedule { due: soon(rng), active: false }
    }
}

/// When to make the next fault.
fn soon(rng: &mut SmallRng) -> Instant {
    Instant::now() + Duration::from_millis(rng.random_range(500..6000))
}

/// How many milliseconds a fault may last. A member on its own serves nobody meanwhile: more is to be
/// learnt from more faults.
fn longest(cluster: &Cluster, of_several: u64) -> u64 {
    if cluster.configured().len() == 1 { of_several.min(2500) } else { of_several }
}

impl<'a> Nemesis<'a> {
    pub(super) fn new(plan: &'a Plan, clock: Clock) -> Nemesis<'a> {
        let mut rng = SmallRng::seed_from_u64(plan.seed);
        let (process, network) = (Schedule::new(&mut rng), Schedule::new(&mut rng));
        let operator = soon(&mut rng);
        let mut upkeep = SmallRng::seed_from_u64(plan.seed ^ UPKEEP);
        let due = soon(&mut upkeep);
        let upkeep = Upkeep { rng: upkeep, due, under_way: JoinSet::new() };
        let summary = Summary::default();
        Nemesis { plan, rng, clock, summary, process, network, operator, upkeep }
    }

    pub(super) fn into_summary(self) -> Summary {
        self.summary
    }

    /// Makes faults until the time of the plan is over.
    pub(super) async fn rage(&mut self, cluster: &mut Cluster, load: &Load) -> Result<()> {
        let began = Instant::now();
        let mut told = Instant::now();
        while began.elapsed() < self.plan.duration {
            let now = Instant::now();
            if now >= self.process.due {
                self.process(cluster).await?;
            }
            if self.plan.wired && now >= self.network.due {
                self.network(cluster).await?;
            }
            if now >= self.operator {
                self.operator(cluster).await?;
                self.operator = soon(&mut self.rng) + Duration::from_secs(3);
            }
            if now >= self.upkeep.due {
                self.upkeep(cluster);
            }
            self.collect_crashes(cluster);
            if told.elapsed() > Duration::from_secs(60) {
                told = Instant::now();
                let minutes = began.elapsed().as_secs() / 60;
                let (answered, unanswered) = load.counts();
                println!("{minutes} min: {answered} answered, {unanswered} unanswered");
            }
            tokio::time::sleep(TICK).await;
        }
        self.summary.raged = began.elapsed();
        Ok(())
    }

    /// Ends all faults: the network whole, every member running.
    pub(super) async fn make_peace(&mut self, cluster: &mut Cluster) -> Result<()> {
        self.end_network(cluster)?;
        self.end_process(cluster)?;
        self.collect_crashes(cluster);
        self.end_process(cluster)?;
        if self.plan.members < 3 {
            self.promote_last(cluster).await?;
            self.end_process(cluster)?;
        }
        self.upkeep.under_way.shutdown().await;
        Ok(())
    }

    /// Has one member make its store compact, and waits for nothing: faults may come in between.
    fn upkeep(&mut self, cluster: &Cluster) {
        let Upkeep { rng, due, under_way } = &mut self.upkeep;
        *due = soon(rng) + Duration::from_secs(4);
        while under_way.try_join_next().is_some() {}
        let Some(&slot) = cluster.running().choose(rng) else { return };
        let mut maintenance = cluster.connection(slot).maintenance;
        under_way.spawn(async move {
            // One that a fault keeps from it makes an error of it.
            let _ = maintenance.defragment(pb::DefragmentRequest {}).await;
        });
        self.count(Fault::Defragment, &format!("[{slot}]"));
    }

    /// Notes members that ended by themselves, and starts them again.
    pub(super) fn collect_crashes(&mut self, cluster: &mut Cluster) {
        let crashes = cluster.crashes();
        self.summary.ended_for_disk = cluster.ended_for_disk();
        for crash in &crashes {
            self.say(&format!("CRASH {crash}"));
        }
        let ended = cluster.configured().into_iter().any(|slot| {
            let member = cluster.member(slot);
            !member.is_running() && !member.is_paused() && !member.is_frozen()
        });
        if ended && !self.process.active {
            // A member that ended is started again so that the run can go on.
            self.process.active = true;
            self.process.due = Instant::now() + Duration::from_secs(1);
        }
        self.summary.crashes.extend(crashes);
    }

    pub(super) fn say(&self, what: &str) {
        if self.plan.verbose {
            println!("{:9.3} s  {what}", self.clock.now() as f64 / 1e9);
        }
    }

    pub(super) fn count(&mut self, fault: Fault, about: &str) {
        self.say(&format!("{fault} {about}"));
        *self.summary.faults.entry(fault).or_default() += 1;
    }

    /// Begins or ends a fault of processes.
    async fn process(&mut self, cluster: &mut Cluster) -> Result<()> {
        if self.process.active {
            self.end_process(cluster)?;
            self.process.due = soon(&mut self.rng);
            return Ok(());
        }
        let faults = if self.plan.disks && self.rng.random_bool(0.3) {
            fault::DISK
        } else if self.plan.power_loss && self.rng.random_bool(0.7) {
            fault::VOLATILE
        } else {
            fault::PROCESS
        };
        let fault = fault::draw(faults, cluster.configured().len(), &mut self.rng);
        let victims = self.victims(cluster, fault).await;
        self.count(fault, &format!("{victims:?}"));
        for slot in victims {
            let member = cluster.member(slot);
            match fault {
                Fault::Pause | Fault::PauseLeader | Fault::PauseMajority => member.pause()?,
                Fault::Freeze | Fault::FreezeLeader => member.freeze_disk()?,
                Fault::Terminate => {
                    if let Err(error) = member.terminate().await {
                        self.summary.crashes.push(format!("{error:#}"));
                    }
                }
                Fault::PowerLoss
                | Fault::PowerLossLeader
                | Fault::PowerLossMajority
                | Fault::PowerLossAll => {
                    let lost = member.lose_power()?;
                    self.summary.unsynced += lost.unsynced;
                    self.summary.lost += lost.lost;
                }
                Fault::FullDisk | Fault::FailSync => member.break_disk(fault == Fault::FullDisk)?,
                Fault::SlowSync | Fault::SlowSyncLeader => {
                    let each = Duration::from_millis(self.rng.random_range(20..600));
                    member.slow_disk(each)?;
                }
                _ => member.kill(),
            }
        }
        self.process.active = true;
        let hold = Duration::from_millis(self.rng.random_range(100..longest(cluster, 8000)));
        self.process.due = Instant::now() + hold;
        Ok(())
    }

    async fn victims(&mut self, cluster: &mut Cluster, fault: Fault) -> Vec<usize> {
        let mut all = cluster.running();
        all.shuffle(&mut self.rng);
        let leader = cluster.leader().await;
        let one = match fault {
            Fault::KillAll | Fault::PowerLossAll => return all,
            Fault::KillMajority | Fault::PauseMajority | Fault::PowerLossMajority => {
                all.truncate(all.len() / 2 + 1);
                return all;
            }
            Fault::KillLeader
            | Fault::PauseLeader
            | Fault::FreezeLeader
            | Fault::PowerLossLeader
            | Fault::SlowSyncLeader => leader.or(all.first().copied()),
            _ => all.first().copied(),
        };
        one.into_iter().collect()
    }

    pub(super) fn end_process(&mut self, cluster: &mut Cluster) -> Result<()> {
        for slot in cluster.configured() {
            let member = cluster.member(slot);
            member.heal_disk();
            if member.is_frozen() {
                member.thaw_disk()?;
            }
            if member.is_paused() {
                member.resume()?;
            } else if !member.is_running() {
                member.start()?;
            }
        }
        if self.process.active {
            self.say("processes run");
        }
        self.process.active = false;
        Ok(())
    }

    /// Begins or ends a fault of the network.
    async fn network(&mut self, cluster: &mut Cluster) -> Result<()> {
        if self.network.active {
            self.end_network(cluster)?;
            self.network.due = soon(&mut self.rng);
            return Ok(());
        }
        let mut all = cluster.configured();
        let fault = fault::draw(fault::NETWORK, all.len(), &mut self.rng);
        let leader = cluster.leader().await;
        all.shuffle(&mut self.rng);
        let first = all[0];
        let leader = leader.unwrap_or(first);
        let wire = cluster.network().wire()?;
        let cut = Rule { cut: true, ..Rule::default() };
        let about = match fault {
            Fault::Isolate => {
                wire.partition(&[first]);
                format!("{first}")
            }
            Fault::IsolateLeader => {
                wire.partition(&[leader]);
                format!("{leader}")
            }
            Fault::Halves => {
                let side = &all[..all.len() / 2];
                wire.partition(side);
                format!("{side:?}")
            }
            Fault::Mute => {
                all.iter().filter(|&&to| to != first).for_each(|&to| wire.set(first, to, cut));
                format!("{first}")
            }
            Fault::Deaf | Fault::DeafLeader => {
                let deaf = if fault == Fault::Deaf { first } else { leader };
                all.iter()
                    .filter(|&&from| from != deaf)
                    .for_each(|&from| wire.set(from, deaf, cut));
                format!("{deaf}")
            }
            Fault::Ring => {
                // Of three members one pair is cut; of five each reaches two neighbours.
                let second = all[1];
                for (i, &a) in all.iter().enumerate() {
                    for (j, &b) in all.iter().enumerate() {
                        let gap = (i + all.len() - j) % all.len();
                        let pair =
                            all.len() <= 3 && [a, b].contains(&first) && [a, b].contains(&second);
                        if a != b && (pair || (all.len() > 3 && gap > 1 && gap < all.len() - 1)) {
                            wire.set(a, b, cut);
                        }
                    }
                }
                format!("{all:?}")
            }
            Fault::Unplug => {
                wire.unplug(first);
                format!("{first}")
            }
            _ => {
                let rule = if fault == Fault::Lossy {
                    Rule { loss: self.rng.random_range(0.01..0.2), ..Rule::default() }
                } else {
                    let delay = Duration::from_millis(self.rng.random_range(5..150));
                    Rule { delay, jitter: delay, ..Rule::default() }
                };
                for &a in &all {
                    all.iter().for_each(|&b| wire.set(a, b, rule));
                    wire.set_both(a, CLIENT, rule);
                }
                format!("{rule:?}")
            }
        };
        self.count(fault, &about);
        self.network.active = true;
        let hold = Duration::from_millis(self.rng.random_range(500..longest(cluster, 10_000)));
        self.network.due = Instant::now() + hold;
        Ok(())
    }

    pub(super) fn end_network(&mut self, cluster: &mut Cluster) -> Result<()> {
        if self.network.active {
            cluster.network().wire()?.heal();
            self.say("network whole");
        }
        self.network.active = false;
        Ok(())
    }

    async fn operator(&mut self, cluster: &mut Cluster) -> Result<()> {
        if self.plan.members < 3 {
            return self.operate_few(cluster).await;
        }
        let fault = fault::draw(fault::OPERATOR, self.plan.members, &mut self.rng);
        self.count(fault, "");
        if fault == Fault::MoveLeader {
            return self.move_leader(cluster).await;
        }
        self.prepare_change(cluster)?;
        let changed = match fault {
            Fault::Rotate => self.rotate(cluster).await,
            _ => self.replace(cluster).await,
        };
        self.end_process(cluster)?;
        changed
    }

    pub(super) async fn move_leader(&mut self, cluster: &mut Cluster) -> Result<()> {
        let mut all = cluster.running();
        all.shuffle(&mut self.rng);
        let Some(&to) = all.first() else { return Ok(()) };
        let moved = tokio::time::timeout(Duration::from_secs(10), cluster.move_leader(to));
        // With a broken network this may well fail.
        if !matches!(moved.await, Ok(Ok(()))) {
            self.summary.failed_changes += 1;
        }
        Ok(())
    }

    /// Membership changes need all processes; half of them meet a broken network.
    pub(super) fn prepare_change(&mut self, cluster: &mut Cluster) -> Result<()> {
        self.end_process(cluster)?;
        self.process.due = soon(&mut self.rng);
        if self.rng.random() {
            self.end_network(cluster)?;
            self.network.due = soon(&mut self.rng);
        }
        Ok(())
    }
}
