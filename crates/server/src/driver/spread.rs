//! Work in bulk that must not take a disk or a processor from those who serve clients: spread over
//! time, by sleeping between its pieces. For threads that may sleep.

use std::time::{Duration, Instant};

/// The least rate, in bytes a second: what a disk hardly notices.
const RATE_MIN: u64 = 12 << 20;
/// The longest that a whole is stretched: entries gather behind a store on its way.
const STRETCH_MAX: Duration = Duration::from_secs(20);
/// Shorter pauses are saved up.
const PAUSE_MIN: Duration = Duration::from_millis(2);

/// The bytes of one piece of work that have been dealt with, and since when.
pub(crate) struct Spread {
    /// Bytes a second.
    rate: f64,
    began: Instant,
    done: u64,
}

impl Spread {
    /// Work on `total` bytes, which begins now.
    pub(crate) fn over(total: u64) -> Spread {
        let needed = total as f64 / STRETCH_MAX.as_secs_f64();
        Spread::at_rate(needed.max(RATE_MIN as f64))
    }

    /// Work at so many bytes a second.
    pub(crate) fn at_rate(rate: f64) -> Spread {
        Spread { rate, began: Instant::now(), done: 0 }
    }

    /// So many bytes more are done: sleeps until it is time for the next ones, unless the member is
    /// `stopping`.
    pub(crate) fn pass(&mut self, stopping: bool, bytes: usize) {
        self.done += bytes as u64;
        let pause = self.ahead(Instant::now());
        if pause >= PAUSE_MIN && !stopping {
            std::thread::sleep(pause);
        }
    }

    /// How far the work is ahead of its rate. Time in which nothing was done is not made up for by
    /// haste: it moves the beginning.
    fn ahead(&mut self, now: Instant) -> Duration {
        let due = self.began + Duration::from_secs_f64(self.done as f64 / self.rate);
        if let Some(late) = now.checked_duration_since(due) {
            self.began += late;
        }
        due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_paused_for_and_lost_time_is_not_made_up() {
        let mut spread = Spread::over(100 << 20);
        let start = spread.began;
        spread.done = 6 << 20;
        assert_eq!(spread.ahead(start), Duration::from_millis(500));
        assert_eq!(spread.ahead(start + Duration::from_millis(400)), Duration::from_millis(100));
        assert_eq!(spread.ahead(start + Duration::from_millis(700)), Duration::ZERO);
        spread.done = 12 << 20;
        assert_eq!(spread.ahead(start + Duration::from_millis(700)), Duration::from_millis(500));
    }

    #[test]
    fn a_large_whole_is_not_stretched_for_ever() {
        let mut spread = Spread::over(100 << 30);
        spread.done = 100 << 30;
        assert!(spread.ahead(spread.began) <= STRETCH_MAX);
    }
}
