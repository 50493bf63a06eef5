//! Deadlines in order, and the pacing of many deadlines after a change of leader.

use std::collections::BTreeSet;

use api::ids::LeaseId;

/// How many leases a new primary lets expire in any one second. Revocation runs at up to 1000 per
/// second, so leases that expire of themselves in that second still find room.
const PACED_PER_SECOND: usize = 750;

/// Below this count all leases can expire at once without a queue.
const PACED_FROM: usize = 1000;

/// A set of (deadline, lease), earliest first. Each lease knows the deadline under which it stands
/// here, so that every change costs one removal and one insertion.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(BTreeSet<(u64, LeaseId)>);

impl Deadlines {
    /// Builds the queue at once from deadlines in any order.
    pub(crate) fn from_iter(all: impl IntoIterator<Item = (u64, LeaseId)>) -> Deadlines {
        Deadlines(all.into_iter().collect())
    }

    pub(crate) fn insert(&mut self, at: u64, id: LeaseId) {
        let new = self.0.insert((at, id));
        assert!(new, "lease {id} stands twice in a deadline queue");
    }

    pub(crate) fn remove(&mut self, at: u64, id: LeaseId) {
        let stood = self.0.remove(&(at, id));
        assert!(stood, "lease {id} is not in the deadline queue where it says it is");
    }

    /// Takes the earliest deadline if it is not after `now`.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<LeaseId> {
        let first = *self.0.first()?;
        if first.0 > now {
            return None;
        }
        self.0.remove(&first);
        Some(first.1)
    }
}

/// Delays deadlines so that at most [`PACED_PER_SECOND`] fall in any second, keeping their order.
/// No deadline becomes earlier. `sorted` is ascending, in milliseconds.
pub(crate) fn pace(sorted: &mut [(u64, LeaseId)]) {
    if sorted.len() < PACED_FROM {
        return;
    }
    for at in PACED_PER_SECOND..sorted.len() {
        let earliest = sorted[at - PACED_PER_SECOND].0.saturating_add(1000);
        sorted[at].0 = sorted[at].0.max(earliest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases(deadlines: impl Iterator<Item = u64>) -> Vec<(u64, LeaseId)> {
        deadlines.zip(1..).map(|(at, id)| (at, LeaseId(id))).collect()
    }

    #[test]
    fn few_leases_keep_their_deadlines() {
        let mut few = leases((0..999).map(|_| 5000));
        let before = few.clone();
        pace(&mut few);
        assert_eq!(few, before);
    }

    #[test]
    fn many_leases_expire_at_the_paced_rate_and_never_early() {
        let before = leases((0..10_000).map(|at| 60_000 + at / 9));
        let mut after = before.clone();
        pace(&mut after);
        assert!(before.iter().zip(&after).all(|(old, new)| new.0 >= old.0));
        assert!(after.is_sorted());
        for window in after.windows(PACED_PER_SECOND + 1) {
            assert!(window[PACED_PER_SECOND].0 >= window[0].0 + 1000);
        }
    }

    #[test]
    fn leases_already_spread_are_left_alone() {
        let mut spread = leases((0..5000).map(|at| at * 2));
        let before = spread.clone();
        pace(&mut spread);
        assert_eq!(spread, before);
    }
}
