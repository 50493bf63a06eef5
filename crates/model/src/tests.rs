//! The model's own examples: each a rule of the API that is easily got wrong.

use api::{
    error::Error,
    etcdserverpb::{
        CompactionRequest, Compare, DeleteRangeRequest, InternalRaftRequest, LeaseGrantRequest,
        LeaseRevokeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest,
        compare::{CompareResult, CompareTarget, TargetUnion},
        range_request::{SortOrder, SortTarget},
        request_op::Request,
    },
};

use crate::{Answer, Model, expected_events};

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    }
}

fn apply_put(model: &mut Model, request: PutRequest) -> Result<Answer, Error> {
    model.apply(&InternalRaftRequest { put: Some(request), ..Default::default() }, 0)
}

fn apply_txn(model: &mut Model, request: TxnRequest) -> Result<Answer, Error> {
    model.apply(&InternalRaftRequest { txn: Some(request), ..Default::default() }, 0)
}

fn all() -> RangeRequest {
    RangeRequest { key: vec![0].into(), range_end: vec![0].into(), ..RangeRequest::default() }
}

fn keys(model: &Model, request: &RangeRequest) -> Vec<String> {
    let answer = model.range(request).unwrap();
    let key = |kv: &api::kv::RawKeyValue| kv.decode().unwrap().key.to_vec();
    answer.kvs.iter().map(|kv| String::from_utf8(key(kv)).unwrap()).collect()
}

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

#[test]
fn a_delete_of_nothing_has_no_revision() {
    let mut model = Model::new();
    let delete = DeleteRangeRequest { key: "a".into(), ..Default::default() };
    let request = InternalRaftRequest { delete_range: Some(delete), ..Default::default() };
    model.apply(&request, 0).unwrap();
    assert_eq!(model.keys().revision(), 1);
    apply_put(&mut model, put("a", "1")).unwrap();
    model.apply(&request, 0).unwrap();
    assert_eq!(model.keys().revision(), 3);
    apply_put(&mut model, put("a", "2")).unwrap();
    let kv = model.keys().get(b"a").unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (4, 4, 1));
    assert!(model.keys().get_at(b"a", 3).is_none());
    assert_eq!(&model.keys().get_at(b"a", 2).unwrap().value[..], b"1");
}

#[test]
fn an_inner_guard_does_not_see_the_outer_put() {
    let mut model = Model::new();
    let guard = Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Version as i32,
        key: "a".into(),
        target_union: Some(TargetUnion::Version(0)),
        ..Compare::default()
    };
    let inner = TxnRequest {
        compare: vec![guard],
        success: vec![op(Request::RequestPut(put("b", "unseen")))],
        failure: vec![op(Request::RequestPut(put("b", "seen")))],
    };
    let success = vec![op(Request::RequestPut(put("a", "1"))), op(Request::RequestTxn(inner))];
    apply_txn(&mut model, TxnRequest { success, ..TxnRequest::default() }).unwrap();
    assert_eq!(&model.keys().get(b"b").unwrap().value[..], b"unseen");
    assert_eq!(model.keys().revision(), 2);
    assert_eq!(model.keys().changes(2).len(), 2);
}

#[test]
fn a_refused_operation_refuses_the_whole_transaction() {
    let mut model = Model::new();
    let success = vec![
        op(Request::RequestPut(put("a", "1"))),
        op(Request::RequestPut(PutRequest { ignore_value: true, ..put("b", "") })),
    ];
    let refused = apply_txn(&mut model, TxnRequest { success, ..TxnRequest::default() });
    assert_eq!(refused, Err(Error::KeyNotFound));
    assert_eq!(model.keys().revision(), 1);
    assert!(model.keys().get(b"a").is_none());
}

