//! Bad input: each request gets etcd's own error, and the server goes on.
//!
//! Source: behaviour of etcd 3.5 and 3.7; texts of grpc-go. Where a real etcd crashes or answers
//! otherwise than 3.7 the check is for our server alone, and says so.

use anyhow::Result;
use api::{
    etcdserverpb::{self as pb, request_op::Request},
    mvccpb::Event,
    range::prefix_end,
};
use bytes::Bytes;
use conformance::{
    client::{decode_one, revision},
    member::{Kind, Member},
    watching::{WatchStream, watch_prefix},
};
use prost::Message;
use tonic::{Code, Status};

/// Checks code and text of an error.
#[track_caller]
fn assert_error<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, message: &str) {
    let status = result.expect_err(message);
    assert_eq!((status.code(), status.message()), (code, message));
}

const EMPTY_KEY: &str = "etcdserver: key is not provided";
const TOO_LARGE: &str = "etcdserver: request is too large";
const TOO_MANY_OPS: &str = "etcdserver: too many operations in txn request";
const DUPLICATE_KEY: &str = "etcdserver: duplicate key given in txn request";
const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";

/// Writes and reads: the server is alive, and nothing else was written meanwhile.
async fn assert_alive(member: &mut Member, expected_revision: i64) -> Result<()> {
    let mut client = member.client().await;
    assert_eq!(client.put("alive", "yes").await?, expected_revision);
    assert!(client.get("alive").await?.is_some());
    member.assert_sound();
    Ok(())
}

fn put(key: &str) -> pb::RequestOp {
    let put = pb::PutRequest { key: key.to_owned().into(), ..Default::default() };
    pb::RequestOp { request: Some(Request::RequestPut(put)) }
}

fn range(key: &str) -> pb::RequestOp {
    let range = pb::RangeRequest { key: key.to_owned().into(), ..Default::default() };
    pb::RequestOp { request: Some(Request::RequestRange(range)) }
}

fn delete(key: &str, range_end: &str) -> pb::RequestOp {
    let delete = pb::DeleteRangeRequest {
        key: key.to_owned().into(),
        range_end: range_end.to_owned().into(),
        ..Default::default()
    };
    pb::RequestOp { request: Some(Request::RequestDeleteRange(delete)) }
}

fn nested(txn: pb::TxnRequest) -> pb::RequestOp {
    pb::RequestOp { request: Some(Request::RequestTxn(txn)) }
}

fn success(success: Vec<pb::RequestOp>) -> pb::TxnRequest {
    pb::TxnRequest { success, ..Default::default() }
}

#[tokio::test]
async fn empty_keys() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    let code = Code::InvalidArgument;
    assert_error(client.put("", "v").await, code, EMPTY_KEY);
    assert_error(client.get("").await, code, EMPTY_KEY);
    assert_error(client.delete("").await, code, EMPTY_KEY);
    let whole = pb::RangeRequest { range_end: "\0".into(), ..Default::default() };
    assert_error(client.range(whole).await, code, EMPTY_KEY);
    for op in [put(""), range(""), delete("", "\0"), nested(success(vec![put("")]))] {
        assert_error(client.txn(success(vec![op])).await, code, EMPTY_KEY);
    }
    let compare = pb::TxnRequest { compare: vec![pb::Compare::default()], ..Default::default() };
    assert_error(client.txn(compare).await, code, EMPTY_KEY);
    let empty_op = pb::RequestOp { request: None };
    let not_found = "etcdserver: key not found";
    assert_error(client.txn(success(vec![empty_op])).await, code, not_found);
    assert_alive(&mut member, 2).await
}

