//! Entries of every family, one by one.

use api::{
    error::{Code, Error},
    etcdserverpb::{
        AlarmMember, AlarmRequest, AlarmType, AuthStatusRequest, CompactionRequest,
        DowngradeVersionTestRequest, InternalAuthenticateRequest, LeaseCheckpoint,
        LeaseCheckpointRequest, LeaseGrantRequest, LeaseRevokeRequest, alarm_request::AlarmAction,
    },
    event::EventKind,
    ids::{LeaseId, Revision, Term},
    leasepb,
    membershippb::{
        Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest, DowngradeInfoSetRequest,
    },
    raftpb::{ConfChange, ConfChangeType},
};
use bytes::Bytes;
use membership::{Downgrade, Version};
use storage::{Bucket, Op};

use super::*;
use crate::harness::*;

mod replication;

const CORRUPT: i32 = AlarmType::Corrupt as i32;
const NOSPACE: i32 = AlarmType::Nospace as i32;
const NO_SPACE_TEXT: &str = "etcdserver: mvcc: database space exceeded";

fn grant(id: i64, ttl: i64) -> InternalRaftRequest {
    InternalRaftRequest { lease_grant: Some(LeaseGrantRequest { id, ttl }), ..Default::default() }
}

fn revoke(id: i64) -> InternalRaftRequest {
    InternalRaftRequest { lease_revoke: Some(LeaseRevokeRequest { id }), ..Default::default() }
}

fn checkpoint(id: i64, remaining_ttl: i64) -> InternalRaftRequest {
    let checkpoints =
        vec![LeaseCheckpoint { id, remaining_ttl }, LeaseCheckpoint { id: 404, remaining_ttl }];
    let lease_checkpoint = Some(LeaseCheckpointRequest { checkpoints });
    InternalRaftRequest { lease_checkpoint, ..Default::default() }
}

fn compaction(revision: i64) -> InternalRaftRequest {
    let compaction = Some(CompactionRequest { revision, physical: true });
    InternalRaftRequest { compaction, ..Default::default() }
}

fn cluster_version(ver: &str) -> InternalRaftRequest {
    let cluster_version_set = Some(ClusterVersionSetRequest { ver: ver.into() });
    InternalRaftRequest { cluster_version_set, ..Default::default() }
}

fn alarm(member: &mut Member, action: i32, member_id: u64, alarm: i32) -> Vec<AlarmMember> {
    let alarm = Some(AlarmRequest { action, member_id, alarm });
    match member.request(InternalRaftRequest { alarm, ..Default::default() }).result {
        Ok(Response::Alarm(response)) => response.alarms,
        other => panic!("{other:?} is no answer to an alarm request"),
    }
}

fn raise(member: &mut Member, kind: i32) {
    alarm(member, AlarmAction::Activate as i32, 1, kind);
}

fn disarm(member: &mut Member, kind: i32) {
    alarm(member, AlarmAction::Deactivate as i32, 1, kind);
}

fn error(applied: Applied) -> String {
    applied.result.unwrap_err().message.into_owned()
}

fn stored_leases(member: &Member) -> Vec<leasepb::Lease> {
    member.flush();
    schema::lease::all(&*member.backend.read().unwrap()).unwrap()
}

fn keys_of(member: &Member, lease: i64) -> Vec<Bytes> {
    member.shared.lessor.lock().keys(LeaseId(lease)).unwrap()
}

/// A request of the former v2 API as a member of etcd 3.5 writes it.
fn v2_put(path: &str, value: &str) -> Vec<u8> {
    let mut data = vec![8, 99, 18, 3];
    data.extend(b"PUT");
    for (tag, text) in [(0x1a, path), (0x22, value)] {
        data.extend([tag, text.len() as u8]);
        data.extend(text.bytes());
    }
    // Dir, prevIndex and others are always there, as zeros.
    data.extend([0x28, 0, 0x32, 0, 0x38, 0]);
    data
}

