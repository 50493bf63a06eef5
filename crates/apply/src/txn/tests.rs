//! Transactions as tables: a request, and its whole answer as text.

use api::etcdserverpb::{
    Compare,
    compare::{CompareResult, CompareTarget, TargetUnion},
};

use super::*;
use crate::harness::*;

/// a=1 at revision 2, b=2 at 3 and 4, c gone since 6; the next write is 7.
fn member() -> Member {
    let mut member = Member::new();
    for op in [put("a", "1"), put("b", "2"), put("b", "2"), put("c", "3"), del("c", "")] {
        member.result(op).unwrap();
    }
    assert_eq!(member.shared.store.revision(), 6);
    member
}

#[track_caller]
fn check(txn: RequestOp, answer: &str) -> Member {
    let mut member = member();
    assert_eq!(member.run(txn), answer);
    member
}

/// Which branch these guards choose, asked of apply and of the read path.
#[track_caller]
fn check_guards(guards: Vec<Compare>, hold: bool) {
    let mut member = member();
    let branch = if hold { "then@6()" } else { "else@6()" };
    let request = txn(guards, Vec::new(), Vec::new());
    let read = read_only(&member.shared.store, &txn_request(request.clone())).unwrap();
    assert_eq!(show_txn(&read), branch);
    assert_eq!(member.run(request), branch);
}

#[test]
fn operations_see_those_before_them() {
    check(
        txn(
            vec![],
            vec![
                get("a", "z"),
                put("a", "x"),
                get("a", "z"),
                del("b", ""),
                get("a", "z"),
                put("b", "y"),
            ],
            vec![],
        ),
        "then@7(get@6 2[a=1:2/2v1 b=2:3/4v2], put@7, get@7 2[a=x:2/7v2 b=2:3/4v2], \
         del@7 1[b=2:3/4v2], get@7 1[a=x:2/7v2], put@7)",
    );
}

#[test]
fn no_change_is_no_revision() {
    check(
        txn(vec![], vec![del("x", "y"), get("a", "")], vec![]),
        "then@6(del@6 0[], get@6 1[a=1:2/2v1])",
    );
    let mut member = member();
    let applied = member.request(api::etcdserverpb::InternalRaftRequest {
        txn: Some(txn_request(txn(vec![], vec![del("x", "y")], vec![]))),
        ..Default::default()
    });
    assert!(applied.ops.is_empty() && applied.changes.is_none());
}

#[test]
fn one_transaction_is_one_revision_with_a_change_per_operation() {
    let mut member = member();
    let applied = member.request(api::etcdserverpb::InternalRaftRequest {
        txn: Some(txn_request(txn(
            vec![],
            vec![put("z", "1"), txn(vec![], vec![put("y", "2")], vec![]), del("a", "c")],
            vec![],
        ))),
        ..Default::default()
    });
    let changes = applied.changes.unwrap();
    assert_eq!(changes.revision, 7);
    let subs: Vec<(i64, i64)> =
        changes.events.iter().map(|event| (event.revision.main, event.revision.sub)).collect();
    assert_eq!(subs, [(7, 0), (7, 1), (7, 2), (7, 3)]);
}

#[test]
fn inner_headers_are_empty_and_inner_guards_see_the_state_before() {
    check(
        txn(
            vec![],
            vec![
                put("a", "x"),
                txn(
                    vec![value_is("a", "1")],
                    vec![txn(vec![value_is("a", "x")], vec![], vec![get("a", "")])],
                    vec![],
                ),
                txn(vec![exists("n")], vec![], vec![put("n", "1")]),
            ],
            vec![],
        ),
        "then@7(put@7, then@0(else@0(get@7 1[a=x:2/7v2])), else@0(put@7))",
    );
}