#[tokio::test]
async fn contradictory_puts() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    let code = Code::InvalidArgument;
    let base = pb::PutRequest { key: "k".into(), ..Default::default() };
    let request = pb::PutRequest { ignore_value: true, value: "v".into(), ..base.clone() };
    assert_error(client.put_with(request).await, code, "etcdserver: value is provided");
    let request = pb::PutRequest { ignore_lease: true, lease: 1, ..base.clone() };
    assert_error(client.put_with(request).await, code, "etcdserver: lease is provided");
    for (ignore_value, ignore_lease) in [(true, false), (false, true), (true, true)] {
        let request = pb::PutRequest { ignore_value, ignore_lease, ..base.clone() };
        assert_error(client.put_with(request).await, code, "etcdserver: key not found");
    }
    for lease in [1, -1, i64::MIN, i64::MAX] {
        let request = pb::PutRequest { lease, ..base.clone() };
        let not_found = "etcdserver: requested lease not found";
        assert_error(client.put_with(request).await, Code::NotFound, not_found);
    }
    assert_alive(&mut member, 2).await
}

#[tokio::test]
async fn requests_have_a_size() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    // Fits the message, not the proposal.
    let value = Bytes::from(vec![b'v'; 1_600_000]);
    assert_error(client.put("k", value.clone()).await, Code::InvalidArgument, TOO_LARGE);
    let big = pb::PutRequest { key: "k".into(), value, ..Default::default() };
    let op = pb::RequestOp { request: Some(Request::RequestPut(big)) };
    assert_error(client.txn(success(vec![op])).await, Code::InvalidArgument, TOO_LARGE);
    let long_key = Bytes::from(vec![b'k'; 1_600_000]);
    assert_error(client.delete(long_key.clone()).await, Code::InvalidArgument, TOO_LARGE);
    // A read makes no proposal, and so it may be that long.
    assert!(client.get(long_key).await?.is_none());

    // Does not even fit the message.
    let request =
        pb::PutRequest { key: "k".into(), value: vec![b'v'; 3 << 20].into(), ..Default::default() };
    let length = request.encoded_len();
    let message = format!("grpc: received message larger than max ({length} vs. 2097152)");
    assert_error(client.put_with(request).await, Code::ResourceExhausted, &message);
    let key = Bytes::from(vec![b'k'; 2 << 20]);
    let request = pb::RangeRequest { key, ..Default::default() };
    let length = request.encoded_len();
    let message = format!("grpc: received message larger than max ({length} vs. 2097152)");
    assert_error(client.range(request).await, Code::ResourceExhausted, &message);

    // The largest that passes.
    client.put("k", vec![b'v'; 1_572_000]).await?;
    assert_alive(&mut member, 3).await
}

#[tokio::test]
async fn transactions_have_a_length() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    let code = Code::InvalidArgument;
    let ops = |count: usize| -> Vec<_> { (0..count).map(|i| range(&i.to_string())).collect() };
    let compares =
        |count: usize| vec![pb::Compare { key: "c".into(), ..Default::default() }; count];
    assert_eq!(client.txn(success(ops(128))).await?.responses.len(), 128);
    assert_error(client.txn(success(ops(129))).await, code, TOO_MANY_OPS);
    let failing = pb::TxnRequest { failure: ops(129), ..Default::default() };
    assert_error(client.txn(failing).await, code, TOO_MANY_OPS);
    let many = pb::TxnRequest { compare: compares(129), ..Default::default() };
    assert_error(client.txn(many).await, code, TOO_MANY_OPS);
    let most = pb::TxnRequest { compare: compares(128), ..Default::default() };
    assert!(client.txn(most).await?.succeeded);

    // A nested transaction has what its parent leaves: 128 - 1, then 127 - 100.
    let inner = nested(success(ops(127)));
    client.txn(success(vec![inner])).await?;
    let inner = nested(success(ops(128)));
    assert_error(client.txn(success(vec![inner])).await, code, TOO_MANY_OPS);
    let mut crowded = ops(99);
    crowded.push(nested(success(ops(28))));
    client.txn(success(crowded.clone())).await?;
    crowded[99] = nested(success(ops(29)));
    assert_error(client.txn(success(crowded)).await, code, TOO_MANY_OPS);

    // Nesting ends when nothing is left of the budget: 42 levels of 3, then 2.
    let deep = |depth: usize, innermost: usize| {
        (0..depth).fold(success(ops(innermost)), |txn, _| {
            success(vec![range("a"), nested(txn), range("b")])
        })
    };
    client.txn(deep(42, 2)).await?;
    assert_error(client.txn(deep(42, 3)).await, code, TOO_MANY_OPS);
    assert_error(client.txn(deep(43, 0)).await, code, TOO_MANY_OPS);
    assert_alive(&mut member, 2).await
}

