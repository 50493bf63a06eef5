//! Replacing the whole store in place by a later state of the same history: what a member does with
//! a snapshot of its leader.
//!
//! Readers go on meanwhile. Until the backend commits they see the old state, and revisions that
//! both states have are equal in both, so that the old index over the new backend can only miss
//! something: a reader that does, or that puts several pieces together, notices that a replacement
//! was under way, waits for its short last part and begins again.

use std::sync::atomic::{AtomicU64, Ordering};

use api::ids::{LeaseId, Revision};
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use storage::{
    Bucket, Error, Op,
    schema::{key, meta, revision},
};

use super::Store;
use crate::{
    index::{Index, Loader},
    recent::Recent,
};

/// What became of a replacement.
#[derive(Debug)]
pub struct Replaced {
    /// The keys that exist with a lease, in the order of keys.
    pub attachments: Vec<(LeaseId, Bytes)>,
    /// The revision of a compaction that the new state has begun and not finished.
    pub unfinished_compaction: Option<i64>,
}

/// Counts replacements: odd from shortly before the backend commits until the index has followed.
#[derive(Default)]
pub(super) struct Generations {
    count: AtomicU64,
    /// Held while the count is odd.
    under_way: Mutex<()>,
}

impl Generations {
    /// The generation at the beginning of a read.
    pub(super) fn now(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Whether a read that began at `then` may have seen two states; waits until that is over.
    pub(super) fn changed_since(&self, then: u64) -> bool {
        let now = self.now();
        if now % 2 == 1 {
            drop(self.under_way.lock());
        }
        then % 2 == 1 || now != then
    }
}

/// The operations on their way to the backend, and the index that is made of them.
struct Tap<'a, I> {
    ops: I,
    store: &'a Store,
    loader: Option<Loader>,
    last: Option<Revision>,
    newest: i64,
    built: Option<(Index, Vec<(i64, Bytes)>)>,
    under_way: Option<MutexGuard<'a, ()>>,
}

impl<I> Tap<'_, I> {
    fn see(&mut self, op: &Op) -> Result<(), Error> {
        let Op::Put { bucket: Bucket::Revision, key: stored, value } = op else { return Ok(()) };
        let corrupt = |what| Error::Corrupt { bucket: Bucket::Revision.name(), what };
        let read = key::decode(stored).zip(revision::decode(value));
        let Some(((revision, deleted), record)) = read else {
            return Err(corrupt("neither a revision nor a record of one"));
        };
        if self.last.is_some_and(|last| revision <= last) {
            return Err(corrupt("revisions do not ascend"));
        }
        self.last = Some(revision);
        self.newest = self.newest.max(revision.main);
        let loader = self.loader.as_mut().expect("operations end once");
        loader.add(revision, deleted, &record);
        Ok(())
    }

    /// All operations have passed: the backend commits next.
    fn end(&mut self) {
        if let Some(loader) = self.loader.take() {
            self.built = Some(loader.finish());
            self.under_way = Some(self.store.generations.under_way.lock());
            self.store.generations.count.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl<I: Iterator<Item = Result<Op, Error>>> Iterator for Tap<'_, I> {
    type Item = Result<Op, Error>;

    fn next(&mut self) -> Option<Result<Op, Error>> {
        match self.ops.next() {
            None => {
                self.end();
                None
            }
            Some(Ok(op)) => Some(self.see(&op).map(|()| op)),
            error => error,
        }
    }
}

impl Store {
    /// Replaces everything by the state that `ops` put into an empty store, a later one of the same
    /// history. `commit` gives them to the backend, in one transaction that begins with emptying
    /// it. Records of revisions must come in ascending order.
    ///
    /// Not beside writes or steps of a compaction. After an error the member must stop.
    pub fn replace(
        &self,
        ops: impl Iterator<Item = Result<Op, Error>>,
        commit: impl FnOnce(&mut dyn Iterator<Item = Result<Op, Error>>) -> Result<(), Error>,
    ) -> Result<Replaced, Error> {
        let _writer = self.writer.try_lock().expect("the store has one writer at a time");
        let mut job = self.compaction.lock_job();
        let mut tap = Tap {
            ops,
            store: self,
            loader: Some(Loader::default()),
            last: None,
            newest: 1,
            built: None,
            under_way: None,
        };
        commit(&mut tap)?;
        // A backend that stopped reading early would have committed a part.
        assert!(tap.built.is_some(), "the backend takes all operations before it commits");
        let (index, attached) = tap.built.take().expect("just seen");
        let tx = self.backend.read()?;
        let scheduled = meta::read_scheduled_compact(&*tx)?.unwrap_or(-1);
        let finished = meta::read_finished_compact(&*tx)?.unwrap_or(-1);
        drop(tx);
        let compacted = scheduled.max(finished);
        let current = tap.newest.max(compacted);
        let unfinished_compaction = (scheduled > finished).then_some(scheduled);
        self.compacted.store(compacted, Ordering::Release);
        let old = std::mem::replace(&mut *self.index.write(), index);
        {
            let mut recent = self.recent.write();
            *recent = Recent::new(current, recent.limits());
        }
        self.current.store(current, Ordering::Release);
        *job = None;
        self.compaction.begin_anew(unfinished_compaction);
        self.generations.count.fetch_add(1, Ordering::AcqRel);
        drop(tap);
        drop(old);
        let attachments = attached.into_iter().map(|(lease, key)| (LeaseId(lease), key)).collect();
        Ok(Replaced { attachments, unfinished_compaction })
    }
}
