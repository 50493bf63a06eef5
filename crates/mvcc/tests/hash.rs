//! `HashKV` against numbers that etcd 3.5 gave for the same operations, in the same order.

mod common;

use std::sync::Arc;

use api::ids::LeaseId;
use common::Member;
use mvcc::ReadError;
use storage::mem::MemBackend;

/// Hash, compact revision and current revision, as `etcdctl endpoint hashkv --rev` printed them.
#[track_caller]
fn check(member: &Member, revision: i64, hash: u32, compacted: i64, current: i64) {
    let got = member.store.hash_kv(revision).unwrap();
    let revision = if revision == 0 { current } else { revision };
    assert_eq!((got.hash, got.compact_revision, got.revision), (hash, compacted, revision));
    assert_eq!(member.store.revision(), current);
}

#[track_caller]
fn compacted(member: &Member, revision: i64) {
    assert!(matches!(member.store.hash_kv(revision), Err(ReadError::Compacted)));
}

/// Revisions 2 to 30.
fn fill(member: &mut Member) {
    member.put("a", "1");
    member.put("b", "2");
    member.put("a", "3");
    member.delete("a", "");
    member.put("a", "4");
    for (revision, hash) in [
        (0, 243047511),
        (6, 243047511),
        (5, 1346927904),
        (4, 2069675932),
        (3, 1827592406),
        (2, 2587454935),
        (-1, 1084519789),
        (-5, 1084519789),
    ] {
        check(member, revision, hash, -1, 6);
    }
    member.write(|txn| txn.put("c".into(), "leased".into(), LeaseId(7587)));
    member.write(|txn| {
        txn.put("d".into(), "d1".into(), LeaseId(0));
        txn.delete_range(&common::key_range("a", "c"));
        txn.put("e".into(), "".into(), LeaseId(0));
    });
    for number in 0..20 {
        member.put(&format!("k{number:02}"), &"v".repeat(number * 50));
    }
    member.delete("k", "l");
    member.put("a", "again");
}

/// With the backend as far behind as it may be, or not at all.
fn run(flush: bool) {
    let mut member = Member::open(Arc::new(MemBackend::new()));
    check(&member, 0, 1084519789, -1, 1);
    fill(&mut member);
    let settle = |member: &Member| {
        if flush {
            member.settle()
        }
    };
    settle(&member);
    for (revision, hash) in
        [(0, 932462523), (30, 932462523), (29, 1515831101), (8, 3202395531), (7, 3997673688)]
    {
        check(&member, revision, hash, -1, 30);
    }
    member.compact(8).unwrap();
    settle(&member);
    for (revision, hash) in [(0, 793761759), (30, 793761759), (29, 1045468467), (9, 3888522881)] {
        check(&member, revision, hash, 8, 30);
    }
    compacted(&member, 7);
    // The compaction's own hash: computed once it has run.
    member.settle();
    check(&member, 8, 3202395531, -1, 30);

    member.compact(29).unwrap();
    settle(&member);
    check(&member, 0, 2117487364, 29, 30);
    check(&member, 30, 2117487364, 29, 30);
    compacted(&member, 28);
    member.settle();
    check(&member, 29, 1045468467, 8, 30);

    member.delete("a", "");
    member.delete("c", "f");
    for (revision, hash) in [(0, 3941456375), (32, 3941456375), (31, 2117662126), (30, 2117487364)]
    {
        check(&member, revision, hash, 29, 32);
    }
    check(&member, 29, 1045468467, 8, 32);
    member.compact(32).unwrap();
    settle(&member);
    check(&member, 0, 1084519789, 32, 32);
    member.settle();
    check(&member, 32, 1009593511, 29, 32);
    member.put("z", "1");
    check(&member, 0, 697851067, 32, 33);
    check(&member, 32, 1009593511, 29, 33);

    member.flush();
    let mut member = Member::open(member.backend.clone());
    check(&member, 0, 697851067, 32, 33);
    check(&member, 32, 1084519789, 32, 33);
    member.delete("z", "");
    settle(&member);
    for (revision, hash) in [(0, 1540293104), (34, 1540293104), (33, 697851067), (32, 1084519789)] {
        check(&member, revision, hash, 32, 34);
    }
    assert!(matches!(member.store.hash_kv(35), Err(ReadError::Future)));
}

#[test]
fn as_etcd_with_everything_flushed() {
    run(true);
}

#[test]
fn as_etcd_with_a_backend_that_is_behind() {
    run(false);
}
