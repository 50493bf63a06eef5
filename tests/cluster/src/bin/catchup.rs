//! What a member that was away does to the others while it catches up.
//!
//! `cargo run --release -p cluster --bin catchup`

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::Parser;
use cluster::{
    binary::Binary,
    cluster::{Cluster, Options, READY_LIMIT},
    measure::{self, Samples},
};
use tokio::sync::watch;

/// Stops a follower, writes, starts it again, and measures the leader's puts meanwhile.
#[derive(Parser)]
struct Arguments {
    /// Writes that it misses.
    #[arg(long, default_value_t = 100_000)]
    writes: u32,
    /// Bytes of each.
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Puts a second while it is measured.
    #[arg(long, default_value_t = 300)]
    rate: u32,
    /// Seconds of measuring before, and at least while it catches up.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// What members run: `oxetcd`, `etcd` (a real one) or a path.
    #[arg(long, default_value = "oxetcd")]
    binary: String,
    /// How it catches up.
    #[arg(long, default_value = "log,snapshot", value_delimiter = ',')]
    by: Vec<String>,
    /// Keeps logs and data here.
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// How much longer the leader's p99 may be meanwhile.
const GOAL: f64 = 2.0;
/// It may take so long to catch up.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(300);

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let binary = Binary::named(&arguments.binary)?;
    println!(
        "catch-up: 3 members of {}, {} writes of {} bytes missed, {} puts/s measured",
        binary.describe(),
        arguments.writes,
        arguments.size,
        arguments.rate
    );
    let mut reached = true;
    for by in &arguments.by {
        reached &= run(&arguments, &binary, by)?;
    }
    Ok(if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run(arguments: &Arguments, binary: &Binary, by: &str) -> Result<bool> {
    let mut options = Options::of(binary.clone(), 3);
    let missed = u64::from(arguments.writes);
    options.flags = match by {
        "log" => binary.short_log_flags(missed * 10, missed * 10),
        "snapshot" => binary.short_log_flags(10_000, 5_000),
        other => anyhow::bail!("--by {other}: log or snapshot"),
    };
    options.directory = arguments.directory.as_ref().map(|directory| directory.join(by));
    let (rate, size, writes) = (arguments.rate, arguments.size, arguments.writes);
    let seconds = Duration::from_secs(arguments.seconds);
    let by_snapshot = by == "snapshot";
    let (before, alone, during, took) = Cluster::with(options, async move |cluster| {
        let leader = cluster.wait_leader(READY_LIMIT).await?;
        let away = (leader + 1) % 3;
        let connection = cluster.connection(leader);
        measure::steady_for(connection.clone(), rate, size, Duration::from_secs(3)).await;
        let before = measure::steady_for(connection.clone(), rate, size, seconds).await;
        cluster.member(away).kill();
        let filled = measure::fill(connection.clone(), 200, writes, size).await?;
        println!("  {writes} writes in {filled:.1?}");
        tokio::time::sleep(Duration::from_secs(3)).await;
        let alone = measure::steady_for(connection.clone(), rate, size, seconds).await;
        let log_before = cluster.member(away).log().len();
        let (stop, stopped) = watch::channel(false);
        let measured = tokio::spawn(measure::steady(connection.clone(), rate, size, stopped));
        let began = Instant::now();
        cluster.member(away).start()?;
        let took = caught_up(cluster, leader, away, began).await?;
        tokio::time::sleep(seconds.saturating_sub(took)).await;
        let _ = stop.send(true);
        let during = measured.await?;
        ensure!(cluster.leader().await == Some(leader), "the leadership moved");
        cluster.wait_equal(READY_LIMIT).await?;
        let log = cluster.member(away).log();
        let got_snapshot = log[log_before..].contains("applied snapshot");
        ensure!(got_snapshot == by_snapshot, "by snapshot: {got_snapshot}");
        Ok((before, alone, during, took))
    })?;
    println!("by {by}: caught up {took:.1?} after its start");
    println!("  three members:     {}", before.line());
    println!("  one away:          {}", alone.line());
    println!("  while it comes up: {}", during.line());
    println!("  until it was up:   {}", during.between(Duration::ZERO, took).line());
    println!("  the longest began at {:.1?}", during.longest(10));
    Ok(verdict(&before, &during))
}

/// Waits until the member has applied what the leader had when it looked.
async fn caught_up(
    cluster: &Cluster,
    leader: usize,
    member: usize,
    began: Instant,
) -> Result<Duration> {
    let connection = cluster.connection(member);
    let goal = cluster.connection(leader).status().await?.raft_applied_index;
    while began.elapsed() < CATCH_UP_LIMIT {
        if let Ok(status) = connection.status().await
            && status.raft_applied_index >= goal
        {
            return Ok(began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("not caught up after {CATCH_UP_LIMIT:?}")
}

fn verdict(before: &Samples, during: &Samples) -> bool {
    let [before, during_99] = [before, during].map(|samples| samples.quantile(0.99).as_secs_f64());
    let ratio = during_99 / before.max(1e-9);
    let reached = ratio <= GOAL && during.failed == 0;
    println!("  p99 ratio {ratio:.2}, within {GOAL}: {}", if reached { "yes" } else { "NO" });
    reached
}
