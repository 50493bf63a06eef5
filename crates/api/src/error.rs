//! Every error that a client can see: its gRPC code and its exact text.
//!
//! Clients match on the text, so it is part of the API. Two errors keep a quirk of etcd: they reach
//! the wire with code Unknown although other codes were meant for them.

/// A gRPC status code, by the number it has on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
#[allow(missing_docs)]
pub enum Code {
    Canceled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

/// Declares [`Error`] with its codes and texts, one row an error.
macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident $code:ident $text:literal;)*) => {
        /// An error as a client sees it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Error {
            $($(#[$doc])* $name,)*
        }

        impl Error {
            /// Every error, in the order of the table.
            pub const ALL: &[Error] = &[$(Error::$name,)*];

            /// The gRPC status code.
            pub fn code(self) -> Code {
                match self {
                    $(Error::$name => Code::$code,)*
                }
            }

            /// The text that clients compare with.
            pub fn message(self) -> &'static str {
                match self {
                    $(Error::$name => $text,)*
                }
            }
        }
    };
}

errors! {
    /// Range/Put/DeleteRange/Compare key empty.
    EmptyKey InvalidArgument "etcdserver: key is not provided";
    /// Put ignore_value/ignore_lease on absent key; also an empty RequestOp in Txn.
    KeyNotFound InvalidArgument "etcdserver: key not found";
    /// Put ignore_value with value.
    ValueProvided InvalidArgument "etcdserver: value is provided";
    /// Put ignore_lease with lease≠0.
    LeaseProvided InvalidArgument "etcdserver: lease is provided";
    /// Txn list longer than max-txn-ops (nested budget shrinks).
    TooManyOps InvalidArgument "etcdserver: too many operations in txn request";
    /// Txn put key repeated or inside a delete range.
    DuplicateKey InvalidArgument "etcdserver: duplicate key given in txn request";
    /// Metadata client-api-version not UTF-8.
    InvalidClientApiVersion InvalidArgument "etcdserver: invalid client api version";
    /// Unknown sort enum (3.6+).
    InvalidSortOption InvalidArgument "etcdserver: invalid sort option";
    /// Read/compact/hash below compact revision; also watch cancel_reason for negative start.
    Compacted OutOfRange "etcdserver: mvcc: required revision has been compacted";
    /// Read/compact/hash above current revision.
    FutureRev OutOfRange "etcdserver: mvcc: required revision is a future revision";
    /// Quota pre-check or NOSPACE alarm: Put, cost>0 Txn, LeaseGrant.
    NoSpace ResourceExhausted "etcdserver: mvcc: database space exceeded";
    /// Revoke/Put with unknown lease (KeepAlive and TTL do not return it).
    LeaseNotFound NotFound "etcdserver: requested lease not found";
    /// LeaseGrant with used ID.
    LeaseExist FailedPrecondition "etcdserver: lease already exists";
    /// TTL > 9000000000.
    LeaseTtlTooLarge OutOfRange "etcdserver: too large lease TTL";
    /// Watch stream context cancelled.
    WatchCanceled Canceled "etcdserver: watch canceled";
    /// MemberAdd ID collision.
    MemberExist FailedPrecondition "etcdserver: member ID already exist";
    /// MemberAdd/Update URL already used.
    PeerUrlExist FailedPrecondition "etcdserver: Peer URLs already exists";
    /// Strict reconfig; reaches the wire as Unknown, as in etcd.
    NotEnoughStartedMembers Unknown "etcdserver: re-configuration failed due to not enough started members";
    /// MemberAdd unparsable/empty URLs.
    MemberBadUrls InvalidArgument "etcdserver: given member URLs are invalid";
    /// Remove/update/promote of unknown or removed ID.
    MemberNotFound NotFound "etcdserver: member not found";
    /// Promote a voter.
    MemberNotLearner FailedPrecondition "etcdserver: can only promote a learner member";
    /// Learner match <90% of leader.
    LearnerNotReady FailedPrecondition "etcdserver: can only promote a learner member which is in sync with leader";
    /// Learner add beyond max-learners.
    TooManyLearners FailedPrecondition "etcdserver: too many learner members in cluster";
    /// Peer HashKV with wrong cluster id (internal).
    ClusterIdMismatch FailedPrecondition "etcdserver: cluster ID mismatch";
    /// Marshalled proposal > max-request-bytes.
    RequestTooLarge InvalidArgument "etcdserver: request is too large";
    /// Commit−apply gap >5000; reaches the wire as Unknown, as in etcd.
    TooManyRequests Unknown "etcdserver: too many requests";
    /// AuthEnable without user root.
    RootUserNotExist FailedPrecondition "etcdserver: root user does not exist";
    /// AuthEnable, root lacks role root.
    RootRoleNotExist FailedPrecondition "etcdserver: root user does not have root role";
    /// UserAdd.
    UserAlreadyExist FailedPrecondition "etcdserver: user name already exists";
    /// UserAdd empty name; or no credentials while auth enabled.
    UserEmpty InvalidArgument "etcdserver: user name is empty";
    /// User ops on unknown user; admin check for deleted user.
    UserNotFound FailedPrecondition "etcdserver: user name not found";
    /// RoleAdd.
    RoleAlreadyExist FailedPrecondition "etcdserver: role name already exists";
    /// Role ops on unknown role.
    RoleNotFound FailedPrecondition "etcdserver: role name not found";
    /// RoleAdd empty name.
    RoleEmpty InvalidArgument "etcdserver: role name is empty";
    /// Authenticate unknown user or bad password.
    AuthFailed InvalidArgument "etcdserver: authentication failed, invalid user ID or password";
    /// RoleGrantPermission without perm.
    PermissionNotGiven InvalidArgument "etcdserver: permission not given";
    /// Missing key permission or not root.
    PermissionDenied PermissionDenied "etcdserver: permission denied";
    /// UserRevokeRole not held.
    RoleNotGranted FailedPrecondition "etcdserver: role is not granted to the user";
    /// RoleRevokePermission exact key/range_end absent.
    PermissionNotGranted FailedPrecondition "etcdserver: permission is not granted to the role";
    /// Authenticate while disabled.
    AuthNotEnabled FailedPrecondition "etcdserver: authentication is not enabled";
    /// Unknown/expired token.
    InvalidAuthToken Unauthenticated "etcdserver: invalid auth token";
    /// Deleting/revoking root while enabled; bad permission range.
    InvalidAuthManagement InvalidArgument "etcdserver: invalid auth management";
    /// Auth store changed after identity was taken; stale JWT.
    AuthOldRevision InvalidArgument "etcdserver: revision of auth store is old";
    /// Hasleader metadata and no leader; waitLeader timeout.
    NoLeader Unavailable "etcdserver: no leader";
    /// MoveLeader to non-leader.
    NotLeader FailedPrecondition "etcdserver: not leader";
    /// Linearizable read interrupted by leader change; TTL lookup on demoted lessor.
    LeaderChanged Unavailable "etcdserver: leader changed";
    /// Cluster version lacks v3rpc.
    NotCapable FailedPrecondition "etcdserver: not capable";
    /// Server stopping.
    Stopped Unavailable "etcdserver: server stopped";
    /// Proposal/ReadIndex/forward timeout.
    Timeout Unavailable "etcdserver: request timed out";
    /// Proposal timeout; request began within 2 election timeouts before current leader election.
    TimeoutDueToLeaderFail Unavailable "etcdserver: request timed out, possibly due to previous leader failure";
    /// Proposal timeout; leader not connected to quorum (or follower to leader) since start.
    TimeoutDueToConnectionLost Unavailable "etcdserver: request timed out, possibly due to connection lost";
    /// Lease renew/TTL/promote: applied index lag >1s.
    TimeoutWaitAppliedIndex Unavailable "etcdserver: request timed out, waiting for the applied index took too long";
    /// Strict reconfig connectivity; shutdown transfer without peer.
    UnhealthyCluster Unavailable "etcdserver: unhealthy cluster";
    /// CORRUPT alarm (applied requests).
    Corrupt DataLoss "etcdserver: corrupt cluster";
    /// RPC on learner.
    NotSupportedForLearner FailedPrecondition "etcdserver: rpc not supported for learner";
    /// MoveLeader target unknown or learner.
    BadLeaderTransferee FailedPrecondition "etcdserver: bad leader transferee";
    /// Downgrade version unparsable.
    WrongDowngradeVersionFormat InvalidArgument "etcdserver: wrong downgrade target version format";
    /// Target ≠ cluster minor−1.
    InvalidDowngradeTargetVersion InvalidArgument "etcdserver: invalid downgrade target version";
    /// Cluster version not yet decided.
    ClusterVersionUnavailable FailedPrecondition "etcdserver: cluster version not found during downgrade";
    /// Second downgrade.
    DowngradeInProcess FailedPrecondition "etcdserver: cluster has a downgrade job in progress";
    /// Cancel without job (3.5 only visible).
    NoInflightDowngrade FailedPrecondition "etcdserver: no inflight downgrade job";
    /// Context cancelled in handler.
    Canceled Canceled "etcdserver: request canceled";
    /// Mapped for completeness; ctx errors normally pass through unmapped.
    DeadlineExceeded DeadlineExceeded "etcdserver: context deadline exceeded";
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Error {}