#[test]
fn older_members_publish_themselves_by_v2_requests() {
    let mut member = Member::new();
    member.conf_change(&add_member(1, false));
    let value = r#"{"name":"m1","clientURLs":["http://h:1"]}"#;
    let applied = member.entry(EntryType::EntryNormal, v2_put("/0/members/1/attributes", value));
    assert_eq!((applied.request_id, applied.result), (99, Ok(Response::Empty)));
    assert!(!applied.ops.is_empty() && applied.effects.is_empty());
    let applied = member.entry(EntryType::EntryNormal, v2_put("/0/version", "3.5.0"));
    assert!(matches!(applied.effects[..], [Effect::ClusterVersion { last: None, .. }]));
    let membership = member.shared.membership.read().clone();
    assert_eq!(membership.member(MemberId(1)).map(|one| one.name.as_str()), Some("m1"));
    assert_eq!(membership.cluster_version(), Version::parse("3.5.0"));
    // Members are told of in no other way.
    let applied = member.entry(EntryType::EntryNormal, v2_put("/0/members/1/other", "x"));
    assert_eq!(applied.effects, [Effect::UnknownRequest]);
}

#[test]
fn revoking_deletes_the_keys_in_order_at_one_revision() {
    let mut member = Member::new();
    member.request(grant(5, 60)).result.unwrap();
    for key in ["b", "c", "a"] {
        member.run(put_lease(key, 5));
    }
    member.run(put("d", "v"));
    let applied = member.request(revoke(5));
    let Ok(Response::LeaseRevoke(response)) = applied.result else { panic!("not revoked") };
    assert_eq!(response.header.unwrap().revision, 6);
    let changes = applied.changes.unwrap();
    let deleted: Vec<(Bytes, EventKind, Revision)> = changes
        .events
        .iter()
        .map(|event| (event.key.clone(), event.kind, event.revision))
        .collect();
    let gone =
        |key: &'static str, sub| (Bytes::from(key), EventKind::Delete, Revision { main: 6, sub });
    assert_eq!(deleted, [gone("a", 0), gone("b", 1), gone("c", 2)]);
    assert_eq!(member.run(get("a", "\0")), "get@6 1[d=v:5/5v1]");
    assert!(stored_leases(&member).is_empty());

    let missing = "etcdserver: requested lease not found";
    assert_eq!(error(member.request(revoke(5))), missing);
    assert_eq!(member.run(put_lease("a", 5)), missing);
    member.request(grant(6, 60)).result.unwrap();
    let applied = member.request(revoke(6));
    assert!(applied.changes.is_none());
    assert_eq!(member.shared.store.revision(), 6);
}

#[test]
fn grants_answer_the_granted_time() {
    let mut member = Member::new();
    let granted = |applied: Applied| match applied.result {
        Ok(Response::LeaseGrant(response)) => {
            (response.id, response.ttl, response.header.unwrap().revision)
        }
        other => panic!("{other:?} is no grant"),
    };
    assert_eq!(granted(member.request(grant(-3, 0))), (-3, 2, 1));
    assert_eq!(error(member.request(grant(-3, 0))), "etcdserver: lease already exists");
    assert_eq!(error(member.request(grant(4, 9_000_000_001))), "etcdserver: too large lease TTL");
    assert_eq!(error(member.request(grant(0, 1))), "etcdserver: requested lease not found");
    assert_eq!(stored_leases(&member), [leasepb::Lease { id: -3, ttl: 2, remaining_ttl: 0 }]);
}

#[test]
fn keys_move_between_leases() {
    let mut member = Member::new();
    for id in [5, 6] {
        member.request(grant(id, 60)).result.unwrap();
    }
    member.run(put_lease("a", 5));
    member.run(put_lease("b", 5));
    member.run(put_lease("a", 5));
    assert_eq!(keys_of(&member, 5), ["a", "b"]);
    member.run(put_lease("a", 6));
    assert_eq!((keys_of(&member, 5), keys_of(&member, 6)), (vec!["b".into()], vec!["a".into()]));
    member.run(put("b", "v"));
    member.run(del("a", ""));
    assert!(keys_of(&member, 5).is_empty() && keys_of(&member, 6).is_empty());
    // Within a transaction, and off again by an inner one.
    member.run(txn(vec![], vec![put_lease("x", 5), put_lease("y", 6), put_lease("z", 6)], vec![]));
    member.run(txn(vec![], vec![txn(vec![], vec![del("x", "z")], vec![])], vec![]));
    assert!(keys_of(&member, 5).is_empty());
    assert_eq!(keys_of(&member, 6), ["z"]);
}