#[tokio::test]
async fn one_change_of_a_key_in_a_transaction() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    let code = Code::InvalidArgument;
    let either = |then: &str, otherwise: &str| {
        let (success, failure) = (vec![put(then)], vec![put(otherwise)]);
        nested(pb::TxnRequest { success, failure, ..Default::default() })
    };
    let refused = [
        vec![put("a"), put("a")],
        vec![delete("a", ""), put("a")],
        vec![put("b"), delete("a", "c")],
        vec![nested(success(vec![put("a")])), put("a")],
        vec![put("a"), either("x", "a")],
        vec![either("x", "y"), either("z", "x")],
        vec![nested(success(vec![delete("a", "")])), put("a")],
        vec![delete("a", "z"), either("b", "zz")],
    ];
    for ops in refused {
        let shown = format!("{ops:?}");
        let result = client.txn(success(ops.clone())).await;
        assert!(result.is_err(), "accepted {shown}");
        assert_error(result, code, DUPLICATE_KEY);
        let failing = pb::TxnRequest { failure: ops, ..Default::default() };
        assert_error(client.txn(failing).await, code, DUPLICATE_KEY);
    }
    let accepted = [
        vec![delete("a", ""), delete("a", "c")],
        vec![range("a"), put("a")],
        vec![put("b"), delete("c", "a")],
        vec![either("x", "x")],
        vec![put("c"), delete("a", "c")],
        // A deletion is only held against puts that come later, or on the same level.
        vec![nested(success(vec![put("b")])), nested(success(vec![delete("a", "c")]))],
    ];
    for ops in accepted {
        client.txn(success(ops)).await?;
    }
    assert!(client.get("b").await?.is_none());
    assert_alive(&mut member, 7).await
}

#[tokio::test]
async fn absurd_ranges_are_empty() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    client.put("k", "v").await?;
    for (key, range_end) in [("z", "a"), ("k", "k"), ("k\0", "k"), ("\u{7f}", "\u{1}")] {
        let request = pb::RangeRequest {
            key: key.to_owned().into(),
            range_end: range_end.to_owned().into(),
            ..Default::default()
        };
        let answer = client.range(request).await?;
        assert_eq!((answer.count, answer.kvs.len(), answer.more), (0, 0, false), "{key:?}");
        let answer = client.txn(success(vec![delete(key, range_end)])).await?;
        assert_eq!(revision(&answer.header), 2);
    }
    let all = pb::RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
    for limit in [i64::MIN, -1, 0, i64::MAX] {
        let request = pb::RangeRequest { limit, ..all.clone() };
        let answer = client.range(request).await?;
        assert_eq!((answer.count, answer.kvs.len(), answer.more), (1, 1, false), "{limit}");
    }
    for revision in [i64::MIN, -1] {
        let request = pb::RangeRequest { revision, ..all.clone() };
        assert_eq!(client.range(request).await?.count, 1);
    }
    for revision in [3, i64::MAX] {
        let request = pb::RangeRequest { revision, ..all.clone() };
        assert_error(client.range(request).await, Code::OutOfRange, FUTURE);
    }
    let prefix_of_last = prefix_end(b"\xff\xff");
    let request = pb::RangeRequest {
        key: Bytes::from_static(b"\xff\xff"),
        range_end: prefix_of_last,
        ..Default::default()
    };
    assert_eq!(client.range(request).await?.count, 0);
    assert_alive(&mut member, 3).await
}

