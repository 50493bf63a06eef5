//! Faults at random while clients use a cluster, then peace, then judgement.
//!
//! One loop makes all faults, so that it knows what is broken: at most one fault of processes and
//! one of the network at a time, changes of membership between. A member's data is wiped only after
//! a quorum answered that the member is removed; anything else would be the operator's fault, not
//! the cluster's.
//!
//! A member on its own gets the faults that need no other; a second one joins and goes again, and while
//! there are two they get all faults.

pub mod fault;
mod few;
mod membership;
mod nemesis;
pub mod plant;
pub mod summary;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use checker::{History, Options as CheckOptions, Report, lease::Deadline};

use self::{nemesis::Nemesis, summary::Summary};
use crate::{
    binary::Binary,
    cluster::{Cluster, Options, READY_LIMIT},
    load::{self, Clock, Load},
};

/// A run of chaos.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Voters.
    pub members: usize,
    /// What they run, round.
    pub binaries: Vec<Binary>,
    /// How long faults are made.
    pub duration: Duration,
    /// Decides faults and requests.
    pub seed: u64,
    /// Namespaces, so that the network can fail too.
    pub wired: bool,
    /// A disk of its own for each member, so that disks can hang too.
    pub disks: bool,
    /// A disk in memory for each member, so that power losses cost what was not synced.
    pub power_loss: bool,
    /// Mutual TLS for peers and clients.
    pub tls: bool,
    /// What clients do.
    pub load: load::Plan,
    /// Further flags of members.
    pub flags: Vec<String>,
    /// Where logs, data and, after a violation, the history are kept.
    pub directory: Option<PathBuf>,
    /// Prints each fault as it is made.
    pub verbose: bool,
}

/// Leases may end so much later than their time once all is calm: an election timeout that a new
/// leader adds, half a second between its looks, and a busy machine.
const LEASE_SLACK: Duration = Duration::from_secs(4);
/// The longest time to live of the load's leases.
const LEASE_TTL: Duration = Duration::from_secs(5);

/// Runs a plan from start to judgement.
pub fn run(plan: &Plan) -> Result<Summary> {
    let mut options = Options::of(plan.binaries[0].clone(), plan.members).spare(1);
    options.binaries.clone_from(&plan.binaries);
    options.flags.clone_from(&plan.flags);
    options.directory.clone_from(&plan.directory);
    options.seed = plan.seed;
    options.wired = plan.wired;
    options.tls = plan.tls;
    options.disks = plan.disks;
    options.volatile = plan.power_loss;
    let plan = plan.clone();
    let (mut summary, mut history, check) =
        Cluster::with(options, async move |cluster| storm(cluster, &plan).await)?;
    let began = std::time::Instant::now();
    let report = checker::check(&mut history, check);
    summary.checked_in = began.elapsed();
    if let (false, Some(directory)) = (report.is_ok(), &summary.directory) {
        keep(&history, &report, directory)?;
    }
    summary.report = Some(report);
    summary.history = history;
    summary.options = check;
    Ok(summary)
}

async fn storm(cluster: &mut Cluster, plan: &Plan) -> Result<(Summary, History, CheckOptions)> {
    let clock = Clock::start();
    let load_plan = load::Plan { seed: plan.seed, ..plan.load };
    let mut load = Load::start(cluster.servers(), load_plan, clock);
    let mut nemesis = Nemesis::new(plan, clock);
    nemesis.rage(cluster, &load).await?;
    nemesis.make_peace(cluster).await?;
    cluster.wait_ready(READY_LIMIT).await.context("after all faults ended")?;
    let calm = clock.now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut history = load.stop_writers().await;
    tokio::time::sleep(LEASE_TTL + LEASE_SLACK).await;
    let equal = cluster.wait_equal(READY_LIMIT).await;
    let end = clock.now();
    let mut summary = nemesis.into_summary();
    summary.seed = plan.seed;
    summary.members = plan.binaries.iter().map(Binary::describe).collect();
    summary.voters = plan.members;
    summary.requests = load.counts();
    summary.crashes.extend(cluster.crashes());
    summary.directory = plan.directory.clone();
    let newest = load.newest();
    match equal {
        Ok((revision, hash)) => summary.hash = Ok((revision, hash, cluster.running().len())),
        Err(error) => summary.hash = Err(format!("{error:#}")),
    }
    let check = CheckOptions {
        leases: Deadline { calm, slack: LEASE_SLACK.as_nanos() as u64, end },
        compacted: load.compacted(),
        ..CheckOptions::default()
    };
    let revision = summary.hash.as_ref().map_or(newest, |(revision, ..)| *revision);
    let running = cluster.running();
    load::join(&mut history, load.stop_watchers(revision, &running).await);
    if let Ok(wire) = cluster.network().wire() {
        summary.packets = Some(wire.counts());
    }
    Ok((summary, history, check))
}

/// Writes what is needed to understand a violation.
fn keep(history: &History, report: &Report, directory: &std::path::Path) -> Result<()> {
    use std::io::Write;
    let path = directory.join("history.txt");
    let file = std::fs::File::create(&path).context("write the history")?;
    let mut file = std::io::BufWriter::new(file);
    writeln!(file, "{report}")?;
    for violation in report.violations() {
        writeln!(file, "{violation}\n")?;
    }
    let mut operations: Vec<_> = history.operations.iter().enumerate().collect();
    operations.sort_by_key(|(_, operation)| operation.invoked);
    for (index, operation) in operations {
        writeln!(file, "{index}: {operation}")?;
    }
    for record in &history.watches {
        writeln!(file, "{} from {}", record.name, record.start_revision)?;
        for message in &record.messages {
            let (at, kind) = (message.at as f64 / 1e6, message.kind);
            writeln!(file, "  {at:.3} ms, revision {}: {kind:?}", message.revision)?;
            for watched in &message.events {
                writeln!(file, "    {}", watched.event)?;
            }
        }
    }
    for lease in &history.leases {
        writeln!(file, "{lease:?}")?;
    }
    file.flush()?;
    println!("history of the violation: {}", path.display());
    Ok(())
}