#[test]
fn a_put_answers_with_the_version_before() {
    let prev = |key| put_with(key, "x", |put| put.prev_kv = true);
    check(prev("b"), "put@7 was b=2:3/4v2");
    check(prev("c"), "put@7");
    check(prev("new"), "put@7");
    // Also with one of the same transaction: an open-ended delete may stand beside puts.
    check(
        txn(vec![], vec![del("a", "\0"), prev("a")], vec![]),
        "then@7(del@7 2[a=1:2/2v1 b=2:3/4v2], put@7)",
    );
}

#[test]
fn a_put_can_keep_value_or_lease() {
    let mut member = member();
    member.request(api::etcdserverpb::InternalRaftRequest {
        lease_grant: Some(api::etcdserverpb::LeaseGrantRequest { id: 5, ttl: 60 }),
        ..Default::default()
    });
    let keep_value = |key, lease| {
        put_with(key, "", move |put| {
            put.ignore_value = true;
            put.lease = lease;
        })
    };
    let keep_lease = |key, value| put_with(key, value, |put| put.ignore_lease = true);
    assert_eq!(member.run(keep_value("a", 5)), "put@7");
    assert_eq!(member.run(keep_lease("a", "new")), "put@8");
    assert_eq!(member.run(get("a", "")), "get@8 1[a=new:2/8v3L5]");
    assert_eq!(member.shared.lessor.lock().keys(api::ids::LeaseId(5)).unwrap(), ["a"]);
    let both = put_with("a", "", |put| {
        put.ignore_value = true;
        put.ignore_lease = true;
        put.prev_kv = true;
    });
    assert_eq!(member.run(both), "put@9 was a=new:2/8v3L5");
    assert_eq!(member.run(get("a", "")), "get@9 1[a=new:2/9v4L5]");

    let missing = "etcdserver: key not found";
    for key in ["c", "new"] {
        assert_eq!(member.run(keep_value(key, 0)), missing);
        assert_eq!(member.run(keep_lease(key, "v")), missing);
        assert_eq!(
            member.run(txn(vec![], vec![put("w", "1"), keep_lease(key, "v")], vec![])),
            missing
        );
    }
    // Put before in the same transaction does not help: the check is on the state before.
    assert_eq!(
        member.run(txn(
            vec![],
            vec![txn(vec![], vec![put("new", "1")], vec![]), keep_lease("new", "v")],
            vec![]
        )),
        missing
    );
    assert_eq!(member.shared.store.revision(), 9);
}

/// etcd crashes on this one.
#[test]
fn a_put_cannot_keep_what_the_transaction_has_deleted() {
    let keep = || {
        put_with("a", "", |put| {
            put.ignore_value = true;
            put.prev_kv = true;
        })
    };
    let missing = "etcdserver: key not found";
    check(txn(vec![], vec![del("a", "\0"), keep()], vec![]), missing);
    let inner = || txn(vec![], vec![keep()], vec![]);
    check(txn(vec![], vec![txn(vec![], vec![del("Z", "\0")], vec![]), inner()], vec![]), missing);
    check(
        txn(vec![], vec![keep(), del("a", "\0")], vec![]),
        "then@7(put@7 was a=1:2/2v1, del@7 2[a=1:2/7v2 b=2:3/4v2])",
    );
    check(
        txn(vec![], vec![del("b", "\0"), keep()], vec![]),
        "then@7(del@7 1[b=2:3/4v2], put@7 was a=1:2/2v1)",
    );
}

#[test]
fn what_cannot_be_done_leaves_nothing_done() {
    let future = "etcdserver: mvcc: required revision is a future revision";
    let no_lease = "etcdserver: requested lease not found";
    for (bad, error) in
        [(get_at("a", 8), future), (get_at("a", 7), future), (put_lease("q", 9), no_lease)]
    {
        check(txn(vec![], vec![put("q", "1"), bad.clone()], vec![]), error);
        let inner = txn(vec![], vec![bad.clone()], vec![]);
        let member = check(txn(vec![], vec![put("q", "1"), inner], vec![]), error);
        assert_eq!(member.shared.store.revision(), 6);
        // The branch that is not chosen is not checked.
        check(txn(vec![exists("nope")], vec![bad], vec![put("q", "1")]), "else@7(put@7)");
    }
}

