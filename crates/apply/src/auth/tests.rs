//! Entries about users, roles and logins, and what each sender may do.

use api::{
    authpb::{Permission, permission::Type},
    etcdserverpb::{self as pb, RequestHeader, RequestOp, request_op::Request},
    raftpb::EntryType,
    range::KeyRange,
};
use prost::Message;

use super::*;
use crate::harness::{
    Member, del, exists, get, put, put_lease, put_with, show, txn, txn_request, value_is,
};

/// A member with authentication on, `root`, and `alice`, who may read `r*`, write `w*`, both `b*`.
struct Guarded {
    member: Member,
}

fn permission(kind: Type, key: &str, end: &str) -> Option<Permission> {
    let (key, range_end) = (key.to_owned().into(), end.to_owned().into());
    Some(Permission { perm_type: kind as i32, key, range_end })
}

fn user_add(name: &str) -> InternalRaftRequest {
    let auth_user_add = Some(pb::AuthUserAddRequest {
        name: name.into(),
        hashed_password: "aGFzaA==".into(),
        ..Default::default()
    });
    InternalRaftRequest { auth_user_add, ..Default::default() }
}

fn user_delete(name: &str) -> InternalRaftRequest {
    let auth_user_delete = Some(pb::AuthUserDeleteRequest { name: name.into() });
    InternalRaftRequest { auth_user_delete, ..Default::default() }
}

fn grant_role(user: &str, role: &str) -> InternalRaftRequest {
    let auth_user_grant_role =
        Some(pb::AuthUserGrantRoleRequest { user: user.into(), role: role.into() });
    InternalRaftRequest { auth_user_grant_role, ..Default::default() }
}

fn role_add(name: &str) -> InternalRaftRequest {
    let auth_role_add = Some(pb::AuthRoleAddRequest { name: name.into() });
    InternalRaftRequest { auth_role_add, ..Default::default() }
}

fn grant(role: &str, kind: Type, key: &str, end: &str) -> InternalRaftRequest {
    let perm = permission(kind, key, end);
    let auth_role_grant_permission =
        Some(pb::AuthRoleGrantPermissionRequest { name: role.into(), perm });
    InternalRaftRequest { auth_role_grant_permission, ..Default::default() }
}

fn enable() -> InternalRaftRequest {
    let auth_enable = Some(pb::AuthEnableRequest {});
    InternalRaftRequest { auth_enable, ..Default::default() }
}

fn disable() -> InternalRaftRequest {
    let auth_disable = Some(pb::AuthDisableRequest {});
    InternalRaftRequest { auth_disable, ..Default::default() }
}

fn login(name: &str, simple_token: &str) -> InternalRaftRequest {
    let authenticate = Some(InternalAuthenticateRequest {
        name: name.into(),
        simple_token: simple_token.into(),
        ..Default::default()
    });
    InternalRaftRequest { authenticate, ..Default::default() }
}

fn lease_grant(id: i64) -> InternalRaftRequest {
    let lease_grant = Some(pb::LeaseGrantRequest { id, ttl: 60 });
    InternalRaftRequest { lease_grant, ..Default::default() }
}

fn lease_revoke(id: i64) -> InternalRaftRequest {
    let lease_revoke = Some(pb::LeaseRevokeRequest { id });
    InternalRaftRequest { lease_revoke, ..Default::default() }
}

fn of_op(op: RequestOp) -> InternalRaftRequest {
    let mut request = InternalRaftRequest::default();
    match op.request.unwrap() {
        Request::RequestRange(range) => request.range = Some(range),
        Request::RequestPut(put) => request.put = Some(put),
        Request::RequestDeleteRange(delete) => request.delete_range = Some(delete),
        Request::RequestTxn(txn) => request.txn = Some(txn),
    }
    request
}

const DENIED: &str = "etcdserver: permission denied";

