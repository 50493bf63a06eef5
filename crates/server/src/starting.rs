//! What a member says of itself at its start: the lines that tell an operator, and the scripts of
//! operators, what it runs with. Messages and fields are etcd's.

use config::{Config, GoDuration, Retention, UrlsMap, log::strings};

use crate::handle::Handle;

/// Says what a member is about to start with.
pub(crate) fn announce(config: &Config, initialized: bool) {
    let discovery = &config.discovery;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let milliseconds = |count: u64| GoDuration::from(std::time::Duration::from_millis(count));
    // Of a member with data only that data says who belongs to its cluster.
    let founds = !initialized || config.force_new_cluster;
    let cluster = UrlsMap::parse(&config.initial_cluster).map(|cluster| cluster.joined());
    let cluster = cluster.ok().filter(|_| founds).unwrap_or_default();
    let token = if founds { config.initial_cluster_token.as_str() } else { "" };
    let cors = config.cors.joined();
    let mut cors: Vec<&str> = cors.split(',').collect();
    cors.sort_unstable();
    let mut hosts = config.host_whitelist.clone();
    hosts.sort();
    let kept = kept(config);
    tracing::info!(
        "etcd-version" = api::version::SERVER,
        "git-sha" = config::GIT_SHA,
        "go-version" = "none",
        "go-os" = config::go_os(),
        "go-arch" = config::go_arch(),
        "max-cpu-set" = cpus,
        "max-cpu-available" = cpus,
        "member-initialized" = initialized,
        name = config.name,
        "data-dir" = config.data_dir,
        "wal-dir" = config.wal_dir,
        "wal-dir-dedicated" = config.wal_dir,
        "member-dir" = format!("{}/member", config.data_dir.trim_end_matches('/')),
        "force-new-cluster" = config.force_new_cluster,
        "heartbeat-interval" = %milliseconds(config.heartbeat_interval_ms),
        "election-timeout" = %milliseconds(config.election_timeout_ms),
        "initial-election-tick-advance" = config.initial_election_tick_advance,
        "snapshot-count" = config.snapshot_count,
        "max-wals" = config.max_wals,
        "max-snapshots" = config.max_snapshots,
        "snapshot-catchup-entries" = config.snapshot_catchup_entries,
        "initial-advertise-peer-urls" = %strings(&config.initial_advertise_peer_urls.texts()),
        "listen-peer-urls" = %strings(&config.listen_peer_urls.texts()),
        "advertise-client-urls" = %strings(&config.advertise_client_urls.texts()),
        "listen-client-urls" = %strings(&config.listen_client_urls.texts()),
        "listen-metrics-urls" = %strings(&config.listen_metrics_urls.texts()),
        "local-address" = "",
        cors = %strings(&cors),
        "host-whitelist" = %strings(&hosts),
        "initial-cluster" = cluster,
        "initial-cluster-state" = config.initial_cluster_state,
        "initial-cluster-token" = token,
        "quota-backend-bytes" = config.quota_bytes().map_or(config.quota_backend_bytes, |bytes| {
            i64::try_from(bytes).unwrap_or(i64::MAX)
        }),
        "max-request-bytes" = config.max_request_bytes,
        "max-concurrent-streams" = config.max_concurrent_streams,
        "pre-vote" = config.pre_vote,
        "feature-gates" = config.feature_gates.joined(),
        "initial-corrupt-check" = config.feature_gates.enabled("InitialCorruptCheck"),
        "corrupt-check-time-interval" = %config.corrupt_check_time,
        "compact-check-time-interval" = %config.compact_hash_check_time,
        "auto-compaction-mode" = config.auto_compaction_mode,
        "auto-compaction-retention" = %kept,
        "auto-compaction-interval" = %kept,
        "discovery-token" = discovery.token,
        "discovery-endpoints" = discovery.endpoints.join(","),
        "discovery-dial-timeout" = %discovery.dial_timeout,
        "discovery-request-timeout" = %discovery.request_timeout,
        "discovery-keepalive-time" = %discovery.keepalive_time,
        "discovery-keepalive-timeout" = %discovery.keepalive_timeout,
        "discovery-insecure-transport" = discovery.insecure_transport,
        "discovery-insecure-skip-tls-verify" = discovery.insecure_skip_tls_verify,
        "discovery-cert" = discovery.cert,
        "discovery-key" = discovery.key,
        "discovery-cacert" = discovery.cacert,
        "discovery-user" = discovery.user,
        "downgrade-check-interval" = %config.downgrade_check_time,
        "max-learners" = config.max_learners,
        "v2-deprecation" = "write-only",
        "starting an etcd server"
    );
}

/// What automatic compaction keeps, as etcd has it: a count of revisions is one of nanoseconds.
fn kept(config: &Config) -> GoDuration {
    match config.auto_compaction_retention() {
        Ok(Retention::Periodic(time)) => time,
        Ok(Retention::Revisions(count)) => GoDuration::from_nanos(count),
        Err(_) => GoDuration::ZERO,
    }
}

/// Says where a member serves.
pub(crate) fn serving(config: &Config, handle: &Handle) {
    tracing::info!(
        "local-member-id" = %handle.member,
        "initial-advertise-peer-urls" = %strings(&config.initial_advertise_peer_urls.texts()),
        "listen-peer-urls" = %strings(&config.listen_peer_urls.texts()),
        "advertise-client-urls" = %strings(&config.advertise_client_urls.texts()),
        "listen-client-urls" = %strings(&config.listen_client_urls.texts()),
        "listen-metrics-urls" = %strings(&config.listen_metrics_urls.texts()),
        "now serving peer/client/metrics"
    );
}
