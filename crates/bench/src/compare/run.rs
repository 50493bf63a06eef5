//! The rounds of a comparison.

use crate::{
    args::compare::{CompareArgs, FillArgs},
    compare::{
        machine, quiet, table,
        workloads::{self, Kind, Workload},
    },
    launch::{Home, Ports, Program, Server},
    report::{Report, emit, figures::Figures},
    single, verbs,
};
use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Rest of `idle` and `restart` before memory is read.
pub(crate) const REST: Duration = Duration::from_secs(3);
/// Bytes of a value in `restart`.
const RESTART_VALUE_BYTES: usize = 1024;

/// One workload on one server in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunResult {
    /// The workload.
    pub(crate) workload: String,
    /// The server's name.
    pub(crate) server: String,
    /// The round, from 0.
    pub(crate) round: usize,
    /// What was measured; empty when the run failed.
    pub(crate) figures: Figures,
    /// The full report of a load.
    pub(crate) report: Option<Report>,
    /// Why the run failed.
    pub(crate) error: Option<String>,
}

/// A whole comparison.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Comparison {
    /// Names of the servers; ratios are the first's figure over the last's.
    pub(crate) servers: Vec<String>,
    /// Cores of the machine.
    pub(crate) cores: usize,
    /// The processor, the kernel and the file system of the data directories.
    pub(crate) machine: String,
    /// Versions of the servers, as they say themselves.
    pub(crate) versions: Vec<String>,
    /// Rounds of every workload.
    pub(crate) rounds: usize,
    /// Measured seconds of a load.
    pub(crate) seconds: f64,
    /// All runs.
    pub(crate) runs: Vec<RunResult>,
    /// Medians over the rounds.
    pub(crate) medians: Vec<table::Row>,
}

/// Runs the verb. `Ok(false)` when a run failed.
pub(crate) async fn run(args: &CompareArgs) -> Result<bool> {
    if args.list {
        for (name, line) in workloads::list() {
            println!("{name:<16} {line}");
        }
        return Ok(true);
    }
    let workloads = workloads::select(&args.workloads, &args.own)?;
    let servers = servers(args)?;
    ensure!(args.rounds > 0, "--rounds must be above zero");
    let mut runs = Vec::new();
    for round in 0..args.rounds {
        for workload in &workloads {
            for server in in_turn(&servers, round) {
                let quiet = quiet::wait(args.await_quiet).await;
                let noise = if quiet { "" } else { " (the machine is not quiet)" };
                eprintln!("round {}: {} on {}{noise}", round + 1, workload.name, server.name);
                runs.push(run_once(args, workload, server, round).await);
            }
        }
    }
    let names: Vec<_> = servers.iter().map(|server| server.name.clone()).collect();
    let medians = table::medians(&names, &runs);
    let mut text = table::text(&names, &medians);
    for run in &runs {
        text += &complaints(run);
    }
    let failed = runs.iter().any(|run| run.error.is_some());
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    let versions = servers.iter().map(Program::version).collect();
    let machine = machine::describe(&args.host.dir);
    let (rounds, seconds) = (args.rounds, args.duration.as_secs_f64());
    let comparison =
        Comparison { servers: names, cores, machine, versions, rounds, seconds, runs, medians };
    emit(&comparison, &text, args.json.as_deref())?;
    Ok(!failed)
}

/// A line per kind of error of a run.
fn complaints(run: &RunResult) -> String {
    let place = format!("{} on {}, round {}", run.workload, run.server, run.round + 1);
    let errors = run.report.iter().flat_map(|report| &report.outcome.errors);
    let refused = errors.map(|error| {
        format!("refused: {place}: {} x {}: {}\n", error.count, error.code, error.text)
    });
    let failed = run.error.iter().map(|error| format!("FAILED: {place}: {error}\n"));
    refused.chain(failed).collect()
}

fn servers(args: &CompareArgs) -> Result<Vec<Program>> {
    let named = [("oxetcd", &args.oxetcd), ("etcd", &args.etcd)];
    let servers = named
        .into_iter()
        .filter_map(|(name, path)| Some(Program::new(name, path.as_deref()?, &args.host)))
        .collect::<Result<Vec<_>>>()?;
    ensure!(!servers.is_empty(), "name a server by --oxetcd, --etcd or both");
    Ok(servers)
}

/// The servers in the order of one round.
fn in_turn<T>(servers: &[T], round: usize) -> impl Iterator<Item = &T> {
    let count = servers.len();
    (0..count).map(move |i| &servers[(i + round) % count])
}

async fn run_once(
    args: &CompareArgs,
    workload: &Workload,
    server: &Program,
    round: usize,
) -> RunResult {
    let mut result = RunResult {
        workload: workload.name.clone(),
        server: server.name.clone(),
        round,
        figures: Figures::default(),
        report: None,
        error: None,
    };
    let outcome = match &workload.kind {
        Kind::Load(verb) | Kind::Cluster(verb) => {
            let members = if matches!(workload.kind, Kind::Cluster(_)) { 3 } else { 1 };
            load(args, verb, server, members).await.map(|report| {
                let figures = Figures::of_report(&report);
                result.report = Some(report);
                figures
            })
        }
        Kind::Idle => single::idle::measure(server, &args.host, REST).await,
        Kind::Restart { revisions, cold } => {
            let fill = FillArgs {
                revisions: *revisions,
                cold: *cold,
                keys: args.restart_keys,
                val_size: RESTART_VALUE_BYTES,
                txn_ops: 1,
                rest: REST,
            };
            single::restart::measure(server, &args.host, &fill).await
        }
    };
    match outcome {
        Ok(figures) => result.figures = figures,
        Err(error) => {
            eprintln!("  failed: {error:#}");
            result.error = Some(format!("{error:#}"));
        }
    }
    result
}

/// One load on a fresh server, or on a fresh cluster.
async fn load(
    args: &CompareArgs,
    verb: &crate::args::Verb,
    program: &Program,
    members: usize,
) -> Result<Report> {
    let roomy = program.with_room();
    let program = if verb.load().beside.is_some() { &roomy } else { program };
    let ports = (0..members).map(|_| Ports::free()).collect::<Result<Vec<_>>>()?;
    let mut servers = Vec::new();
    for index in 0..members {
        let home = Home::create(&args.host)?;
        servers.push((Server::start_member(program, &home, &ports, index)?, home));
    }
    for (server, home) in &mut servers {
        server.ready(home).await?;
    }
    let mut verb = verb.clone();
    let load = verb.load_mut();
    load.endpoints = servers.iter().map(|(server, _)| server.endpoint().clone()).collect();
    load.server_pid = servers.iter().map(|(server, _)| server.pid()).collect();
    load.warmup = args.warmup;
    if load.total.is_none() && load.duration.is_none() {
        load.duration = Some(args.duration);
    }
    let report = verbs::run(&verb).await?;
    if let Some(error) = report.outcome.broken() {
        bail!("{} x {}: {}", error.count, error.code, error.text);
    }
    for (server, _home) in servers {
        server.stop().await?;
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_alternate_who_goes_first() {
        let order = |round| in_turn(&["a", "b"], round).copied().collect::<Vec<_>>();
        assert_eq!(order(0), ["a", "b"]);
        assert_eq!(order(1), ["b", "a"]);
        assert_eq!(order(2), ["a", "b"]);
        assert_eq!(in_turn(&["a"], 5).count(), 1);
    }
}
