//! Answers in every format, as etcdctl 3.7.1 prints them.

use api::{
    authpb::Permission,
    etcdserverpb::{ResponseHeader, response_op::Response},
    mvccpb::Event,
};
use client::error::Error;

use super::*;

fn printed(answer: &Answer<'_>, format: Format, hex: bool) -> Result<String, Failure> {
    let mut out = Vec::new();
    format.printer(hex, false).print(answer, &mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[track_caller]
fn check(answer: &Answer<'_>, format: Format, expected: &str) {
    assert_eq!(printed(answer, format, false).unwrap(), expected);
}

fn header() -> Option<ResponseHeader> {
    Some(ResponseHeader { cluster_id: 1, member_id: 0xab, revision: 5, raft_term: 2 })
}

fn kv() -> RawKeyValue {
    KeyValue {
        key: "k\n".into(),
        create_revision: 3,
        mod_revision: 5,
        version: 2,
        value: vec![0xff].into(),
        lease: 31,
    }
    .to_raw()
}

#[test]
fn a_range() {
    let response = pb::RangeResponse { header: header(), kvs: vec![kv()], more: true, count: 2 };
    let answer = Answer::Get(&response);
    assert_eq!(printed(&answer, Format::Simple, true).unwrap(), "\\x6b\\x0a\n\\xff\n");
    let json = "{\"header\":{\"cluster_id\":1,\"member_id\":171,\"revision\":5,\"raft_term\":2},\
                \"kvs\":[{\"key\":\"awo=\",\"create_revision\":3,\"mod_revision\":5,\"version\":2,\
                \"value\":\"/w==\",\"lease\":31}],\"more\":true,\"count\":2}\n";
    check(&answer, Format::Json, json);
    let fields = "\"ClusterID\" : 1\n\"MemberID\" : 171\n\"Revision\" : 5\n\"RaftTerm\" : 2\n\
                  \"Key\" : \"k\\n\"\n\"CreateRevision\" : 3\n\"ModRevision\" : 5\n\"Version\" : 2\n\
                  \"Value\" : \"\\xff\"\n\"Lease\" : 31\n\"More\" : true\n\"Count\" : 2\n";
    check(&answer, Format::Fields, fields);
    let hex = printed(&answer, Format::Fields, true).unwrap();
    assert!(hex.contains("\"MemberID\" : ab\n") && hex.contains("\"Lease\" : 000000000000001f\n"));
    let failure = printed(&answer, Format::Table, false).unwrap_err();
    assert_eq!(failure, Failure::bad_feature("table not supported as output format"));
}

#[test]
fn a_transaction() {
    let op = |response| pb::ResponseOp { response: Some(response) };
    let response = pb::TxnResponse {
        header: None,
        succeeded: false,
        responses: vec![
            op(Response::ResponsePut(pb::PutResponse::default())),
            op(Response::ResponseDeleteRange(pb::DeleteRangeResponse {
                deleted: 1,
                ..Default::default()
            })),
            op(Response::ResponseRange(pb::RangeResponse::default())),
        ],
    };
    let answer = Answer::Txn(&response);
    check(&answer, Format::Simple, "FAILURE\n\nOK\n\n1\n\n");
    let json = "{\"responses\":[{\"Response\":{\"response_put\":{}}},\
                {\"Response\":{\"response_delete_range\":{\"deleted\":1}}},\
                {\"Response\":{\"response_range\":{}}}]}\n";
    check(&answer, Format::Json, json);
}

#[test]
fn events_and_the_end_of_a_watch() {
    let event = Event { r#type: 1, kv: Some(kv()), prev_kv: Some(kv()) };
    let response = WatchResponse {
        header: header().unwrap(),
        events: vec![event],
        ..WatchResponse::default()
    };
    let simple = printed(&Answer::Watch(&response), Format::Simple, true).unwrap();
    assert_eq!(simple, "DELETE\n\\x6b\\x0a\n\\xff\n\\x6b\\x0a\n\\xff\n");
    let end = WatchResponse {
        canceled: true,
        failure: Some(Error::Canceled),
        ..WatchResponse::default()
    };
    let json = "{\"Header\":{},\"Events\":null,\"CompactRevision\":0,\"Canceled\":true,\
                \"Created\":false,\"CancelReason\":\"\"}\n";
    check(&Answer::Watch(&end), Format::Json, json);
    check(&Answer::Watch(&end), Format::Simple, "");
}

#[test]
fn leases() {
    let response = pb::LeaseTimeToLiveResponse {
        header: header(),
        id: 31,
        ttl: 9,
        granted_ttl: 10,
        keys: vec!["a".into(), "b".into()],
    };
    let simple = "lease 000000000000001f granted with TTL(10s), remaining(9s)";
    let without = Answer::TimeToLive { response: &response, keys: false };
    check(&without, Format::Simple, &format!("{simple}\n"));
    let with = Answer::TimeToLive { response: &response, keys: true };
    check(&with, Format::Simple, &format!("{simple}, attached keys([a b])\n"));
    let json = "{\"cluster_id\":1,\"member_id\":171,\"revision\":5,\"raft_term\":2,\"id\":31,\
                \"ttl\":9,\"granted-ttl\":10,\"keys\":[\"YQ==\",\"Yg==\"]}\n";
    check(&with, Format::Json, json);
    let gone = pb::LeaseTimeToLiveResponse { id: 31, ttl: -1, ..Default::default() };
    let gone = Answer::TimeToLive { response: &gone, keys: true };
    check(&gone, Format::Simple, "lease 000000000000001f already expired\n");
    check(&gone, Format::Json, "{\"id\":31,\"ttl\":-1,\"granted-ttl\":0,\"keys\":null}\n");
    // The header alone, as etcdctl has it.
    let encoded = printed(&with, Format::Protobuf, false).unwrap();
    assert_eq!(encoded, String::from_utf8_lossy(b"\x08\x01\x10\xab\x01\x18\x05\x20\x02"));
}

#[test]
fn members() {
    let member = pb::Member {
        id: 0xab,
        name: "m<1>".to_owned(),
        peer_urls: vec!["http://a:1".to_owned(), "http://b:1".to_owned()],
        client_urls: Vec::new(),
        is_learner: true,
    };
    let response = pb::MemberListResponse { header: header(), members: vec![member] };
    let answer = Answer::MemberList(&response);
    check(&answer, Format::Simple, "ab, started, m<1>, http://a:1,http://b:1, , true\n");
    let table = "\
┌────┬─────────┬──────┬───────────────────────┬──────────────┬────────────┐
│ ID │ STATUS  │ NAME │      PEER ADDRS       │ CLIENT ADDRS │ IS LEARNER │
├────┼─────────┼──────┼───────────────────────┼──────────────┼────────────┤
│ ab │ started │ m<1> │ http://a:1,http://b:1 │              │       true │
└────┴─────────┴──────┴───────────────────────┴──────────────┴────────────┘
";
    check(&answer, Format::Table, table);
    let hex = "{\"header\":{\"cluster_id\":\"1\",\"member_id\":\"ab\",\"revision\":5,\
               \"raft_term\":2},\"members\":[{\"ID\":\"ab\",\"name\":\"m\\u003c1\\u003e\",\
               \"peerURLs\":[\"http://a:1\",\"http://b:1\"],\"isLearner\":true}]}\n";
    assert_eq!(printed(&answer, Format::Json, true).unwrap(), hex);
    let added = pb::MemberRemoveResponse { header: header(), members: Vec::new() };
    let removed = Answer::MemberRemove { id: 0xab, response: &added };
    let line = "Member               ab removed from cluster                1\n";
    check(&removed, Format::Simple, line);
}

#[test]
fn the_status_of_an_endpoint() {
    let response = pb::StatusResponse {
        header: header(),
        version: "3.7.1".to_owned(),
        db_size: 20_480,
        db_size_in_use: 16_384,
        db_size_quota: 2 << 30,
        leader: 0xab,
        errors: vec!["one".to_owned(), "two".to_owned()],
        ..pb::StatusResponse::default()
    };
    let list = [Status { endpoint: "e".to_owned(), response }];
    let line =
        "e, ab, 3.7.1, , 20 kB, 16 kB, 20%, 2.1 GB, true, false, 0, 0, 0, one, two, , false\n";
    check(&Answer::EndpointStatus(&list), Format::Simple, line);
    check(&Answer::EndpointStatus(&[]), Format::Json, "null\n");
    let failure = printed(&Answer::EndpointStatus(&list), Format::Protobuf, false).unwrap_err();
    assert_eq!(failure, Failure::bad_feature("protobuf not supported as output format"));
}

#[test]
fn a_role() {
    let perm = |perm_type, key: &'static [u8], range_end: &'static [u8]| Permission {
        perm_type,
        key: key.into(),
        range_end: range_end.into(),
    };
    let response = pb::AuthRoleGetResponse {
        header: None,
        perm: vec![
            perm(0, b"r", b""),
            perm(1, b"w", b"\0"),
            perm(2, b"p/", b"p0"),
            perm(2, b"a", b"c"),
        ],
    };
    let answer = Answer::RoleGet { role: "x", response: &response };
    let expected = "Role x\nKV Read:\n\tr\n\t[p/, p0) (prefix p/)\n\t[a, c)\n\
                    KV Write:\n\t[w, <open ended>\n\t[p/, p0) (prefix p/)\n\t[a, c)\n";
    check(&answer, Format::Simple, expected);
    let root = pb::AuthRoleGetResponse::default();
    let answer = Answer::RoleGet { role: "root", response: &root };
    let expected = "Role root\nKV Read:\n\t[, <open ended>\nKV Write:\n\t[, <open ended>\n";
    check(&answer, Format::Simple, expected);
}

#[test]
fn alarms() {
    let alarm = |member_id, alarm| pb::AlarmMember { member_id, alarm };
    let response =
        pb::AlarmResponse { header: None, alarms: vec![alarm(12, 1), alarm(3, 2), alarm(4, 0)] };
    let answer = Answer::Alarm(&response);
    let lines = "memberID:12 alarm:NOSPACE\nmemberID:3 alarm:CORRUPT\nmemberID:4\n";
    check(&answer, Format::Simple, lines);
    let json = "{\"alarms\":[{\"memberID\":12,\"alarm\":1},{\"memberID\":3,\"alarm\":2},\
                {\"memberID\":4}]}\n";
    check(&answer, Format::Json, json);
}
