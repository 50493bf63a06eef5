//! Requests as the log shows them, in etcd's words: keys are shown, values only by their size,
//! passwords and tokens not at all.

use std::fmt::Write as _;

use api::etcdserverpb::{
    Compare, InternalRaftRequest, PutRequest, RangeRequest, RequestHeader, RequestOp, TxnRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request as Op,
};
use prost::Message;

/// The content of a raft entry.
pub(crate) fn entry(data: &[u8]) -> String {
    match InternalRaftRequest::decode(data) {
        Ok(request) => raft(&request),
        Err(_) => format!("size:{}", data.len()),
    }
}

/// A request on its way through raft.
pub(crate) fn raft(request: &InternalRaftRequest) -> String {
    let header = request.header.as_ref().map(header).unwrap_or_default();
    let old = |what: String| format!("header:<{header}> {what}");
    if let Some(grant) = &request.lease_grant {
        return old(format!("lease_grant:<ttl:{}-second id:{:016x}>", grant.ttl, grant.id));
    }
    if let Some(revoke) = &request.lease_revoke {
        return old(format!("lease_revoke:<id:{:016x}>", revoke.id));
    }
    if let Some(login) = &request.authenticate {
        return old(format!("authenticate:<name:{} simple_token:>", login.name));
    }
    if let Some(user) = &request.auth_user_add {
        return old(format!("auth_user_add:<name:{}>", user.name));
    }
    if let Some(user) = &request.auth_user_change_password {
        return old(format!("auth_user_change_password:<name:{}>", user.name));
    }
    if let Some(request) = &request.put {
        return old(format!("put:<{}>", put(request)));
    }
    if let Some(request) = &request.txn {
        return old(format!("txn:<{}>", txn(request)));
    }
    let what = others(request);
    let space = if what.is_empty() { "" } else { " " };
    format!("header:{{{header}}}{space}{what}")
}

/// What has nothing to hide.
fn others(request: &InternalRaftRequest) -> String {
    /// The first of these fields that is there, by the table of its method.
    macro_rules! first {
        ($($field:ident: $method:literal,)*) => {
            $(if let Some(request) = &request.$field {
                let text = known(concat!("/etcdserverpb.", $method), request);
                return format!(concat!(stringify!($field), ":{{{}}}"), text);
            })*
        };
    }
    first! {
        range: "KV/Range",
        delete_range: "KV/DeleteRange",
        compaction: "KV/Compact",
        alarm: "Maintenance/Alarm",
        auth_enable: "Auth/AuthEnable",
        auth_disable: "Auth/AuthDisable",
        auth_status: "Auth/AuthStatus",
        auth_user_delete: "Auth/UserDelete",
        auth_user_get: "Auth/UserGet",
        auth_user_grant_role: "Auth/UserGrantRole",
        auth_user_revoke_role: "Auth/UserRevokeRole",
        auth_user_list: "Auth/UserList",
        auth_role_list: "Auth/RoleList",
        auth_role_add: "Auth/RoleAdd",
        auth_role_delete: "Auth/RoleDelete",
        auth_role_get: "Auth/RoleGet",
        auth_role_grant_permission: "Auth/RoleGrantPermission",
        auth_role_revoke_permission: "Auth/RoleRevokePermission",
    }
    if let Some(request) = &request.lease_checkpoint {
        let of = |lease: &api::etcdserverpb::LeaseCheckpoint| {
            format!("checkpoints:{{ID:{} remaining_TTL:{}}}", lease.id, lease.remaining_ttl)
        };
        let all: Vec<String> = request.checkpoints.iter().map(of).collect();
        return format!("lease_checkpoint:{{{}}}", all.join(" "));
    }
    if let Some(request) = &request.cluster_version_set {
        return format!("cluster_version_set:{{ver:{:?}}}", request.ver);
    }
    if let Some(request) = &request.cluster_member_attr_set {
        let attributes = request.member_attributes.clone().unwrap_or_default();
        let mut text = format!("name:{:?}", attributes.name);
        for url in &attributes.client_urls {
            write!(text, " client_urls:{url:?}").expect("a string takes everything");
        }
        let member = request.member_id;
        return format!(
            "cluster_member_attr_set:{{member_ID:{member} member_attributes:{{{text}}}}}"
        );
    }
    if let Some(request) = &request.downgrade_info_set {
        let (enabled, ver) = (request.enabled, &request.ver);
        return format!("downgrade_info_set:{{enabled:{enabled} ver:{ver:?}}}");
    }
    String::new()
}

