//! What the server needs of the configuration, in its own terms.

use std::{path::PathBuf, sync::Arc, time::Duration};

use config::Config;

use crate::{
    http::{Access, HttpSettings},
    limits::Limits,
    monitors::MonitorSettings,
    security::Security,
};

/// A member's settings, taken from flags, environment or file.
pub(crate) struct Settings {
    /// `--name`.
    pub(crate) name: String,
    /// `--data-dir`.
    pub(crate) data_dir: PathBuf,
    /// `--wal-dir`, or `member/wal` in the data dir.
    pub(crate) wal_dir: PathBuf,
    /// `--initial-cluster`.
    pub(crate) initial_cluster: String,
    /// `--initial-cluster-token`.
    pub(crate) initial_cluster_token: String,
    /// `--initial-advertise-peer-urls`.
    pub(crate) peer_urls: Vec<String>,
    /// The name that certificates of other members must have, where `--discovery-srv` found them
    /// and no authority of our own vouches for them.
    pub(crate) peer_server_name: Option<String>,
    /// `--advertise-client-urls`.
    pub(crate) client_urls: Vec<String>,
    /// `--heartbeat-interval`.
    pub(crate) heartbeat: Duration,
    /// `--pre-vote`.
    pub(crate) pre_vote: bool,
    /// Not `--unsafe-no-fsync`.
    pub(crate) fsync: bool,
    /// `--max-learners`.
    pub(crate) learners_max: usize,
    /// Whether remaining times of leases are recorded (gate LeaseCheckpoint).
    pub(crate) lease_checkpoint: bool,
    /// Whether those are stored while the cluster version is below 3.6 (gate
    /// LeaseCheckpointPersist).
    pub(crate) lease_checkpoint_persist: bool,
    /// How often each loop over the cluster looks.
    pub(crate) monitors: MonitorSettings,
    /// Whether a member with data compares it with its peers before it serves (gate
    /// InitialCorruptCheck).
    pub(crate) initial_corrupt_check: bool,
    /// HTTP/2 settings of client connections.
    pub(crate) http: HttpSettings,
    /// Limits of requests and queues.
    pub(crate) limits: Limits,
    /// How long a stream between members may stall (`--raft-read-timeout` and
    /// `--raft-write-timeout`, whichever is longer).
    pub(crate) peer_stalled: Duration,
    /// The certificates of listeners and connections.
    pub(crate) security: Security,
    /// Where the log is: the operating system's files, but for tests.
    pub(crate) fs: Arc<dyn vfs::Fs>,
    /// What flags, environment or file said.
    pub(crate) config: Config,
}

/// What gRPC allows a message above the largest proposal.
const GRPC_OVERHEAD_BYTES: usize = 512 * 1024;

impl Settings {
    /// The settings that a checked configuration means.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Settings> {
        let data_dir = PathBuf::from(&config.data_dir);
        let wal_dir = match config.wal_dir.as_str() {
            "" => data_dir.join("member/wal"),
            dir => PathBuf::from(dir),
        };
        Ok(Settings {
            name: config.name.clone(),
            data_dir,
            wal_dir,
            initial_cluster: config.initial_cluster.clone(),
            initial_cluster_token: config.initial_cluster_token.clone(),
            peer_urls: config.initial_advertise_peer_urls.texts(),
            peer_server_name: None,
            client_urls: config.advertise_client_urls.texts(),
            heartbeat: Duration::from_millis(config.heartbeat_interval_ms),
            pre_vote: config.pre_vote,
            fsync: !config.unsafe_no_fsync,
            learners_max: usize::try_from(config.max_learners).unwrap_or(0),
            lease_checkpoint: config.feature_gates.enabled("LeaseCheckpoint"),
            lease_checkpoint_persist: config.feature_gates.enabled("LeaseCheckpointPersist"),
            monitors: monitor_settings(config)?,
            initial_corrupt_check: config.feature_gates.enabled("InitialCorruptCheck"),
            http: http_settings(config),
            limits: limits(config),
            peer_stalled: config.raft_read_timeout.max(config.raft_write_timeout).to_std(),
            security: Security::open(config)?,
            fs: Arc::new(vfs::os::OsFs),
            config: config.clone(),
        })
    }
}

