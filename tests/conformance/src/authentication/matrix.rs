//! Every method, called by nobody, with a token that is none, by users with different rights and by
//! root: what each is answered, as text.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::Result;
use api::{
    authpb::permission::Type,
    etcdserverpb::{
        self as pb, compare::CompareTarget, request_op::Request as Op, watch_request::RequestUnion,
    },
    v3electionpb, v3lockpb,
};
use bytes::Bytes;
use prost::Message;
use tonic::{Request, Status};

use super::{add_user, allow, enable, login};
use crate::{client::Client, member::Member, wire};

/// Who calls: nobody, somebody with a token that is none, a user without rights, one that may write
/// `work/`, one that may also read it, and root.
pub const CALLERS: [&str; 6] = ["nobody", "stranger", "idle", "writer", "worker", "root"];

/// A lease with a key in `work/`, and one with a key elsewhere.
const WORK_LEASE: i64 = 71;
const OTHER_LEASE: i64 = 72;
/// Leases to revoke.
const WORK_REVOKED: i64 = 73;
const OTHER_REVOKED: i64 = 74;

/// What everyone is answered, by call.
pub type Matrix = BTreeMap<String, Vec<String>>;

/// One call.
struct Row {
    name: &'static str,
    path: String,
    streams: bool,
    body: Bytes,
}

/// Sets a member up and calls everything by everyone. The member is left without authentication.
pub async fn run(member: &Member) -> Result<Matrix> {
    let mut client = member.client().await;
    set_up(&mut client).await?;
    let mut tokens = vec![None, Some("abcdefghijklmnop.1".to_owned())];
    for name in &CALLERS[2..] {
        tokens.push(Some(login(&mut client, name).await?));
    }
    let mut matrix = Matrix::new();
    for row in rows() {
        let mut answers = Vec::new();
        for token in &tokens {
            answers.push(call(&client, &row, token.as_deref()).await);
        }
        let method = row.path.trim_start_matches('/').replace("etcdserverpb.", "");
        matrix.insert(format!("{method} {}", row.name), answers);
    }
    Ok(matrix)
}

/// A matrix as a text of lines: a call, then each answer with those who are given it.
pub fn text(matrix: &Matrix) -> String {
    let mut text = String::new();
    for (call, answers) in matrix {
        writeln!(text, "{call}").expect("a string grows");
        let mut by_answer: Vec<(&str, Vec<&str>)> = Vec::new();
        for (caller, answer) in CALLERS.iter().zip(answers) {
            match by_answer.last_mut() {
                Some((last, callers)) if last == answer => callers.push(caller),
                _ => by_answer.push((answer, vec![caller])),
            }
        }
        for (answer, callers) in by_answer {
            writeln!(text, "    {}: {answer}", callers.join(" ")).expect("a string grows");
        }
    }
    text
}

async fn set_up(client: &mut Client) -> Result<()> {
    let leases = [
        (WORK_LEASE, "work/leased"),
        (OTHER_LEASE, "secret/leased"),
        (WORK_REVOKED, "work/revoked"),
        (OTHER_REVOKED, "secret/revoked"),
    ];
    for (lease, key) in leases {
        client.grant(lease, 600).await?;
        let (key, value) = (key.into(), "v".into());
        client.put_with(pb::PutRequest { key, value, lease, ..Default::default() }).await?;
    }
    client.put("work/k", "v").await?;
    client.put("secret/k", "v").await?;
    for name in ["idle", "writer", "worker"] {
        add_user(client, name).await?;
    }
    allow(client, "writer", Type::Write, "work/", "work0").await?;
    allow(client, "worker", Type::Readwrite, "work/", "work0").await?;
    enable(client).await?;
    Ok(())
}