/// A request of a method, as its table says.
fn known(method: &str, request: &impl Message) -> String {
    let method = protojson::method(method).expect("the table has every method");
    protojson::text(method.input, &request.encode_to_vec()).unwrap_or_default()
}

fn header(header: &RequestHeader) -> String {
    let mut text = format!("ID:{}", header.id);
    if !header.username.is_empty() {
        write!(text, " username:{:?}", header.username).expect("a string takes everything");
    }
    if header.auth_revision != 0 {
        write!(text, " auth_revision:{}", header.auth_revision).expect("a string takes everything");
    }
    text
}

/// A range.
pub(crate) fn range(request: &RangeRequest) -> String {
    known("/etcdserverpb.KV/Range", request)
}

/// A deletion.
pub(crate) fn deletion(request: &api::etcdserverpb::DeleteRangeRequest) -> String {
    known("/etcdserverpb.KV/DeleteRange", request)
}

/// A put, without its value.
pub(crate) fn put(put: &PutRequest) -> String {
    let mut text = String::new();
    bytes("key", &put.key, &mut text);
    number("value_size", put.value.len() as i64, &mut text);
    number("lease", put.lease, &mut text);
    for (name, set) in [
        ("prev_kv", put.prev_kv),
        ("ignore_value", put.ignore_value),
        ("ignore_lease", put.ignore_lease),
    ] {
        if set {
            text.push_str(name);
            text.push_str(":true ");
        }
    }
    text
}

/// A transaction, without values at any depth.
pub(crate) fn txn(txn: &TxnRequest) -> String {
    let all = |ops: &[RequestOp]| ops.iter().map(op).collect::<Vec<_>>().join(" ");
    let compared: Vec<String> = txn.compare.iter().map(compare).collect();
    let (success, failure) = (all(&txn.success), all(&txn.failure));
    format!("compare:<{}> success:<{success}> failure:<{failure}>", compared.join(" "))
}

fn op(op: &RequestOp) -> String {
    match &op.request {
        Some(Op::RequestPut(request)) => format!("request_put:<{}>", put(request)),
        Some(Op::RequestTxn(request)) => format!("request_txn:<{}>", txn(request)),
        Some(Op::RequestRange(request)) => format!("request_range:{{{}}}", range(request)),
        Some(Op::RequestDeleteRange(request)) => {
            format!("request_delete_range:{{{}}}", deletion(request))
        }
        None => String::new(),
    }
}

fn compare(compare: &Compare) -> String {
    let mut text = String::new();
    let result = CompareResult::try_from(compare.result).unwrap_or_default();
    if result != CompareResult::Equal {
        write!(text, "result:{} ", result.as_str_name()).expect("a string takes everything");
    }
    let target = CompareTarget::try_from(compare.target).unwrap_or_default();
    if target != CompareTarget::Version {
        write!(text, "target:{} ", target.as_str_name()).expect("a string takes everything");
    }
    bytes("key", &compare.key, &mut text);
    let redacted = matches!(compare.target_union, Some(TargetUnion::Value(_)));
    let (name, value) = match &compare.target_union {
        Some(TargetUnion::Version(version)) => ("version", *version),
        Some(TargetUnion::CreateRevision(revision)) => ("create_revision", *revision),
        Some(TargetUnion::ModRevision(revision)) => ("mod_revision", *revision),
        Some(TargetUnion::Value(value)) => ("value_size", value.len() as i64),
        Some(TargetUnion::Lease(lease)) => ("lease", *lease),
        None => ("", 0),
    };
    if !name.is_empty() && (value != 0 || !redacted) {
        write!(text, "{name}:{value} ").expect("a string takes everything");
    }
    bytes("range_end", &compare.range_end, &mut text);
    // What hides a value has etcd's older form, with a space at the end.
    if redacted { text } else { text.trim_end().to_owned() }
}

/// A field with a key, if it is not empty: everything but printable ASCII as octal numbers.
fn bytes(name: &str, value: &[u8], out: &mut String) {
    if value.is_empty() {
        return;
    }
    write!(out, "{name}:\"").expect("a string takes everything");
    for byte in value {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b' '..=b'~' => out.push(char::from(*byte)),
            byte => write!(out, "\\{byte:03o}").expect("a string takes everything"),
        }
    }
    out.push_str("\" ");
}

