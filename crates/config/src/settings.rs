//! [`Config`]: one typed field for everything that flags, environment and configuration file can
//! say.
//!
//! `Config::default()` is the server without any flag. A field holds what was asked for; where etcd
//! reads zero as "the usual value", a method gives the value meant.

use crate::duration::GoDuration;
use crate::gates::FeatureGates;
use crate::url::Url;
use crate::urls::UrlList;

/// The quota when `--quota-backend-bytes` is 0: 2 GiB.
pub const DEFAULT_QUOTA_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// The quota above which etcd warns: 8 GiB.
pub const MAX_SUGGESTED_QUOTA_BYTES: u64 = 8 * 1024 * 1024 * 1024;
/// The name of a member that was given none.
pub const DEFAULT_NAME: &str = "default";

pub(crate) const DEFAULT_ROTATION: &str = "{\"maxsize\": 100, \"maxage\": 0, \"maxbackups\": 0, \
                                \"localtime\": false, \"compress\": false}";

pub(crate) const DEFAULT_PEER_URL: &str = "http://localhost:2380";
pub(crate) const DEFAULT_CLIENT_URL: &str = "http://localhost:2379";

/// The configuration of one server.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `--name`: the member's name.
    pub name: String,
    /// `--data-dir`. Never empty once [`crate::parse`] has returned: `${name}.etcd` by default.
    pub data_dir: String,
    /// `--wal-dir`: another directory for the raft log; empty for `<data-dir>/member/wal`.
    pub wal_dir: String,
    /// `--snapshot-count`: applied entries between snapshots.
    pub snapshot_count: u64,
    /// `--snapshot-catchup-entries`: log entries kept for slow followers.
    pub snapshot_catchup_entries: u64,
    /// `--max-snapshots`: snapshot files kept.
    pub max_snapshots: u64,
    /// `--max-wals`: segment files kept.
    pub max_wals: u64,
    /// `--heartbeat-interval`: milliseconds of a raft tick.
    pub heartbeat_interval_ms: u64,
    /// `--election-timeout`: milliseconds without a leader until an election.
    pub election_timeout_ms: u64,
    /// `--initial-election-tick-advance`.
    pub initial_election_tick_advance: bool,
    /// `--listen-peer-urls`.
    pub listen_peer_urls: UrlList,
    /// `--listen-client-urls`.
    pub listen_client_urls: UrlList,
    /// `--listen-client-http-urls`: when not empty, the client URLs serve gRPC only.
    pub listen_client_http_urls: UrlList,
    /// `--listen-metrics-urls`: further listeners for metrics and health.
    pub listen_metrics_urls: UrlList,
    /// `--initial-advertise-peer-urls`.
    pub initial_advertise_peer_urls: UrlList,
    /// `--advertise-client-urls`.
    pub advertise_client_urls: UrlList,
    /// `--memory-mlock`.
    pub memory_mlock: bool,
    /// `--quota-backend-bytes` as given; [`Config::quota_bytes`] is its meaning.
    pub quota_backend_bytes: i64,
    /// `--backend-bbolt-freelist-type`.
    pub backend_freelist_type: String,
    /// `--backend-batch-interval` as given.
    pub backend_batch_interval: GoDuration,
    /// `--backend-batch-limit` as given.
    pub backend_batch_limit: i64,
    /// `--max-txn-ops`: operations in each list of a transaction.
    pub max_txn_ops: u64,
    /// `--max-request-bytes`: the largest proposal.
    pub max_request_bytes: u64,
    /// `--max-concurrent-streams` of one client connection.
    pub max_concurrent_streams: u32,
    /// `--grpc-keepalive-min-time` between pings of a client.
    pub grpc_keepalive_min_time: GoDuration,
    /// `--grpc-keepalive-interval` of the server's pings; zero is off.
    pub grpc_keepalive_interval: GoDuration,
    /// `--grpc-keepalive-timeout` for the answer to a ping; zero is off.
    pub grpc_keepalive_timeout: GoDuration,
    /// `--socket-reuse-port`: SO_REUSEPORT on listeners.
    pub socket_reuse_port: bool,
    /// `--socket-reuse-address`: SO_REUSEADDR on listeners.
    pub socket_reuse_address: bool,
    /// `--raft-read-timeout` of a peer connection; at least 5 s.
    pub raft_read_timeout: GoDuration,
    /// `--raft-write-timeout` of a peer connection; at least 5 s.
    pub raft_write_timeout: GoDuration,
    /// `--enable-grpc-gateway`: the JSON gateway below `/v3/`.
    pub enable_grpc_gateway: bool,
    /// `--feature-gates`.
    pub feature_gates: FeatureGates,
    /// `--initial-cluster` as given; see [`Config::initial_members`].
    pub initial_cluster: String,
    /// `--initial-cluster-state`: `new` or `existing`.
    pub initial_cluster_state: String,
    /// `--initial-cluster-token`.
    pub initial_cluster_token: String,
    /// The `--discovery-*` flags.
    pub discovery: DiscoveryConfig,
    /// `--enable-v2`.
    pub enable_v2: bool,
    /// `--strict-reconfig-check`.
    pub strict_reconfig_check: bool,
    /// `--pre-vote`.
    pub pre_vote: bool,
    /// `--auto-compaction-mode`: `periodic` or `revision`.
    pub auto_compaction_mode: String,
    /// `--auto-compaction-retention` as given; see [`Config::auto_compaction_retention`].
    pub auto_compaction_retention: String,
    /// `--max-learners`.
    pub max_learners: i64,
    /// TLS of the client listeners.
    pub client_tls: TlsConfig,
    /// TLS between members.
    pub peer_tls: TlsConfig,
    /// `--self-signed-cert-validity` in years.
    pub self_signed_cert_validity: u64,
    /// `--cipher-suites`.
    pub cipher_suites: Vec<String>,
    /// `--tls-min-version`.
    pub tls_min_version: String,
    /// `--tls-max-version`.
    pub tls_max_version: String,
    /// `--cors`: origins allowed; `*` for all.
    pub cors: UrlList,
    /// `--host-whitelist`: values of the Host header allowed; `*` for all.
    pub host_whitelist: Vec<String>,
    /// `--auth-token`.
    pub auth_token: String,
    /// `--bcrypt-cost`.
    pub bcrypt_cost: u64,
    /// `--auth-token-ttl` in seconds.
    pub auth_token_ttl: u64,
    /// `--enable-pprof`.
    pub enable_pprof: bool,
    /// `--metrics`: `basic` or `extensive`.
    pub metrics: String,
    /// Everything about the log.
    pub log: LogConfig,
    /// `--warning-unary-request-duration`: a slower request is logged.
    pub warning_unary_request_duration: GoDuration,
    /// `--warning-apply-duration`: a slower apply is logged.
    pub warning_apply_duration: GoDuration,
    /// The `--distributed-tracing-*` flags.
    pub tracing: TracingConfig,
    /// `--corrupt-check-time`; zero is off.
    pub corrupt_check_time: GoDuration,
    /// `--compact-hash-check-time`.
    pub compact_hash_check_time: GoDuration,
    /// `--scrub-interval`; zero is off.
    pub scrub_interval: GoDuration,
    /// `--compaction-batch-limit` as given.
    pub compaction_batch_limit: i64,
    /// `--compaction-sleep-interval` as given.
    pub compaction_sleep_interval: GoDuration,
    /// `--watch-progress-notify-interval` as given.
    pub watch_progress_notify_interval: GoDuration,
    /// `--downgrade-check-time`.
    pub downgrade_check_time: GoDuration,
    /// `--bootstrap-defrag-threshold-megabytes`.
    pub bootstrap_defrag_threshold_megabytes: u64,
    /// `--force-new-cluster`.
    pub force_new_cluster: bool,
    /// `--unsafe-no-fsync`.
    pub unsafe_no_fsync: bool,
    pub(crate) discovery_fallback: String,
    pub(crate) v2_deprecation: Vec<String>,
    pub(crate) config_file: String,
    pub(crate) print_version: bool,
}

