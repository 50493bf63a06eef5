//! Random requests over few keys, so that they meet.

use api::{
    authpb::{Permission, UserAddOptions},
    etcdserverpb::{
        AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest,
        AuthRoleGrantPermissionRequest, AuthRoleRevokePermissionRequest, AuthUserAddRequest,
        AuthUserDeleteRequest, AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest,
        CompactionRequest, Compare, DeleteRangeRequest, InternalRaftRequest, LeaseGrantRequest,
        LeaseRevokeRequest, PutRequest, RangeRequest, RequestHeader, RequestOp, TxnRequest,
        compare::TargetUnion, request_op::Request,
    },
    range::prefix_end,
};
use bytes::Bytes;
use rand::{Rng, rngs::StdRng};

/// How deep random transactions nest.
const DEPTH_MAX: u32 = 3;
/// Random lease ids are from 1 to this.
const LEASES: i64 = 4;

/// A request that a service would let pass, with this id, for a store at `revision`.
pub fn request(rng: &mut StdRng, revision: i64, id: u64) -> InternalRaftRequest {
    let mut request = InternalRaftRequest {
        header: Some(RequestHeader { id, ..RequestHeader::default() }),
        ..InternalRaftRequest::default()
    };
    match rng.random_range(0..100) {
        0..30 => request.put = Some(put(rng)),
        30..40 => request.delete_range = Some(delete_range(rng)),
        40..75 => request.txn = Some(valid_txn(rng, revision)),
        75..85 => request.range = Some(range(rng, revision)),
        85..88 => request.compaction = Some(compaction(rng, revision)),
        88..95 => request.lease_grant = Some(lease_grant(rng)),
        _ => request.lease_revoke = Some(LeaseRevokeRequest { id: lease_id(rng) }),
    }
    request
}

/// The names of users; the first is nobody's.
const USERS: &[&str] = &["", "root", "alice", "bob"];
const ROLES: &[&str] = &["root", "readers", "writers"];

/// Somebody, as of an auth revision near `revision`, most often that one.
pub fn sender(rng: &mut StdRng, revision: u64) -> (String, u64) {
    let user = USERS[rng.random_range(0..USERS.len())];
    let stale = if rng.random_bool(0.2) { rng.random_range(0..3) } else { 0 };
    let revision = if user.is_empty() { 0 } else { revision.saturating_sub(stale) };
    (user.to_owned(), revision)
}

/// A change of users, roles or permissions; authentication is on about half of the time.
pub fn auth_change(rng: &mut StdRng) -> InternalRaftRequest {
    let mut request = InternalRaftRequest::default();
    let user = USERS[rng.random_range(1..USERS.len())].to_owned();
    let role = ROLES[rng.random_range(0..ROLES.len())].to_owned();
    let root = || "root".to_owned();
    match rng.random_range(0..100) {
        0..12 => request.auth_enable = Some(AuthEnableRequest {}),
        12..18 => request.auth_disable = Some(AuthDisableRequest {}),
        18..30 => {
            let options = Some(UserAddOptions { no_password: true });
            let name = if rng.random() { root() } else { user };
            request.auth_user_add =
                Some(AuthUserAddRequest { name, options, ..AuthUserAddRequest::default() });
        }
        30..33 => request.auth_user_delete = Some(AuthUserDeleteRequest { name: user }),
        33..50 => {
            let (user, role) = if rng.random() { (root(), root()) } else { (user, role) };
            request.auth_user_grant_role = Some(AuthUserGrantRoleRequest { user, role });
        }
        50..54 => {
            request.auth_user_revoke_role = Some(AuthUserRevokeRoleRequest { name: user, role });
        }
        54..64 => request.auth_role_add = Some(AuthRoleAddRequest { name: role }),
        64..67 => request.auth_role_delete = Some(AuthRoleDeleteRequest { role }),
        67..94 => {
            let (key, range_end) = span(rng);
            let perm_type = rng.random_range(0..3);
            let perm = Some(Permission { perm_type, key, range_end });
            request.auth_role_grant_permission =
                Some(AuthRoleGrantPermissionRequest { name: role, perm });
        }
        _ => {
            let (key, range_end) = span(rng);
            request.auth_role_revoke_permission =
                Some(AuthRoleRevokePermissionRequest { role, key, range_end });
        }
    }
    request
}

/// A range of any kind.
pub fn range(rng: &mut StdRng, revision: i64) -> RangeRequest {
    let (key, range_end) = span(rng);
    let bound = |rng: &mut StdRng| match rng.random_bool(0.1) {
        true => rng.random_range(1..=revision + 1),
        false => 0,
    };
    RangeRequest {
        key,
        range_end,
        limit: if rng.random_bool(0.4) { rng.random_range(-1..5) } else { 0 },
        revision: read_revision(rng, revision),
        sort_order: if rng.random_bool(0.4) { rng.random_range(0..3) } else { 0 },
        sort_target: if rng.random_bool(0.4) { rng.random_range(0..5) } else { 0 },
        serializable: rng.random(),
        keys_only: rng.random_bool(0.2),
        count_only: rng.random_bool(0.1),
        min_mod_revision: bound(rng),
        max_mod_revision: bound(rng),
        min_create_revision: bound(rng),
        max_create_revision: bound(rng),
    }
}