async fn call(client: &Client, row: &Row, token: Option<&str>) -> String {
    let channel = client.channel.clone();
    let mut request = Request::new(row.body.clone());
    if let Some(token) = token {
        let token = token.parse().expect("tokens are ASCII");
        request.metadata_mut().insert("token", token);
    }
    let answer = if row.streams {
        wire::streaming_with(channel, &row.path, request.map(|body| vec![body])).await
    } else {
        wire::unary_with(channel, &row.path, request).await.map(Some)
    };
    match answer {
        Err(status) => shown(&status),
        Ok(None) => "end of stream".to_owned(),
        Ok(Some(body)) if row.path.ends_with("/Watch") => {
            let answer = pb::WatchResponse::decode(body).expect("an answer of Watch");
            if answer.canceled {
                format!("canceled: {}", answer.cancel_reason)
            } else {
                "ok".into()
            }
        }
        Ok(Some(_)) => "ok".to_owned(),
    }
}

fn shown(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

fn row(path: &str, name: &'static str, message: &impl Message) -> Row {
    let path = match path.split_once('.') {
        Some(_) => format!("/{path}"),
        None => format!("/etcdserverpb.{path}"),
    };
    Row { name, path, streams: false, body: message.encode_to_vec().into() }
}

fn stream(path: &str, name: &'static str, message: &impl Message) -> Row {
    Row { streams: true, ..row(path, name, message) }
}

fn rows() -> Vec<Row> {
    // Disabling comes last.
    let groups = [kv(), txns(), watches(), leases(), cluster(), maintenance(), auth(), contest()];
    let disable = row("Auth/AuthDisable", "", &pb::AuthDisableRequest {});
    groups.into_iter().flatten().chain([disable]).collect()
}

fn range(key: &str, range_end: &str) -> pb::RangeRequest {
    let (key, range_end) = (key.to_owned().into(), range_end.to_owned().into());
    pb::RangeRequest { key, range_end, ..Default::default() }
}

fn put(key: &str) -> pb::PutRequest {
    pb::PutRequest { key: key.to_owned().into(), value: "v".into(), ..Default::default() }
}

fn delete(key: &str) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: key.to_owned().into(), ..Default::default() }
}

fn kv() -> Vec<Row> {
    let local = pb::RangeRequest { serializable: true, ..range("work/k", "") };
    let compact = pb::CompactionRequest { revision: 99_999, physical: false };
    vec![
        row("KV/Range", "of work", &range("work/k", "")),
        row("KV/Range", "of work, serializable", &local),
        row("KV/Range", "of all work", &range("work/", "work0")),
        row("KV/Range", "from work on", &range("work/", "\0")),
        row("KV/Range", "of a secret", &range("secret/k", "")),
        row("KV/Range", "of no key", &range("", "")),
        stream("KV/RangeStream", "of all work", &range("work/", "work0")),
        stream("KV/RangeStream", "from work on", &range("work/", "\0")),
        row("KV/Put", "of work", &put("work/k")),
        row("KV/Put", "with what was", &pb::PutRequest { prev_kv: true, ..put("work/k") }),
        row("KV/Put", "with lease", &pb::PutRequest { lease: WORK_LEASE, ..put("work/l") }),
        row(
            "KV/Put",
            "with lease of a secret",
            &pb::PutRequest { lease: OTHER_LEASE, ..put("work/l") },
        ),
        row("KV/Put", "of a secret", &put("secret/k")),
        row("KV/DeleteRange", "of work", &delete("work/absent")),
        row(
            "KV/DeleteRange",
            "with what was",
            &pb::DeleteRangeRequest { prev_kv: true, ..delete("work/absent") },
        ),
        row(
            "KV/DeleteRange",
            "from work on",
            &pb::DeleteRangeRequest { range_end: "\0".into(), ..delete("work/zz") },
        ),
        row("KV/Compact", "of the future", &compact),
    ]
}

fn op(request: Op) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

fn when(op: pb::RequestOp) -> pb::TxnRequest {
    pb::TxnRequest { success: vec![op], ..Default::default() }
}

/// Never runs its operation: the guard does not hold.
fn never(op: pb::RequestOp) -> pb::TxnRequest {
    pb::TxnRequest { compare: vec![guard_on("work/k")], success: vec![op], failure: Vec::new() }
}

