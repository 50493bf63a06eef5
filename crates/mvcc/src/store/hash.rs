//! `HashKV`: a checksum of history that members with different states of compaction agree on.

use std::ops::ControlFlow;

use api::{event::EventKind, ids::Revision};
use storage::{
    Bucket, Error,
    schema::key::{self, RevisionKey},
};

use super::{LOCK_KEYS_MAX, Store};
use crate::{ReadError, index::Bounds, raw::Parts};

/// A hash and what it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    /// CRC-32C over name, keys and values of the key bucket.
    pub hash: u32,
    /// The compact revision at the time; -1 when never compacted.
    pub compact_revision: i64,
    /// The main revision up to which history is hashed.
    pub revision: i64,
}

impl Store {
    /// Hashes history up to main revision `revision`, 0 or less for the current one. It needs no
    /// flush: what the backend lacks is taken from the ring.
    pub fn hash_kv(&self, revision: i64) -> Result<HashKv, ReadError> {
        loop {
            let current = self.revision();
            let compacted = self.compact_revision();
            let at = self.resolve(revision, current)?;
            match self.hash_at(at, compacted) {
                Ok(hash) if self.compact_revision() == compacted => {
                    return Ok(HashKv { hash, compact_revision: compacted, revision: at });
                }
                // A compaction came between.
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn hash_at(&self, at: i64, compacted: i64) -> Result<u32, ReadError> {
        let kept = self.kept(at, compacted);
        let mut hasher = Hasher::new(at, compacted, kept);
        // Taken before the view is opened: together they miss nothing.
        let uncommitted = self.recent.read().uncommitted();
        let tx = self.backend.read()?;
        let mut newest = 0;
        let mut intact = true;
        tx.scan(Bucket::Key, b"", &mut |stored, value| match key::decode(stored) {
            Some((revision, _)) if revision.main > at => ControlFlow::Break(()),
            Some((revision, deleted)) => {
                newest = revision.main;
                hasher.add(revision, deleted, stored, value);
                ControlFlow::Continue(())
            }
            None => {
                intact = false;
                ControlFlow::Break(())
            }
        })?;
        if !intact {
            let what = "a key is no revision";
            return Err(Error::Corrupt { bucket: Bucket::Key.name(), what }.into());
        }
        for changes in uncommitted.iter().filter(|changes| changes.revision > newest) {
            for event in changes.events.iter().filter(|event| event.revision.main <= at) {
                let deleted = event.kind == EventKind::Delete;
                let stored = RevisionKey::new(event.revision, deleted);
                let value = match deleted {
                    true => Parts { key: &event.key, ..Parts::default() }.encode(),
                    false => event.kv.clone(),
                };
                hasher.add(event.revision, deleted, &stored, &value.0);
            }
        }
        Ok(hasher.crc)
    }

    /// The revisions at or below `compacted` that are hashed. These are, of each key, its newest at
    /// or below `at`; and if no key exists at `at`, what a compaction at `compacted` leaves.
    fn kept(&self, at: i64, compacted: i64) -> Vec<Revision> {
        let kept_at = |at: i64| {
            let (mut kept, mut exist) = (Vec::new(), false);
            let mut rest = Some(Bounds::all());
            while let Some(bounds) = rest {
                rest = self.index.read().walk(&bounds, LOCK_KEYS_MAX, |entry| {
                    if let Some(version) = entry.at(at) {
                        exist = true;
                        if version.main <= compacted {
                            kept.push(version.revision());
                        }
                    }
                    ControlFlow::Continue(())
                });
            }
            (kept, exist)
        };
        let (mut kept, exist) = kept_at(at);
        if !exist {
            kept = kept_at(compacted).0;
        }
        kept.sort_unstable();
        kept
    }
}

/// The checksum, fed in the order of revisions.
struct Hasher {
    crc: u32,
    compacted: i64,
    at: i64,
    /// Ascending; consumed as revisions pass.
    kept: std::iter::Peekable<std::vec::IntoIter<Revision>>,
}

impl Hasher {
    fn new(at: i64, compacted: i64, kept: Vec<Revision>) -> Hasher {
        let crc = crc32c::crc32c(Bucket::Key.name().as_bytes());
        Hasher { crc, compacted, at, kept: kept.into_iter().peekable() }
    }

    fn add(&mut self, revision: Revision, deleted: bool, key: &[u8], value: &[u8]) {
        debug_assert!(revision.main <= self.at, "only history up to the revision is hashed");
        if revision.main <= self.compacted {
            while self.kept.next_if(|kept| *kept < revision).is_some() {}
            let kept = self.kept.next_if_eq(&revision).is_some();
            // A delete at the compact revision itself is kept by some versions of etcd only.
            if !kept || (deleted && revision.main == self.compacted) {
                return;
            }
        }
        self.crc = crc32c::crc32c_append(self.crc, key);
        self.crc = crc32c::crc32c_append(self.crc, value);
    }
}
