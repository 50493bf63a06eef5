//! Single properties of the store that the model in `tests/` does not reach.

use std::sync::Arc;

use api::{
    event::EventKind,
    ids::{LeaseId, RaftIndex, Revision, Term},
    range::KeyRange,
};
use bytes::Bytes;
use parking_lot::Mutex;
use storage::{
    Backend, Bucket, Error, Op, ReadTx, Size, Window,
    mem::MemBackend,
    schema::{key, meta, revision},
};

use super::{Compaction, Opened, Store};
use crate::{RangeQuery, ReadError, RecentLimits};

fn open(backend: &MemBackend) -> Opened {
    Store::open(Arc::new(backend.clone())).unwrap()
}

fn put(store: &Store, ops: &mut Vec<Op>, key: &'static str, value: &'static str) {
    let mut txn = store.write(ops);
    txn.put(key.into(), value.into(), LeaseId(0));
    txn.end();
}

fn all() -> RangeQuery {
    RangeQuery::new(KeyRange::From(Bytes::from_static(b"\0")))
}

#[test]
fn an_empty_store_is_at_revision_one() {
    let Opened { store, attachments, unfinished_compaction } = open(&MemBackend::new());
    assert_eq!((store.revision(), store.compact_revision()), (1, -1));
    assert!(attachments.is_empty() && unfinished_compaction.is_none());
    assert_eq!(store.range(&all()).unwrap().revision, 1);
    let mut ops = Vec::new();
    assert!(store.write(&mut ops).end().is_none());
    assert_eq!(store.compaction_step(10, &mut ops).unwrap(), Compaction::Done);
    // As etcd: 0 is above -1, so that it can be compacted once.
    store.compact(0, &mut ops).unwrap();
    assert!(matches!(store.compact(0, &mut ops), Err(ReadError::Compacted)));
    assert!(matches!(store.compact(2, &mut ops), Err(ReadError::Future)));
    assert_eq!(store.compact_revision(), 0);
}

#[test]
fn changes_are_seen_by_readers_only_after_the_end() {
    let Opened { store, .. } = open(&MemBackend::new());
    let mut ops = Vec::new();
    let mut txn = store.write(&mut ops);
    assert!(!txn.changed());
    assert_eq!(txn.revision(), 1);
    txn.put("a".into(), "1".into(), LeaseId(0));
    txn.put("b".into(), "2".into(), LeaseId(0));
    txn.put("a".into(), "3".into(), LeaseId(0));
    assert_eq!(txn.revision(), 2);
    assert_eq!(txn.range(&all()).unwrap().count, 2);
    assert_eq!(txn.range(&all()).unwrap().kvs[0].decode().unwrap().value, "3");
    assert_eq!(
        txn.value(Revision { main: 2, sub: 0 }).unwrap().unwrap().decode().unwrap().value,
        "1"
    );
    assert_eq!(store.range(&all()).unwrap().count, 0);
    assert_eq!(store.revision(), 1);
    let deleted = txn.delete_range(&KeyRange::From("a".into()));
    assert_eq!(deleted.len(), 2);
    assert_eq!(deleted[0].meta.version, 2);
    let changes = txn.end().unwrap();
    assert_eq!(changes.revision, 2);
    let subs: Vec<i64> = changes.events.iter().map(|event| event.revision.sub).collect();
    assert_eq!(subs, [0, 1, 2, 3, 4]);
    assert_eq!(changes.events[3].kind, EventKind::Delete);
    // Nothing was there before the transaction.
    assert_eq!(changes.events[3].prev, None);
    let kv = changes.events[3].kv.decode().unwrap();
    assert_eq!((&kv.key[..], kv.mod_revision, kv.create_revision), (&b"a"[..], 2, 0));
    assert_eq!(store.revision(), 2);
    // The stored delete has only the key.
    let stored = key::RevisionKey::new(Revision { main: 2, sub: 3 }, true).to_bytes();
    assert!(ops.contains(&key::put(&stored, Bytes::from_static(b"\x0a\x01a"))));
}

#[test]
fn revisions_in_a_transaction_are_checked_as_etcd_does() {
    let Opened { store, .. } = open(&MemBackend::new());
    let mut ops = Vec::new();
    put(&store, &mut ops, "a", "1");
    let txn = store.write(&mut ops);
    assert!(txn.check_revision(0).is_ok() && txn.check_revision(2).is_ok());
    assert!(txn.check_revision(-1).is_ok());
    assert!(matches!(txn.check_revision(-9), Err(ReadError::Compacted)));
    assert!(matches!(txn.check_revision(3), Err(ReadError::Future)));
    drop(txn);
    store.compact(2, &mut ops).unwrap();
    let txn = store.write(&mut ops);
    assert!(matches!(txn.check_revision(-1), Err(ReadError::Compacted)));
    assert!(matches!(txn.check_revision(1), Err(ReadError::Compacted)));
    assert!(txn.check_revision(2).is_ok());
}

