//! Sampling: of equal lines in one second the first hundred pass, then every hundredth.
//!
//! Lines are equal when level and message are; fields do not count. Messages share a fixed number
//! of counters, as in etcd's logger, so that memory does not grow with what is logged.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Severity;

const COUNTERS: usize = 1024;
const FIRST: u64 = 100;
const THEREAFTER: u64 = 100;
const PERIOD_MICROS: u64 = 1_000_000;

pub(crate) struct Sampler {
    counters: Box<[Counter]>,
}

#[derive(Default)]
struct Counter {
    resets_at_micros: AtomicU64,
    lines: AtomicU64,
}

impl Sampler {
    pub(crate) fn new() -> Sampler {
        Sampler { counters: (0..COUNTERS).map(|_| Counter::default()).collect() }
    }

    /// Whether this line is written.
    pub(crate) fn admits(&self, severity: Severity, message: &str, now: SystemTime) -> bool {
        let micros = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let now = u64::try_from(micros).unwrap_or(u64::MAX);
        let slot = fnv(severity, message) as usize % COUNTERS;
        let lines = self.counters[slot].count(now);
        lines <= FIRST || (lines - FIRST).is_multiple_of(THEREAFTER)
    }
}

impl Counter {
    /// Counts a line and returns its number within the running second.
    fn count(&self, now: u64) -> u64 {
        let resets_at = self.resets_at_micros.load(Ordering::Relaxed);
        if now < resets_at {
            return self.lines.fetch_add(1, Ordering::Relaxed) + 1;
        }
        let next = now.saturating_add(PERIOD_MICROS);
        let won = self.resets_at_micros.compare_exchange(
            resets_at,
            next,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if won.is_err() {
            return self.lines.fetch_add(1, Ordering::Relaxed) + 1;
        }
        self.lines.store(1, Ordering::Relaxed);
        1
    }
}

fn fnv(severity: Severity, message: &str) -> u32 {
    let seed = 2_166_136_261 ^ severity as u32;
    message.bytes().fold(seed, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_hundred_a_second_then_each_hundredth() {
        let sampler = Sampler::new();
        let start = UNIX_EPOCH + Duration::from_secs(1_000);
        let written = |at: SystemTime, lines: usize| {
            (0..lines).filter(|_| sampler.admits(Severity::Info, "again", at)).count()
        };
        assert_eq!(written(start, 100), 100);
        assert_eq!(written(start + Duration::from_millis(999), 250), 2);
        assert!(sampler.admits(Severity::Warn, "again", start), "a level counts for itself");
        assert_eq!(written(start + Duration::from_secs(1), 99), 99);
    }
}