#[test]
fn checkpoints_are_stored_once_the_cluster_is_new_enough() {
    let mut member = Member::new();
    member.request(grant(5, 600)).result.unwrap();
    let remaining = |member: &Member| stored_leases(member)[0].remaining_ttl;
    member.request(checkpoint(5, 300)).result.unwrap();
    assert_eq!(remaining(&member), 0);
    member.request(cluster_version("3.5.0"));
    member.request(checkpoint(5, 290)).result.unwrap();
    assert_eq!(remaining(&member), 0);
    member.request(cluster_version("3.6.0"));
    member.request(checkpoint(5, 280)).result.unwrap();
    assert_eq!(remaining(&member), 280);
    member.request(checkpoint(5, 0)).result.unwrap();
    assert_eq!(remaining(&member), 0);

    let mut always = Member::with(Config { store_checkpoints: true, ..config() });
    always.request(grant(5, 600)).result.unwrap();
    always.request(checkpoint(5, 300)).result.unwrap();
    assert_eq!(remaining(&always), 300);
}

#[test]
fn alarms_are_listed_raised_and_disarmed() {
    let mut member = Member::new();
    let (get, activate, deactivate) =
        (AlarmAction::Get as i32, AlarmAction::Activate as i32, AlarmAction::Deactivate as i32);
    let of = |member_id, alarm| AlarmMember { member_id, alarm };
    assert_eq!(alarm(&mut member, get, 0, 0), []);
    assert_eq!(alarm(&mut member, activate, 1, 0), []);
    assert_eq!(alarm(&mut member, activate, 2, CORRUPT), [of(2, CORRUPT)]);
    assert_eq!(alarm(&mut member, activate, 1, NOSPACE), [of(1, NOSPACE)]);
    assert_eq!(alarm(&mut member, activate, 1, NOSPACE), [of(1, NOSPACE)]);
    assert_eq!(alarm(&mut member, activate, 0, 7), [of(0, 7)]);
    assert_eq!(alarm(&mut member, get, 0, 0), [of(1, NOSPACE), of(2, CORRUPT), of(0, 7)]);
    assert_eq!(alarm(&mut member, get, 99, CORRUPT), [of(2, CORRUPT)]);
    let texts = ["memberID:1 alarm:NOSPACE", "memberID:2 alarm:CORRUPT", "alarm:7"];
    assert_eq!(member.shared.alarms.read().texts(), texts);

    member.flush();
    let restored = member.crash();
    assert_eq!(*restored.shared.alarms.read(), *member.shared.alarms.read());

    assert_eq!(alarm(&mut member, deactivate, 1, CORRUPT), []);
    assert_eq!(alarm(&mut member, deactivate, 2, CORRUPT), [of(2, CORRUPT)]);
    assert_eq!(alarm(&mut member, deactivate, 2, CORRUPT), []);
    assert!(!member.shared.alarms.read().has(AlarmType::Corrupt));
    assert!(member.shared.alarms.read().has(AlarmType::Nospace));

    let unknown = Some(AlarmRequest { action: 9, member_id: 1, alarm: NOSPACE });
    let applied = member.request(InternalRaftRequest { alarm: unknown, ..Default::default() });
    let failure = applied.result.unwrap_err();
    assert_eq!(failure.code, Code::InvalidArgument);
    assert_eq!(failure.message, "etcdserver: unknown alarm action 9");
    assert!(applied.ops.is_empty());
}

