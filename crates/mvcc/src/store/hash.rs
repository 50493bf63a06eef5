//! `HashKV`: a checksum of history that members with different states of compaction agree on.
//!
//! CRC-32C over the name of the key bucket, and keys and values of its entries in order. Hashed is
//! what is above the compact revision, up to the revision asked for; and of what is at or below the
//! compact revision, that which is still the newest of its key at the revision asked for. So it does
//! not matter how far a compaction has come. A hash made by a compaction (see `compact`) takes the
//! compact revision before; the newest of these are kept and answered as they are.

use std::{iter::Peekable, ops::ControlFlow, sync::atomic::Ordering};

use api::{event::EventKind, ids::Revision};
use parking_lot::RwLock;
use storage::{
    Bucket, Error,
    schema::key::{self, RevisionKey},
};

use super::{PIECE_KEYS, Store};
use crate::{
    ReadError,
    index::{Bounds, Index},
    raw::Parts,
    runs::{Merge, Runs},
};

/// Hashes of compactions that are kept.
const REMEMBERED_MAX: usize = 10;
/// Bytes that one step of a compaction hashes.
const STEP_BYTES_MAX: usize = 4 << 20;

/// A hash and what it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    /// CRC-32C over name, keys and values of the key bucket.
    pub hash: u32,
    /// The compact revision it was computed with; -1 when never compacted.
    pub compact_revision: i64,
    /// The main revision up to which history is hashed.
    pub revision: i64,
}

impl Store {
    /// Hashes history up to main revision `revision`, 0 for the current one; a negative revision
    /// has no history. It needs no flush: what the backend lacks is taken from the ring.
    pub fn hash_kv(&self, revision: i64) -> Result<HashKv, ReadError> {
        if let Some(hash) = self.hashes.lock().iter().find(|hash| hash.revision == revision) {
            return Ok(*hash);
        }
        loop {
            let generation = self.generations.now();
            let current = self.revision();
            let compacted = self.compact_revision();
            if revision < 0 {
                return Ok(Hasher::new(revision, compacted, Runs::new()).finish());
            }
            let at = self.resolve(revision, current)?;
            let hash = self.hash_at(at, compacted)?;
            // Otherwise a compaction or a replacement came between.
            if !self.generations.changed_since(generation) && self.compact_revision() == compacted {
                return Ok(hash);
            }
        }
    }

    /// Whether compactions compute the hash that `hash_kv` answers at their revision, as etcd's do.
    /// They then read every value up to there. On at first.
    pub fn hash_compactions(&self, on: bool) {
        self.hash_compactions.store(on, Ordering::Relaxed);
    }

    /// The hashes of the last compactions, by ascending revision.
    pub fn compaction_hashes(&self) -> Vec<HashKv> {
        self.hashes.lock().clone()
    }

    /// Keeps the hash that a compaction computed.
    pub(super) fn remember_hash(&self, hash: HashKv) {
        let mut hashes = self.hashes.lock();
        hashes.push(hash);
        hashes.sort_by_key(|hash| hash.revision);
        let excess = hashes.len().saturating_sub(REMEMBERED_MAX);
        hashes.drain(..excess);
    }

    fn hash_at(&self, at: i64, compacted: i64) -> Result<HashKv, ReadError> {
        let mut kept = Kept::new(at, compacted);
        while !kept.step(&self.index) {}
        let mut hasher = kept.hasher();
        // Taken before the view is opened: together they miss nothing.
        let uncommitted = self.recent.read().uncommitted();
        let newest = self.scan(&mut hasher, Revision::default(), &mut |_| false)?;
        for changes in uncommitted.iter().filter(|changes| changes.revision > newest.main) {
            for event in changes.events.iter().filter(|event| event.revision.main <= at) {
                let deleted = event.kind == EventKind::Delete;
                let stored = RevisionKey::new(event.revision, deleted);
                let value = match deleted {
                    true => Parts { key: &event.key, ..Parts::default() }.encode(),
                    false => event.kv.clone(),
                };
                hasher.add(event.revision, &stored, &value.0);
            }
        }
        Ok(hasher.finish())
    }

    /// Hashes some more of the backend for a compaction. Returns where to go on.
    pub(super) fn hash_step(
        &self,
        hasher: &mut Hasher,
        from: Revision,
        entries_max: usize,
    ) -> Result<Option<Revision>, Error> {
        let (mut entries, mut bytes) = (0, 0);
        let newest = self.scan(hasher, from, &mut |entry_bytes| {
            entries += 1;
            bytes += entry_bytes;
            entries >= entries_max || bytes >= STEP_BYTES_MAX
        })?;
        let full = entries >= entries_max || bytes >= STEP_BYTES_MAX;
        Ok(full.then(|| Revision { main: newest.main, sub: newest.sub + 1 }))
    }

