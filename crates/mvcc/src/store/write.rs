//! The one writer: all changes of one entry, published together.

use std::ops::ControlFlow;

use api::{
    event::{Changes, Event, EventKind},
    ids::{LeaseId, Revision},
    kv::RawKeyValue,
    range::KeyRange,
};
use bytes::Bytes;
use parking_lot::MutexGuard;
use std::sync::atomic::Ordering;
use storage::{
    Op,
    schema::{
        key::{self, RevisionKey},
        revision::{self, Record},
    },
};

use super::{PIECE_KEYS, Store, read::View};
use crate::{
    KeyMeta, RangeAnswer, RangeQuery, ReadError,
    index::Bounds,
    raw::{self, Parts},
};

impl Store {
    /// Begins the transaction of one entry. Its changes for the backend are added to `ops`. Only the
    /// apply thread writes; a second writer at the same time panics.
    pub fn write<'a>(&'a self, ops: &'a mut Vec<Op>) -> WriteTxn<'a> {
        let writer = self.writer.try_lock().expect("the store has one writer at a time");
        let main = self.revision() + 1;
        WriteTxn { store: self, ops, main, events: Vec::new(), _writer: writer }
    }
}

/// The changes of one entry. It must be ended; dropped with changes in it, it panics, for these are
/// in the index already.
pub struct WriteTxn<'a> {
    store: &'a Store,
    ops: &'a mut Vec<Op>,
    /// The main revision of its changes.
    main: i64,
    events: Vec<Event>,
    _writer: MutexGuard<'a, ()>,
}

/// A key that a range delete has deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The key.
    pub key: Bytes,
    /// What it was. Its value is at `meta.modified`.
    pub meta: KeyMeta,
}

impl WriteTxn<'_> {
    /// Reads a range; sees the changes made so far.
    pub fn range(&self, query: &RangeQuery) -> Result<RangeAnswer, ReadError> {
        self.view().range(query)
    }

    /// Whether a range may name this revision in the transaction, checked before anything is
    /// executed: 0 always, otherwise it is neither future nor compacted.
    pub fn check_revision(&self, revision: i64) -> Result<(), ReadError> {
        match revision {
            0 => Ok(()),
            _ if revision > self.revision() => Err(ReadError::Future),
            _ => self.store.still_readable(revision),
        }
    }

    /// What a key is now; `None` when it does not exist.
    pub fn key_meta(&self, key: &[u8]) -> Option<KeyMeta> {
        self.store.index.read().get(key)?.current()
    }

    /// What the keys of a range are now, in the order of keys.
    pub fn metas(&self, range: &KeyRange) -> Vec<KeyMeta> {
        if let KeyRange::Single(key) = range {
            return self.key_meta(key).into_iter().collect();
        }
        let mut metas = Vec::new();
        self.each_current(range, |_, meta| metas.push(meta));
        metas
    }

    /// The key-value that was put at `revision`, by this transaction or earlier; `None` when it is
    /// compacted away.
    pub fn value(&self, revision: Revision) -> Result<Option<RawKeyValue>, ReadError> {
        self.view().value(revision)
    }

    /// Puts a key. Returns what it was before. The lease becomes `lease`, 0 for none.
    pub fn put(&mut self, key: Bytes, value: Bytes, lease: LeaseId) -> Option<KeyMeta> {
        let revision = self.next_revision();
        let (before, version) = self.store.index.write().put(&key, revision, lease.0);
        let parts = Parts {
            key: &key,
            create_revision: version.create,
            mod_revision: version.main,
            version: version.version,
            value: &value,
            lease: lease.0,
        };
        let kv = parts.encode();
        let prev = before.and_then(|before| self.replaced(&key, revision, before));
        let record = Record {
            key: &key,
            create_revision: version.create,
            version: version.version,
            lease: lease.0,
        };
        let stored = RevisionKey::new(revision, false).to_bytes();
        self.ops.push(key::put(&stored, kv.0.clone()));
        self.ops.push(revision::put(&stored, &record));
        self.events.push(Event {
            kind: EventKind::Put,
            // Shares the bytes of `kv`, so that the request is not kept alive.
            key: raw::key_of_encoded(&kv, key.len()),
            kv,
            revision,
            prev,
        });
        before
    }

    /// Deletes the keys of a range that exist, each with a sub revision of its own, in the order of
    /// keys.
    pub fn delete_range(&mut self, range: &KeyRange) -> Vec<Deleted> {
        let mut keys = Vec::new();
        if let KeyRange::Single(key) = range {
            keys.push(key.clone());
        } else {
            self.each_current(range, |key, _| keys.push(Bytes::copy_from_slice(key)));
        }
        let deleted = keys.into_iter().filter_map(|key| {
            let meta = self.delete(&key)?;
            Some(Deleted { key, meta })
        });
        deleted.collect()
    }

    /// The main revision of its changes once there are any; else the current one.
    pub fn revision(&self) -> i64 {
        if self.changed() { self.main } else { self.main - 1 }
    }

    /// Whether anything has changed.
    pub fn changed(&self) -> bool {
        !self.events.is_empty()
    }

    /// Publishes the changes, so that readers see them. `None` when there are none.
    pub fn end(mut self) -> Option<Changes> {
        if !self.changed() {
            return None;
        }
        let events = std::mem::take(&mut self.events);
        let changes = Changes { revision: self.main, events: events.into() };
        self.store.recent.write().push(changes.clone());
        self.store.current.store(self.main, Ordering::Release);
        Some(changes)
    }

    fn delete(&mut self, key: &[u8]) -> Option<KeyMeta> {
        let revision = self.next_revision();
        let before = self.store.index.write().delete(key, revision)?;
        let stored = RevisionKey::new(revision, true).to_bytes();
        let tombstone = Parts { key, ..Parts::default() }.encode();
        let record = Record { key, create_revision: 0, version: 0, lease: 0 };
        self.ops.push(key::put(&stored, tombstone.0));
        self.ops.push(revision::put(&stored, &record));
        let kv = Parts { key, mod_revision: revision.main, ..Parts::default() }.encode();
        let prev = self.replaced(key, revision, before);
        self.events.push(Event {
            kind: EventKind::Delete,
            key: raw::key_of_encoded(&kv, key.len()),
            kv,
            revision,
            prev,
        });
        Some(before)
    }

    /// What a watcher is shown as replaced by a change that found the key as `before`.
    fn replaced(&self, key: &[u8], revision: Revision, before: KeyMeta) -> Option<Revision> {
        if before.modified.main < self.main {
            return Some(before.modified);
        }
        let index = self.store.index.read();
        index.get(key).and_then(|entry| entry.replaced_by(revision))
    }

    /// Visits the keys of a range that exist now.
    fn each_current(&self, range: &KeyRange, mut visit: impl FnMut(&[u8], KeyMeta)) {
        let mut rest = Some(Bounds::from(range));
        while let Some(bounds) = rest {
            let piece = self.store.index.read().piece(&bounds, PIECE_KEYS);
            rest = piece.walk(|entry| {
                if let Some(meta) = entry.current() {
                    visit(&entry.key, meta);
                }
                ControlFlow::Continue(())
            });
        }
    }

    fn next_revision(&self) -> Revision {
        Revision { main: self.main, sub: self.events.len() as i64 }
    }

    fn view(&self) -> View<'_> {
        View { store: self.store, current: self.revision(), own: &self.events }
    }
}

impl Drop for WriteTxn<'_> {
    fn drop(&mut self) {
        assert!(
            self.events.is_empty() || std::thread::panicking(),
            "a write transaction with changes must be ended"
        );
    }
}