/// A field with a number, if it is not 0.
fn number(name: &str, value: i64, out: &mut String) {
    if value != 0 {
        write!(out, "{name}:{value} ").expect("a string takes everything");
    }
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::{
        AlarmRequest, AuthRoleAddRequest, AuthUserAddRequest, CompactionRequest,
        DeleteRangeRequest, InternalAuthenticateRequest, LeaseGrantRequest, LeaseRevokeRequest,
    };

    use super::*;

    fn with_header(request: InternalRaftRequest) -> String {
        let header = Some(RequestHeader { id: 7, ..Default::default() });
        entry(&InternalRaftRequest { header, ..request }.encode_to_vec())
    }

    /// The texts are those of etcd 3.7.1.
    #[test]
    fn entries_are_described_as_etcd_does() {
        macro_rules! check {
            ($field:ident: $request:expr, $text:expr) => {
                let request = InternalRaftRequest { $field: Some($request), ..Default::default() };
                assert_eq!(with_header(request), $text);
            };
        }
        check!(lease_grant: LeaseGrantRequest { ttl: 300, id: 0x694d_a1fd_dcee_4803 },
            "header:<ID:7> lease_grant:<ttl:300-second id:694da1fddcee4803>");
        check!(lease_revoke: LeaseRevokeRequest { id: 0x10 },
            "header:<ID:7> lease_revoke:<id:0000000000000010>");
        check!(put: PutRequest { key: "a".into(), value: "b".into(), lease: 119, ..Default::default() },
            "header:<ID:7> put:<key:\"a\" value_size:1 lease:119 >");
        let key: &[u8] = b"a\x01\"\xc3\xa9\xff\n";
        check!(put: PutRequest { key: key.into(), ..Default::default() },
            "header:<ID:7> put:<key:\"a\\001\\\"\\303\\251\\377\\n\" >");
        check!(compaction: CompactionRequest { revision: 2, physical: false },
            "header:{ID:7} compaction:{revision:2}");
        check!(delete_range: DeleteRangeRequest { key: "a".into(), prev_kv: true, ..Default::default() },
            "header:{ID:7} delete_range:{key:\"a\" prev_kv:true}");
        check!(auth_role_add: AuthRoleAddRequest { name: "r".into() },
            "header:{ID:7} auth_role_add:{name:\"r\"}");
        check!(alarm: AlarmRequest::default(), "header:{ID:7} alarm:{}");
        assert_eq!(with_header(InternalRaftRequest::default()), "header:{ID:7}");
        assert_eq!(entry(&[0xff]), "size:1");
    }

    #[test]
    fn values_of_transactions_are_not_shown() {
        let range = RangeRequest { key: "a".into(), ..Default::default() };
        let put = PutRequest { key: "a".into(), value: "secret".into(), ..Default::default() };
        let compare = |target, target_union| Compare {
            key: "k".into(),
            target: target as i32,
            target_union: Some(target_union),
            ..Default::default()
        };
        let inner = TxnRequest {
            success: vec![RequestOp { request: Some(Op::RequestPut(put.clone())) }],
            ..Default::default()
        };
        let outer = TxnRequest {
            compare: vec![
                compare(CompareTarget::Value, TargetUnion::Value("secret".into())),
                compare(CompareTarget::Mod, TargetUnion::ModRevision(0)),
            ],
            success: vec![
                RequestOp { request: Some(Op::RequestRange(range)) },
                RequestOp { request: Some(Op::RequestTxn(inner)) },
            ],
            failure: vec![RequestOp { request: Some(Op::RequestPut(put)) }],
        };
        assert_eq!(
            txn(&outer),
            "compare:<target:VALUE key:\"k\" value_size:6  target:MOD key:\"k\" mod_revision:0> \
             success:<request_range:{key:\"a\"} request_txn:<compare:<> success:<request_put:<key:\"a\" \
             value_size:6 >> failure:<>>> failure:<request_put:<key:\"a\" value_size:6 >>"
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let user = AuthUserAddRequest {
            name: "u".into(),
            password: "secret".into(),
            hashed_password: "secret".into(),
            ..Default::default()
        };
        let login = InternalAuthenticateRequest {
            name: "u".into(),
            password: "secret".into(),
            simple_token: "secret".into(),
        };
        let shown = [
            with_header(InternalRaftRequest { auth_user_add: Some(user), ..Default::default() }),
            with_header(InternalRaftRequest { authenticate: Some(login), ..Default::default() }),
        ];
        assert!(shown.iter().all(|text| text.contains("name:u") && !text.contains("secret")));
    }
}