    /// Feeds the backend's entries from a revision on, until `enough` says so of the bytes of one.
    /// Returns the last revision it fed.
    fn scan(
        &self,
        hasher: &mut Hasher,
        from: Revision,
        enough: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Revision, Error> {
        let tx = self.backend.read()?;
        let mut newest = from;
        let mut intact = true;
        tx.scan(Bucket::Key, &RevisionKey::new(from, false), &mut |stored, value| {
            let Some((revision, _)) = key::decode(stored) else {
                intact = false;
                return ControlFlow::Break(());
            };
            if revision.main > hasher.at {
                return ControlFlow::Break(());
            }
            hasher.add(revision, stored, value);
            newest = revision;
            match enough(stored.len() + value.len()) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        if !intact {
            let what = "a key is no revision";
            return Err(Error::Corrupt { bucket: Bucket::Key.name(), what });
        }
        Ok(newest)
    }
}

/// The choice of what is hashed at or below the compact revision, made in steps: of each key its
/// newest revision at or below `at`; and if there is none of any key, what the compaction has left.
pub(super) struct Kept {
    at: i64,
    compacted: i64,
    /// Whether a delete at `at` itself counts as being there: it does for a compaction.
    counts_deletes: bool,
    any: bool,
    found: Runs<Revision>,
    /// What the compaction has left.
    left: Runs<Revision>,
    rest: Option<Bounds>,
}

impl Kept {
    /// For a hash at `at` of a store that is compacted at `compacted`.
    pub(super) fn new(at: i64, compacted: i64) -> Kept {
        Kept {
            at,
            compacted,
            counts_deletes: false,
            any: false,
            found: Runs::new(),
            left: Runs::new(),
            rest: Some(Bounds::all()),
        }
    }

    /// For the hash that a compaction at `at` makes, where `previous` is the one before.
    pub(super) fn of_compaction(at: i64, previous: i64) -> Kept {
        Kept { counts_deletes: true, ..Kept::new(at, previous) }
    }

    /// Walks a piece of the index; true when that was the last.
    pub(super) fn step(&mut self, index: &RwLock<Index>) -> bool {
        let Some(bounds) = self.rest.take() else { return true };
        let piece = index.read().piece(&bounds, PIECE_KEYS);
        self.rest = piece.walk(|entry| {
            let compacted = self.compacted;
            let old = |main| entry.hashed_at(main).filter(|version| version.main <= compacted);
            self.any |= entry.hashed_at(self.at).is_some()
                || (self.counts_deletes && entry.is_deleted_in(self.at));
            if let Some(version) = old(self.at) {
                self.found.push(version.revision());
            }
            if self.any {
                self.left = Runs::new();
            } else if let Some(version) = old(compacted) {
                self.left.push(version.revision());
            }
            ControlFlow::Continue(())
        });
        self.rest.is_none()
    }

    /// The hasher that goes by this choice.
    pub(super) fn hasher(&mut self) -> Hasher {
        debug_assert!(self.rest.is_none(), "the whole index is walked first");
        let kept = if self.any { &mut self.found } else { &mut self.left };
        Hasher::new(self.at, self.compacted, std::mem::replace(kept, Runs::new()))
    }
}

/// The checksum, fed in the order of revisions.
pub(super) struct Hasher {
    crc: u32,
    at: i64,
    compacted: i64,
    /// Ascending; consumed as revisions pass.
    kept: Peekable<Merge<Revision>>,
}

impl Hasher {
    fn new(at: i64, compacted: i64, kept: Runs<Revision>) -> Hasher {
        let crc = crc32c::crc32c(Bucket::Key.name().as_bytes());
        Hasher { crc, at, compacted, kept: kept.merge().peekable() }
    }

    fn add(&mut self, revision: Revision, key: &[u8], value: &[u8]) {
        if revision.main <= self.compacted {
            while self.kept.next_if(|kept| *kept < revision).is_some() {}
            // No delete is among the kept: also not one at the compact revision itself, which some
            // versions of etcd keep in the store and others do not.
            if self.kept.next_if_eq(&revision).is_none() {
                return;
            }
        }
        self.crc = crc32c::crc32c_append(self.crc, key);
        self.crc = crc32c::crc32c_append(self.crc, value);
    }

    /// The hash of what was fed.
    pub(super) fn finish(&self) -> HashKv {
        HashKv { hash: self.crc, compact_revision: self.compacted, revision: self.at }
    }
}
