//! How long a cluster takes no writes when its leader is killed.
//!
//! `cargo run --release -p cluster --bin failover -- --kills 30`

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use cluster::{
    binary::Binary,
    cluster::{Cluster, Options, READY_LIMIT},
    connection::Connection,
    measure::Samples,
};
use rand::Rng;
use tokio::task::JoinSet;

/// Kills the leader again and again, and measures until a survivor accepts a write.
#[derive(Parser)]
struct Arguments {
    /// How often.
    #[arg(long, default_value_t = 30)]
    kills: u32,
    /// Members.
    #[arg(long, default_value_t = 3)]
    members: usize,
    /// What members run: `oxetcd`, `etcd` (a real one) or a path.
    #[arg(long, default_value = "oxetcd", value_delimiter = ',')]
    binary: Vec<String>,
    /// `--election-timeout` of the members, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    election_timeout: u64,
}

/// The share of kills that must stay within the goal, and the goal in election timeouts.
const GOAL: (f64, f64) = (0.95, 2.0);
/// A pause between two attempts to write at one member.
const ATTEMPTS: Duration = Duration::from_millis(20);

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let binaries: Vec<Binary> =
        arguments.binary.iter().map(|name| Binary::named(name)).collect::<Result<_>>()?;
    let described: Vec<String> = binaries.iter().map(Binary::describe).collect();
    let mut options = Options::of(binaries[0].clone(), arguments.members)
        .flag(&format!("--election-timeout={}", arguments.election_timeout))
        .flag(&format!("--heartbeat-interval={}", arguments.election_timeout / 10));
    options.binaries = binaries;
    let kills = arguments.kills;
    let samples = Cluster::with(options, async move |cluster| {
        let mut gaps = Vec::new();
        for number in 1..=kills {
            let gap = one(cluster).await.with_context(|| format!("kill {number}"))?;
            println!("kill {number}: a write was accepted after {} ms", gap.as_millis());
            gaps.push(gap);
        }
        cluster.wait_equal(READY_LIMIT).await?;
        Ok(Samples::of(gaps))
    })?;
    let timeouts = |gap: Duration| gap.as_secs_f64() * 1e3 / arguments.election_timeout as f64;
    let [p50, p95] = [0.5, GOAL.0].map(|part| timeouts(samples.quantile(part)));
    let max = timeouts(samples.max());
    println!(
        "failover: {} members ({}), {kills} kills of the leader",
        arguments.members,
        described.join(", ")
    );
    println!(
        "  until a write is accepted, in election timeouts: p50 {p50:.2} p95 {p95:.2} max {max:.2}"
    );
    let reached = p95 <= GOAL.1;
    println!("  p95 within {}: {}", GOAL.1, if reached { "yes" } else { "NO" });
    Ok(if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Kills the leader, measures, and makes the cluster whole again.
async fn one(cluster: &mut Cluster) -> Result<Duration> {
    let leader = cluster.wait_leader(READY_LIMIT).await?;
    let survivors: Vec<Connection> = cluster
        .running()
        .into_iter()
        .filter(|&slot| slot != leader)
        .map(|slot| cluster.connection(slot))
        .collect();
    for connection in &survivors {
        // Connections are made beforehand: their making is not the cluster's time.
        connection.status().await?;
    }
    let pause = Duration::from_millis(rand::rng().random_range(0..1000));
    tokio::time::sleep(pause).await;
    let killed = Instant::now();
    cluster.member(leader).kill();
    let gap = first_write(survivors, killed).await?;
    cluster.member(leader).start()?;
    cluster.wait_ready(READY_LIMIT).await?;
    // A leader that takes over needs the newcomer's progress to be steady.
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(gap)
}

/// The time from `killed` until any survivor has accepted a write.
async fn first_write(survivors: Vec<Connection>, killed: Instant) -> Result<Duration> {
    let mut attempts = JoinSet::new();
    let deadline = killed + READY_LIMIT;
    let mut tick = tokio::time::interval(ATTEMPTS);
    while Instant::now() < deadline {
        tokio::select! {
            _ = tick.tick() => {
                for connection in &survivors {
                    let connection = connection.clone();
                    attempts.spawn(async move { connection.put("failover", "value").await });
                }
            }
            Some(ended) = attempts.join_next() => {
                if matches!(ended, Ok(Ok(_))) {
                    return Ok(killed.elapsed());
                }
            }
        }
    }
    bail!("no write was accepted in {READY_LIMIT:?}")
}
