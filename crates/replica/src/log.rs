//! The raft log in memory: every durable or soon durable entry since the last compaction. raft-rs
//! reads it through its `Storage` trait; the disk copy is the driver's.
//!
//! ```text
//!        compacted          snapshot              last
//!            v                  v                   v
//!   ... gone | entries kept for slow followers ...  |
//!            first = compacted + 1
//! ```
//!
//! The term of the compacted entry is kept: followers are matched against it.

use std::collections::VecDeque;

use crate::convert::{
    self, ConfState, Entry, GetEntriesContext, HardState, RaftError, RaftState, SnapshotMetadata,
    Storage, StorageError,
};
use crate::pace::{self, Pace};

/// What an entry is taken to weigh beside its payload.
const ENTRY_OVERHEAD: u64 = 24;

/// The log.
pub(crate) struct Log {
    compacted: (u64, u64),
    entries: VecDeque<Entry>,
    /// What the entries weigh.
    bytes: u64,
    snapshot: SnapshotMetadata,
    initial: RaftState,
    /// How fast followers far behind are sent what is old.
    pace: Pace,
}

fn weight(entry: &Entry) -> u64 {
    convert::payload_len(entry) as u64 + ENTRY_OVERHEAD
}

impl Log {
    /// A log that continues after the entry `start` (index, term). The store holds everything up to
    /// `applied`, with the members `conf_state`.
    pub(crate) fn new(
        start: (u64, u64),
        entries: Vec<Entry>,
        hard_state: HardState,
        conf_state: ConfState,
        applied: u64,
        pace: Pace,
    ) -> Log {
        let initial = RaftState::new(hard_state, conf_state.clone());
        let snapshot = SnapshotMetadata::default();
        let bytes = entries.iter().map(weight).sum();
        let mut log =
            Log { compacted: start, entries: entries.into(), bytes, snapshot, initial, pace };
        let term = log.term(applied).expect("what is applied is in the log or its start");
        log.snapshot = convert::snapshot_metadata(applied, term, conf_state);
        log
    }

    /// The index of the last compacted entry.
    pub(crate) fn compacted(&self) -> u64 {
        self.compacted.0
    }

    /// The index of the snapshot offered to followers.
    pub(crate) fn snapshot_index(&self) -> u64 {
        self.snapshot.index
    }

    /// The index of the last entry.
    pub(crate) fn last(&self) -> u64 {
        self.compacted.0 + self.entries.len() as u64
    }

