//! The write-behind buffer between apply and the backend.
//!
//! Invariants:
//! - What is flushed is a prefix of what was appended, and it carries the consistent index and term
//!   of its last entry in the same transaction (etcd's rule since 3.5.3: index and data never part).
//! - Operations count as pending until their commit has returned.
//! - A failed flush puts everything back as it was. The caller stops the member.

use std::{
    mem,
    sync::atomic::{AtomicUsize, Ordering},
};

use api::ids::{RaftIndex, Term};
use mutants::{Mutant, is_on};
use parking_lot::Mutex;

use crate::{Backend, Bucket, Error, Op, schema::meta};

/// Changes that apply has made and the backend does not have yet.
#[derive(Default)]
pub struct Window {
    pending: Mutex<Pending>,
    /// Held for a whole flush: flushes go one after another.
    flush: Mutex<()>,
    bytes: AtomicUsize,
    ops: AtomicUsize,
}

#[derive(Default)]
struct Pending {
    ops: Vec<Op>,
    /// Where the last entry stands; `None` before the first.
    last: Option<Flushed>,
    /// Whether `last` is not flushed yet.
    moved: bool,
}

/// What the backend holds after a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// The last entry that is applied in the backend: its consistent index.
    pub index: RaftIndex,
    /// The term of that entry.
    pub term: Term,
    /// The main revision of the store after that entry.
    pub revision: i64,
}

impl Window {
    /// An empty window.
    pub fn new() -> Window {
        Window::default()
    }

    /// Adds the changes of an apply batch. `at` is its last entry and `revision` the store's current
    /// main revision after it. Without changes it still moves the consistent index.
    pub fn append(&self, ops: Vec<Op>, at: (RaftIndex, Term), revision: i64) {
        let (index, term) = at;
        self.bytes.fetch_add(ops.iter().map(Op::bytes).sum(), Ordering::Relaxed);
        self.ops.fetch_add(counted(&ops), Ordering::Relaxed);
        let mut pending = self.pending.lock();
        let last = pending.last.map_or(RaftIndex(0), |last| last.index);
        assert!(index >= last, "window: the consistent index never goes back");
        pending.last = Some(Flushed { index, term, revision });
        pending.moved = true;
        pending.add(ops);
    }

    /// Adds changes that belong to no entry: those of a compaction. Any thread.
    pub fn append_background(&self, ops: Vec<Op>) {
        self.bytes.fetch_add(ops.iter().map(Op::bytes).sum(), Ordering::Relaxed);
        self.ops.fetch_add(counted(&ops), Ordering::Relaxed);
        self.pending.lock().add(ops);
    }

    /// Bytes of keys and values that are not committed yet.
    pub fn pending_bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Count of changes that are not committed yet, as etcd counts them: those of bucket `revision`,
    /// which it does not have, come each with one of bucket `key` and do not count.
    pub fn pending_ops(&self) -> usize {
        self.ops.load(Ordering::Relaxed)
    }

    /// Commits everything appended so far, with its consistent index and term, as one transaction.
    /// `None` when no entry is new; background changes are committed nevertheless.
    pub fn flush(&self, backend: &dyn Backend) -> Result<Option<Flushed>, Error> {
        let _one_at_a_time = self.flush.lock();
        let (mut ops, entry) = {
            let mut pending = self.pending.lock();
            let entry = if mem::take(&mut pending.moved) { pending.last } else { None };
            (mem::take(&mut pending.ops), entry)
        };
        if ops.is_empty() && entry.is_none() {
            return Ok(None);
        }
        if is_on(Mutant::IndexAhead) {
            let last = ops.split_off(ops.len() / 2);
            self.put_back(last, false);
        }
        let count = ops.len();
        if let Some(Flushed { index, term, .. }) = entry
            && !is_on(Mutant::IndexBehind)
        {
            ops.extend(meta::put_consistent(index, term));
        }
        if let Err(error) = backend.commit(&ops) {
            ops.truncate(count);
            self.put_back(ops, entry.is_some());
            return Err(error);
        }
        let bytes: usize = ops[..count].iter().map(Op::bytes).sum();
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.ops.fetch_sub(counted(&ops[..count]), Ordering::Relaxed);
        Ok(entry)
    }

