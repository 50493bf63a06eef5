//! The positions of a member in its log, and how they are ordered:
//!
//! ```text
//!   compacted <= snapshot <= applied <= handed <= committed <= last
//!                                       handed <= persisted <= last
//! ```
//!
//! `compacted`: gone from memory. `snapshot`: offered to followers too far behind. `applied`: in the
//! state machine. `handed`: given to the state machine. `committed`: on a quorum. `persisted`: on the
//! own disk. `last`: in memory.
//!
//! While a leader's snapshot is being installed, `snapshot` and `compacted` are already at its index
//! and `applied` follows when the store has been replaced; the disk may be behind it, too.

use api::ids::RaftIndex;

/// The positions at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// The last entry that memory no longer holds.
    pub compacted: RaftIndex,
    /// The snapshot offered to followers too far behind.
    pub snapshot: RaftIndex,
    /// The last entry in the state machine.
    pub applied: RaftIndex,
    /// The last entry given to the state machine.
    pub handed: RaftIndex,
    /// The last entry known to be on a quorum.
    pub committed: RaftIndex,
    /// The last entry on the own disk.
    pub persisted: RaftIndex,
    /// The last entry.
    pub last: RaftIndex,
}

impl Positions {
    /// Panics, naming the positions, when they are out of order. `restoring` while a leader's
    /// snapshot is being installed.
    pub(crate) fn check(&self, restoring: bool) {
        let log = self.compacted <= self.snapshot
            && self.applied <= self.handed
            && self.handed <= self.committed
            && self.committed <= self.last
            && self.persisted <= self.last;
        let store = restoring || (self.snapshot <= self.applied && self.handed <= self.persisted);
        assert!(
            log && store,
            "raft positions are ordered (compacted <= snapshot <= applied <= handed <= committed <= \
             last, handed <= persisted <= last): {self:?}, restoring: {restoring}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(p: [u64; 7]) -> Positions {
        let [compacted, snapshot, applied, handed, committed, persisted, last] = p.map(RaftIndex);
        Positions { compacted, snapshot, applied, handed, committed, persisted, last }
    }

    #[test]
    fn ordered_positions_pass() {
        positions([0; 7]).check(false);
        positions([1, 2, 3, 4, 6, 5, 7]).check(false);
        positions([9, 9, 3, 9, 9, 3, 9]).check(true);
    }

    #[test]
    fn each_disorder_is_found() {
        for p in [
            [3, 2, 3, 4, 5, 5, 7],
            [1, 4, 3, 4, 5, 5, 7],
            [1, 2, 5, 4, 5, 5, 7],
            [1, 2, 3, 6, 5, 6, 7],
            [1, 2, 3, 4, 8, 5, 7],
            [1, 2, 3, 4, 5, 8, 7],
            [1, 2, 3, 4, 5, 3, 7],
        ] {
            let outcome = std::panic::catch_unwind(|| positions(p).check(false));
            assert!(outcome.is_err(), "{p:?} is out of order");
        }
    }
}
