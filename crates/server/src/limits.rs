//! Every limit of a running member, by name (invariant: each queue has one).

use std::time::Duration;

/// Passwords that may wait to be compared or hashed.
pub(crate) const PASSWORDS_WAITING_MAX: usize = 16_384;
/// Passwords of one user that may wait.
pub(crate) const PASSWORDS_WAITING_OF_USER_MAX: usize = 64;
/// Logins that may be on their way through the cluster.
pub(crate) const LOGINS_AT_ONCE_MAX: usize = 64;
/// Comparisons of passwords whose result is kept: the last so many that were asked for, and up to as
/// many before them.
pub(crate) const PASSWORDS_KEPT_MAX: usize = 32_768;

/// Bytes of long answers on their way to clients that take them, from which on no further one is begun.
pub(crate) const LONG_ANSWERS_BYTES: usize = 16 << 20;

/// Bytes of the body of a request of the v2 API, as Go's forms have it.
pub(crate) const V2_BODY_BYTES_MAX: usize = 10 << 20;
/// Parts of a path of the v2 API.
pub(crate) const V2_PATH_PARTS_MAX: usize = 1000;
/// Watchers of the v2 API.
pub(crate) const V2_WATCHERS_MAX: usize = 100_000;
/// Events that may wait for one of them; beyond, it ends, as in etcd.
pub(crate) const V2_WATCHER_EVENTS_MAX: usize = 100;

/// Bounds on requests, queues and waits.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Largest encoded proposal in bytes (`--max-request-bytes`).
    pub(crate) request_bytes_max: usize,
    /// How large the store may grow (`--quota-backend-bytes`).
    pub(crate) quota: apply::Quota,
    /// The same as `Status` and metrics show it; negative for none.
    pub(crate) quota_bytes: i64,
    /// Most operations in one list of a transaction (`--max-txn-ops`).
    pub(crate) txn_ops_max: usize,
    /// How long a request may take from proposal to answer: 5 s and two election timeouts.
    pub(crate) request_timeout: Duration,
    /// The raft election timeout.
    pub(crate) election_timeout: Duration,
    /// The length of a raft tick (`--heartbeat-interval`).
    pub(crate) heartbeat: Duration,
    /// Whether changes of members are judged before they are proposed (`--strict-reconfig-check`).
    pub(crate) strict_reconfig: bool,
    /// An apply, or a read, that takes longer is worth a warning (`--warning-apply-duration`).
    pub(crate) slow_apply: Duration,
    /// A unary call that takes longer is (`--warning-unary-request-duration`).
    pub(crate) slow_request: Duration,
    /// Whether the leader renews a lease only once it has applied what is committed (not the gate
    /// FastLeaseKeepAlive).
    pub(crate) slow_keep_alive: bool,
    /// Whether leases may be revoked while twice as many entries wait for apply (gate
    /// PriorityRequest).
    pub(crate) priority_requests: bool,
    /// Committed entries that may wait for apply before new proposals are refused.
    pub(crate) apply_gap_max: u64,
    /// Proposals and messages that may wait for the node thread.
    pub(crate) node_inbox_max: usize,
    /// Pending proposals from which on a batch waits for more of them.
    pub(crate) batch_pending_min: usize,
    /// The longest that it waits.
    pub(crate) batch_linger: Duration,
    /// Unflushed bytes of the window before proposals are refused.
    pub(crate) window_bytes_max: usize,
    /// Unflushed bytes of the window that make the storage thread commit at once.
    pub(crate) window_bytes_flush: usize,
    /// Unflushed changes that make the storage thread commit at once (`--backend-batch-limit`).
    pub(crate) window_ops_flush: usize,
    /// Longest time that a change stays unflushed (`--backend-batch-interval`).
    pub(crate) flush_interval: Duration,
    /// Bytes of applied changes that may wait for the watch thread; beyond, watchers read history.
    pub(crate) watch_backlog_bytes_max: usize,
    /// Bytes of proposals and entries that may wait for the disk of the log.
    pub(crate) unsynced_bytes_max: usize,
    /// Bytes of messages of other members that may wait for the node thread; beyond, they are
    /// dropped, as a network may.
    pub(crate) peer_bytes_max: usize,
    /// Bytes of entries that may wait for the disk of the log or for apply before a follower takes no
    /// more of them: they are dropped, and the leader sends them again.
    pub(crate) backlog_bytes_max: usize,
    /// Responses that may wait for one slow watch stream.
    pub(crate) watch_stream_max: usize,
    /// Bytes of events per watch response above which a fragmenting watcher's is split, and the
    /// receive limit of gRPC: `--max-request-bytes` and 512 KiB.
    pub(crate) grpc_bytes_max: usize,
    /// Revisions removed by one compaction step (`--compaction-batch-limit`).
    pub(crate) compaction_batch: usize,
    /// Pause between compaction steps (`--compaction-sleep-interval`).
    pub(crate) compaction_pause: Duration,
    /// Applied entries between two snapshots of the log (`--snapshot-count`).
    pub(crate) snapshot_count: u64,
    /// Entries kept in memory behind a snapshot (`--snapshot-catchup-entries`).
    pub(crate) catchup_entries: u64,
    /// Entries after which the log in memory is cut, when the store has them.
    pub(crate) memory_snapshot_count: u64,
    /// `.snap` and `.snap.db` files kept (`--max-snapshots`); 0 keeps all.
    pub(crate) snapshots_max: usize,
    /// WAL segments kept (`--max-wals`); 0 keeps all.
    pub(crate) wals_max: usize,
    /// Snapshots of the store that are sent to clients at once; more wait.
    pub(crate) snapshot_streams_max: usize,
    /// Parallel revocations of expired leases.
    pub(crate) lease_revokes_max: usize,
    /// Interval of progress notifications to watchers that asked for them.
    pub(crate) watch_progress_interval: Duration,
}
