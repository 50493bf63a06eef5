//! Sends one random sequence of requests to two servers and compares every answer.
//!
//! Exit codes: 0 no difference; 1 the servers differ; 2 a server broke or could not be started.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use conformance::{
    differential::{
        known::KNOWN,
        report::Summary,
        run::{Config, run},
    },
    member::Binary,
};

/// What to compare and how long.
#[derive(Parser)]
struct Arguments {
    /// The first server's executable; the binary under test when absent.
    #[arg(long)]
    a: Option<PathBuf>,
    /// The second server's executable; the reference etcd when absent.
    #[arg(long)]
    b: Option<PathBuf>,
    /// How many steps to send.
    #[arg(long, default_value_t = 3000)]
    ops: usize,
    /// Decides the sequence of requests.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// End the run after so many differences.
    #[arg(long, default_value_t = 1)]
    max_differences: usize,
    /// Show the differences that are no faults, and end.
    #[arg(long)]
    known: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.known {
        KNOWN.iter().for_each(|known| println!("{}: {}", known.name, known.reason));
        return ExitCode::SUCCESS;
    }
    match compare(&arguments).await {
        Ok(summary) if summary.differences.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

async fn compare(arguments: &Arguments) -> Result<Summary> {
    let a = arguments.a.as_deref().map_or_else(Binary::under_test, Binary::at)?;
    let b = arguments.b.as_deref().map_or_else(Binary::reference, Binary::at)?;
    let Arguments { seed, ops: steps, max_differences, .. } = *arguments;
    println!("a: {} {:?}", a.path().display(), a.version());
    println!("b: {} {:?}", b.path().display(), b.version());
    println!("seed {seed}, {steps} steps");
    let started = Instant::now();
    let summary = run(&a, &b, &Config { seed, steps, max_differences }).await?;
    summary.differences.iter().for_each(|text| println!("{text}"));
    println!("{summary}\n{:?}", started.elapsed());
    if summary.differences.is_empty() {
        check_coverage(&summary, steps)?;
    }
    Ok(summary)
}

/// A run that tried little proves little: the sequence must have met what it is there for.
fn check_coverage(summary: &Summary, steps: usize) -> Result<()> {
    ensure!(steps < 3000 || summary.kinds.len() >= 16, "only these kinds: {:?}", summary.kinds);
    ensure!(steps < 3000 || summary.errors.len() >= 12, "only these errors: {:?}", summary.errors);
    ensure!(steps < 50_000 || summary.hashes >= 20, "only {} equal hashes", summary.hashes);
    ensure!(steps < 3000 || summary.events >= 500, "only {} events", summary.events);
    Ok(())
}
