//! Puts a second of three members on one machine, and the processor time that a put takes of all of
//! them, oxetcd and etcd in turns.
//!
//! `cargo run --release -p cluster --bin throughput -- --clients 1000`

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use cluster::{
    binary::Binary,
    cluster::{Cluster, Options, READY_LIMIT},
};
use serde_json::Value;

/// Loads clusters with `oxetcd bench put`, in turns.
#[derive(Parser)]
struct Arguments {
    /// Clients, each with one request under way.
    #[arg(long, default_value_t = 1000)]
    clients: u32,
    /// Connections that they share.
    #[arg(long, default_value_t = 100)]
    connections: u32,
    /// Bytes of a value.
    #[arg(long, default_value_t = 256)]
    size: u32,
    /// Seconds of a run.
    #[arg(long, default_value_t = 15)]
    seconds: u32,
    /// Runs of each.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Members.
    #[arg(long, default_value_t = 3)]
    members: usize,
    /// What is compared, the first with the others: `oxetcd`, `etcd` (a real one) or a path.
    #[arg(long, default_value = "oxetcd,etcd", value_delimiter = ',')]
    binary: Vec<String>,
}

/// Seconds before a run counts.
const WARM_UP: u32 = 2;
/// What oxetcd is to reach against etcd, in puts a second and in processor time for a put.
const GOAL: (f64, f64) = (1.8, 0.5);

/// What one run came to.
#[derive(Clone, Copy)]
struct Outcome {
    /// Puts a second.
    rate: f64,
    /// Milliseconds.
    p99: f64,
    /// Microseconds of processor time of all members for a put.
    cpu: f64,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let loader = Binary::under_test()?;
    let binaries: Vec<Binary> =
        arguments.binary.iter().map(|name| Binary::named(name)).collect::<Result<_>>()?;
    let mut outcomes: Vec<Vec<Outcome>> = vec![Vec::new(); binaries.len()];
    for round in 1..=arguments.rounds {
        for (binary, outcomes) in binaries.iter().zip(&mut outcomes) {
            let outcome = run(&arguments, &loader, binary)?;
            let Outcome { rate, p99, cpu } = outcome;
            println!(
                "round {round}: {:<18} {rate:8.0} puts/s, p99 {p99:6.1} ms, {cpu:6.1} us of \
                 processor time a put",
                binary.describe()
            );
            outcomes.push(outcome);
        }
    }
    let medians: Vec<(f64, f64)> = outcomes
        .iter()
        .map(|all| (median(all, |outcome| outcome.rate), median(all, |outcome| outcome.cpu)))
        .collect();
    let Arguments { members, clients, .. } = arguments;
    println!("throughput: {members} members, {clients} clients at the leader, medians:");
    let mut reached = true;
    for (number, (binary, (rate, cpu))) in binaries.iter().zip(&medians).enumerate() {
        let ratios = (medians[0].0 / rate, medians[0].1 / cpu);
        println!(
            "  {:<18} {rate:8.0} puts/s, {cpu:6.1} us a put (the first has {:.2} and {:.2} of it)",
            binary.describe(),
            ratios.0,
            ratios.1
        );
        reached &= number == 0 || (ratios.0 >= GOAL.0 && ratios.1 <= GOAL.1);
    }
    println!(
        "  {} of the rate, {} of the time: {}",
        GOAL.0,
        GOAL.1,
        if reached { "yes" } else { "NO" }
    );
    Ok(if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn median(outcomes: &[Outcome], of: impl Fn(&Outcome) -> f64) -> f64 {
    let mut values: Vec<f64> = outcomes.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn run(arguments: &Arguments, loader: &Binary, binary: &Binary) -> Result<Outcome> {
    let options = Options::of(binary.clone(), arguments.members);
    let Arguments { clients, connections, size, seconds, .. } = *arguments;
    let load = loader.path().to_owned();
    Cluster::with(options, async move |cluster| {
        let leader = cluster.wait_leader(READY_LIMIT).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let endpoint = cluster.server(leader).address;
        let cpu_before = cluster.cpu_time()?;
        let output = tokio::process::Command::new(Path::new(&load))
            .args([
                "bench",
                "put",
                "--endpoint",
                &endpoint,
                "--json",
                "-",
                "--warmup",
                &format!("{WARM_UP}s"),
            ])
            .args(["--clients", &clients.to_string()])
            .args(["--connections", &connections.to_string()])
            .args(["--val-size", &size.to_string()])
            .args(["--duration", &format!("{seconds}s")])
            .kill_on_drop(true)
            .output()
            .await?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the load failed: {told}");
        let cpu = cluster.cpu_time()?.saturating_sub(cpu_before);
        let report: Value = serde_json::from_slice(&output.stdout).context("the load's report")?;
        cluster.wait_equal(READY_LIMIT).await?;
        let (rate, p99) = figures(&report).with_context(|| format!("figures in {report}"))?;
        // The rate while it warms up is taken to be that of the rest.
        let puts = rate * f64::from(seconds + WARM_UP);
        Ok(Outcome { rate, p99, cpu: cpu.as_secs_f64() * 1e6 / puts })
    })
}

/// Requests a second and the p99 in milliseconds of a report of the load generator.
fn figures(report: &Value) -> Option<(f64, f64)> {
    let rate = report["outcome"]["ops_per_second"].as_f64()?;
    let p99 = report["outcome"]["latency"]["p99_us"].as_f64()?;
    Some((rate, p99 / 1000.0))
}
