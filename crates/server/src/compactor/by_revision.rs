//! Compaction by count: every five minutes, at the revision that leaves the newest N.

/// Time between two looks.
pub(super) const INTERVAL_MS: u64 = 5 * 60 * 1000;

/// Keeps a number of revisions.
pub(crate) struct ByRevision {
    retention: i64,
    /// The revision compacted last; 0 for none.
    last: i64,
}

impl ByRevision {
    /// Keeps the newest `retention` revisions.
    pub(super) fn new(retention: i64) -> ByRevision {
        ByRevision { retention, last: 0 }
    }

    /// How many revisions it keeps.
    pub(super) fn retention(&self) -> i64 {
        self.retention
    }

    /// The revision to compact at, of a store at `revision`.
    pub(super) fn due(&self, revision: i64) -> Option<i64> {
        let target = revision.saturating_sub(self.retention);
        (target > 0 && target != self.last).then_some(target)
    }

    /// `revision` is compacted: not again until it moves.
    pub(super) fn compacted(&mut self, revision: i64) {
        self.last = revision;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_revisions_stay() {
        let mut compactor = ByRevision::new(10);
        assert_eq!(compactor.due(5), None);
        assert_eq!(compactor.due(10), None);
        assert_eq!(compactor.due(100), Some(90));
        assert_eq!(compactor.due(100), Some(90), "a failure is tried again");
        compactor.compacted(90);
        assert_eq!(compactor.due(100), None);
        assert_eq!(compactor.due(101), Some(91));
    }

    #[test]
    fn absurd_counts_do_not_overflow() {
        assert_eq!(ByRevision::new(i64::MAX).due(i64::MAX), None);
        assert_eq!(ByRevision::new(i64::MIN).due(7), Some(i64::MAX));
    }
}
