//! The loads, one file per family, and the one way they are all measured.

pub(crate) mod beside;
pub(crate) mod lease;
pub(crate) mod mvcc;
pub(crate) mod put;
pub(crate) mod range;
pub(crate) mod stm;
pub(crate) mod txn;
pub(crate) mod watch;
pub(crate) mod watch_get;

use crate::{
    args::{
        Verb,
        load::{KeyArgs, LoadArgs, ValueArgs},
    },
    grpc::{
        method::Method,
        target::{self, Target},
    },
    load::{
        fleet::Fleet,
        pace::{Limit, Pacer},
        record::ratio,
        run::{Load, Run, drive},
        unary::UnaryLoad,
    },
    probe::{Probe, costs},
    progress::Progress,
    report::Report,
};
use anyhow::{Context as _, Result, bail, ensure};
use std::time::{Duration, Instant};

/// Clients that fill a key space.
const FILL_CLIENTS: usize = 128;

/// Runs `verb` and reports.
pub(crate) async fn run(verb: &Verb) -> Result<Report> {
    let load = verb.load();
    load.check()?;
    let name = verb.name();
    match verb {
        Verb::Put(args) => measure(name, load, unary(put::Puts::new(args)?, load)).await,
        Verb::Range(args) => {
            let ranges = range::Ranges::new(args, Method::Range)?;
            if args.fill {
                fill(load, filling(load, &args.keys, &args.values)?).await?;
            }
            measure(name, load, unary(ranges, load)).await
        }
        Verb::RangeStream(args) => {
            let ranges = range::Ranges::new(args, Method::RangeStream)?;
            if args.fill {
                fill(load, filling(load, &args.keys, &args.values)?).await?;
            }
            measure(name, load, unary(ranges, load)).await
        }
        Verb::TxnPut(args) => measure(name, load, unary(txn::Puts::new(args)?, load)).await,
        Verb::TxnK8s(args) => measure(name, load, unary(txn::Updates::new(args)?, load)).await,
        Verb::TxnMixed(args) => {
            let mixed = txn::Mixed::new(args)?;
            if args.fill {
                fill(load, filling(load, &args.keys, &args.values)?).await?;
            }
            measure(name, load, unary(mixed, load)).await
        }
        Verb::Watch(args) => {
            measure(name, load, watch::WatchLoad::new(args, watch::Spread::OneKey)?).await
        }
        Verb::WatchLatency(args) => {
            measure(name, load, watch::WatchLoad::new(args, watch::Spread::OwnKeys)?).await
        }
        Verb::WatchGet(args) => measure(name, load, watch_get::CatchUps::new(args)?).await,
        Verb::Stm(args) => measure(name, load, stm::StmLoad::new(args)?).await,
        Verb::LeaseGrant(args) => measure(name, load, unary(lease::Grants::new(args), load)).await,
        Verb::LeaseKeepalive(args) => measure(name, load, lease::KeepAliveLoad::new(args)).await,
    }
}

fn unary<R: crate::load::unary::Requests + 'static>(requests: R, load: &LoadArgs) -> UnaryLoad<R> {
    UnaryLoad::new(requests, load.clients)
}