#[test]
fn a_full_cluster_takes_only_what_does_not_grow_it() {
    let mut member = Member::new();
    member.request(grant(5, 60)).result.unwrap();
    member.run(put_lease("a", 5));
    member.run(put("b", "1"));
    raise(&mut member, NOSPACE);
    assert_eq!(member.run(put("c", "1")), NO_SPACE_TEXT);
    assert_eq!(member.run(txn(vec![exists("none")], vec![put("c", "1")], vec![])), NO_SPACE_TEXT);
    assert_eq!(error(member.request(grant(6, 60))), NO_SPACE_TEXT);
    assert_eq!(member.run(get("b", "")), "get@3 1[b=1:3/3v1]");
    assert_eq!(member.run(txn(vec![], vec![del("b", "")], vec![])), "then@4(del@4 1[b=1:3/3v1])");
    assert_eq!(member.run(del("b", "")), "del@4 0[]");
    member.request(revoke(5)).result.unwrap();
    member.request(compaction(4)).result.unwrap();
    disarm(&mut member, NOSPACE);
    assert_eq!(member.run(put("c", "1")), "put@6");
}

#[test]
fn a_corrupt_cluster_leaves_keys_and_leases_alone() {
    let mut member = Member::new();
    member.request(grant(5, 60)).result.unwrap();
    member.run(put("a", "1"));
    // A corrupt cluster says so even when it is full as well.
    raise(&mut member, NOSPACE);
    raise(&mut member, CORRUPT);
    let corrupt = Error::Corrupt.message();
    for op in [get("a", ""), put("a", "2"), del("a", ""), txn(vec![], vec![get("a", "")], vec![])] {
        assert_eq!(member.run(op), corrupt);
    }
    for request in [compaction(2), grant(6, 60), revoke(5)] {
        let applied = member.request(request);
        assert!(applied.ops.is_empty() && applied.effects.is_empty());
        assert_eq!(error(applied), corrupt);
    }
    member.request(checkpoint(5, 9)).result.unwrap();
    disarm(&mut member, CORRUPT);
    assert_eq!(member.run(put("a", "2")), NO_SPACE_TEXT);
    disarm(&mut member, NOSPACE);
    assert_eq!(member.run(put("a", "2")), "put@3");
}