#[test]
fn a_compaction_waits_for_its_mark() {
    let backend = MemBackend::new();
    let Opened { store, .. } = open(&backend);
    let (window, mut ops) = (Window::new(), Vec::new());
    put(&store, &mut ops, "a", "1");
    put(&store, &mut ops, "a", "2");
    store.compact(3, &mut ops).unwrap();
    let mut out = Vec::new();
    for _ in 0..10 {
        assert_eq!(store.compaction_step(10, &mut out).unwrap(), Compaction::More);
    }
    assert!(out.is_empty());
    assert_eq!(store.compacting(), Some(3));
    window.append(ops, (RaftIndex(3), Term(1)), 3);
    window.flush(&backend).unwrap();
    store.committed(3);
    while store.compaction_step(10, &mut out).unwrap() == Compaction::More {}
    assert_eq!(store.compacting(), None);
    let [of_key, of_revision] = key::delete(Revision { main: 2, sub: 0 }, false);
    assert_eq!(out, [of_key, of_revision, meta::put_finished_compact(3)]);

    // A crash before the deletes: the compaction begins again.
    let Opened { store, unfinished_compaction, .. } = open(&backend);
    assert_eq!(unfinished_compaction, Some(3));
    assert_eq!(store.compact_revision(), 3);
    let mut again = Vec::new();
    while store.compaction_step(10, &mut again).unwrap() == Compaction::More {}
    assert_eq!(again, out);
    backend.commit(&again).unwrap();
    assert_eq!(open(&backend).unfinished_compaction, None);
}

#[test]
fn marks_raise_the_current_revision() {
    let backend = MemBackend::new();
    backend.commit(&[meta::put_scheduled_compact(70), meta::put_finished_compact(50)]).unwrap();
    let Opened { store, unfinished_compaction, .. } = open(&backend);
    assert_eq!((store.revision(), store.compact_revision()), (70, 70));
    assert_eq!(unfinished_compaction, Some(70));
    let mut ops = Vec::new();
    put(&store, &mut ops, "a", "1");
    assert_eq!(store.revision(), 71);
}

#[test]
fn what_no_store_wrote_is_an_error_and_not_a_panic() {
    let good = key::RevisionKey::new(Revision { main: 2, sub: 0 }, false).to_bytes();
    let record = revision::Record { key: b"a", create_revision: 2, version: 1, lease: 0 };
    let raw = |bucket, key: &Bytes, value: &'static [u8]| Op::Put {
        bucket,
        key: key.clone(),
        value: Bytes::from_static(value),
    };
    for bad in [
        raw(Bucket::Revision, &good, b"\xff"),
        raw(Bucket::Revision, &Bytes::from_static(b"short"), b"\x02\x01\x00a"),
        raw(Bucket::Meta, &Bytes::from_static(b"scheduledCompactRev"), b"x"),
    ] {
        let backend = MemBackend::new();
        backend.commit(&[bad]).unwrap();
        assert!(Store::open(Arc::new(backend)).is_err());
    }
    // A revision of the index that has no value.
    let backend = MemBackend::new();
    backend.commit(&[revision::put(&good, &record)]).unwrap();
    let store = open(&backend).store;
    assert!(matches!(store.range(&all()), Err(ReadError::Storage(_))));
    // A value that is no key-value.
    backend.commit(&[raw(Bucket::Key, &good, b"\x0a\xff")]).unwrap();
    assert!(matches!(store.events(2, 10, 1000), Err(ReadError::Storage(_))));
    let by_value = RangeQuery { target: crate::SortTarget::Value, ..all() };
    assert!(matches!(store.range(&by_value), Err(ReadError::Storage(_))));
}

#[test]
#[should_panic(expected = "must be ended")]
fn a_transaction_with_changes_must_be_ended() {
    let Opened { store, .. } = open(&MemBackend::new());
    let mut ops = Vec::new();
    store.write(&mut ops).put("a".into(), "1".into(), LeaseId(0));
}

/// A backend that lets something happen before a view is opened.
struct Interrupted {
    inner: MemBackend,
    before_read: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Backend for Interrupted {
    fn read(&self) -> Result<Box<dyn ReadTx + '_>, Error> {
        let interruption = self.before_read.lock().take();
        if let Some(interruption) = interruption {
            interruption();
        }
        self.inner.read()
    }

    fn commit(&self, ops: &[Op]) -> Result<(), Error> {
        self.inner.commit(ops)
    }

    fn replace(&self, ops: &mut dyn Iterator<Item = Result<Op, Error>>) -> Result<(), Error> {
        self.inner.replace(ops)
    }