/// Connects, prepares, warms up, measures.
async fn measure(name: &str, args: &LoadArgs, mut load: impl Load) -> Result<Report> {
    let targets = target::open(&args.endpoints, &args.security).await?;
    let fleet = Fleet::connect(&targets, args.connections).await?;
    load.prepare(&fleet, args.stall_timeout).await.with_context(|| format!("prepare {name}"))?;
    if !args.warmup.is_zero() {
        let limit = Limit::of_duration(args.warmup);
        let run = Run::new(Pacer::begin(limit, args.rate)?);
        drive(&mut load, &fleet, &run, args.stall(), Progress::new("warm-up")).await;
    }
    let disturbance = match args.beside {
        None => None,
        Some(kind) => Some(beside::Disturbance::prepare(kind, args, &targets).await?),
    };
    let _prompt = disturbance.as_ref().map(|_| priority::Prompt::begin());
    let quiet = match &disturbance {
        None => None,
        Some(_) => {
            let run = Run::new(Pacer::begin(args.limit(), args.rate)?);
            drive(&mut load, &fleet, &run, args.stall(), Progress::new("quiet")).await;
            let latency = run.recorder.borrow().latencies().summary();
            Some(latency)
        }
    };
    if let Some(disturbance) = &disturbance {
        disturbance.arm().await.context("what goes on beside the load")?;
    }
    let first = args.endpoints.first().filter(|first| !first.tls);
    let probe = Probe {
        pids: args.server_pid.clone(),
        authority: first.map(|first| first.authority.clone()),
    };
    let before = probe.before().await;
    let begun = Instant::now();
    let run = Run::new(Pacer::begin(args.limit(), args.rate)?);
    let disturbing = disturbance.map(beside::Disturbance::begin).transpose()?;
    drive(&mut load, &fleet, &run, args.stall(), Progress::new(name)).await;
    let elapsed = begun.elapsed();
    let after = probe.after().await;
    let mut outcome = run.recorder.borrow().outcome();
    if let Some(quiet) = quiet {
        let slower = ratio(outcome.latency.p99_us, quiet.p99_us);
        outcome.ratios.insert("p99 / quiet p99".to_owned(), slower);
        outcome.series.insert("quiet".to_owned(), quiet);
    }
    if let Some(disturbing) = disturbing {
        let done = disturbing.end().context("what goes on beside the load")?;
        outcome.counters.insert("beside".to_owned(), done.count);
        outcome.counters.insert("beside, ms".to_owned(), done.took.as_millis() as u64);
    }
    let costs = costs(&before, &after, outcome.ops, elapsed, probe.memory());
    Ok(Report {
        verb: name.to_owned(),
        endpoint: names(&args.endpoints),
        clients: args.clients,
        connections: fleet.len(),
        rate: args.rate,
        outcome,
        costs,
    })
}

fn names(endpoints: &[target::Endpoint]) -> String {
    endpoints.iter().map(|endpoint| endpoint.authority.as_str()).collect::<Vec<_>>().join(",")
}

/// Puts that visit every key of a command line's key space.
fn filling(load: &LoadArgs, keys: &KeyArgs, values: &ValueArgs) -> Result<put::Puts> {
    Ok(put::Puts::filling(keys.space()?, values.values(load.seed)))
}

/// Puts every key of a key space once; an error is fatal.
async fn fill(args: &LoadArgs, puts: put::Puts) -> Result<()> {
    let total = puts.len();
    let targets = target::open(&args.endpoints, &args.security).await?;
    let filling =
        Filling { targets: &targets, connections: args.connections, stall: args.stall_timeout };
    filling.run(UnaryLoad::new(puts, FILL_CLIENTS), total).await
}

/// Where and how a server is filled before it is measured.
#[derive(Clone, Copy)]
pub(crate) struct Filling<'a> {
    /// The server.
    pub(crate) targets: &'a [Target],
    /// Connections.
    pub(crate) connections: usize,
    /// How long nothing may finish.
    pub(crate) stall: Duration,
}

impl Filling<'_> {
    /// Runs `total` requests of `load`; an error is fatal.
    pub(crate) async fn run(self, mut load: impl Load, total: u64) -> Result<()> {
        ensure!(total > 0, "nothing to fill");
        let fleet = Fleet::connect(self.targets, self.connections).await?;
        let run = Run::new(Pacer::begin(Limit::of_total(total), None)?);
        drive(&mut load, &fleet, &run, self.stall, Progress::new("fill")).await;
        let outcome = run.recorder.borrow().outcome();
        match outcome.errors.first() {
            None => Ok(()),
            Some(error) => bail!("fill: {} x {}: {}", error.count, error.code, error.text),
        }
    }
}
