//! Runs seeds, one after another or several at a time, and sums up what they did.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    panic::catch_unwind,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::cluster::{Report, run};

/// What many runs did.
#[derive(Debug, Default)]
pub struct Sums {
    /// Runs.
    pub seeds: u64,
    /// Time on the clock.
    pub took: Duration,
    /// What all did together.
    pub total: Report,
    /// Seeds that failed, with what went wrong.
    pub failures: Vec<(u64, String)>,
}

impl Sums {
    fn add(&mut self, report: Report) {
        let total = &mut self.total;
        total.simulated_us += report.simulated_us;
        total.operations += report.operations;
        total.answered += report.answered;
        total.events += report.events;
        total.entries += report.entries;
        total.messages += report.messages;
        total.hashes += report.hashes;
        for (kind, count) in report.kinds {
            *total.kinds.entry(kind).or_default() += count;
        }
        for (kind, count) in report.faults {
            *total.faults.entry(kind).or_default() += count;
        }
    }

    /// The summary for people.
    pub fn summary(&self) -> String {
        let total = &self.total;
        let hours = total.simulated_us as f64 / 3_600e6;
        let took = self.took.as_secs_f64();
        let mut lines = vec![
            format!(
                "{} seeds in {took:.0} s: {hours:.2} simulated hours ({:.3} per second), {} failed",
                self.seeds,
                hours / took,
                self.failures.len()
            ),
            format!(
                "checked {} operations ({} answered), {} watched events, {} hashes of stores, \
                 {} committed entries, {} messages",
                total.operations,
                total.answered,
                total.events,
                total.hashes,
                total.entries,
                total.messages
            ),
        ];
        let count = |counts: &BTreeMap<&str, u64>, lines: &mut Vec<String>| {
            lines.extend(counts.iter().map(|(kind, count)| format!("{count:>10} {kind}")));
        };
        lines.push("operations".to_owned());
        count(&total.kinds, &mut lines);
        lines.push("faults".to_owned());
        count(&total.faults, &mut lines);
        if !self.failures.is_empty() {
            let seeds: Vec<String> =
                self.failures.iter().map(|(seed, _)| seed.to_string()).collect();
            lines.push(format!("failed: {}", seeds.join(", ")));
        }
        lines.join("\n")
    }
}

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics end a seed, not the simulator: they are remembered instead of printed.
pub fn remember_panics() {
    std::panic::set_hook(Box::new(|info| LAST_PANIC.set(info.to_string())));
}

/// Runs one seed; a member that stopped for a broken invariant is a failure like any other.
pub fn run_one(seed: u64) -> Result<Report, String> {
    catch_unwind(|| run(seed)).unwrap_or_else(|_| {
        let what = LAST_PANIC.with_borrow(Clone::clone);
        Err(format!("seed {seed}: a broken invariant stopped a member: {what}"))
    })
}

/// Runs `seeds` seeds from `from` on, on some threads. `failed` is told of each failure at once.
pub fn run_many(from: u64, seeds: u64, threads: usize, failed: impl Fn(&str) + Sync) -> Sums {
    let began = Instant::now();
    let next = AtomicU64::new(from);
    let end = from.saturating_add(seeds);
    let sums = Mutex::new(Sums::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let outcome = run_one(seed);
                    let mut sums = sums.lock().expect("nobody panics while holding it");
                    sums.seeds += 1;
                    match outcome {
                        Ok(report) => sums.add(report),
                        Err(what) => {
                            failed(&what);
                            sums.failures.push((seed, what));
                        }
                    }
                }
            });
        }
    });
    let mut sums = sums.into_inner().expect("nobody panics while holding it");
    sums.took = began.elapsed();
    sums.failures.sort();
    sums
}