#[test]
fn a_limit_reads_one_key_more_before_an_order_without_direction() {
    let mut model = Model::new();
    for (key, value) in [("a", "3"), ("b", "2"), ("c", "1")] {
        apply_put(&mut model, put(key, value)).unwrap();
    }
    let by_value = RangeRequest { sort_target: SortTarget::Value as i32, limit: 2, ..all() };
    assert_eq!(keys(&model, &by_value), ["c", "b"]);
    let one = RangeRequest { limit: 1, ..by_value.clone() };
    assert_eq!(keys(&model, &one), ["b"]);
    let ascending = RangeRequest { sort_order: SortOrder::Ascend as i32, ..by_value };
    assert_eq!(keys(&model, &ascending), ["c", "b"]);
}

#[test]
fn compaction_forbids_what_lies_before_it() {
    let mut model = Model::new();
    for value in ["1", "2", "3"] {
        apply_put(&mut model, put("a", value)).unwrap();
    }
    let mut compact = |revision| {
        let compaction = Some(CompactionRequest { revision, physical: false });
        model.apply(&InternalRaftRequest { compaction, ..Default::default() }, 0)
    };
    assert_eq!(compact(5), Err(Error::FutureRev));
    assert_eq!(compact(3), Ok(Answer::Compaction(4)));
    assert_eq!(compact(3), Err(Error::Compacted));
    let at = |revision| RangeRequest { revision, ..all() };
    assert_eq!(model.range(&at(2)), Err(Error::Compacted));
    assert_eq!(keys(&model, &at(3)), ["a"]);
    assert_eq!(model.range(&at(5)), Err(Error::FutureRev));
}

#[test]
fn a_revoke_deletes_what_is_attached_at_one_revision() {
    let mut model = Model::new();
    let lease_grant = Some(LeaseGrantRequest { id: 7, ttl: 1 });
    let grant = InternalRaftRequest { lease_grant, ..Default::default() };
    let Ok(Answer::LeaseGrant(granted)) = model.apply(&grant, 1000) else { panic!() };
    assert_eq!(granted.ttl, 2);
    assert_eq!(model.apply(&grant, 1000), Err(Error::LeaseExist));
    for key in ["b", "a", "c"] {
        apply_put(&mut model, PutRequest { lease: 7, ..put(key, "v") }).unwrap();
    }
    apply_put(&mut model, put("c", "free")).unwrap();
    assert!(!model.leases().may_expire(7, 2999));
    assert!(model.leases().may_expire(7, 3000));
    let lease_revoke = Some(LeaseRevokeRequest { id: 7 });
    let revoke = InternalRaftRequest { lease_revoke, ..Default::default() };
    assert_eq!(model.apply(&revoke, 0), Ok(Answer::LeaseRevoke(6)));
    assert_eq!(keys(&model, &all()), ["c"]);
    let gone: Vec<&[u8]> = model.keys().changes(6).iter().map(|c| &c.kv.key[..]).collect();
    assert_eq!(gone, [b"a", b"b"]);
    assert_eq!(model.apply(&revoke, 0), Err(Error::LeaseNotFound));
}

#[test]
fn a_watcher_is_sent_what_was_before_the_transaction() {
    let mut model = Model::new();
    apply_put(&mut model, put("a", "1")).unwrap();
    let delete = DeleteRangeRequest { key: "a".into(), ..Default::default() };
    let success =
        vec![op(Request::RequestPut(put("b", "1"))), op(Request::RequestDeleteRange(delete))];
    apply_txn(&mut model, TxnRequest { success, ..TxnRequest::default() }).unwrap();
    let request = WatchCreateRequest {
        range_end: vec![0].into(),
        prev_kv: true,
        ..WatchCreateRequest::default()
    };
    let events = expected_events(model.keys(), &request, 1, 3);
    let told: Vec<(bool, bool)> =
        events.iter().map(|event| (event.change.deleted, event.previous.is_some())).collect();
    assert_eq!(told, [(false, false), (false, false), (true, true)]);
    let nothing_put = WatchCreateRequest { filters: vec![0], ..request };
    assert_eq!(expected_events(model.keys(), &nothing_put, 1, 3).len(), 1);
}