impl Guarded {
    fn new() -> Guarded {
        let mut guarded = Guarded { member: Member::new() };
        let setup = [
            user_add("root"),
            grant_role("root", "root"),
            user_add("alice"),
            role_add("mixed"),
            grant("mixed", Type::Read, "r", "s"),
            grant("mixed", Type::Write, "w", "x"),
            grant("mixed", Type::Readwrite, "b", "c"),
            grant_role("alice", "mixed"),
            enable(),
        ];
        for request in setup {
            guarded.member.request(request).result.unwrap();
        }
        guarded
    }

    fn auth_revision(&self) -> u64 {
        self.member.shared.auth.read().revision()
    }

    /// Applies a request as one of a user whose identity is of auth revision `revision`.
    fn at(&mut self, user: &str, revision: u64, mut request: InternalRaftRequest) -> String {
        let header = RequestHeader { id: 5, username: user.to_owned(), auth_revision: revision };
        request.header = Some(header);
        let applied = self.member.entry(EntryType::EntryNormal, request.encode_to_vec());
        if applied.result.is_err() {
            assert!(applied.changes.is_none(), "a refused request changed something");
        }
        applied.result.map_or_else(|error| error.message.into_owned(), |answer| show(&answer))
    }

    fn by(&mut self, user: &str, request: InternalRaftRequest) -> String {
        let revision = self.auth_revision();
        self.at(user, revision, request)
    }

    #[track_caller]
    fn check(&mut self, user: &str, op: RequestOp, expected: &str) {
        let answer = self.by(user, of_op(op));
        assert!(answer.starts_with(expected), "{answer:?} is not {expected:?}");
    }

    fn do_as_root(&mut self, request: InternalRaftRequest) {
        let answer = self.by("root", request);
        assert!(!answer.starts_with("etcdserver"), "{answer}");
    }
}

#[test]
fn keys_need_rights() {
    let mut guarded = Guarded::new();
    guarded.check("alice", put("w1", "v"), "put");
    guarded.check("alice", put("r1", "v"), DENIED);
    guarded.check("alice", get("r1", ""), "get");
    guarded.check("alice", get("w1", ""), DENIED);
    guarded.check("alice", get("r", "s"), "get");
    guarded.check("alice", get("r", "\0"), DENIED);
    guarded.check("alice", del("b", "c"), "del");
    guarded.check("alice", del("w", "x"), DENIED); // with what was before
    guarded.check("root", del("w", "x"), "del");
    guarded.check("ghost", get("r1", ""), DENIED);
    guarded.check("", get("r1", ""), DENIED);
    let nobody = guarded.at("", 0, of_op(get("r1", "")));
    assert_eq!(nobody, "etcdserver: user name is empty");
}

/// CVE-2026-44283: what was before is shown to readers only, wherever the put stands.
#[test]
fn cve_2026_44283_previous_values_need_the_right_to_read() {
    let mut guarded = Guarded::new();
    let with_prev = || put_with("w1", "v", |put| put.prev_kv = true);
    guarded.check("alice", with_prev(), DENIED);
    guarded.check("alice", txn(vec![], vec![with_prev()], vec![]), DENIED);
    guarded.check("alice", txn(vec![], vec![], vec![with_prev()]), DENIED);
    let nested = txn(vec![], vec![txn(vec![], vec![with_prev()], vec![])], vec![]);
    guarded.check("alice", nested, DENIED);
    guarded.check("alice", txn(vec![], vec![del("w", "x")], vec![]), DENIED);
    guarded.check("alice", put_with("b1", "v", |put| put.prev_kv = true), "put");
    assert!(guarded.member.run(get("w1", "")).contains("user name is empty"));
    guarded.check("root", get("w1", ""), "get@2 0");
}

