//! Compaction by age: samples of the revision, taken ten times per interval, tell what it was one
//! retention period ago.

use std::collections::VecDeque;

/// The longest time between two compactions.
const INTERVAL_MAX_MS: u64 = 60 * 60 * 1000;
/// Samples per interval.
const SAMPLES: u64 = 10;

/// Keeps history of a certain age.
pub(crate) struct Periodic {
    period_ms: u64,
    /// Time between two samples.
    sample_ms: u64,
    /// Time between two compactions, after the first.
    interval_ms: u64,
    /// Time to let pass before the next compaction: the period itself at first.
    wanted_ms: u64,
    /// The last compaction; at first, the beginning.
    last_ms: u64,
    /// The revision compacted last; 0 for none.
    last: i64,
    /// The oldest is from one period ago, once there are enough.
    samples: VecDeque<i64>,
    samples_max: usize,
}

impl Periodic {
    /// Keeps what is younger than `period_ms`, from `now_ms` on.
    pub(super) fn new(period_ms: u64, now_ms: u64) -> Periodic {
        let interval_ms = period_ms.min(INTERVAL_MAX_MS);
        let sample_ms = (interval_ms / SAMPLES).max(1);
        let samples_max = usize::try_from(period_ms / sample_ms).unwrap_or(usize::MAX - 1) + 1;
        Periodic {
            period_ms,
            sample_ms,
            interval_ms,
            wanted_ms: period_ms,
            last_ms: now_ms,
            last: 0,
            samples: VecDeque::new(),
            samples_max,
        }
    }

    /// The age of what is kept.
    pub(super) fn period_ms(&self) -> u64 {
        self.period_ms
    }

    /// Time between two samples.
    pub(super) fn sample_ms(&self) -> u64 {
        self.sample_ms
    }

    /// Takes a sample; returns the milliseconds until the next.
    pub(super) fn begin_wait(&mut self, revision: i64) -> u64 {
        self.samples.push_back(revision);
        if self.samples.len() > self.samples_max {
            self.samples.pop_front();
        }
        self.sample_ms
    }

    /// The revision to compact at, if the time has come and it is another than the last.
    pub(super) fn due(&mut self, now_ms: u64) -> Option<i64> {
        let oldest = *self.samples.front()?;
        if now_ms.saturating_sub(self.last_ms) < self.wanted_ms || oldest == self.last {
            return None;
        }
        self.wanted_ms = self.interval_ms;
        Some(oldest)
    }

    /// `revision` was compacted at `now_ms`. Without this, the next sample tries again.
    pub(super) fn compacted(&mut self, revision: i64, now_ms: u64) {
        self.last = revision;
        self.last_ms = now_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60 * 1000;
    const HOUR: u64 = 60 * MINUTE;

    /// Runs for `hours`, with the revision rising by 1 per sample; returns when it compacted, in
    /// samples, and at which revision.
    fn run(period_ms: u64, hours: u64, fails: impl Fn(u64) -> bool) -> Vec<(u64, i64)> {
        let mut compactor = Periodic::new(period_ms, 0);
        let mut done = Vec::new();
        let mut now = 0;
        let mut sample = 0;
        while now < hours * HOUR {
            now += compactor.begin_wait(sample as i64 + 1);
            sample += 1;
            if let Some(revision) = compactor.due(now) {
                if !fails(sample) {
                    compactor.compacted(revision, now);
                }
                done.push((sample, revision));
            }
        }
        done
    }

    #[test]
    fn one_hour_compacts_each_hour_at_what_was_an_hour_ago() {
        // Samples every six minutes; the first compaction sees the first sample.
        assert_eq!(run(HOUR, 3, |_| false), [(10, 1), (20, 10), (30, 20)]);
    }

    #[test]
    fn a_day_waits_a_day_and_then_compacts_each_hour() {
        let done = run(24 * HOUR, 27, |_| false);
        assert_eq!(done, [(240, 1), (250, 10), (260, 20), (270, 30)]);
    }

    #[test]
    fn short_periods_compact_once_each() {
        let mut compactor = Periodic::new(5000, 0);
        assert_eq!(compactor.begin_wait(1), 500);
        let done = run(10 * MINUTE, 1, |_| false);
        assert_eq!(done.len(), 6);
        assert_eq!(done[..2], [(10, 1), (20, 10)]);
    }

    #[test]
    fn a_failure_is_tried_again_at_the_next_sample() {
        let done = run(HOUR, 2, |sample| sample < 12);
        assert_eq!(done[..3], [(10, 1), (11, 1), (12, 2)]);
    }

    #[test]
    fn the_same_revision_is_not_compacted_twice() {
        let mut compactor = Periodic::new(HOUR, 0);
        let mut count = 0;
        for sample in 1..=50 {
            let wait = compactor.begin_wait(7);
            if let Some(revision) = compactor.due(sample * wait) {
                compactor.compacted(revision, sample * wait);
                count += 1;
            }
        }
        assert_eq!(count, 1);
    }

    #[test]
    fn absurd_periods_keep_their_bounds() {
        let mut none = Periodic::new(0, 0);
        assert_eq!(none.begin_wait(1), 1);
        assert_eq!(none.begin_wait(2), 1);
        assert_eq!(none.due(1), Some(2), "nothing is kept");
        let mut ages = Periodic::new(u64::MAX, 0);
        assert_eq!(ages.begin_wait(1), 6 * MINUTE);
        assert_eq!(ages.due(u64::MAX - 1), None);
    }
}