    fn size(&self) -> Result<Size, Error> {
        self.inner.size()
    }
}

/// A compaction that runs to its end between the choice of keys and the reading of values, or before
/// history is read, is noticed.
#[test]
fn a_compaction_in_the_middle_of_a_read_is_noticed() {
    let inner = MemBackend::new();
    let backend = Arc::new(Interrupted { inner: inner.clone(), before_read: Mutex::default() });
    let nothing = RecentLimits { bytes: 0, revisions: 0 };
    let Opened { store, .. } = Store::open_with(backend.clone(), nothing).unwrap();
    let (store, window) = (Arc::new(store), Arc::new(Window::new()));
    let write = |store: &Store, window: &Window, inner: &MemBackend| {
        let mut ops = Vec::new();
        put(store, &mut ops, "a", "value");
        let revision = store.revision();
        window.append(ops, (RaftIndex(revision as u64), Term(1)), revision);
        window.flush(inner).unwrap();
        store.committed(revision);
    };
    let interrupt = || {
        write(&store, &window, &inner);
        let (store, window, inner) = (store.clone(), window.clone(), inner.clone());
        *backend.before_read.lock() = Some(Box::new(move || {
            write(&store, &window, &inner);
            let mut ops = Vec::new();
            store.compact(store.revision(), &mut ops).unwrap();
            inner.commit(&ops).unwrap();
            let mut out = Vec::new();
            while store.compaction_step(10, &mut out).unwrap() == Compaction::More {}
            inner.commit(&out).unwrap();
        }));
    };
    interrupt();
    let before = store.revision();
    let result = store.range(&RangeQuery { revision: before, ..all() });
    assert!(matches!(result, Err(ReadError::Compacted)));
    interrupt();
    let now = store.range(&all()).unwrap();
    assert_eq!(now.kvs[0].decode().unwrap().mod_revision, now.revision);
    interrupt();
    let result = store.events(store.revision(), 10, 1000);
    assert!(matches!(result, Err(ReadError::Compacted)));
    interrupt();
    let before = store.revision();
    assert!(matches!(store.hash_kv(before), Err(ReadError::Compacted)));
    interrupt();
    assert_eq!(store.hash_kv(0).unwrap().revision, store.revision());
}

/// Readers on other threads, beside writes, flushes and compactions, see whole transactions: each
/// writes all keys with one value.
#[test]
fn readers_see_whole_transactions_beside_everything() {
    const KEYS: usize = 10;
    let backend = MemBackend::new();
    let few = RecentLimits { bytes: usize::MAX, revisions: 1 };
    let Opened { store, .. } = Store::open_with(Arc::new(backend.clone()), few).unwrap();
    let (window, done) = (Window::new(), std::sync::atomic::AtomicBool::new(false));
    let check = |revision: i64| {
        let query = RangeQuery { revision, ..all() };
        match store.range(&query) {
            Ok(answer) => {
                assert_eq!(answer.kvs.len() as i64, answer.count);
                let read_at = if revision == 0 { answer.revision } else { revision };
                assert_eq!(answer.kvs.len(), if read_at == 1 { 0 } else { KEYS });
                let mods = answer.kvs.iter().map(|kv| kv.decode().unwrap().mod_revision);
                mods.for_each(|main| assert_eq!(main, read_at));
            }
            Err(ReadError::Compacted) => assert!(revision > 0),
            Err(error) => panic!("{error}"),
        }
        match store.events((revision - 5).max(1), 10, usize::MAX) {
            Ok(changes) => {
                assert!(changes.iter().all(|changes| changes.events.len() == KEYS));
                let revisions = changes.iter().map(|changes| changes.revision);
                let first = revisions.clone().next();
                assert!(first.is_none_or(|first| first == (revision - 5).max(2)));
                assert!(revisions.is_sorted_by(|a, b| a + 1 == *b));
            }
            Err(error) => assert!(matches!(error, ReadError::Compacted)),
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    check(0);
                    check(store.revision());
                    check((store.revision() - 3).max(1));
                }
            });
        }
        for round in 1..2500_u64 {
            let mut ops = Vec::new();
            let mut txn = store.write(&mut ops);
            for number in 0..KEYS {
                txn.put(format!("k{number:02}").into(), "value".into(), LeaseId(0));
            }
            txn.end();
            if round % 3 == 0 {
                store.compact(store.revision(), &mut ops).unwrap();
            }
            window.append(ops, (RaftIndex(round), Term(1)), store.revision());
            let mut out = Vec::new();
            while store.compaction_step(64, &mut out).unwrap() == Compaction::More && round % 2 == 0
            {
                window.append_background(std::mem::take(&mut out));
                if let Some(flushed) = window.flush(&backend).unwrap() {
                    store.committed(flushed.revision);
                }
            }
            window.append_background(out);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
