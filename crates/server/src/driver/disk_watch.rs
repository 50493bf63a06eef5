//! Whether the disk of the log is stuck: a sync that takes longer than an election.
//!
//! Entries reach followers while the leader's own sync is under way, so that a leader whose disk
//! hangs would go on sending heartbeats and never apply anything: nobody would take its place.

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
    found_at: Option<Instant>,
}

impl DiskWatch {
    /// A watch that loses patience after an election timeout.
    pub(crate) fn new(patience: Duration) -> DiskWatch {
        DiskWatch { syncs: VecDeque::new(), patience, found_at: None }
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

    /// Asked with each tick.
    pub(crate) fn look(&mut self, now: Instant) -> Verdict {
        let oldest = self.syncs.front().map(|(_, began)| *began);
        if oldest.is_none_or(|began| now.duration_since(began) < self.patience) {
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
        assert_eq!(watch.look(start), Verdict::Fine);
        watch.begin(1, start);
        watch.begin(2, start + second / 2);
        assert_eq!(watch.look(start + second / 2), Verdict::Fine);
        watch.end(1);
        assert_eq!(watch.look(start + second), Verdict::Fine);
        let late = start + second * 3 / 2;
        assert_eq!(watch.look(late), Verdict::HandOver);
        assert_eq!(watch.look(late + second / 2), Verdict::Waiting);
        assert_eq!(watch.look(late + second), Verdict::Silent);
        watch.begin(3, late + second);
        watch.end(3);
        assert_eq!(watch.look(late + second * 9), Verdict::Fine);
    }
}