    /// Appends `entries`; those already there of the same index and after are replaced.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first() else { return };
        assert!(
            self.compacted.0 < first.index && first.index <= self.last() + 1,
            "raft log is without gaps: entry {} does not continue {}..={}",
            first.index,
            self.compacted.0,
            self.last(),
        );
        for replaced in self.entries.drain((first.index - self.compacted.0 - 1) as usize..) {
            self.bytes -= weight(&replaced);
        }
        let bytes = entries.iter().map(weight).sum::<u64>();
        self.bytes += bytes;
        self.pace.appended(bytes);
        self.entries.extend(entries);
    }

    /// Takes `snapshot` as what followers too far behind are offered.
    pub(crate) fn set_snapshot(&mut self, snapshot: SnapshotMetadata) {
        assert!(
            self.snapshot.index <= snapshot.index && snapshot.index <= self.last(),
            "snapshot index {} lies between the previous one {} and the last entry {}",
            snapshot.index,
            self.snapshot.index,
            self.last(),
        );
        self.snapshot = snapshot;
    }

    /// Lets go of the entries up to `index`, or to the snapshot if that is older.
    pub(crate) fn compact(&mut self, index: u64) {
        let index = index.min(self.snapshot.index);
        if index <= self.compacted.0 {
            return;
        }
        let term = self.term(index).expect("an index above the compacted one has its entry");
        for gone in self.entries.drain(..(index - self.compacted.0) as usize) {
            self.bytes -= weight(&gone);
        }
        self.compacted = (index, term);
        if self.entries.capacity() > 4 * self.entries.len().max(1024) {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// The index up to which entries have to go so that the rest weighs no more than `max`.
    pub(crate) fn index_above(&self, max: u64) -> u64 {
        let mut surplus = self.bytes.saturating_sub(max);
        let gone = self.entries.iter().take_while(|entry| {
            let needed = surplus > 0;
            surplus = surplus.saturating_sub(weight(entry));
            needed
        });
        self.compacted.0 + gone.count() as u64
    }

    /// Forgets everything: the log begins anew after `snapshot`.
    pub(crate) fn restore(&mut self, snapshot: SnapshotMetadata) {
        self.compacted = (snapshot.index, snapshot.term);
        self.entries.clear();
        self.bytes = 0;
        self.snapshot = snapshot;
    }

    /// The bucket that reads for followers far behind draw on.
    pub(crate) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// The same, to be filled.
    pub(crate) fn pace_mut(&mut self) -> &mut Pace {
        &mut self.pace
    }

    /// Whether who needs the entries from `low` on misses much of what is committed.
    fn is_far_behind(&self, low: u64) -> bool {
        let paced_up_to = self.pace.paces_up_to().min(self.last());
        if paced_up_to < low {
            return false;
        }
        let offset = self.compacted.0 + 1;
        let missing = self.entries.range((low - offset) as usize..=(paced_up_to - offset) as usize);
        let mut bytes = 0;
        missing.map(weight).any(|weight| {
            bytes += weight;
            bytes > pace::NEAR_BYTES
        })
    }

    fn entry(&self, index: u64) -> Option<&Entry> {
        self.entries.get(index.checked_sub(self.compacted.0 + 1)? as usize)
    }
}

impl Storage for Log {
    fn initial_state(&self) -> Result<RaftState, RaftError> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> Result<Vec<Entry>, RaftError> {
        if low <= self.compacted.0 {
            return Err(RaftError::Store(StorageError::Compacted));
        }
        if self.last() + 1 < high {
            return Err(RaftError::Store(StorageError::Unavailable));
        }
        let offset = self.compacted.0 + 1;
        let wanted = self.entries.range((low - offset) as usize..(high - offset) as usize);
        let mut max_size = max_size.into().unwrap_or(u64::MAX);
        // Raft can wait for entries that it sends.
        let paced = context.can_async() && self.is_far_behind(low);
        if paced {
            if !self.pace.admits() {
                return Err(RaftError::Store(StorageError::LogTemporarilyUnavailable));
            }
            max_size = max_size.min(pace::MESSAGE_BYTES);
        }
        if max_size == u64::MAX {
            return Ok(wanted.cloned().collect());
        }
        let mut size = 0;
        let fits = wanted.enumerate().take_while(|(i, entry)| {
            size += weight(entry);
            *i == 0 || size <= max_size
        });
        let read: Vec<Entry> = fits.map(|(_, entry)| entry.clone()).collect();
        if paced {
            self.pace.take(read.iter().map(weight).sum());
        }
        Ok(read)
    }

    fn term(&self, index: u64) -> Result<u64, RaftError> {
        if index == self.compacted.0 {
            return Ok(self.compacted.1);
        }
        if index < self.compacted.0 {
            return Err(RaftError::Store(StorageError::Compacted));
        }
        self.entry(index).map(|e| e.term).ok_or(RaftError::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> Result<u64, RaftError> {
        Ok(self.compacted.0 + 1)
    }

    fn last_index(&self) -> Result<u64, RaftError> {
        Ok(self.last())
    }

    /// Index, term and members alone; the transport streams the store beside it.
    fn snapshot(&self, request_index: u64, _to: u64) -> Result<convert::RaftSnapshot, RaftError> {
        if self.snapshot.index == 0 || self.snapshot.index < request_index {
            return Err(RaftError::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        Ok(convert::metadata_snapshot(self.snapshot.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64, bytes: usize) -> Entry {
        Entry { index, term, data: vec![0; bytes].into(), ..Entry::default() }
    }

    fn log(entries: Vec<Entry>) -> Log {
        let (hard_state, conf_state) = (HardState::default(), ConfState::default());
        Log::new((0, 0), entries, hard_state, conf_state, 0, Pace::new(1_000_000))
    }

    #[test]
    fn only_who_misses_much_of_what_is_committed_is_paced() {
        let mut log = log((1..=1000).map(|index| entry(index, 1, 1000)).collect());
        let last = 1001;
        let read = |log: &Log, low, can_async| {
            let context = GetEntriesContext::empty(can_async);
            log.entries(low, last, 1 << 20, context).map(|entries| entries.len())
        };
        let refused = Err(RaftError::Store(StorageError::LogTemporarilyUnavailable));
        // Nothing is committed.
        assert_eq!(read(&log, 1, true), Ok(1000));
        log.pace_mut().observe(1000, false);
        assert_eq!(read(&log, 1, true), Ok(256));
        assert_eq!(read(&log, 257, true), refused);
        assert_eq!(read(&log, 257, false), Ok(744));
        assert_eq!(read(&log, 750, true), Ok(251));
        assert!(!log.pace_mut().fill(0, 1));
        assert!(!log.pace_mut().fill(100, 1));
        assert!(log.pace_mut().fill(200, 1));
        assert_eq!(read(&log, 257, true), Ok(256));
    }

    #[test]
    fn what_entries_weigh_is_kept_in_mind() {
        let mut log = log((1..=10).map(|index| entry(index, 1, 76)).collect());
        assert_eq!(log.bytes, 1000);
        assert_eq!((log.index_above(1000), log.index_above(999), log.index_above(0)), (0, 1, 10));
        log.append(vec![entry(8, 2, 176)]);
        assert_eq!((log.last(), log.bytes), (8, 900));
        log.set_snapshot(convert::snapshot_metadata(5, 1, ConfState::default()));
        log.compact(log.index_above(650));
        assert_eq!((log.compacted(), log.bytes), (3, 600));
        log.compact(8);
        assert_eq!((log.compacted(), log.bytes), (5, 400));
        log.restore(convert::snapshot_metadata(20, 2, ConfState::default()));
        assert_eq!((log.last(), log.bytes), (20, 0));
    }
}