#[test]
fn ranges_of_a_transaction_have_their_own_rule_of_revisions() {
    let read = |revision| txn(vec![], vec![get_at("b", revision), put("w", "1")], vec![]);
    check(read(3), "then@7(get@6 1[b=2:3/3v1], put@7)");
    check(read(-1), "then@7(get@6 1[b=2:3/4v2], put@7)");
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    check(read(-9), compacted);

    let mut member = member();
    let compaction = api::etcdserverpb::CompactionRequest { revision: 4, physical: false };
    let request = api::etcdserverpb::InternalRaftRequest {
        compaction: Some(compaction),
        ..Default::default()
    };
    member.request(request).result.unwrap();
    assert_eq!(member.run(read(-1)), compacted);
    assert_eq!(member.run(read(3)), compacted);
    assert_eq!(member.run(read(4)), "then@7(get@6 1[b=2:3/4v2], put@7)");
}

#[test]
fn guards_on_one_key() {
    use CompareResult::{Equal, Greater, Less, NotEqual};
    use CompareTarget::{Create, Lease, Mod, Value, Version};
    let int = |target, n| match target {
        Version => TargetUnion::Version(n),
        Create => TargetUnion::CreateRevision(n),
        Mod => TargetUnion::ModRevision(n),
        Lease => TargetUnion::Lease(n),
        Value => unreachable!(),
    };
    // b has version 2, create revision 3, mod revision 4, no lease.
    for (target, n) in [(Version, 2), (Create, 3), (Mod, 4), (Lease, 0)] {
        let guard = |result, n| vec![compare("b", "", target, result, Some(int(target, n)))];
        check_guards(guard(Equal, n), true);
        check_guards(guard(NotEqual, n), false);
        check_guards(guard(Greater, n - 1), true);
        check_guards(guard(Greater, n), false);
        check_guards(guard(Less, n + 1), true);
        check_guards(guard(Less, n), false);
        // A missing key compares as zeros; without a union the number is zero.
        check_guards(vec![compare("c", "", target, Equal, Some(int(target, 0)))], true);
        check_guards(vec![compare("none", "", target, Equal, None)], true);
        check_guards(vec![compare("none", "", target, NotEqual, None)], false);
    }
    let value = |result, text: &'static str| {
        vec![compare("b", "", Value, result, Some(TargetUnion::Value(text.into())))]
    };
    check_guards(value(Equal, "2"), true);
    check_guards(value(Less, "20"), true);
    check_guards(value(Greater, "1zzz"), true);
    check_guards(value(Greater, ""), true);
    // A union of another kind counts as empty.
    check_guards(vec![compare("b", "", Value, Greater, Some(TargetUnion::Version(9)))], true);
    // No value, no comparing: even "not equal" fails.
    for result in [Equal, NotEqual, Greater, Less] {
        check_guards(vec![compare("c", "", Value, result, None)], false);
        check_guards(vec![compare("x", "z", Value, result, None)], false);
    }
}

#[test]
fn unknown_guards_do_as_etcd() {
    let mut guard = exists("none");
    guard.result = 9;
    check_guards(vec![guard.clone()], true);
    guard.result = CompareResult::NotEqual as i32;
    guard.target = 9;
    check_guards(vec![guard.clone()], false);
    guard.result = CompareResult::Equal as i32;
    check_guards(vec![guard], true);
}