/// CVE-2026-33343: nothing in a transaction is let through unseen, however deep, in whichever branch.
#[test]
fn cve_2026_33343_nested_transactions_are_checked_at_every_level() {
    let mut guarded = Guarded::new();
    let wraps: [fn(RequestOp) -> RequestOp; 2] =
        [|op| txn(vec![], vec![op], vec![]), |op| txn(vec![exists("r1")], vec![], vec![op])];
    let forbidden = [put("r1", "v"), get("w1", ""), del("r1", ""), get("r", "\0")];
    for op in forbidden {
        for outer in wraps {
            guarded.check("alice", outer(op.clone()), DENIED);
            for middle in wraps {
                guarded.check("alice", outer(middle(op.clone())), DENIED);
                guarded.check("alice", outer(middle(outer(middle(op.clone())))), DENIED);
            }
        }
    }
    let guards = || txn(vec![value_is("w1", "v")], vec![], vec![]);
    guarded.check("alice", guards(), DENIED);
    guarded.check("alice", txn(vec![], vec![], vec![txn(vec![], vec![guards()], vec![])]), DENIED);
    let allowed =
        txn(vec![exists("r1")], vec![put("w1", "v")], vec![put("b1", "v"), get("r1", "")]);
    guarded.check("alice", txn(vec![], vec![allowed], vec![]), "then@2");
}

/// The same judgement serves read-only transactions, which never come here through raft.
#[test]
fn read_only_transactions_are_judged_alike() {
    let guarded = Guarded::new();
    let revision = guarded.auth_revision();
    let shared = &guarded.member.shared;
    let auth = shared.auth.read();
    let who = auth::Identity { user: "alice".into(), revision };
    let permit = crate::Permit { auth: &auth, lessor: &shared.lessor, who: &who };
    permit.txn(&txn_request(txn(vec![exists("r")], vec![get("b", "")], vec![]))).unwrap();
    let other = txn_request(txn(vec![], vec![], vec![get("w", "")]));
    assert!(permit.txn(&other).unwrap_err().is(Error::PermissionDenied));
}

#[test]
fn keys_of_a_lease_go_together() {
    let mut guarded = Guarded::new();
    guarded.do_as_root(lease_grant(7));
    guarded.check("alice", put_lease("w1", 7), "put");
    guarded.check("root", put_lease("secret", 7), "put");
    // alice could not revoke the lease, so she may not tie more keys to it.
    guarded.check("alice", put_lease("w2", 7), DENIED);
    guarded.check("alice", txn(vec![], vec![put_lease("w2", 7)], vec![]), DENIED);
    assert_eq!(guarded.by("alice", lease_revoke(7)), DENIED);
    guarded.do_as_root(lease_revoke(7));
    guarded.do_as_root(lease_grant(8));
    guarded.check("alice", put_lease("w1", 8), "put");
    assert!(guarded.by("alice", lease_revoke(8)).starts_with("LeaseRevoke"));
    let unknown = guarded.by("alice", lease_revoke(99));
    assert_eq!(unknown, "etcdserver: requested lease not found");
    guarded.do_as_root(lease_grant(9));
    assert!(guarded.at("", 0, lease_revoke(9)).starts_with("LeaseRevoke"), "a lease without keys");
}

#[test]
fn members_revoke_what_expired_as_root() {
    let mut guarded = Guarded::new();
    guarded.do_as_root(lease_grant(7));
    guarded.check("root", put_lease("secret", 7), "put");
    let identity = guarded.member.shared.auth.read().root();
    // The identity may have aged on its way: for root that does not count.
    guarded.do_as_root(user_add("late"));
    let answer = guarded.at(&identity.user, identity.revision, lease_revoke(7));
    assert!(answer.starts_with("LeaseRevoke"), "{answer}");
}

#[test]
fn an_identity_from_before_a_change_is_old() {
    let mut guarded = Guarded::new();
    let before = guarded.auth_revision();
    guarded.do_as_root(role_add("other"));
    let old = "etcdserver: revision of auth store is old";
    assert_eq!(guarded.at("alice", before, of_op(put("w1", "v"))), old);
    assert_eq!(guarded.at("root", before, of_op(put("w1", "v"))), old);
    guarded.check("alice", put("w1", "v"), "put");
}

