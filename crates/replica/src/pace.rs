//! How fast a follower far behind is sent what a quorum already has.
//!
//! The log in memory could be sent in a moment, and would then take the disks and processors that the
//! others need: those of the leader where members share a machine, those of the follower always. So
//! reads of such entries draw on a bucket of bytes that time fills, and a refused read is tried again
//! when there is something in it. The cluster can wait for nobody who is paced:
//!
//! - Whatever is appended earns more than itself for each follower that waits: one that is paced comes
//!   nearer under any load.
//! - Entries that are not committed yet, and the last few that are, are never paced.
//! - Nobody is while commits stand still or leadership is on its way to somebody.

use std::cell::Cell;

/// A follower that misses no more committed bytes is not far behind.
pub(crate) const NEAR_BYTES: u64 = 256 << 10;
/// The most bytes of entries in a message that is paced; one entry always fits. Each costs its
/// receiver a sync.
pub(crate) const MESSAGE_BYTES: u64 = 256 << 10;
/// What a byte that is appended earns for each follower that waits.
const EARNED: i64 = 2;
/// A bucket holds what so many milliseconds fill.
const BURST_MS: u64 = 100;

/// The bucket. Reads of the log borrow it: what they take is counted in cells.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Bytes that a millisecond fills; 0 paces nobody.
    rate_ms: i64,
    /// May be negative: the last read took more than there was.
    bytes: Cell<i64>,
    /// Whether a read was refused since the bucket was last seen to.
    refused: Cell<bool>,
    filled_at: Option<u64>,
    appended: u64,
    committed: u64,
    suspended: bool,
}

impl Pace {
    /// A full bucket that fills at `rate` bytes a second; 0 paces nobody.
    pub(crate) fn new(rate: u64) -> Pace {
        let rate_ms = i64::try_from(rate.div_ceil(1000)).unwrap_or(i64::MAX / BURST_MS as i64);
        Pace {
            rate_ms,
            bytes: Cell::new(rate_ms.saturating_mul(BURST_MS as i64)),
            refused: Cell::new(false),
            filled_at: None,
            appended: 0,
            committed: 0,
            suspended: false,
        }
    }

    /// So many bytes were appended to the log.
    pub(crate) fn appended(&mut self, bytes: u64) {
        self.appended = self.appended.saturating_add(bytes);
    }

    /// What of the log a quorum has, and whether nobody is to be paced for now.
    pub(crate) fn observe(&mut self, committed: u64, suspended: bool) {
        self.committed = committed;
        self.suspended = suspended;
    }

    /// The last committed entry that reads which begin at or before it may be paced for.
    pub(crate) fn paces_up_to(&self) -> u64 {
        if self.suspended || self.rate_ms == 0 { 0 } else { self.committed }
    }

    /// Whether a paced read may take something now.
    pub(crate) fn admits(&self) -> bool {
        let admitted = self.bytes.get() > 0;
        if !admitted {
            self.refused.set(true);
        }
        admitted
    }

    /// A paced read has taken so much.
    pub(crate) fn take(&self, bytes: u64) {
        let taken = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.bytes.set(self.bytes.get().saturating_sub(taken));
    }

    /// Fills the bucket for the time that has passed, and for what was appended while `waiting`
    /// followers wait. True when somebody was refused and may try again.
    pub(crate) fn fill(&mut self, now_ms: u64, waiting: usize) -> bool {
        let passed = now_ms.saturating_sub(self.filled_at.unwrap_or(now_ms)).min(BURST_MS) as i64;
        self.filled_at = Some(now_ms);
        let burst = self.rate_ms.saturating_mul(BURST_MS as i64);
        let appended = i64::try_from(std::mem::take(&mut self.appended)).unwrap_or(i64::MAX);
        let waiting = waiting.max(usize::from(self.refused.get()));
        let earned = appended.saturating_mul(EARNED).saturating_mul(waiting as i64);
        let filled = self.bytes.get().saturating_add(self.rate_ms.saturating_mul(passed));
        self.bytes.set(filled.min(burst).saturating_add(earned));
        let again = self.refused.get() && (self.suspended || self.bytes.get() > 0);
        if again {
            self.refused.set(false);
        }
        again
    }

    /// In how many milliseconds somebody who was refused may try again.
    pub(crate) fn due_in_ms(&self) -> Option<u64> {
        let missing = 1_i64.saturating_sub(self.bytes.get()).max(0) as u64;
        self.refused.get().then(|| missing.div_ceil(self.rate_ms.max(1) as u64).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_with_time_and_with_appends() {
        let mut pace = Pace::new(10_000_000);
        assert!(!pace.fill(5, 0));
        assert!(pace.admits());
        pace.take(1_000_000);
        assert!(!pace.admits());
        assert_eq!(pace.due_in_ms(), Some(1));
        pace.take(100_000);
        assert_eq!(pace.due_in_ms(), Some(11));
        assert!(!pace.fill(15, 1));
        assert!(pace.fill(16, 1));
        assert_eq!(pace.due_in_ms(), None);
        pace.take(2_000_000);
        assert!(!pace.admits());
        pace.appended(1_100_000);
        assert!(pace.fill(16, 1), "twice what was appended");
        // A long time fills no more than a burst.
        pace.fill(1_000_000, 0);
        assert_eq!(pace.bytes.get(), 1_000_000);
    }

    #[test]
    fn nobody_is_paced_where_that_is_not_wanted() {
        let mut pace = Pace::new(1000);
        pace.observe(50, false);
        assert_eq!(pace.paces_up_to(), 50);
        pace.take(1 << 40);
        assert!(!pace.admits());
        pace.observe(50, true);
        assert_eq!(pace.paces_up_to(), 0);
        assert!(pace.fill(0, 0), "whoever was refused may try again");
        let mut pace = Pace::new(0);
        pace.observe(50, false);
        assert_eq!(pace.paces_up_to(), 0);
    }
}