    /// Has the store replaced by a later state, whose last entry is `at`, while nothing is flushed.
    /// What waits is older than that and is dropped, and so are background changes that come
    /// meanwhile: they were meant for the old state. `replace` also says the main revision that the
    /// store has afterwards. No entry may be appended meanwhile; after an error the member must stop.
    pub fn replace<T>(
        &self,
        at: (RaftIndex, Term),
        replace: impl FnOnce() -> Result<(T, i64), Error>,
    ) -> Result<T, Error> {
        let _one_at_a_time = self.flush.lock();
        {
            let mut pending = self.pending.lock();
            pending.moved = false;
            if !is_on(Mutant::StaleWindow) {
                self.drop_pending(&mut pending);
            }
        }
        let (answer, revision) = replace()?;
        let mut pending = self.pending.lock();
        assert!(!pending.moved, "window: nothing is applied while the store is replaced");
        if !is_on(Mutant::StaleWindow) {
            self.drop_pending(&mut pending);
        }
        pending.last = Some(Flushed { index: at.0, term: at.1, revision });
        Ok(answer)
    }

    fn drop_pending(&self, pending: &mut Pending) {
        let dropped = mem::take(&mut pending.ops);
        self.bytes.fetch_sub(dropped.iter().map(Op::bytes).sum(), Ordering::Relaxed);
        self.ops.fetch_sub(counted(&dropped), Ordering::Relaxed);
    }

    /// Restores the state before a flush, ahead of what was appended meanwhile.
    fn put_back(&self, mut ops: Vec<Op>, moved: bool) {
        let mut pending = self.pending.lock();
        ops.append(&mut pending.ops);
        pending.ops = ops;
        pending.moved |= moved;
    }
}

/// So many changes count.
fn counted(ops: &[Op]) -> usize {
    ops.iter().filter(|op| op.bucket() != Bucket::Revision).count()
}