#[test]
fn administration_is_roots_alone() {
    let mut guarded = Guarded::new();
    let password = pb::AuthUserChangePasswordRequest { name: "alice".into(), ..Default::default() };
    let revoke_role = pb::AuthUserRevokeRoleRequest { name: "alice".into(), role: "mixed".into() };
    let revoke = pb::AuthRoleRevokePermissionRequest { role: "mixed".into(), ..Default::default() };
    let role_delete = Some(pb::AuthRoleDeleteRequest { role: "mixed".into() });
    let requests = [
        enable(),
        disable(),
        user_add("eve"),
        user_delete("alice"),
        InternalRaftRequest { auth_user_change_password: Some(password), ..Default::default() },
        grant_role("alice", "root"),
        InternalRaftRequest { auth_user_revoke_role: Some(revoke_role), ..Default::default() },
        role_add("eve"),
        grant("mixed", Type::Read, "a", ""),
        InternalRaftRequest { auth_role_revoke_permission: Some(revoke), ..Default::default() },
        InternalRaftRequest { auth_role_delete: role_delete, ..Default::default() },
        InternalRaftRequest {
            auth_user_list: Some(pb::AuthUserListRequest {}),
            ..Default::default()
        },
        InternalRaftRequest {
            auth_role_list: Some(pb::AuthRoleListRequest {}),
            ..Default::default()
        },
    ];
    let before = guarded.auth_revision();
    for request in requests {
        assert_eq!(guarded.by("alice", request.clone()), DENIED, "{request:?}");
        assert_eq!(guarded.by("", request.clone()), "etcdserver: user name is empty");
        assert_eq!(guarded.by("ghost", request.clone()), "etcdserver: user name not found");
    }
    assert_eq!(guarded.auth_revision(), before);
}

#[test]
fn users_see_themselves_and_their_roles() {
    let mut guarded = Guarded::new();
    let user = |name: &str| InternalRaftRequest {
        auth_user_get: Some(pb::AuthUserGetRequest { name: name.into() }),
        ..Default::default()
    };
    let role = |name: &str| InternalRaftRequest {
        auth_role_get: Some(pb::AuthRoleGetRequest { role: name.into() }),
        ..Default::default()
    };
    assert!(guarded.by("alice", user("alice")).contains("\"mixed\""));
    assert_eq!(guarded.by("alice", user("root")), DENIED);
    assert!(guarded.by("alice", role("mixed")).starts_with("RoleGet"));
    assert_eq!(guarded.by("alice", role("root")), DENIED);
    assert!(guarded.by("root", user("alice")).starts_with("UserGet"));
    assert_eq!(guarded.by("root", role("root")), "etcdserver: role name not found");
    guarded.do_as_root(role_add("idle"));
    assert_eq!(guarded.by("alice", role("idle")), DENIED);
}

#[test]
fn a_login_gives_every_member_the_token() {
    let mut guarded = Guarded::new();
    guarded.member.context.now_ms = 1000;
    let answer = guarded.member.request(login("alice", "abcdefghijklmnop")).result.unwrap();
    let Response::Authenticate { response, revision } = answer else { panic!("{answer:?}") };
    let index = guarded.member.machine.applied().0;
    assert_eq!(response.token, format!("abcdefghijklmnop.{}", index - 1), "as real etcd counts");
    assert_eq!(revision, guarded.auth_revision());
    let user_of = |guarded: &Guarded, now| {
        let mut tokens = guarded.member.shared.tokens.lock();
        tokens.user_of(&response.token, now).map(str::to_owned)
    };
    assert_eq!(user_of(&guarded, 2000).as_deref(), Some("alice"));
    let unknown = guarded.member.request(login("ghost", "abcdefghijklmnop")).result.unwrap_err();
    assert_eq!(unknown.message, Error::AuthFailed.message());
    let change = pb::AuthUserChangePasswordRequest { name: "alice".into(), ..Default::default() };
    guarded.do_as_root(InternalRaftRequest {
        auth_user_change_password: Some(change),
        ..Default::default()
    });
    assert_eq!(user_of(&guarded, 3000), None, "the password is another one");
}