#[test]
fn a_guard_on_a_range_is_about_each_key_in_it() {
    use CompareResult::{Greater, Less};
    use CompareTarget::Mod;
    let at_most = |n| Some(TargetUnion::ModRevision(n));
    check_guards(vec![compare("a", "z", Mod, Less, at_most(5))], true);
    check_guards(vec![compare("a", "z", Mod, Less, at_most(4))], false);
    check_guards(vec![compare("a", "\0", Mod, Greater, at_most(1))], true);
    check_guards(vec![compare("a", "b", Mod, Less, at_most(4))], true);
    // An empty range is one missing key.
    check_guards(vec![compare("z", "a", Mod, Less, at_most(1))], true);
    check_guards(vec![exists("a"), exists("c")], false);
    check_guards(vec![exists("a"), exists("b")], true);
}

#[test]
fn a_guard_on_the_lease_sees_it_on_the_read_path_too() {
    let mut member = member();
    member.request(api::etcdserverpb::InternalRaftRequest {
        lease_grant: Some(api::etcdserverpb::LeaseGrantRequest { id: 5, ttl: 60 }),
        ..Default::default()
    });
    member.run(put_lease("l", 5));
    let guard =
        compare("l", "", CompareTarget::Lease, CompareResult::Equal, Some(TargetUnion::Lease(5)));
    let request = txn(vec![guard], vec![], vec![]);
    let read = read_only(&member.shared.store, &txn_request(request.clone())).unwrap();
    assert!(read.succeeded);
    assert_eq!(member.run(request), "then@7()");
}

#[test]
fn reads_of_a_read_only_transaction_agree_with_those_of_a_write() {
    let member = member();
    let read = |ops: Vec<RequestOp>| {
        let request = txn_request(txn(vec![exists("a")], ops, vec![]));
        assert!(is_read_only(&request));
        match read_only(&member.shared.store, &request) {
            Ok(response) => show_txn(&response),
            Err(error) => error.message.into_owned(),
        }
    };
    assert_eq!(
        read(vec![get("a", "z"), get_at("b", 3), get_at("c", 5), get_at("a", -1)]),
        "then@6(get@6 2[a=1:2/2v1 b=2:3/4v2], get@6 1[b=2:3/3v1], get@6 1[c=3:5/5v1], \
         get@6 1[a=1:2/2v1])"
    );
    let limited = get_with("a", "z", |range| range.limit = 1);
    let counted = get_with("a", "z", |range| range.count_only = true);
    assert_eq!(read(vec![limited, counted]), "then@6(get@6 2+[a=1:2/2v1], get@6 2[])");
    assert_eq!(
        read(vec![get_at("a", 7)]),
        "etcdserver: mvcc: required revision is a future revision"
    );
    assert_eq!(
        read(vec![get_at("a", -9)]),
        "etcdserver: mvcc: required revision has been compacted"
    );
}

#[test]
fn kinds_of_transactions() {
    let request = |success, failure| txn_request(txn(vec![], success, failure));
    let local = || get_with("a", "", |range| range.serializable = true);
    let empty = request(vec![], vec![]);
    assert!(is_read_only(&empty) && is_serializable(&empty));
    let mixed = request(vec![local()], vec![get("a", "")]);
    assert!(is_read_only(&mixed) && !is_serializable(&mixed));
    assert!(is_serializable(&request(vec![local()], vec![local()])));
    let nested = request(vec![txn(vec![], vec![], vec![])], vec![]);
    assert!(!is_read_only(&nested) && !is_serializable(&nested));
    assert!(!is_read_only(&request(vec![], vec![put("a", "1")])));
    assert!(!is_read_only(&request(vec![RequestOp::default()], vec![])));
}

#[test]
fn without_a_waiter_the_store_changes_alike() {
    let (mut here, mut there) = (member(), member());
    there.context.has_waiter = false;
    let request = || txn(vec![], vec![get("a", "z"), put("a", "9"), get("b", "")], vec![]);
    assert_eq!(
        here.run(request()),
        "then@7(get@6 2[a=1:2/2v1 b=2:3/4v2], put@7, get@7 1[b=2:3/4v2])"
    );
    assert_eq!(there.run(request()), "then@7(get@6 0[], put@7, get@7 0[])");
    assert_eq!(here.hash_kv(), there.hash_kv());
}