fn guard_on(key: &str) -> pb::Compare {
    let target = CompareTarget::Create as i32;
    pb::Compare { target, key: key.to_owned().into(), ..Default::default() }
}

fn nested(txn: pb::TxnRequest) -> pb::RequestOp {
    op(Op::RequestTxn(txn))
}

fn txns() -> Vec<Row> {
    let read = |key| op(Op::RequestRange(range(key, "")));
    let write = |key| op(Op::RequestPut(put(key)));
    let with_prev = op(Op::RequestPut(pb::PutRequest { prev_kv: true, ..put("work/k") }));
    let with_lease = op(Op::RequestPut(pb::PutRequest { lease: OTHER_LEASE, ..put("work/l") }));
    let remove = op(Op::RequestDeleteRange(delete("secret/absent")));
    let guards = |key| pb::TxnRequest { compare: vec![guard_on(key)], ..Default::default() };
    vec![
        row("KV/Txn", "empty", &pb::TxnRequest::default()),
        row("KV/Txn", "that reads work", &when(read("work/k"))),
        row("KV/Txn", "that reads a secret", &when(read("secret/k"))),
        row("KV/Txn", "that would read a secret", &never(read("secret/k"))),
        row("KV/Txn", "that guards on work", &guards("work/k")),
        row("KV/Txn", "that guards on a secret", &guards("secret/k")),
        row("KV/Txn", "that writes work", &when(write("work/k"))),
        row("KV/Txn", "that writes a secret", &when(write("secret/k"))),
        row("KV/Txn", "that would write a secret", &never(write("secret/k"))),
        row("KV/Txn", "that shows what was", &when(with_prev.clone())),
        row("KV/Txn", "that takes the lease of a secret", &when(with_lease.clone())),
        row("KV/Txn", "nested, reading a secret", &when(nested(when(read("secret/k"))))),
        row("KV/Txn", "nested, guarding on a secret", &when(nested(guards("secret/k")))),
        row("KV/Txn", "nested, writing work", &when(nested(when(write("work/k"))))),
        row("KV/Txn", "nested, writing a secret", &when(nested(when(write("secret/k"))))),
        row("KV/Txn", "nested, that would write a secret", &when(nested(never(write("secret/k"))))),
        row("KV/Txn", "nested, deleting a secret", &when(nested(when(nested(when(remove)))))),
        row("KV/Txn", "nested, showing what was", &when(nested(when(with_prev)))),
        row("KV/Txn", "nested, taking the lease of a secret", &when(nested(when(with_lease)))),
    ]
}

fn watches() -> Vec<Row> {
    let create = |key: &str, range_end: &str| {
        let (key, range_end) = (key.to_owned().into(), range_end.to_owned().into());
        let create = pb::WatchCreateRequest { key, range_end, ..Default::default() };
        pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
    };
    vec![
        stream("Watch/Watch", "of work", &create("work/k", "")),
        stream("Watch/Watch", "of all work", &create("work/", "work0")),
        stream("Watch/Watch", "from work on", &create("work/", "\0")),
        stream("Watch/Watch", "of a secret", &create("secret/k", "")),
        stream("Watch/Watch", "of everything", &create("", "\0")),
    ]
}

