//! Puts a second of three members on one machine, oxetcd and etcd in turns.
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

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let loader = Binary::under_test()?;
    let binaries: Vec<Binary> =
        arguments.binary.iter().map(|name| Binary::named(name)).collect::<Result<_>>()?;
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); binaries.len()];
    for round in 1..=arguments.rounds {
        for (binary, rates) in binaries.iter().zip(&mut rates) {
            let (rate, p99) = run(&arguments, &loader, binary)?;
            println!("round {round}: {:<18} {rate:8.0} puts/s, p99 {p99:.1} ms", binary.describe());
            rates.push(rate);
        }
    }
    let medians: Vec<f64> = rates.iter_mut().map(|rates| median(rates)).collect();
    let Arguments { members, clients, .. } = arguments;
    println!("throughput: {members} members, {clients} clients at the leader, medians:");
    let mut reached = true;
    for (binary, median) in binaries.iter().zip(&medians) {
        let ratio = medians[0] / median;
        println!(
            "  {:<18} {median:8.0} puts/s (the first has {ratio:.2} of it)",
            binary.describe()
        );
        reached &= ratio >= 1.0;
    }
    Ok(if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn run(arguments: &Arguments, loader: &Binary, binary: &Binary) -> Result<(f64, f64)> {
    let options = Options::of(binary.clone(), arguments.members);
    let Arguments { clients, connections, size, seconds, .. } = *arguments;
    let load = loader.path().to_owned();
    Cluster::with(options, async move |cluster| {
        let leader = cluster.wait_leader(READY_LIMIT).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let endpoint = cluster.server(leader).address;
        let output = tokio::process::Command::new(Path::new(&load))
            .args(["bench", "put", "--endpoint", &endpoint, "--json", "-", "--warmup", "2s"])
            .args(["--clients", &clients.to_string()])
            .args(["--connections", &connections.to_string()])
            .args(["--val-size", &size.to_string()])
            .args(["--duration", &format!("{seconds}s")])
            .kill_on_drop(true)
            .output()
            .await?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the load failed: {told}");
        let report: Value = serde_json::from_slice(&output.stdout).context("the load's report")?;
        cluster.wait_equal(READY_LIMIT).await?;
        figures(&report).with_context(|| format!("figures in {report}"))
    })
}

/// Requests a second and the p99 in milliseconds of a report of the load generator.
fn figures(report: &Value) -> Option<(f64, f64)> {
    let rate = report["outcome"]["ops_per_second"].as_f64()?;
    let p99 = report["outcome"]["latency"]["p99_us"].as_f64()?;
    Some((rate, p99 / 1000.0))
}