/// The `--discovery-*` flags and `discovery-config` of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct DiscoveryConfig {
    /// `--discovery-token`.
    pub token: String,
    /// `--discovery-endpoints`.
    pub endpoints: Vec<String>,
    /// `--discovery-dial-timeout`.
    pub dial_timeout: GoDuration,
    /// `--discovery-request-timeout`.
    pub request_timeout: GoDuration,
    /// `--discovery-keepalive-time`.
    pub keepalive_time: GoDuration,
    /// `--discovery-keepalive-timeout`.
    pub keepalive_timeout: GoDuration,
    /// `--discovery-insecure-transport`.
    pub insecure_transport: bool,
    /// `--discovery-insecure-skip-tls-verify`.
    pub insecure_skip_tls_verify: bool,
    /// `--discovery-cert`.
    pub cert: String,
    /// `--discovery-key`.
    pub key: String,
    /// `--discovery-cacert`.
    pub cacert: String,
    /// `--discovery-user`.
    pub user: String,
    /// `--discovery-password`.
    pub password: String,
    /// `--discovery-srv`: a DNS domain.
    pub srv: String,
    /// `--discovery-srv-name`: a suffix of the service's name.
    pub srv_name: String,
    /// `discovery-config.client.max-request-bytes` of the file.
    pub max_request_bytes: i64,
    /// `discovery-config.client.max-recv-bytes` of the file.
    pub max_recv_bytes: i64,
    /// `discovery-config.client.secure.server-name` of the file.
    pub server_name: String,
    /// `discovery-config.client.auth.token` of the file.
    pub auth_token: String,
}