fn leases() -> Vec<Row> {
    let ask = |id, keys| pb::LeaseTimeToLiveRequest { id, keys };
    let alive = |id| pb::LeaseKeepAliveRequest { id };
    let revoke = |id| pb::LeaseRevokeRequest { id };
    vec![
        row("Lease/LeaseGrant", "", &pb::LeaseGrantRequest { id: 0, ttl: 600 }),
        row("Lease/LeaseRevoke", "of a secret", &revoke(OTHER_REVOKED)),
        row("Lease/LeaseRevoke", "of work", &revoke(WORK_REVOKED)),
        row("Lease/LeaseRevoke", "of none", &revoke(9999)),
        stream("Lease/LeaseKeepAlive", "of work", &alive(WORK_LEASE)),
        stream("Lease/LeaseKeepAlive", "of a secret", &alive(OTHER_LEASE)),
        stream("Lease/LeaseKeepAlive", "of none", &alive(9999)),
        row("Lease/LeaseTimeToLive", "of a secret", &ask(OTHER_LEASE, false)),
        row("Lease/LeaseTimeToLive", "with keys of work", &ask(WORK_LEASE, true)),
        row("Lease/LeaseTimeToLive", "with keys of a secret", &ask(OTHER_LEASE, true)),
        row("Lease/LeaseTimeToLive", "with keys of none", &ask(9999, true)),
        row("Lease/LeaseLeases", "", &pb::LeaseLeasesRequest {}),
    ]
}

fn cluster() -> Vec<Row> {
    let add =
        |url: &str| pb::MemberAddRequest { peer_urls: vec![url.to_owned()], is_learner: false };
    let update = pb::MemberUpdateRequest { id: 1, peer_urls: vec!["http://127.0.0.1:1".into()] };
    let list = |linearizable| pb::MemberListRequest { linearizable };
    vec![
        row("Cluster/MemberAdd", "at no place", &add("nowhere")),
        row(
            "Cluster/MemberAdd",
            "as a learner",
            &pb::MemberAddRequest { is_learner: true, ..add("http://127.0.0.1:1") },
        ),
        row("Cluster/MemberRemove", "of none", &pb::MemberRemoveRequest { id: 1 }),
        row("Cluster/MemberUpdate", "of none", &update),
        row("Cluster/MemberPromote", "of none", &pb::MemberPromoteRequest { id: 1 }),
        row("Cluster/MemberList", "", &list(false)),
        row("Cluster/MemberList", "linearizable", &list(true)),
    ]
}

fn maintenance() -> Vec<Row> {
    let alarm = |action| pb::AlarmRequest { action, ..Default::default() };
    let downgrade = |action| pb::DowngradeRequest { action, version: "9.9.9".into() };
    vec![
        row("Maintenance/Alarm", "list", &alarm(0)),
        row("Maintenance/Alarm", "raise none", &alarm(1)),
        row("Maintenance/Alarm", "disarm none", &alarm(2)),
        row("Maintenance/Status", "", &pb::StatusRequest {}),
        row("Maintenance/Defragment", "", &pb::DefragmentRequest {}),
        row("Maintenance/Hash", "", &pb::HashRequest {}),
        row("Maintenance/HashKV", "", &pb::HashKvRequest { revision: 0 }),
        stream("Maintenance/Snapshot", "", &pb::SnapshotRequest {}),
        row("Maintenance/MoveLeader", "to none", &pb::MoveLeaderRequest { target_id: 1 }),
        row("Maintenance/Downgrade", "validate", &downgrade(0)),
        row("Maintenance/Downgrade", "by no method", &downgrade(9)),
    ]
}