fn monitor_settings(config: &Config) -> anyhow::Result<MonitorSettings> {
    let compactions = config.feature_gates.enabled("CompactHashCheck");
    Ok(MonitorSettings {
        version_check: Duration::from_secs(4),
        downgrade_check: config.downgrade_check_time.to_std(),
        corrupt_check: config.corrupt_check_time.to_std(),
        scrub: config.scrub_interval.to_std(),
        compaction_check: compactions.then(|| config.compact_hash_check_time.to_std()),
        retention: config.auto_compaction_retention().map_err(anyhow::Error::msg)?,
    })
}

fn http_settings(config: &Config) -> HttpSettings {
    let interval = config.grpc_keepalive_interval;
    let timeout = config.grpc_keepalive_timeout;
    let on = !interval.is_zero() && !timeout.is_zero();
    HttpSettings {
        concurrent_streams_max: config.max_concurrent_streams,
        ping_interval: on.then(|| interval.to_std()),
        ping_timeout: timeout.to_std(),
        ping_min: match config.grpc_keepalive_min_time.to_std() {
            // Not set at all, for gRPC: its own default.
            Duration::ZERO => Duration::from_secs(5 * 60),
            time => time,
        },
        access: Access::new(config),
    }
}

/// `value`, or what etcd takes in the place of 0.
fn if_zero(value: u64, default: u64) -> u64 {
    if value == 0 { default } else { value }
}

fn limits(config: &Config) -> Limits {
    let defaults = Config::default();
    let election_timeout = Duration::from_millis(config.election_timeout_ms);
    let request_bytes_max = usize::try_from(config.max_request_bytes).unwrap_or(usize::MAX);
    Limits {
        quota: apply::Quota::new(config.quota_backend_bytes),
        quota_bytes: match config.quota_backend_bytes {
            0 => config::DEFAULT_QUOTA_BYTES as i64,
            bytes => bytes,
        },
        request_bytes_max,
        txn_ops_max: usize::try_from(config.max_txn_ops).unwrap_or(usize::MAX),
        request_timeout: Duration::from_secs(5) + 2 * election_timeout,
        election_timeout,
        heartbeat: Duration::from_millis(config.heartbeat_interval_ms),
        strict_reconfig: config.strict_reconfig_check,
        slow_apply: config.warning_apply_duration.to_std(),
        slow_request: config.warning_unary_request_duration.to_std(),
        slow_keep_alive: !config.feature_gates.enabled("FastLeaseKeepAlive"),
        priority_requests: config.feature_gates.enabled("PriorityRequest"),
        apply_gap_max: 5000,
        node_inbox_max: 65_536,
        batch_pending_min: 128,
        batch_linger: Duration::from_millis(10),
        window_bytes_max: 256 << 20,
        window_bytes_flush: 16 << 20,
        window_ops_flush: usize::try_from(config.backend_commit_ops()).unwrap_or(10_000),
        flush_interval: config.backend_commit_interval().to_std(),
        watch_backlog_bytes_max: 32 << 20,
        unsynced_bytes_max: 256 << 20,
        peer_bytes_max: 256 << 20,
        backlog_bytes_max: 128 << 20,
        watch_stream_max: 128,
        grpc_bytes_max: request_bytes_max.saturating_add(GRPC_OVERHEAD_BYTES),
        compaction_batch: usize::try_from(config.compaction_batch_revisions()).unwrap_or(1000),
        compaction_pause: config.compaction_pause().to_std(),
        snapshot_count: if_zero(config.snapshot_count, defaults.snapshot_count),
        catchup_entries: if_zero(
            config.snapshot_catchup_entries,
            defaults.snapshot_catchup_entries,
        ),
        memory_snapshot_count: 100,
        snapshots_max: usize::try_from(config.max_snapshots).unwrap_or(usize::MAX),
        wals_max: usize::try_from(config.max_wals).unwrap_or(usize::MAX),
        snapshot_streams_max: 8,
        lease_revokes_max: 16,
        watch_progress_interval: config.progress_notify_interval().to_std(),
    }
}