/// Certificates of one side: clients or peers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TlsConfig {
    /// The server's certificate.
    pub cert_file: String,
    /// Its key.
    pub key_file: String,
    /// The certificate for connections that this server opens.
    pub client_cert_file: String,
    /// Its key.
    pub client_key_file: String,
    /// Whether a client must show a certificate.
    pub client_cert_auth: bool,
    /// The authority that signs the other side's certificates.
    pub trusted_ca_file: String,
    /// The list of revoked certificates.
    pub crl_file: String,
    /// The common names allowed.
    pub allowed_cn: Vec<String>,
    /// The host names allowed.
    pub allowed_hostname: Vec<String>,
    /// Whether to make a certificate at start.
    pub auto_tls: bool,
    /// Whether to accept a client certificate from another address than it names.
    pub skip_client_san_verification: bool,
}

/// The `--log-*` flags.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `--logger`: only `zap`.
    pub logger: String,
    /// `--log-level`.
    pub level: String,
    /// `--log-format`: `json` or `console`.
    pub format: String,
    /// `--log-outputs`.
    pub outputs: Vec<String>,
    /// `--enable-log-rotation`.
    pub rotation: bool,
    /// `--log-rotation-config-json`.
    pub rotation_json: String,
}

/// The `--distributed-tracing-*` flags.
#[derive(Clone, Debug, PartialEq)]
pub struct TracingConfig {
    /// `--enable-distributed-tracing`.
    pub enabled: bool,
    /// `--distributed-tracing-address`.
    pub address: String,
    /// `--distributed-tracing-service-name`.
    pub service_name: String,
    /// `--distributed-tracing-instance-id`.
    pub instance_id: String,
    /// `--distributed-tracing-sampling-rate` per million.
    pub sampling_rate: i64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            name: DEFAULT_NAME.into(),
            data_dir: String::new(),
            wal_dir: String::new(),
            snapshot_count: 10_000,
            snapshot_catchup_entries: 5_000,
            max_snapshots: 5,
            max_wals: 5,
            heartbeat_interval_ms: 100,
            election_timeout_ms: 1_000,
            initial_election_tick_advance: true,
            listen_peer_urls: one_url(DEFAULT_PEER_URL),
            listen_client_urls: one_url(DEFAULT_CLIENT_URL),
            listen_client_http_urls: UrlList::default(),
            listen_metrics_urls: UrlList::default(),
            initial_advertise_peer_urls: one_url(DEFAULT_PEER_URL),
            advertise_client_urls: one_url(DEFAULT_CLIENT_URL),
            memory_mlock: false,
            quota_backend_bytes: 0,
            backend_freelist_type: String::new(),
            backend_batch_interval: GoDuration::ZERO,
            backend_batch_limit: 0,
            max_txn_ops: 128,
            max_request_bytes: 1_572_864,
            max_concurrent_streams: u32::MAX,
            grpc_keepalive_min_time: GoDuration::from_secs(5),
            grpc_keepalive_interval: GoDuration::from_secs(2 * 60 * 60),
            grpc_keepalive_timeout: GoDuration::from_secs(20),
            socket_reuse_port: false,
            socket_reuse_address: false,
            raft_read_timeout: GoDuration::from_secs(5),
            raft_write_timeout: GoDuration::from_secs(5),
            enable_grpc_gateway: true,
            feature_gates: FeatureGates::default(),
            initial_cluster: format!("{DEFAULT_NAME}={DEFAULT_PEER_URL}"),
            initial_cluster_state: "new".into(),
            initial_cluster_token: "etcd-cluster".into(),
            discovery: DiscoveryConfig::default(),
            enable_v2: false,
            strict_reconfig_check: true,
            pre_vote: true,
            auto_compaction_mode: "periodic".into(),
            auto_compaction_retention: "0".into(),
            max_learners: 1,
            client_tls: TlsConfig::default(),
            peer_tls: TlsConfig::default(),
            self_signed_cert_validity: 1,
            cipher_suites: Vec::new(),
            tls_min_version: "TLS1.2".into(),
            tls_max_version: String::new(),
            cors: UrlList::of_value("*"),
            host_whitelist: vec!["*".into()],
            auth_token: "simple".into(),
            bcrypt_cost: 10,
            auth_token_ttl: 300,
            enable_pprof: false,
            metrics: "basic".into(),
            log: LogConfig::default(),
            warning_unary_request_duration: GoDuration::from_millis(300),
            warning_apply_duration: GoDuration::from_millis(100),
            tracing: TracingConfig::default(),
            corrupt_check_time: GoDuration::ZERO,
            compact_hash_check_time: GoDuration::from_secs(60),
            scrub_interval: GoDuration::from_secs(24 * 3600),
            compaction_batch_limit: 0,
            compaction_sleep_interval: GoDuration::ZERO,
            watch_progress_notify_interval: GoDuration::ZERO,
            downgrade_check_time: GoDuration::from_secs(5),
            bootstrap_defrag_threshold_megabytes: 0,
            force_new_cluster: false,
            unsafe_no_fsync: false,
            discovery_fallback: "exit".into(),
            v2_deprecation: Vec::new(),
            config_file: String::new(),
            print_version: false,
        }
    }
}

