//! The names of fields that etcd spells in another way than `crates/api/proto` does. On the wire of
//! gRPC only numbers count; in JSON these names do.

/// Message, number of the field, its name in etcd.
const NAMES: &[(&str, u32, &str)] = &[
    ("authpb.Permission", 1, "permType"),
    ("authpb.Role", 2, "keyPermission"),
    ("etcdserverpb.AlarmMember", 1, "memberID"),
    ("etcdserverpb.AlarmRequest", 2, "memberID"),
    ("etcdserverpb.AuthStatusResponse", 3, "authRevision"),
    ("etcdserverpb.AuthUserAddRequest", 4, "hashedPassword"),
    ("etcdserverpb.AuthUserChangePasswordRequest", 3, "hashedPassword"),
    ("etcdserverpb.DowngradeInfo", 2, "targetVersion"),
    ("etcdserverpb.LeaseCheckpoint", 1, "ID"),
    ("etcdserverpb.LeaseCheckpoint", 2, "remaining_TTL"),
    ("etcdserverpb.LeaseGrantRequest", 1, "TTL"),
    ("etcdserverpb.LeaseGrantRequest", 2, "ID"),
    ("etcdserverpb.LeaseGrantResponse", 2, "ID"),
    ("etcdserverpb.LeaseGrantResponse", 3, "TTL"),
    ("etcdserverpb.LeaseKeepAliveRequest", 1, "ID"),
    ("etcdserverpb.LeaseKeepAliveResponse", 2, "ID"),
    ("etcdserverpb.LeaseKeepAliveResponse", 3, "TTL"),
    ("etcdserverpb.LeaseRevokeRequest", 1, "ID"),
    ("etcdserverpb.LeaseStatus", 1, "ID"),
    ("etcdserverpb.LeaseTimeToLiveRequest", 1, "ID"),
    ("etcdserverpb.LeaseTimeToLiveResponse", 2, "ID"),
    ("etcdserverpb.LeaseTimeToLiveResponse", 3, "TTL"),
    ("etcdserverpb.LeaseTimeToLiveResponse", 4, "grantedTTL"),
    ("etcdserverpb.Member", 1, "ID"),
    ("etcdserverpb.Member", 3, "peerURLs"),
    ("etcdserverpb.Member", 4, "clientURLs"),
    ("etcdserverpb.Member", 5, "isLearner"),
    ("etcdserverpb.MemberAddRequest", 1, "peerURLs"),
    ("etcdserverpb.MemberAddRequest", 2, "isLearner"),
    ("etcdserverpb.MemberPromoteRequest", 1, "ID"),
    ("etcdserverpb.MemberRemoveRequest", 1, "ID"),
    ("etcdserverpb.MemberUpdateRequest", 1, "ID"),
    ("etcdserverpb.MemberUpdateRequest", 2, "peerURLs"),
    ("etcdserverpb.MoveLeaderRequest", 1, "targetID"),
    ("etcdserverpb.StatusResponse", 3, "dbSize"),
    ("etcdserverpb.StatusResponse", 5, "raftIndex"),
    ("etcdserverpb.StatusResponse", 6, "raftTerm"),
    ("etcdserverpb.StatusResponse", 7, "raftAppliedIndex"),
    ("etcdserverpb.StatusResponse", 9, "dbSizeInUse"),
    ("etcdserverpb.StatusResponse", 10, "isLearner"),
    ("etcdserverpb.StatusResponse", 11, "storageVersion"),
    ("etcdserverpb.StatusResponse", 12, "dbSizeQuota"),
    ("etcdserverpb.StatusResponse", 13, "downgradeInfo"),
];

/// The name that etcd gives a field.
pub fn of(message: &str, number: u32, name: &str) -> String {
    let found = NAMES.iter().find(|(m, n, _)| (*m, *n) == (message, number));
    found.map_or(name, |(.., name)| name).to_owned()
}

/// A name in camel case, as protobuf's JSON has it.
pub fn camel(name: &str) -> String {
    let mut camel = String::new();
    let mut upper = false;
    for next in name.chars() {
        if next == '_' {
            upper = true;
            continue;
        }
        camel.push(if upper { next.to_ascii_uppercase() } else { next });
        upper = false;
    }
    camel
}
