//! A store replaced in place by a later state of the same history, with readers beside it.

mod common;

use std::{ops::ControlFlow, sync::Arc};

use api::{ids::Revision, range::KeyRange};
use bytes::Bytes;
use common::Member;
use mvcc::{RangeQuery, RecentLimits};
use storage::{Backend, Bucket, Op, mem::MemBackend};

/// Everything in a backend, as operations for an empty one.
fn dump(backend: &dyn Backend) -> Vec<Op> {
    let mut ops = Vec::new();
    let tx = backend.read().unwrap();
    for bucket in Bucket::ALL {
        tx.scan(bucket, b"", &mut |key, value| {
            let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            ops.push(Op::Put { bucket, key, value });
            ControlFlow::Continue(())
        })
        .unwrap();
    }
    ops
}

/// Deletes of everything in a backend, then `ops`, as one transaction.
fn swap(backend: &dyn Backend, ops: Vec<Op>) {
    let old = dump(backend).into_iter().map(|op| match op {
        Op::Put { bucket, key, .. } => Op::Delete { bucket, key },
        delete => delete,
    });
    let all: Vec<Op> = old.chain(ops).collect();
    backend.commit(&all).unwrap();
}

fn all() -> RangeQuery {
    RangeQuery::new(KeyRange::From(Bytes::from_static(b"\0")))
}

/// A member that keeps nothing in memory but its index once it is flushed.
fn member() -> Member {
    let nothing = RecentLimits { bytes: 0, revisions: 0 };
    Member::open_with(Arc::new(MemBackend::new()), nothing)
}

/// A member that lags behind, and its leader, which has compacted most of what the other has.
fn laggard_and_leader() -> (Member, Member) {
    let (mut laggard, mut leader) = (member(), member());
    for i in 0..20 {
        let (key, value) = (format!("k{}", i % 5), format!("v{i}"));
        laggard.put(&key, &value);
        leader.put(&key, &value);
    }
    for i in 20..60 {
        leader.put(&format!("k{}", i % 7), &format!("v{i}"));
    }
    leader.delete("k0", "");
    leader.compact(40).unwrap();
    leader.settle();
    laggard.flush();
    (laggard, leader)
}

#[test]
fn a_replaced_store_is_that_of_the_leader() {
    let (mut laggard, leader) = laggard_and_leader();
    let ops = dump(&*leader.backend);
    let replaced = laggard
        .store
        .replace(ops.into_iter().map(Ok), |ops| {
            swap(&*laggard.backend, ops.map(Result::unwrap).collect());
            Ok(())
        })
        .unwrap();
    assert!(replaced.attachments.is_empty() && replaced.unfinished_compaction.is_none());
    assert_eq!(laggard.store.revision(), leader.store.revision());
    assert_eq!(laggard.store.compact_revision(), 40);
    let (ours, theirs) = (laggard.store.range(&all()), leader.store.range(&all()));
    assert_eq!(ours.unwrap().kvs, theirs.unwrap().kvs);
    assert_eq!(laggard.store.hash_kv(0).unwrap(), leader.store.hash_kv(0).unwrap());
    let events = |member: &Member| member.store.events(41, 1000, 1 << 20).unwrap();
    assert_eq!(events(&laggard).len(), events(&leader).len());
    assert!(laggard.store.events(30, 10, 1000).is_err());
    laggard.applied = 1000;
    laggard.put("new", "after");
    let (range, revision) = (KeyRange::Single("new".into()), leader.store.revision() + 1);
    let answer = laggard.store.range(&RangeQuery::new(range)).unwrap();
    assert_eq!((answer.kvs.len(), answer.revision), (1, revision));
}

#[test]
fn readers_beside_the_last_part_wait_for_it() {
    let (laggard, leader) = laggard_and_leader();
    let ops = dump(&*leader.backend);
    let (store, backend) = (Arc::new(laggard.store), laggard.backend.clone());
    let mut readers = Vec::new();
    store
        .replace(ops.into_iter().map(Ok), |ops| {
            let before = store.range(&all()).unwrap();
            assert_eq!(before.kvs.len(), 5);
            swap(&*backend, ops.map(Result::unwrap).collect());
            // Now the index is old and the backend new: what it has of the keys is gone.
            for _ in 0..4 {
                let store = store.clone();
                readers.push(std::thread::spawn(move || {
                    let range = store.range(&all()).unwrap();
                    let value = store.value(Revision { main: 21, sub: 0 }).unwrap();
                    (range, value, store.hash_kv(0).unwrap(), store.events(45, 100, 1 << 20))
                }));
            }
            Ok(())
        })
        .unwrap();
    for reader in readers {
        let (range, value, hash, events) = reader.join().unwrap();
        assert_eq!(range.revision, leader.store.revision());
        assert!(value.is_none());
        assert_eq!(hash, leader.store.hash_kv(0).unwrap());
        assert_eq!(events.unwrap()[0].revision, 45);
    }
}
