//! The name of a proposal, for series by request: what its field is called in etcd.

/// Fields of `InternalRaftRequest` and the names of their types.
const NAMES: &[(u32, &str)] = &[
    (3, "Range"),
    (4, "Put"),
    (5, "DeleteRange"),
    (6, "Txn"),
    (7, "Compaction"),
    (8, "LeaseGrant"),
    (9, "LeaseRevoke"),
    (10, "Alarm"),
    (11, "LeaseCheckpoint"),
    (1000, "AuthEnable"),
    (1011, "AuthDisable"),
    (1012, "Authenticate"),
    (1013, "AuthStatus"),
    (1100, "AuthUserAdd"),
    (1101, "AuthUserDelete"),
    (1102, "AuthUserGet"),
    (1103, "AuthUserChangePassword"),
    (1104, "AuthUserGrantRole"),
    (1105, "AuthUserRevokeRole"),
    (1106, "AuthUserList"),
    (1107, "AuthRoleList"),
    (1200, "AuthRoleAdd"),
    (1201, "AuthRoleDelete"),
    (1202, "AuthRoleGet"),
    (1203, "AuthRoleGrantPermission"),
    (1204, "AuthRoleRevokePermission"),
    (1300, "ClusterVersionSet"),
    (1301, "ClusterMemberAttrSet"),
    (1302, "DowngradeInfoSet"),
];

/// In a request of the v2 API its method, which comes before what would be other names.
const V2: u32 = 2;

/// The name of an encoded request: that of its first field that is one. Nothing is decoded but the
/// keys and lengths of fields.
pub(crate) fn of(mut data: &[u8]) -> &'static str {
    use prost::encoding::{DecodeContext, decode_key, skip_field};
    while !data.is_empty() {
        let Ok((number, wire)) = decode_key(&mut data) else { break };
        if number == V2 {
            return "V2";
        }
        if let Ok(found) = NAMES.binary_search_by_key(&number, |(known, _)| *known) {
            return NAMES[found].1;
        }
        if skip_field(wire, number, &mut data, DecodeContext::default()).is_err() {
            break;
        }
    }
    "unknown"
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::{
        AuthUserListRequest, InternalRaftRequest, LeaseCheckpointRequest, PutRequest, RequestHeader,
    };
    use prost::Message as _;

    use super::*;

    #[test]
    fn requests_are_named_by_their_field() {
        let header = Some(RequestHeader { id: 7, ..Default::default() });
        let name = |request: InternalRaftRequest| of(&request.encode_to_vec());
        let put = Some(PutRequest { key: "a".into(), ..Default::default() });
        assert_eq!(
            name(InternalRaftRequest { header: header.clone(), put, ..Default::default() }),
            "Put"
        );
        let auth_user_list = Some(AuthUserListRequest::default());
        let list =
            InternalRaftRequest { header: header.clone(), auth_user_list, ..Default::default() };
        assert_eq!(name(list), "AuthUserList");
        let lease_checkpoint = Some(LeaseCheckpointRequest::default());
        let checkpoint = InternalRaftRequest { header, lease_checkpoint, ..Default::default() };
        assert_eq!(name(checkpoint), "LeaseCheckpoint");
        assert_eq!(name(InternalRaftRequest::default()), "unknown");
        assert_eq!(of(&[0xff, 0xff]), "unknown");
        assert!(NAMES.is_sorted());
    }
}