fn auth() -> Vec<Row> {
    let get = |name: &str| pb::AuthUserGetRequest { name: name.to_owned() };
    let role = |role: &str| pb::AuthRoleGetRequest { role: role.to_owned() };
    let add = |name: &str| pb::AuthUserAddRequest { name: name.to_owned(), ..Default::default() };
    let log_in = |name: &str, password: &str| pb::AuthenticateRequest {
        name: name.to_owned(),
        password: password.to_owned(),
    };
    let password =
        pb::AuthUserChangePasswordRequest { name: "absent".into(), ..Default::default() };
    let grant = pb::AuthUserGrantRoleRequest { user: "absent".into(), role: "root".into() };
    let revoke = pb::AuthUserRevokeRoleRequest { name: "idle".into(), role: "root".into() };
    let no_root = pb::AuthUserRevokeRoleRequest { name: "root".into(), role: "root".into() };
    let permit = pb::AuthRoleGrantPermissionRequest { name: "absent".into(), perm: None };
    let forbid =
        pb::AuthRoleRevokePermissionRequest { role: "absent".into(), ..Default::default() };
    let remove = |name: &str| pb::AuthUserDeleteRequest { name: name.to_owned() };
    let workers = "worker-work/-READWRITE";
    vec![
        row("Auth/AuthStatus", "", &pb::AuthStatusRequest {}),
        row("Auth/AuthEnable", "", &pb::AuthEnableRequest {}),
        row("Auth/Authenticate", "", &log_in("idle", "idle")),
        row("Auth/Authenticate", "with another password", &log_in("idle", "else")),
        row("Auth/Authenticate", "of none", &log_in("absent", "idle")),
        row("Auth/UserAdd", "of one that is there", &add("idle")),
        row("Auth/UserAdd", "without a name", &add("")),
        row("Auth/UserGet", "of itself or another", &get("worker")),
        row("Auth/UserGet", "of root", &get("root")),
        row("Auth/UserGet", "of none", &get("absent")),
        row("Auth/UserList", "", &pb::AuthUserListRequest {}),
        row("Auth/UserDelete", "of none", &remove("absent")),
        row("Auth/UserDelete", "of root", &remove("root")),
        row("Auth/UserChangePassword", "of none", &password),
        row("Auth/UserGrantRole", "to none", &grant),
        row("Auth/UserRevokeRole", "that is not held", &revoke),
        row("Auth/UserRevokeRole", "root of root", &no_root),
        row(
            "Auth/RoleAdd",
            "of one that is there",
            &pb::AuthRoleAddRequest { name: workers.into() },
        ),
        row("Auth/RoleAdd", "without a name", &pb::AuthRoleAddRequest::default()),
        row("Auth/RoleGet", "of its own or another", &role(workers)),
        row("Auth/RoleGet", "of none", &role("absent")),
        row("Auth/RoleList", "", &pb::AuthRoleListRequest {}),
        row("Auth/RoleDelete", "of none", &pb::AuthRoleDeleteRequest { role: "absent".into() }),
        row("Auth/RoleDelete", "of root", &pb::AuthRoleDeleteRequest { role: "root".into() }),
        row("Auth/RoleGrantPermission", "none", &permit),
        row("Auth/RoleRevokePermission", "of none", &forbid),
    ]
}

fn contest() -> Vec<Row> {
    let name = |name: &str| Bytes::copy_from_slice(name.as_bytes());
    let lease = WORK_LEASE;
    let leader = Some(v3electionpb::LeaderKey {
        name: name("work/e"),
        key: name("work/e/1"),
        rev: 1,
        lease,
    });
    let proclaim = v3electionpb::ProclaimRequest { leader: leader.clone(), value: name("v") };
    let campaign = v3electionpb::CampaignRequest { name: name("work/e"), lease, value: name("v") };
    let of = |of: &str| v3electionpb::LeaderRequest { name: name(of) };
    let unlock = |key: &str| v3lockpb::UnlockRequest { key: name(key) };
    let lock = |of: &str| v3lockpb::LockRequest { name: name(of), lease };
    vec![
        row("v3lockpb.Lock/Lock", "of work", &lock("work/lock")),
        row("v3lockpb.Lock/Lock", "of a secret", &lock("secret/lock")),
        row("v3lockpb.Lock/Unlock", "of work", &unlock("work/absent")),
        row("v3lockpb.Lock/Unlock", "of no key", &unlock("")),
        row("v3electionpb.Election/Campaign", "for work", &campaign),
        row("v3electionpb.Election/Proclaim", "not leading", &proclaim),
        row("v3electionpb.Election/Proclaim", "nothing", &v3electionpb::ProclaimRequest::default()),
        row("v3electionpb.Election/Leader", "of work", &of("work/e")),
        row("v3electionpb.Election/Leader", "of nothing", &of("work/none")),
        stream("v3electionpb.Election/Observe", "of work", &of("work/e")),
        row("v3electionpb.Election/Resign", "not leading", &v3electionpb::ResignRequest { leader }),
    ]
}
