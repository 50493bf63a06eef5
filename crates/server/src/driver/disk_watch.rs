//! Whether the disk of the log is stuck: a sync that takes longer than an election.
//!
//! Entries reach followers while the leader's own sync is under way, so that a leader whose disk
//! hangs would go on sending heartbeats and never apply anything: nobody would take its place.
//!
//! A leader gives up only a disk that is slower than those of the others: a quorum has what its own
//! disk does not, and has had it for half an election timeout. Where all disks are overloaded
//! nobody would lead any better.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What to do about a stuck disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It works.
    Fine,
    /// It has just been found to be stuck: leadership should go elsewhere.
    HandOver,
    /// It is stuck, and handing over is under way.
    Waiting,
    /// Handing over took too long: no leadership, no ticks.
    Silent,
}

/// The syncs under way, oldest first.
pub(crate) struct DiskWatch {
    syncs: VecDeque<(u64, Instant)>,
    patience: Duration,
    /// Since when the others have had more than this disk.
    behind_since: Option<Instant>,
    found_at: Option<Instant>,
}

impl DiskWatch {
    /// A watch that loses patience after an election timeout.
    pub(crate) fn new(patience: Duration) -> DiskWatch {
        DiskWatch { syncs: VecDeque::new(), patience, behind_since: None, found_at: None }
    }

    /// A ready has to be synced.
    pub(crate) fn begin(&mut self, ready: u64, now: Instant) {
        self.syncs.push_back((ready, now));
    }

    /// Everything up to this ready is synced.
    pub(crate) fn end(&mut self, ready: u64) {
        while self.syncs.front().is_some_and(|(first, _)| *first <= ready) {
            self.syncs.pop_front();
        }
    }

    /// Asked with each tick; `behind` when more is committed than is on this disk.
    pub(crate) fn look(&mut self, now: Instant, leads: bool, behind: bool) -> Verdict {
        let behind_since = behind.then(|| self.behind_since.unwrap_or(now));
        self.behind_since = behind_since;
        let is_slowest = behind_since.is_some_and(|at| now.duration_since(at) >= self.patience / 2);
        let oldest = self.syncs.front().map(|(_, began)| *began);
        let is_stuck = oldest.is_some_and(|began| now.duration_since(began) >= self.patience);
        if !is_stuck || (leads && !is_slowest) {
            self.found_at = None;
            return Verdict::Fine;
        }
        match self.found_at {
            None => {
                self.found_at = Some(now);
                Verdict::HandOver
            }
            Some(found) if now.duration_since(found) < self.patience => Verdict::Waiting,
            Some(_) => Verdict::Silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_sync_is_found_told_once_and_forgotten() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut watch = DiskWatch::new(second);
        assert_eq!(watch.look(start, true, true), Verdict::Fine);
        watch.begin(1, start);
        watch.begin(2, start + second / 2);
        assert_eq!(watch.look(start + second / 2, true, true), Verdict::Fine);
        watch.end(1);
        assert_eq!(watch.look(start + second, true, true), Verdict::Fine);
        let late = start + second * 3 / 2;
        assert_eq!(watch.look(late, true, true), Verdict::HandOver);
        assert_eq!(watch.look(late + second / 2, true, true), Verdict::Waiting);
        assert_eq!(watch.look(late + second, true, true), Verdict::Silent);
        watch.begin(3, late + second);
        watch.end(3);
        assert_eq!(watch.look(late + second * 9, true, true), Verdict::Fine);
    }

    #[test]
    fn a_leader_keeps_a_disk_that_is_no_slower_than_the_others() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut watch = DiskWatch::new(second);
        watch.begin(1, start);
        // Nobody has what it waits for; a follower with such a disk does not campaign either way.
        assert_eq!(watch.look(start + 5 * second, true, false), Verdict::Fine);
        // The others have just been faster.
        assert_eq!(watch.look(start + 6 * second, true, true), Verdict::Fine);
        assert_eq!(watch.look(start + 6 * second + second / 4, true, false), Verdict::Fine);
        assert_eq!(watch.look(start + 7 * second, true, true), Verdict::Fine);
        assert_eq!(watch.look(start + 7 * second + second / 2, true, true), Verdict::HandOver);
        assert_eq!(watch.look(start + 8 * second, false, false), Verdict::Waiting);
    }
}
