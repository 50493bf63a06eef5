//! The unary calls of the API, one row a call: method, request, answer, path, and whether it may
//! be applied twice (etcd's rules: reads, and changes that are the same twice).

use api::etcdserverpb::*;

use crate::{client::Client, error::Error, retry::Policy};

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($request:ty) -> $answer:ty, $policy:ident $path:literal;)*) => {
        impl Client {
            $(
                $(#[$doc])*
                pub async fn $name(&self, request: $request) -> Result<$answer, Error> {
                    self.unary(concat!("/etcdserverpb.", $path), Policy::$policy, request).await
                }
            )*
        }
    };
}

calls! {
    /// Reads keys.
    range(RangeRequest) -> RangeResponse, Repeatable "KV/Range";
    /// Puts one key.
    put(PutRequest) -> PutResponse, Once "KV/Put";
    /// Deletes keys.
    delete_range(DeleteRangeRequest) -> DeleteRangeResponse, Once "KV/DeleteRange";
    /// Runs a transaction.
    txn(TxnRequest) -> TxnResponse, Once "KV/Txn";
    /// Forgets the history before a revision.
    compact(CompactionRequest) -> CompactionResponse, Once "KV/Compact";
    /// Makes a lease.
    lease_grant(LeaseGrantRequest) -> LeaseGrantResponse, Repeatable "Lease/LeaseGrant";
    /// Ends a lease and deletes its keys.
    lease_revoke(LeaseRevokeRequest) -> LeaseRevokeResponse, Repeatable "Lease/LeaseRevoke";
    /// What is left of a lease.
    lease_time_to_live(LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse,
        Repeatable "Lease/LeaseTimeToLive";
    /// All leases.
    lease_leases(LeaseLeasesRequest) -> LeaseLeasesResponse, Repeatable "Lease/LeaseLeases";
    /// Adds a member.
    member_add(MemberAddRequest) -> MemberAddResponse, Once "Cluster/MemberAdd";
    /// Removes a member.
    member_remove(MemberRemoveRequest) -> MemberRemoveResponse, Once "Cluster/MemberRemove";
    /// Changes the peer URLs of a member.
    member_update(MemberUpdateRequest) -> MemberUpdateResponse, Once "Cluster/MemberUpdate";
    /// The members.
    member_list(MemberListRequest) -> MemberListResponse, Repeatable "Cluster/MemberList";
    /// Makes a learner a voter.
    member_promote(MemberPromoteRequest) -> MemberPromoteResponse, Once "Cluster/MemberPromote";
    /// Raises, clears or lists alarms.
    alarm(AlarmRequest) -> AlarmResponse, Repeatable "Maintenance/Alarm";
    /// The state of the member that answers.
    status(StatusRequest) -> StatusResponse, Repeatable "Maintenance/Status";
    /// Defragments the member that answers.
    defragment(DefragmentRequest) -> DefragmentResponse, Once "Maintenance/Defragment";
    /// A hash of the whole store of the member that answers.
    hash(HashRequest) -> HashResponse, Repeatable "Maintenance/Hash";
    /// A hash of the keys up to a revision, of the member that answers.
    hash_kv(HashKvRequest) -> HashKvResponse, Repeatable "Maintenance/HashKV";
    /// Asks the leader to hand over.
    move_leader(MoveLeaderRequest) -> MoveLeaderResponse, Repeatable "Maintenance/MoveLeader";
    /// Validates, starts or cancels a downgrade.
    downgrade(DowngradeRequest) -> DowngradeResponse, Once "Maintenance/Downgrade";
    /// Turns authentication on.
    auth_enable(AuthEnableRequest) -> AuthEnableResponse, Once "Auth/AuthEnable";
    /// Turns authentication off.
    auth_disable(AuthDisableRequest) -> AuthDisableResponse, Once "Auth/AuthDisable";
    /// Whether authentication is on.
    auth_status(AuthStatusRequest) -> AuthStatusResponse, Once "Auth/AuthStatus";
    /// Exchanges a name and password for a token.
    authenticate(AuthenticateRequest) -> AuthenticateResponse, Once "Auth/Authenticate";
    /// Adds a user.
    user_add(AuthUserAddRequest) -> AuthUserAddResponse, Once "Auth/UserAdd";
    /// The roles of a user.
    user_get(AuthUserGetRequest) -> AuthUserGetResponse, Repeatable "Auth/UserGet";
    /// All users.
    user_list(AuthUserListRequest) -> AuthUserListResponse, Repeatable "Auth/UserList";
    /// Deletes a user.
    user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse, Once "Auth/UserDelete";
    /// Changes a password.
    user_change_password(AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse,
        Once "Auth/UserChangePassword";
    /// Grants a role to a user.
    user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse,
        Once "Auth/UserGrantRole";
    /// Takes a role from a user.
    user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse,
        Once "Auth/UserRevokeRole";
    /// Adds a role.
    role_add(AuthRoleAddRequest) -> AuthRoleAddResponse, Once "Auth/RoleAdd";
    /// The permissions of a role.
    role_get(AuthRoleGetRequest) -> AuthRoleGetResponse, Repeatable "Auth/RoleGet";
    /// All roles.
    role_list(AuthRoleListRequest) -> AuthRoleListResponse, Repeatable "Auth/RoleList";
    /// Deletes a role.
    role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse, Once "Auth/RoleDelete";
    /// Grants a permission to a role.
    role_grant_permission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse,
        Once "Auth/RoleGrantPermission";
    /// Takes a permission from a role.
    role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse,
        Once "Auth/RoleRevokePermission";
}
