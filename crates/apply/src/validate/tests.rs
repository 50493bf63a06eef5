//! Requests with faults, and which fault is answered.

use api::etcdserverpb::InternalRaftRequest;
use prost::Message;

use super::*;
use crate::harness::{del, exists, get, get_with, put, put_with, txn, txn_request};

#[track_caller]
fn check(op: RequestOp, max_ops: usize, expected: Result<(), Error>) {
    assert_eq!(check_txn(&txn_request(op), max_ops), expected);
}

fn then(ops: Vec<RequestOp>) -> RequestOp {
    txn(vec![], ops, vec![])
}

const DUPLICATE: Result<(), Error> = Err(Error::DuplicateKey);

#[test]
fn ranges() {
    let range = |edit: fn(&mut RangeRequest)| {
        let mut range = RangeRequest { key: "k".into(), ..RangeRequest::default() };
        edit(&mut range);
        range
    };
    assert_eq!(check_range(&range(|_| {})), Ok(()));
    assert_eq!(check_range(&range(|r| r.sort_order = 3)), Err(Error::InvalidSortOption));
    assert_eq!(check_range(&range(|r| r.sort_target = -1)), Err(Error::InvalidSortOption));
    assert_eq!(
        check_range(&RangeRequest { sort_order: 3, ..Default::default() }),
        Err(Error::EmptyKey)
    );

    let stream =
        |edit| check_range_stream(&range(edit)).map_err(|e| (e.code, e.message.into_owned()));
    assert_eq!(stream(|r| r.sort_target = 3), Ok(()));
    assert_eq!(stream(|r| r.sort_order = 1), Ok(()));
    let sorted =
        (Code::Unimplemented, "RangeStream does not support custom sort orders".to_owned());
    assert_eq!(stream(|r| r.sort_order = 2), Err(sorted.clone()));
    assert_eq!(
        stream(|r| {
            r.sort_order = 1;
            r.sort_target = 1;
            r.min_mod_revision = 1;
        }),
        Err(sorted)
    );
    let filtered =
        (Code::Unimplemented, "RangeStream does not support revision filters".to_owned());
    assert_eq!(stream(|r| r.max_create_revision = 1), Err(filtered));
}

#[test]
fn puts_and_deletes() {
    let put = |edit: fn(&mut PutRequest)| {
        let mut put = PutRequest::default();
        edit(&mut put);
        check_put(&put)
    };
    assert_eq!(put(|p| p.ignore_value = true), Err(Error::EmptyKey));
    assert_eq!(
        put(|p| {
            (p.key, p.value, p.lease) = ("k".into(), "v".into(), 1);
            (p.ignore_value, p.ignore_lease) = (true, true);
        }),
        Err(Error::ValueProvided)
    );
    assert_eq!(
        put(|p| {
            (p.key, p.lease) = ("k".into(), 1);
            (p.ignore_value, p.ignore_lease) = (true, true);
        }),
        Err(Error::LeaseProvided)
    );
    assert_eq!(check_delete_range(&DeleteRangeRequest::default()), Err(Error::EmptyKey));
}

#[test]
fn the_budget_of_operations_shrinks_with_depth() {
    let wide = |n: usize| then((0..n).map(|i| put(&format!("k{i}"), "v")).collect());
    check(wide(3), 3, Ok(()));
    check(wide(4), 3, Err(Error::TooManyOps));
    check(txn(vec![exists("a"); 4], vec![], vec![]), 3, Err(Error::TooManyOps));
    check(txn(vec![], vec![], vec![get("a", ""); 4]), 3, Err(Error::TooManyOps));
    check(then(vec![wide(3)]), 4, Ok(()));
    check(then(vec![wide(4)]), 4, Err(Error::TooManyOps));
    check(then(vec![get("a", ""), then(vec![wide(1)])]), 3, Err(Error::TooManyOps));
}

#[test]
fn each_operation_is_checked_before_overlaps() {
    let no_key = Err(Error::EmptyKey);
    check(txn(vec![exists("")], vec![RequestOp::default()], vec![]), 9, no_key);
    check(
        then(vec![put("a", "1"), put("a", "1"), RequestOp::default()]),
        9,
        Err(Error::KeyNotFound),
    );
    check(txn(vec![], vec![put("a", "1")], vec![del("", "")]), 9, no_key);
    check(then(vec![get_with("a", "", |r| r.sort_order = 7)]), 9, Err(Error::InvalidSortOption));
    let keep = put_with("a", "v", |p| p.ignore_value = true);
    check(then(vec![then(vec![keep])]), 9, Err(Error::ValueProvided));
    check(then(vec![then(vec![put("", "1")])]), 9, no_key);
    // The failure branch is looked at last.
    check(txn(vec![], vec![put("a", "1"); 2], vec![put("", "")]), 9, no_key);
}