#[tokio::test]
async fn compactions_out_of_range() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    for _ in 0..5 {
        client.put("k", "v").await?;
    }
    for revision in [7, i64::MAX] {
        assert_error(client.compact(revision).await, Code::OutOfRange, FUTURE);
    }
    assert_error(client.compact(-1).await, Code::OutOfRange, COMPACTED);
    assert_error(client.compact(i64::MIN).await, Code::OutOfRange, COMPACTED);
    client.compact(4).await?;
    for revision in [0, 3, 4, -1] {
        assert_error(client.compact(revision).await, Code::OutOfRange, COMPACTED);
    }
    for revision in [7, i64::MAX] {
        let request = pb::HashKvRequest { revision };
        assert_error(client.maintenance.hash_kv(request).await, Code::OutOfRange, FUTURE);
    }
    let request = pb::HashKvRequest { revision: 3 };
    assert_error(client.maintenance.hash_kv(request).await, Code::OutOfRange, COMPACTED);
    assert_alive(&mut member, 7).await
}

#[tokio::test]
async fn enumerations_without_that_value() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let ours = member.binary().version() >= (3, 6);
    let mut client = member.client().await;
    client.put("k", "v").await?;
    let base = pb::RangeRequest { key: "k".into(), ..Default::default() };
    for number in [-1, 9, i32::MIN, i32::MAX] {
        // Unknown results hold, unknown targets compare as equal.
        let compare = |result, target| pb::TxnRequest {
            compare: vec![pb::Compare { result, target, key: "k".into(), ..Default::default() }],
            ..Default::default()
        };
        assert!(client.txn(compare(number, 0)).await?.succeeded);
        assert!(client.txn(compare(0, number)).await?.succeeded);
        assert!(!client.txn(compare(1, number)).await?.succeeded);
        assert!(!client.txn(compare(3, number)).await?.succeeded);

        // 3.5 takes an unknown order for none, and crashes on an unknown target.
        let order = pb::RangeRequest { sort_order: number, ..base.clone() };
        if !ours {
            assert_eq!(client.range(order).await?.count, 1);
            continue;
        }
        let target = pb::RangeRequest { sort_target: number, ..base.clone() };
        for request in [order, target] {
            let message = "etcdserver: invalid sort option";
            let code = Code::InvalidArgument;
            assert_error(client.range(request.clone()).await, code, message);
            let op = pb::RequestOp { request: Some(Request::RequestRange(request)) };
            assert_error(client.txn(success(vec![op])).await, code, message);
        }
        let request = pb::DowngradeRequest { action: number, version: "3.6.0".into() };
        let result = client.maintenance.downgrade(request).await;
        assert_error(result, Code::Unknown, "etcdserver: unknown method");
    }
    assert_alive(&mut member, 3).await
}

/// A real etcd ends on an unknown alarm action, so this is for our server alone.
#[tokio::test]
async fn an_unknown_alarm_action_does_no_harm() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    if member.binary().kind() == Kind::Etcd {
        return Ok(());
    }
    let mut client = member.client().await;
    for action in [3, -1, i32::MAX] {
        for alarm in [0, 1, 7] {
            let request = pb::AlarmRequest { action, member_id: 1, alarm };
            // Whatever it answers, it must answer.
            if let Err(status) = client.maintenance.alarm(request).await {
                assert_ne!(status.code(), Code::Unavailable, "{status}");
                assert_ne!(status.code(), Code::DeadlineExceeded, "{status}");
            }
        }
    }
    let alarms = client.maintenance.alarm(pb::AlarmRequest::default()).await?.into_inner();
    assert!(alarms.alarms.is_empty(), "{alarms:?}");
    assert_alive(&mut member, 2).await?;
    // Nor does it come back from the log.
    member.kill();
    member.restart().await?;
    assert_alive(&mut member, 3).await
}