fn read_revision(rng: &mut StdRng, revision: i64) -> i64 {
    match rng.random_range(0..10) {
        0..6 => 0,
        6 => revision + rng.random_range(0..2),
        7 => -1,
        _ => rng.random_range(1..=revision),
    }
}

fn key(rng: &mut StdRng) -> Bytes {
    const KEYS: &[&[u8]] = &[b"a", b"aa", b"ab", b"b", b"b\0", b"b\xff", b"c", b"\0", b"\xff\xff"];
    Bytes::from_static(KEYS[rng.random_range(0..KEYS.len())])
}

/// A key and a range end: one key, a prefix, a span (perhaps the wrong way round), or from a key on.
fn span(rng: &mut StdRng) -> (Bytes, Bytes) {
    let start = key(rng);
    let end = match rng.random_range(0..10) {
        0..5 => Bytes::new(),
        5..7 => prefix_end(&start),
        7..9 => key(rng),
        _ => Bytes::from_static(b"\0"),
    };
    (start, end)
}

fn value(rng: &mut StdRng) -> Bytes {
    let len = rng.random_range(0..4);
    (0..len).map(|_| rng.random_range(b'0'..b'4')).collect::<Vec<u8>>().into()
}

/// One of the few leases.
pub fn lease_id(rng: &mut StdRng) -> i64 {
    rng.random_range(1..=LEASES)
}

fn put(rng: &mut StdRng) -> PutRequest {
    let ignore_value = rng.random_bool(0.1);
    let ignore_lease = rng.random_bool(0.1);
    PutRequest {
        key: key(rng),
        value: if ignore_value { Bytes::new() } else { value(rng) },
        lease: if !ignore_lease && rng.random_bool(0.3) { lease_id(rng) } else { 0 },
        prev_kv: rng.random_bool(0.3),
        ignore_value,
        ignore_lease,
    }
}

fn delete_range(rng: &mut StdRng) -> DeleteRangeRequest {
    let (key, range_end) = span(rng);
    DeleteRangeRequest { key, range_end, prev_kv: rng.random_bool(0.3) }
}

fn compaction(rng: &mut StdRng, revision: i64) -> CompactionRequest {
    CompactionRequest { revision: rng.random_range(0..=revision + 1), physical: rng.random() }
}

fn lease_grant(rng: &mut StdRng) -> LeaseGrantRequest {
    let ttl = if rng.random_bool(0.05) { 9_000_000_001 } else { rng.random_range(-1..100) };
    LeaseGrantRequest { id: lease_id(rng), ttl }
}

/// A transaction that passes the checks of a service.
fn valid_txn(rng: &mut StdRng, revision: i64) -> TxnRequest {
    loop {
        let txn = txn(rng, revision, DEPTH_MAX);
        if apply::validate::check_txn(&txn, 128).is_ok() && !apply::txn::is_read_only(&txn) {
            return txn;
        }
    }
}

fn txn(rng: &mut StdRng, revision: i64, depth: u32) -> TxnRequest {
    let compares = rng.random_range(0..3);
    TxnRequest {
        compare: (0..compares).map(|_| compare(rng, revision)).collect(),
        success: ops(rng, revision, depth),
        failure: ops(rng, revision, depth),
    }
}

fn ops(rng: &mut StdRng, revision: i64, depth: u32) -> Vec<RequestOp> {
    let count = rng.random_range(0..4);
    (0..count).map(|_| RequestOp { request: Some(op(rng, revision, depth)) }).collect()
}

fn op(rng: &mut StdRng, revision: i64, depth: u32) -> Request {
    match rng.random_range(0..10) {
        0..4 => Request::RequestPut(put(rng)),
        4..6 => Request::RequestDeleteRange(delete_range(rng)),
        6..8 if depth > 0 => Request::RequestTxn(txn(rng, revision, depth - 1)),
        _ => Request::RequestRange(range(rng, revision)),
    }
}

fn compare(rng: &mut StdRng, revision: i64) -> Compare {
    let (key, range_end) = span(rng);
    let number = if rng.random() { rng.random_range(0..3) } else { rng.random_range(0..=revision) };
    let target_union = match rng.random_range(0..6) {
        0 => Some(TargetUnion::Version(number)),
        1 => Some(TargetUnion::CreateRevision(number)),
        2 => Some(TargetUnion::ModRevision(number)),
        3 => Some(TargetUnion::Value(value(rng))),
        4 => Some(TargetUnion::Lease(rng.random_range(0..=LEASES))),
        _ => None,
    };
    let matching = match &target_union {
        Some(TargetUnion::CreateRevision(_)) => 1,
        Some(TargetUnion::ModRevision(_)) => 2,
        Some(TargetUnion::Value(_)) => 3,
        Some(TargetUnion::Lease(_)) => 4,
        Some(TargetUnion::Version(_)) | None => 0,
    };
    // Now and then another kind than the target, an unknown target or an unknown result.
    let target = if rng.random_bool(0.9) { matching } else { rng.random_range(0..6) };
    let result = if rng.random_bool(0.95) { rng.random_range(0..4) } else { 9 };
    Compare { result, target, key, range_end, target_union }
}