#[test]
fn a_key_is_changed_once() {
    check(then(vec![put("a", "1"), put("b", "1"), get("a", "z")]), 9, Ok(()));
    check(then(vec![put("a", "1"), put("a", "2")]), 9, DUPLICATE);
    check(txn(vec![], vec![put("a", "1")], vec![put("a", "2")]), 9, Ok(()));
    check(txn(vec![], vec![], vec![put("a", "1"), put("a", "2")]), 9, DUPLICATE);
    check(then(vec![put("b", "1"), del("a", "z")]), 9, DUPLICATE);
    check(then(vec![del("a", ""), put("a", "1")]), 9, DUPLICATE);
    check(then(vec![del("a", ""), put("a\0", "1")]), 9, Ok(()));
    check(then(vec![del("a", "b"), put("b", "1")]), 9, Ok(()));
    check(then(vec![del("a", "m"), del("b", "z"), del("c", "")]), 9, Ok(()));
    check(then(vec![del("a", "c"), del("x", "z"), del("b", "y"), put("w", "1")]), 9, DUPLICATE);
    check(then(vec![del("a", "c"), del("x", "z"), put("w", "1")]), 9, Ok(()));
}

/// Observed of etcd 3.5.
#[test]
fn open_and_empty_deletes_overlap_nothing() {
    check(then(vec![del("a", "\0"), put("b", "1")]), 9, Ok(()));
    check(then(vec![del("a", "\0"), put("a", "1")]), 9, Ok(()));
    check(then(vec![del("z", "a"), put("b", "1")]), 9, Ok(()));
    check(then(vec![then(vec![del("a", "\0")]), put("zz", "1")]), 9, Ok(()));
}

/// Observed of etcd 3.5.
#[test]
fn inner_transactions() {
    let inner = |success, failure| txn(vec![], success, failure);
    let put_k = || put("k", "1");
    check(then(vec![inner(vec![put_k()], vec![put_k()])]), 9, Ok(()));
    check(then(vec![inner(vec![put_k()], vec![]), put_k()]), 9, DUPLICATE);
    check(then(vec![inner(vec![], vec![put_k()]), put_k()]), 9, DUPLICATE);
    check(then(vec![inner(vec![put_k()], vec![]), inner(vec![], vec![put_k()])]), 9, DUPLICATE);
    check(then(vec![inner(vec![put_k()], vec![]), del("a", "z")]), 9, DUPLICATE);
    check(then(vec![inner(vec![del("a", "z")], vec![]), put_k()]), 9, DUPLICATE);
    check(
        then(vec![inner(vec![del("k", "")], vec![]), inner(vec![put_k()], vec![])]),
        9,
        DUPLICATE,
    );
    check(then(vec![inner(vec![put_k()], vec![]), inner(vec![del("k", "")], vec![])]), 9, Ok(()));
    check(then(vec![inner(vec![del("k", "")], vec![put_k()])]), 9, Ok(()));
    check(then(vec![inner(vec![inner(vec![put_k()], vec![])], vec![]), put_k()]), 9, DUPLICATE);
}

#[test]
fn what_is_let_through_can_be_read_back_from_the_log() {
    let nested =
        |depth: usize| (1..depth).fold(then(vec![put("k", "v")]), |txn, _| then(vec![txn]));
    check(nested(TXN_DEPTH_MAX), 1000, Ok(()));
    check(nested(TXN_DEPTH_MAX + 1), 1000, Err(Error::TooManyOps));
    let entry = |depth| {
        let txn = Some(txn_request(nested(depth)));
        InternalRaftRequest { txn, ..Default::default() }.encode_to_vec()
    };
    assert!(InternalRaftRequest::decode(&entry(TXN_DEPTH_MAX)[..]).is_ok());
    assert!(InternalRaftRequest::decode(&entry(TXN_DEPTH_MAX + 2)[..]).is_err());
}