impl Default for DiscoveryConfig {
    fn default() -> DiscoveryConfig {
        DiscoveryConfig {
            token: String::new(),
            endpoints: Vec::new(),
            dial_timeout: GoDuration::from_secs(2),
            request_timeout: GoDuration::from_secs(5),
            keepalive_time: GoDuration::from_secs(2),
            keepalive_timeout: GoDuration::from_secs(6),
            insecure_transport: true,
            insecure_skip_tls_verify: false,
            cert: String::new(),
            key: String::new(),
            cacert: String::new(),
            user: String::new(),
            password: String::new(),
            srv: String::new(),
            srv_name: String::new(),
            max_request_bytes: 0,
            max_recv_bytes: 0,
            server_name: String::new(),
            auth_token: String::new(),
        }
    }
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            logger: "zap".into(),
            level: "info".into(),
            format: "json".into(),
            outputs: vec!["default".into()],
            rotation: false,
            rotation_json: DEFAULT_ROTATION.into(),
        }
    }
}

impl Default for TracingConfig {
    fn default() -> TracingConfig {
        TracingConfig {
            enabled: false,
            address: "localhost:4317".into(),
            service_name: "etcd".into(),
            instance_id: String::new(),
            sampling_rate: 0,
        }
    }
}

impl Config {
    /// The bytes that the store may take; `None` when the quota is switched off (negative).
    pub fn quota_bytes(&self) -> Option<u64> {
        match self.quota_backend_bytes {
            0 => Some(DEFAULT_QUOTA_BYTES),
            bytes => u64::try_from(bytes).ok(),
        }
    }

    /// The number of raft ticks of an election timeout.
    pub fn election_ticks(&self) -> u64 {
        self.election_timeout_ms / self.heartbeat_interval_ms
    }

    /// Whether this member starts a new cluster (`--initial-cluster-state=new`).
    pub fn is_new_cluster(&self) -> bool {
        self.initial_cluster_state == "new"
    }

    /// The longest time until the backend commits; 100 ms by default.
    pub fn backend_commit_interval(&self) -> GoDuration {
        or_default(self.backend_batch_interval, GoDuration::from_millis(100))
    }

    /// The most operations of one backend commit; 10,000 by default.
    pub fn backend_commit_ops(&self) -> u64 {
        u64::try_from(self.backend_batch_limit).ok().filter(|n| *n > 0).unwrap_or(10_000)
    }

    /// The revisions removed in one step of a compaction; 1,000 by default.
    pub fn compaction_batch_revisions(&self) -> u64 {
        u64::try_from(self.compaction_batch_limit).ok().filter(|n| *n > 0).unwrap_or(1_000)
    }

    /// The pause between two steps of a compaction; 10 ms by default.
    pub fn compaction_pause(&self) -> GoDuration {
        or_default(self.compaction_sleep_interval, GoDuration::from_millis(10))
    }

    /// The period of progress notifications; 10 minutes by default, 100 ms at least.
    pub fn progress_notify_interval(&self) -> GoDuration {
        or_default(self.watch_progress_notify_interval, GoDuration::from_secs(600))
            .max(GoDuration::from_millis(100))
    }
}

fn or_default(value: GoDuration, default: GoDuration) -> GoDuration {
    if value.is_zero() { default } else { value }
}

fn one_url(text: &str) -> UrlList {
    UrlList::of(vec![Url::parse(text).expect("a default URL is valid")])
}