#[test]
fn signed_tokens_are_not_remembered() {
    let mut guarded = Guarded::new();
    let answer = guarded.member.request(login("alice", "")).result.unwrap();
    let Response::Authenticate { response, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(response.token, "");
    assert!(guarded.member.shared.tokens.lock().is_empty());
}

#[test]
fn tokens_end_with_their_user_and_with_authentication() {
    let mut guarded = Guarded::new();
    guarded.member.request(login("alice", "a")).result.unwrap();
    guarded.member.request(login("root", "r")).result.unwrap();
    assert_eq!(guarded.member.shared.tokens.lock().len(), 2);
    guarded.do_as_root(user_delete("alice"));
    assert_eq!(guarded.member.shared.tokens.lock().len(), 1);
    guarded.do_as_root(disable());
    assert!(guarded.member.shared.tokens.lock().is_empty());
    let off = guarded.member.request(login("root", "r")).result.unwrap_err();
    assert_eq!(off.message, Error::AuthNotEnabled.message());
}

#[test]
fn without_authentication_identities_do_not_count() {
    let mut guarded = Guarded::new();
    guarded.do_as_root(disable());
    guarded.check("ghost", put("r1", "v"), "put");
    let answer = guarded.at("", 0, role_add("free"));
    assert!(answer.starts_with("AuthChange"), "{answer}");
}

#[test]
fn a_crash_loses_no_user() {
    let mut guarded = Guarded::new();
    guarded.member.flush();
    guarded.do_as_root(user_add("late"));
    let revision = guarded.auth_revision();
    let mut again = guarded.member.crash();
    again.replay_log();
    assert_eq!(*again.shared.auth.read(), *guarded.member.shared.auth.read());
    again.flush();
    guarded.member.flush();
    let hash = |member: &Member| {
        storage::hash_all(&*storage::Backend::read(&member.backend).unwrap()).unwrap()
    };
    assert_eq!(hash(&again), hash(&guarded.member));
    let third = again.crash();
    assert!(third.shared.auth.read().is_enabled());
    assert_eq!(third.shared.auth.read().revision(), revision);
    // Enabled at start: tokens are taken at once.
    let mut third = Guarded { member: third };
    third.member.request(login("late", "t")).result.unwrap();
    assert_eq!(third.member.shared.tokens.lock().len(), 1);
}

#[test]
fn a_snapshot_brings_its_users() {
    let guarded = Guarded::new();
    guarded.member.flush();
    let other = Member::new();
    let view = storage::Backend::read(&guarded.member.backend).unwrap();
    other.shared.replace_auth(auth::AuthStore::load(&*view).unwrap());
    let (mine, theirs) = (other.shared.auth.read(), guarded.member.shared.auth.read());
    assert_eq!(*mine, *theirs);
    let who = auth::Identity { user: "alice".into(), revision: mine.revision() };
    mine.check_read(&who, &KeyRange::Single("r1".into())).unwrap();
}

#[test]
fn a_snapshot_voids_tokens_of_users_that_changed() {
    let mut guarded = Guarded::new();
    for name in ["gone", "changed", "same"] {
        guarded.do_as_root(user_add(name));
    }
    let before = guarded.member.shared.auth.read().clone();
    for name in ["alice", "gone", "changed", "same"] {
        guarded.member.request(login(name, name)).result.unwrap();
    }
    let tokens = |guarded: &Guarded| guarded.member.shared.tokens.lock().len();
    assert_eq!(tokens(&guarded), 4);
    let mut after = before.clone();
    let change = pb::AuthUserChangePasswordRequest {
        name: "changed".into(),
        hashed_password: "b3RoZXI=".into(),
        ..Default::default()
    };
    after.user_delete("gone", &mut Vec::new()).unwrap();
    after.user_change_password(&change, RaftIndex(1), &mut Vec::new()).unwrap();
    guarded.member.shared.replace_auth(after.clone());
    assert_eq!(tokens(&guarded), 2);
    after.disable(&mut Vec::new());
    guarded.member.shared.replace_auth(after);
    assert_eq!(tokens(&guarded), 0);
}

#[test]
fn the_first_entry_stores_the_first_revision() {
    let mut member = Member::new();
    let applied = member.entry(EntryType::EntryNormal, Vec::new());
    assert_eq!(applied.ops, [storage::schema::auth::put_revision(1)]);
    let applied = member.entry(EntryType::EntryNormal, Vec::new());
    assert!(applied.ops.is_empty());
}
