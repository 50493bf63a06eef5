//! `sim [--seeds N] [--from SEED] [--threads N]`: runs seeds and sums up what they did. A seed that
//! fails is named, and running it alone shows the same failure again.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use sim::cluster::{Report, run};

struct Options {
    seeds: u64,
    from: u64,
    threads: usize,
}

fn options() -> Result<Options, String> {
    let mut options = Options { seeds: 100, from: 0, threads: 2 };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} wants a value"))?;
        let number: u64 = value.parse().map_err(|_| format!("{name} wants a number"))?;
        match name.as_str() {
            "--seeds" => options.seeds = number,
            "--from" => options.from = number,
            "--threads" => options.threads = usize::try_from(number).unwrap_or(1).max(1),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(options)
}

#[derive(Default)]
struct Sums {
    simulated_us: u64,
    operations: u64,
    answered: u64,
    events: u64,
    entries: u64,
    messages: u64,
    faults: BTreeMap<&'static str, u64>,
    failures: Vec<String>,
}

impl Sums {
    fn add(&mut self, report: Report) {
        self.simulated_us += report.simulated_us;
        self.operations += report.operations;
        self.answered += report.answered;
        self.events += report.events;
        self.entries += report.entries;
        self.messages += report.messages;
        for (kind, count) in report.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(what) => {
            eprintln!("sim: {what}");
            return ExitCode::FAILURE;
        }
    };
    let began = Instant::now();
    let next = AtomicU64::new(options.from);
    let end = options.from.saturating_add(options.seeds);
    let sums = Mutex::new(Sums::default());
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let outcome = std::panic::catch_unwind(|| run(seed));
                    let mut sums = sums.lock().expect("nobody panics while holding it");
                    match outcome {
                        Ok(Ok(report)) => sums.add(report),
                        Ok(Err(what)) => {
                            println!("FAILED {what}");
                            sums.failures.push(format!("seed {seed}"));
                        }
                        Err(_) => {
                            println!("FAILED seed {seed}: a broken invariant stopped a member");
                            sums.failures.push(format!("seed {seed}"));
                        }
                    }
                }
            });
        }
    });
    let sums = sums.into_inner().expect("nobody panics while holding it");
    let took = began.elapsed().as_secs_f64();
    let hours = sums.simulated_us as f64 / 3_600e6;
    println!(
        "{} seeds in {took:.0} s: {hours:.2} simulated hours ({:.3} per second), {} failed",
        options.seeds,
        hours / took,
        sums.failures.len()
    );
    println!(
        "checked {} operations ({} answered), {} watched events, {} committed entries, {} messages",
        sums.operations, sums.answered, sums.events, sums.entries, sums.messages
    );
    for (kind, count) in &sums.faults {
        println!("{count:>10} {kind}");
    }
    if sums.failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {}", sums.failures.join(", "));
    ExitCode::FAILURE
}