#[test]
fn the_quota_decides_the_answer_but_not_the_state() {
    let mut full = Member::with(Config { quota_bytes: 10_000, ..config() });
    let mut roomy = Member::with(Config { quota_bytes: 10_000, ..config() });
    full.context.size_in_use = 10_000 - 256 - 2;
    roomy.context.size_in_use = 10_000 - 256 - 3;
    let write = || InternalRaftRequest {
        put: Some(api::etcdserverpb::PutRequest {
            key: "k".into(),
            value: "v".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let refused = full.request(write());
    assert_eq!(refused.effects, [Effect::RaiseNoSpace]);
    assert!(refused.changes.is_some());
    assert_eq!(error(refused), NO_SPACE_TEXT);
    let taken = roomy.request(write());
    assert!(taken.result.is_ok() && taken.effects.is_empty());
    assert_eq!(full.hash_kv(), roomy.hash_kv());

    full.context.size_in_use = 10_000;
    // What fails anyway says why; what costs nothing passes.
    assert_eq!(full.run(put_lease("k", 9)), "etcdserver: requested lease not found");
    assert_eq!(full.run(del("k", "")), "del@3 1[k=v:2/2v1]");
    assert_eq!(full.run(txn(vec![], vec![del("k", "")], vec![])), "then@3(del@3 0[])");
    let granted = full.request(grant(5, 60));
    assert_eq!(granted.effects, [Effect::RaiseNoSpace]);
    assert_eq!(error(granted), NO_SPACE_TEXT);
    // With the alarm raised nothing is applied, and it is not raised again.
    raise(&mut full, NOSPACE);
    let capped = full.request(write());
    assert!(capped.ops.is_empty() && capped.effects.is_empty());
    assert_eq!(error(capped), NO_SPACE_TEXT);
}

#[test]
fn compaction_names_its_revision() {
    let mut member = Member::new();
    for _ in 0..3 {
        member.run(put("a", "1"));
    }
    let applied = member.request(compaction(3));
    assert_eq!(applied.effects, [Effect::Compact { revision: 3, physical: true }]);
    let Ok(Response::Compaction(response)) = applied.result else { panic!("not compacted") };
    assert_eq!(response.header.unwrap().revision, 4);
    let applied = member.request(compaction(3));
    assert!(applied.effects.is_empty());
    assert_eq!(error(applied), Error::Compacted.message());
    assert_eq!(error(member.request(compaction(5))), Error::FutureRev.message());
    assert_eq!(member.run(get_at("a", 2)), Error::Compacted.message());
}

#[test]
fn entries_of_raft_itself_have_effects_only() {
    let mut member = Member::new();
    let applied = member.entry(EntryType::EntryNormal, Vec::new());
    assert_eq!(applied.effects, [Effect::LeaderElected { term: Term(2) }]);
    assert_eq!((applied.request_id, applied.result), (0, Ok(Response::Empty)));
    let applied = member.request(InternalRaftRequest::default());
    assert_eq!(applied.effects, [Effect::UnknownRequest]);
    assert_eq!(applied.result, Ok(Response::Empty));
    let test = DowngradeVersionTestRequest { ver: "3.6.0".into() };
    let applied = member
        .request(InternalRaftRequest { downgrade_version_test: Some(test), ..Default::default() });
    assert!(applied.effects.is_empty() && applied.ops.is_empty());
    // The id of old members stands outside of the header.
    let old = InternalRaftRequest { id: 77, ..Default::default() };
    let applied = member.entry(EntryType::EntryNormal, old.encode_to_vec());
    assert_eq!(applied.request_id, 77);
    assert_eq!(request_id(member.log.last().unwrap()), 77);
}

#[test]
fn a_range_is_read_only_where_somebody_waits() {
    let mut member = Member::new();
    assert_eq!(member.run(get("a", "")), "get@1 0[]");
    member.context.has_waiter = false;
    assert_eq!(member.run(get_at("a", 99)), "Empty");
}

#[test]
fn authentication_is_off_at_first() {
    let mut member = Member::new();
    let status =
        InternalRaftRequest { auth_status: Some(AuthStatusRequest {}), ..Default::default() };
    let Ok(Response::AuthStatus(status)) = member.request(status).result else {
        panic!("no status")
    };
    assert!(!status.enabled && status.auth_revision == 1);
    let login = InternalAuthenticateRequest { name: "root".into(), ..Default::default() };
    let login = InternalRaftRequest { authenticate: Some(login), ..Default::default() };
    assert_eq!(error(member.request(login)), Error::AuthNotEnabled.message());
}

fn add_member(id: u64, is_learner: bool) -> ConfChange {
    let peer_urls = vec![format!("http://m{id}:2380")];
    let member =
        membership::Member { id: MemberId(id), peer_urls, is_learner, ..Default::default() };
    let kind = match is_learner {
        true => ConfChangeType::ConfChangeAddLearnerNode,
        false => ConfChangeType::ConfChangeAddNode,
    };
    let context = membership::change_context(&member, false).into();
    ConfChange { r#type: kind as i32, node_id: id, context, id: 500 + id }
}

fn remove_member(id: u64) -> ConfChange {
    let kind = ConfChangeType::ConfChangeRemoveNode as i32;
    ConfChange { r#type: kind, node_id: id, context: Bytes::new(), id: 600 + id }
}

#[test]
fn conf_changes_reach_raft_whether_they_are_carried_out_or_not() {
    let mut member = Member::new();
    let applied = member.conf_change(&add_member(1, false));
    assert_eq!(applied.request_id, 501);
    assert_eq!(applied.effects, [Effect::ConfChange(add_member(1, false))]);
    let applied = member.conf_change(&add_member(2, false));
    let peer = Effect::AddPeer { id: MemberId(2), peer_urls: vec!["http://m2:2380".into()] };
    assert_eq!(applied.effects, [Effect::ConfChange(add_member(2, false)), peer]);
    let Ok(Response::Members(members)) = applied.result else { panic!("no members") };
    assert_eq!(members.iter().map(|m| m.id.0).collect::<Vec<_>>(), [1, 2]);

    let applied = member.conf_change(&add_member(2, false));
    let refused = ConfChange { node_id: 0, ..add_member(2, false) };
    assert_eq!(applied.effects, [Effect::ConfChange(refused)]);
    // The v2 store counts it: the members of an etcd's database may be ahead of the log.
    let of_v2 = |op: &Op| matches!(op, Op::Put { bucket, .. } | Op::Delete { bucket, .. } if *bucket == Bucket::V2);
    assert!(applied.ops.iter().all(of_v2));
    assert_eq!(applied.result, Err(Error::MemberExist.into()));

    let applied = member.conf_change(&remove_member(2));
    assert_eq!(applied.effects[1..], [Effect::RemovePeer(MemberId(2))]);
    let applied = member.conf_change(&remove_member(1));
    assert_eq!(applied.effects[1..], [Effect::RemovedSelf]);
    assert!(member.shared.membership.read().is_removed(MemberId(1)));
}

#[test]
fn members_publish_themselves_and_agree_on_a_version() {
    let mut member = Member::new();
    member.conf_change(&add_member(1, false));
    let attributes = Attributes { name: "one".into(), client_urls: vec!["http://c:2379".into()] };
    let publish = ClusterMemberAttrSetRequest { member_id: 1, member_attributes: Some(attributes) };
    let publish =
        InternalRaftRequest { cluster_member_attr_set: Some(publish), ..Default::default() };
    member.request(publish);
    let version = Version::parse("3.7.0").unwrap();
    let applied = member.request(cluster_version("3.7.0"));
    assert_eq!(applied.effects, [Effect::ClusterVersion { version, last: None }]);
    let downgrade = DowngradeInfoSetRequest { enabled: true, ver: "3.6.0".into() };
    let downgrade =
        InternalRaftRequest { downgrade_info_set: Some(downgrade), ..Default::default() };
    member.request(downgrade);
    let last = Some(version);
    let version = Version::parse("3.6.0").unwrap();
    let applied = member.request(cluster_version("3.6.0"));
    assert_eq!(applied.effects, [Effect::ClusterVersion { version, last }]);

    member.flush();
    let restored = member.crash();
    let membership = restored.shared.membership.read();
    assert_eq!(membership.cluster_version(), Some(version));
    let target = Downgrade { enabled: true, target_version: "3.6.0".into() };
    assert_eq!(*membership.downgrade(), target);
    let published = membership.member(MemberId(1)).unwrap();
    assert_eq!((published.name.as_str(), published.client_urls.len()), ("one", 1));
}

#[test]
fn a_release_older_than_its_cluster_does_not_open() {
    let backend = storage::mem::MemBackend::new();
    backend.commit(&[schema::cluster::put_version("3.8.0")]).unwrap();
    let opened = StateMachine::open(Arc::new(backend), config());
    let text = opened.map(|_| ()).unwrap_err().to_string();
    assert!(text.starts_with("invalid downgrade; server version is lower than"), "{text}");
}

#[track_caller]
fn panics(action: impl FnOnce() + std::panic::UnwindSafe, message: &str) {
    let panic = std::panic::catch_unwind(action).unwrap_err();
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap();
    assert!(text.contains(message), "{text}");
}

#[test]
fn broken_invariants_stop_the_member_by_name() {
    let normal = EntryType::EntryNormal;
    panics(|| drop(Member::new().entry(normal, vec![0xff])), "entry 1 is no request");
    panics(
        || drop(Member::new().entry(EntryType::EntryConfChange, vec![0xff])),
        "entry 1 is no conf change",
    );
    panics(
        || drop(Member::new().conf_change(&ConfChange { node_id: 3, ..ConfChange::default() })),
        "entry 1 is a malformed conf change",
    );
    panics(
        || drop(Member::new().entry(EntryType::EntryConfChangeV2, vec![1])),
        "which no member writes",
    );
    panics(
        || {
            let mut member = Member::new();
            let gap = Entry { index: 2, ..Entry::default() };
            member.machine.apply(&gap, member.context);
        },
        "entries are missing",
    );
    panics(
        || drop(Member::new().request(cluster_version("3.8.0"))),
        "server version is lower than determined cluster version",
    );
}
