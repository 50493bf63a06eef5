//! The store: its state, and what is asked of it without reading keys.

mod compact;
mod hash;
mod history;
mod read;
mod replace;
mod restore;
#[cfg(test)]
mod tests;
mod write;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use api::ids::LeaseId;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use storage::Backend;

use crate::{ReadError, index::Index, recent::Recent};

pub use compact::Compaction;
pub use hash::HashKv;
pub use replace::Replaced;
pub use write::{Deleted, WriteTxn};

/// About how many keys of the index are shared with a reader at a time.
const PIECE_KEYS: usize = 1000;

/// See the crate. One per member; readers share it.
pub struct Store {
    backend: Arc<dyn Backend>,
    index: RwLock<Index>,
    recent: RwLock<Recent>,
    /// The last published main revision. Stored after the ring has it.
    current: AtomicI64,
    /// -1 when never compacted. Raised before anything is removed.
    compacted: AtomicI64,
    compaction: compact::State,
    /// Whether compactions compute hashes.
    hash_compactions: AtomicBool,
    /// Those of the newest compactions, by revision.
    hashes: Mutex<Vec<HashKv>>,
    /// Held while something is written: there is one writer.
    writer: Mutex<()>,
    generations: replace::Generations,
}

/// A store as it was found.
pub struct Opened {
    /// The store.
    pub store: Store,
    /// The keys that exist with a lease, in the order of keys.
    pub attachments: Vec<(LeaseId, Bytes)>,
    /// The revision of a compaction that was begun and not finished. The store goes on with it in
    /// [`Store::compaction_step`].
    pub unfinished_compaction: Option<i64>,
}

/// Numbers about the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Keys in the index, with deleted ones that are not compacted yet (`etcd_debugging_mvcc_keys_total`).
    pub keys: usize,
    /// Bytes of recent revisions that are held in memory.
    pub recent_bytes: usize,
}

impl Store {
    /// The current main revision; 1 when the store is empty.
    pub fn revision(&self) -> i64 {
        self.current.load(Ordering::Acquire)
    }

    /// The lowest main revision that can be read; -1 when nothing was ever compacted.
    pub fn compact_revision(&self) -> i64 {
        self.compacted.load(Ordering::Acquire)
    }

    /// Tells that the backend holds everything up to this main revision.
    pub fn committed(&self, revision: i64) {
        self.recent.write().committed(revision);
    }

    /// Numbers about the store.
    pub fn stats(&self) -> Stats {
        let keys = self.index.read().keys();
        Stats { keys, recent_bytes: self.recent.read().bytes() }
    }

    /// The main revision that a read at `revision` reads, where `current` is the newest.
    fn resolve(&self, revision: i64, current: i64) -> Result<i64, ReadError> {
        if revision > current {
            return Err(ReadError::Future);
        }
        let at = if revision <= 0 { current } else { revision };
        self.still_readable(at)?;
        Ok(at)
    }

    /// Fails if a compaction has gone above `at`. Asked again after a read, it tells whether the read
    /// was whole: a compaction says its revision before it removes anything.
    fn still_readable(&self, at: i64) -> Result<(), ReadError> {
        let gone = at < self.compact_revision();
        let gone = gone && !mutants::is_on(mutants::Mutant::CompactedReadable);
        if gone { Err(ReadError::Compacted) } else { Ok(()) }
    }
}
