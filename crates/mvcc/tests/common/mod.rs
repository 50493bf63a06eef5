//! A member without raft: a store, its window and its backend, driven by hand.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(unreachable_pub, reason = "a module of tests")]

use std::sync::Arc;

use api::{
    event::Changes,
    ids::{LeaseId, RaftIndex, Term},
    range::KeyRange,
};
use bytes::Bytes;
use mvcc::{Compaction, Opened, ReadError, RecentLimits, Store, WriteTxn};
use storage::{Backend, Op, Window};

/// See the module.
pub struct Member {
    pub backend: Arc<dyn Backend>,
    pub store: Store,
    pub window: Window,
    pub attachments: Vec<(LeaseId, Bytes)>,
    /// The index of the last entry.
    pub applied: u64,
}

impl Member {
    pub fn open(backend: Arc<dyn Backend>) -> Member {
        Member::open_with(backend, RecentLimits::default())
    }

    pub fn open_with(backend: Arc<dyn Backend>, recent: RecentLimits) -> Member {
        let applied = storage::schema::read_consistent(&*backend.read().unwrap()).unwrap();
        let applied = applied.map_or(0, |(index, _)| index.0);
        let Opened { store, attachments, .. } = Store::open_with(backend.clone(), recent).unwrap();
        Member { backend, store, window: Window::new(), attachments, applied }
    }

    /// Applies one entry.
    pub fn write<T>(
        &mut self,
        change: impl FnOnce(&mut WriteTxn<'_>) -> T,
    ) -> (T, Option<Changes>) {
        let mut ops = Vec::new();
        let mut txn = self.store.write(&mut ops);
        let result = change(&mut txn);
        let changes = txn.end();
        self.append(ops);
        (result, changes)
    }

    pub fn put(&mut self, key: &str, value: &str) {
        let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), value.to_owned().into());
        self.write(|txn| txn.put(key, value, LeaseId(0)));
    }

    pub fn delete(&mut self, key: &str, end: &str) {
        let range = key_range(key, end);
        self.write(|txn| txn.delete_range(&range));
    }

    pub fn compact(&mut self, revision: i64) -> Result<(), ReadError> {
        let mut ops = Vec::new();
        let result = self.store.compact(revision, &mut ops);
        self.append(ops);
        result
    }

    /// One step of the storage thread. True when no compaction is left.
    pub fn step(&self, batch_limit: usize) -> bool {
        let mut ops = Vec::new();
        let state = self.store.compaction_step(batch_limit, &mut ops).unwrap();
        self.window.append_background(ops);
        state == Compaction::Done
    }

    pub fn flush(&self) {
        if let Some(flushed) = self.window.flush(&*self.backend).unwrap() {
            self.store.committed(flushed.revision);
        }
    }

    /// Compacts to the end.
    pub fn settle(&self) {
        self.flush();
        while !self.step(100) {}
        self.flush();
    }

    fn append(&mut self, ops: Vec<Op>) {
        self.applied += 1;
        let at = (RaftIndex(self.applied), Term(1));
        self.window.append(ops, at, self.store.revision());
    }
}

pub fn key_range(key: &str, end: &str) -> KeyRange {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    KeyRange::new(bytes(key), bytes(end))
}