impl Pending {
    fn add(&mut self, ops: Vec<Op>) {
        if self.ops.is_empty() {
            self.ops = ops;
        } else {
            self.ops.extend(ops);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{ReadTx, Size, mem::MemBackend, schema::read_consistent};

    fn put(key: &'static str, value: &'static str) -> Op {
        Op::Put { bucket: Bucket::Lease, key: Bytes::from(key), value: Bytes::from(value) }
    }

    fn at(index: u64) -> (RaftIndex, Term) {
        (RaftIndex(index), Term(3))
    }

    #[test]
    fn flush_commits_in_order_with_the_index_of_the_last_entry() {
        let (window, backend) = (Window::new(), MemBackend::new());
        assert_eq!(window.flush(&backend).unwrap(), None);
        window.append(vec![put("a", "1"), put("b", "1")], at(5), 2);
        window.append(vec![put("a", "22")], at(6), 3);
        assert_eq!((window.pending_ops(), window.pending_bytes()), (3, 7));

        let flushed = window.flush(&backend).unwrap();
        let last = Flushed { index: RaftIndex(6), term: Term(3), revision: 3 };
        assert_eq!(flushed, Some(last));
        assert_eq!((window.pending_ops(), window.pending_bytes()), (0, 0));
        let tx = backend.read().unwrap();
        assert_eq!(tx.get(Bucket::Lease, b"a").unwrap(), Some(&b"22"[..]));
        assert_eq!(read_consistent(&*tx).unwrap(), Some(at(6)));

        window.append(Vec::new(), at(7), 3);
        assert_eq!(window.flush(&backend).unwrap().unwrap().index, RaftIndex(7));
        assert_eq!(window.flush(&backend).unwrap(), None);

        window.append_background(vec![put("c", "1")]);
        assert_eq!(window.pending_ops(), 1);
        assert_eq!(window.flush(&backend).unwrap(), None);
        assert_eq!(window.pending_ops(), 0);
        let tx = backend.read().unwrap();
        assert_eq!(tx.get(Bucket::Lease, b"c").unwrap(), Some(&b"1"[..]));
        assert_eq!(read_consistent(&*tx).unwrap(), Some(at(7)));
    }

    /// `--backend-batch-limit` means puts, as in etcd.
    #[test]
    fn a_put_counts_once() {
        let of = |bucket| Op::Put { bucket, key: "1".into(), value: "v".into() };
        let (window, backend) = (Window::new(), MemBackend::new());
        window.append(vec![of(Bucket::Key), of(Bucket::Revision)], at(5), 2);
        assert_eq!((window.pending_ops(), window.pending_bytes()), (1, 4));
        window.append_background(vec![of(Bucket::Key), of(Bucket::Revision)]);
        assert_eq!(window.pending_ops(), 2);
        window.flush(&backend).unwrap();
        assert_eq!((window.pending_ops(), window.pending_bytes()), (0, 0));
        window.append(vec![of(Bucket::Key), of(Bucket::Revision)], at(6), 3);
        window.replace(at(9), || Ok(((), 7))).unwrap();
        assert_eq!((window.pending_ops(), window.pending_bytes()), (0, 0));
    }

    #[test]
    fn what_waits_is_dropped_when_the_store_is_replaced() {
        let (window, backend) = (Window::new(), MemBackend::new());
        window.append(vec![put("a", "1")], at(5), 2);
        window.replace(at(9), || Ok(((), 7))).unwrap();
        assert_eq!((window.pending_ops(), window.pending_bytes()), (0, 0));
        assert_eq!(window.flush(&backend).unwrap(), None);
        window.append(vec![put("b", "1")], at(10), 8);
        let flushed = Flushed { index: RaftIndex(10), term: Term(3), revision: 8 };
        assert_eq!(window.flush(&backend).unwrap(), Some(flushed));
        let tx = backend.read().unwrap();
        assert_eq!(tx.get(Bucket::Lease, b"a").unwrap(), None);
    }

    /// The monitor of the storage version does not wait for a snapshot of the leader.
    #[test]
    fn background_changes_for_the_replaced_store_are_dropped() {
        let (window, backend) = (Window::new(), MemBackend::new());
        let replaced = window.replace(at(9), || {
            window.append_background(vec![put("a", "1")]);
            Ok(((), 7))
        });
        replaced.unwrap();
        assert_eq!((window.pending_ops(), window.pending_bytes()), (0, 0));
        assert_eq!(window.flush(&backend).unwrap(), None);
        assert_eq!(backend.read().unwrap().get(Bucket::Lease, b"a").unwrap(), None);
    }

    /// A backend whose commits fail.
    struct Broken;

    impl Backend for Broken {
        fn read(&self) -> Result<Box<dyn ReadTx + '_>, Error> {
            Err(Error::Engine("broken".into()))
        }
        fn commit(&self, _: &[Op]) -> Result<(), Error> {
            Err(Error::Engine("broken".into()))
        }
        fn replace(&self, _: &mut dyn Iterator<Item = Result<Op, Error>>) -> Result<(), Error> {
            Err(Error::Engine("broken".into()))
        }
        fn size(&self) -> Result<Size, Error> {
            Err(Error::Engine("broken".into()))
        }
    }

    #[test]
    fn a_failed_flush_keeps_everything_pending() {
        let (window, backend) = (Window::new(), MemBackend::new());
        window.append(vec![put("a", "1")], at(5), 2);
        assert!(window.flush(&Broken).is_err());
        assert_eq!((window.pending_ops(), window.pending_bytes()), (1, 2));
        window.append(vec![put("a", "2")], at(6), 3);
        assert_eq!(window.flush(&backend).unwrap().unwrap().index, RaftIndex(6));
        let tx = backend.read().unwrap();
        assert_eq!(tx.get(Bucket::Lease, b"a").unwrap(), Some(&b"2"[..]));
    }
}