/// etcd's check for two changes of a key reads `range_end` as it is, so a deletion "from this key
/// on" overlaps no put; both happen, in order, within one revision.
#[tokio::test]
async fn a_put_and_an_open_deletion_of_one_key() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    client.put("b", "old").await?;
    client.put("c", "old").await?;
    let answer = client.txn(success(vec![put("b"), put("d"), delete("b", "\0")])).await?;
    assert_eq!(revision(&answer.header), 4);
    let Some(pb::response_op::Response::ResponseDeleteRange(deleted)) =
        &answer.responses[2].response
    else {
        panic!("{answer:?}")
    };
    assert_eq!(deleted.deleted, 3);
    assert!(client.list("").await?.is_empty());

    let answer = client.txn(success(vec![delete("a", "\0"), put("b"), put("d")])).await?;
    assert_eq!(revision(&answer.header), 5);
    client.txn(success(vec![delete("a", "\0"), put("b"), range("b")])).await?;
    let kvs = client.list("").await?;
    let metas: Vec<_> = kvs
        .iter()
        .map(|kv| (&kv.key[..], kv.create_revision, kv.mod_revision, kv.version))
        .collect();
    assert_eq!(metas, [(&b"b"[..], 6, 6, 1)]);

    // The history of it: as a watcher sees it, and after a restart and a compaction.
    let all = pb::WatchCreateRequest { start_revision: 2, prev_kv: true, ..watch_prefix("") };
    let (mut stream, _) = WatchStream::create(&client, all).await?;
    let responses = stream.until_event(6).await?;
    let history: Vec<_> =
        responses.iter().flat_map(|response| &response.events).map(shown).collect();
    let expected = [
        "2 put b",
        "3 put c",
        "4 put b after 2",
        "4 put d",
        "4 delete b after 2",
        "4 delete c after 3",
        "4 delete d",
        "5 put b",
        "5 put d",
        "6 delete b after 5",
        "6 delete d after 5",
        "6 put b",
    ];
    assert_eq!(history, expected);
    // A compaction at the revision of a deletion and a later put of one key makes etcd 3.5 lose the
    // key, a fault of etcd that is not ours.
    let revisions = if member.binary().kind() == Kind::Etcd { &[4, 5][..] } else { &[4, 5, 6] };
    for &revision in revisions {
        client.compact(revision).await?;
        member.kill();
        member.restart().await?;
        client = member.client().await;
        assert_eq!(client.list("").await?, kvs, "after a compaction at {revision}");
    }
    assert_alive(&mut member, 7).await
}

/// A put that keeps the value of a key which the same transaction deletes: a real etcd looks for the
/// value after the deletion and ends, so this is for our server alone.
#[tokio::test]
async fn keeping_the_value_of_a_key_that_is_just_deleted() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    if member.binary().kind() == Kind::Etcd {
        return Ok(());
    }
    let mut client = member.client().await;
    for (ignore_value, ignore_lease) in [(true, false), (false, true), (true, true)] {
        client.put("b", "old").await?;
        let key = "b".into();
        let keep = pb::PutRequest { key, ignore_value, ignore_lease, ..Default::default() };
        let keep = pb::RequestOp { request: Some(Request::RequestPut(keep)) };
        // Whatever it answers, it must answer, and the same to the next.
        if let Err(status) = client.txn(success(vec![delete("a", "\0"), keep])).await {
            assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        }
    }
    let before = client.list("").await?;
    member.kill();
    member.restart().await?;
    client = member.client().await;
    assert_eq!(client.list("").await?, before, "the log tells another story");
    client.put("alive", "yes").await?;
    member.assert_sound();
    Ok(())
}

/// An event in words.
fn shown(event: &Event) -> String {
    let kv = decode_one(event.kv.as_ref().expect("an event has its key-value"));
    let kind = if event.r#type == 0 { "put" } else { "delete" };
    let key = String::from_utf8_lossy(&kv.key).into_owned();
    let previous = event.prev_kv.as_ref().map(|kv| decode_one(kv).mod_revision);
    let after = previous.map(|revision| format!(" after {revision}")).unwrap_or_default();
    format!("{} {kind} {key}{after}", kv.mod_revision)
}
