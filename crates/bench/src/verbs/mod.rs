//! The loads, one file per family, and the one way they are all measured.

pub(crate) mod lease;
pub(crate) mod put;
pub(crate) mod range;
pub(crate) mod txn;
pub(crate) mod watch;

use crate::{
    args::{
        Verb,
        load::{KeyArgs, LoadArgs, ValueArgs},
    },
    load::{
        fleet::Fleet,
        pace::{Limit, Pacer},
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
            let ranges = range::Ranges::new(args)?;
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
        Verb::LeaseGrant(args) => measure(name, load, unary(lease::Grants::new(args), load)).await,
        Verb::LeaseKeepalive(args) => measure(name, load, lease::KeepAliveLoad::new(args)).await,
    }
}

fn unary<R: crate::load::unary::Requests + 'static>(requests: R, load: &LoadArgs) -> UnaryLoad<R> {
    UnaryLoad::new(requests, load.clients)
}

/// Connects, prepares, warms up, measures.
async fn measure(name: &str, args: &LoadArgs, mut load: impl Load) -> Result<Report> {
    let fleet = Fleet::connect(&args.endpoint, args.connections).await?;
    load.prepare(&fleet, args.stall_timeout).await.with_context(|| format!("prepare {name}"))?;
    if !args.warmup.is_zero() {
        let limit = Limit::of_duration(args.warmup);
        let run = Run::new(Pacer::begin(limit, args.rate)?);
        drive(&mut load, &fleet, &run, args.stall(), Progress::new("warm-up")).await;
    }
    let probe = Probe { pid: args.server_pid, authority: args.endpoint.clone() };
    let before = probe.before().await;
    let begun = Instant::now();
    let run = Run::new(Pacer::begin(args.limit(), args.rate)?);
    drive(&mut load, &fleet, &run, args.stall(), Progress::new(name)).await;
    let elapsed = begun.elapsed();
    let after = probe.after().await;
    let outcome = run.recorder.borrow().outcome();
    let costs = costs(&before, &after, outcome.ops, elapsed, probe.memory());
    Ok(Report {
        verb: name.to_owned(),
        endpoint: args.endpoint.clone(),
        clients: args.clients,
        connections: fleet.len(),
        rate: args.rate,
        outcome,
        costs,
    })
}

/// Puts that visit every key of a command line's key space.
fn filling(load: &LoadArgs, keys: &KeyArgs, values: &ValueArgs) -> Result<put::Puts> {
    Ok(put::Puts::filling(keys.space()?, values.values(load.seed)))
}

/// Puts every key of a key space once; an error is fatal.
async fn fill(args: &LoadArgs, puts: put::Puts) -> Result<()> {
    let total = puts.len();
    let filling = Filling {
        endpoint: &args.endpoint,
        connections: args.connections,
        stall: args.stall_timeout,
    };
    filling.run(UnaryLoad::new(puts, FILL_CLIENTS), total).await
}

/// Where and how a server is filled before it is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filling<'a> {
    /// The server.
    pub(crate) endpoint: &'a str,
    /// Connections.
    pub(crate) connections: usize,
    /// How long nothing may finish.
    pub(crate) stall: Duration,
}

impl Filling<'_> {
    /// Runs `total` requests of `load`; an error is fatal.
    pub(crate) async fn run(self, mut load: impl Load, total: u64) -> Result<()> {
        ensure!(total > 0, "nothing to fill");
        let fleet = Fleet::connect(self.endpoint, self.connections).await?;
        let run = Run::new(Pacer::begin(Limit::of_total(total), None)?);
        drive(&mut load, &fleet, &run, self.stall, Progress::new("fill")).await;
        let outcome = run.recorder.borrow().outcome();
        match outcome.errors.first() {
            None => Ok(()),
            Some(error) => bail!("fill: {} x {}: {}", error.count, error.code, error.text),
        }
    }
}
