//! The Prometheus series of a member, with etcd's names (spec metrics.md). The only file that names
//! them, with `network`; what lower layers count is read from their `stats` when a scrape comes.

mod network;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, core::Collector, exponential_buckets,
};

use crate::handle::Handle;

/// Every series that this member moves.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) ranges: IntCounter,
    pub(crate) puts: IntCounter,
    pub(crate) deletes: IntCounter,
    pub(crate) txns: IntCounter,
    pub(crate) proposals_pending: IntGauge,
    pub(crate) proposals_failed: IntCounter,
    pub(crate) leader_changes: IntCounter,
    pub(crate) slow_applies: IntCounter,
    pub(crate) heartbeats_late: IntCounter,
    pub(crate) snapshots_applying: IntGauge,
    pub(crate) read_indexes_failed: IntCounter,
    pub(crate) read_indexes_slow: IntCounter,
    pub(crate) wal_fsync: Histogram,
    pub(crate) wal_bytes: IntGauge,
    pub(crate) backend_commit: Histogram,
    pub(crate) snapshot_duration: Histogram,
    apply: HistogramVec,
    pub(crate) lease_expired: IntCounter,
    pub(crate) health_success: IntCounter,
    pub(crate) health_failures: IntCounter,
    pub(crate) watch_events: IntCounter,
    promotions: IntCounter,
    promotions_failed: IntCounterVec,
    gauges: Gauges,
}

/// Gauges that are set when a scrape reads them.
struct Gauges {
    has_leader: IntGauge,
    is_leader: IntGauge,
    committed: IntGauge,
    applied: IntGauge,
    db_size: IntGauge,
    db_in_use: IntGauge,
    quota: IntGauge,
    keys: IntGauge,
    revision: IntGauge,
    compact_revision: IntGauge,
    watchers: IntGauge,
    watch_streams: IntGauge,
    auth_revision: IntGauge,
    slow_watchers: IntGauge,
    resident_bytes: IntGauge,
    open_fds: IntGauge,
    version: IntGaugeVec,
    server_id: IntGaugeVec,
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect("metric names are distinct");
    collector
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(name, help).expect("a valid metric"))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(name, help).expect("a valid metric"))
}

fn labelled(registry: &Registry, name: &str, help: &str, label: &str) -> IntGaugeVec {
    register(registry, IntGaugeVec::new(Opts::new(name, help), &[label]).expect("a valid metric"))
}

/// A histogram from one millisecond to 8.192 s, doubling.
fn disk_histogram(registry: &Registry, name: &str, help: &str) -> Histogram {
    let buckets = exponential_buckets(0.001, 2.0, 14).expect("valid buckets");
    let options = HistogramOpts::new(name, help).buckets(buckets);
    register(registry, Histogram::with_opts(options).expect("a valid metric"))
}

/// From ten milliseconds to 655.36 s, doubling.
fn snapshot_histogram(registry: &Registry) -> Histogram {
    let buckets = exponential_buckets(0.01, 2.0, 17).expect("valid buckets");
    let name = "etcd_disk_backend_snapshot_duration_seconds";
    let options = HistogramOpts::new(name, "Time of one snapshot of the store sent to a client.");
    let histogram = Histogram::with_opts(options.buckets(buckets)).expect("a valid metric");
    register(registry, histogram)
}

fn apply_histogram(registry: &Registry) -> HistogramVec {
    let buckets = exponential_buckets(0.0001, 2.0, 20).expect("valid buckets");
    let name = "etcd_server_apply_duration_seconds";
    let options = HistogramOpts::new(name, "Time to apply one entry.").buckets(buckets);
    let labels = ["version", "op", "success"];
    register(registry, HistogramVec::new(options, &labels).expect("a valid metric"))
}

fn failed_promotions(registry: &Registry) -> IntCounterVec {
    let name = "etcd_server_learner_promote_failures";
    let options = Opts::new(name, "Learners that this leader did not promote, by the reason.");
    register(registry, IntCounterVec::new(options, &["Reason"]).expect("a valid metric"))
}

impl Metrics {
    /// Registers every series.
    pub(crate) fn new() -> Metrics {
        let r = Registry::new();
        Metrics {
            ranges: counter(&r, "etcd_mvcc_range_total", "Ranges seen by this member."),
            puts: counter(&r, "etcd_mvcc_put_total", "Puts seen by this member."),
            deletes: counter(&r, "etcd_mvcc_delete_total", "Deletes seen by this member."),
            txns: counter(&r, "etcd_mvcc_txn_total", "Transactions seen by this member."),
            proposals_pending: gauge(
                &r,
                "etcd_server_proposals_pending",
                "Proposals that wait to be applied.",
            ),
            proposals_failed: counter(
                &r,
                "etcd_server_proposals_failed_total",
                "Proposals that were not applied in time.",
            ),
            leader_changes: counter(
                &r,
                "etcd_server_leader_changes_seen_total",
                "Times that this member saw the leader change.",
            ),
            heartbeats_late: counter(
                &r,
                "etcd_server_heartbeat_send_failures_total",
                "Heartbeats of this leader that were sent too late.",
            ),
            snapshots_applying: gauge(
                &r,
                "etcd_server_snapshot_apply_in_progress_total",
                "1 while a snapshot of the leader is installed.",
            ),
            read_indexes_failed: counter(
                &r,
                "etcd_server_read_indexes_failed_total",
                "Rounds of linearizable reads that got no index.",
            ),
            read_indexes_slow: counter(
                &r,
                "etcd_server_slow_read_indexes_total",
                "Rounds of linearizable reads whose index did not come in time.",
            ),
            slow_applies: counter(
                &r,
                "etcd_server_slow_apply_total",
                "Entries whose apply took longer than the warning duration.",
            ),
            wal_fsync: disk_histogram(
                &r,
                "etcd_disk_wal_fsync_duration_seconds",
                "Time of one write and fdatasync of the write-ahead log.",
            ),
            wal_bytes: gauge(
                &r,
                "etcd_disk_wal_write_bytes_total",
                "Bytes written to the write-ahead log.",
            ),
            backend_commit: disk_histogram(
                &r,
                "etcd_disk_backend_commit_duration_seconds",
                "Time of one synced commit of the store.",
            ),
            snapshot_duration: snapshot_histogram(&r),
            apply: apply_histogram(&r),
            lease_expired: counter(
                &r,
                "etcd_debugging_server_lease_expired_total",
                "Leases revoked because they expired.",
            ),
            health_success: counter(&r, "etcd_server_health_success", "Health checks passed."),
            health_failures: counter(&r, "etcd_server_health_failures", "Health checks failed."),
            watch_events: counter(&r, "etcd_debugging_mvcc_events_total", "Watch events sent."),
            promotions: counter(
                &r,
                "etcd_server_learner_promote_successes",
                "Learners promoted by this leader.",
            ),
            promotions_failed: failed_promotions(&r),
            gauges: Gauges::new(&r),
            registry: r,
        }
    }

    /// Counts one promotion, or why there was none.
    pub(crate) fn promoted(&self, failure: Option<&str>) {
        match failure {
            None => self.promotions.inc(),
            Some(reason) => self.promotions_failed.with_label_values(&[reason]).inc(),
        }
    }

    /// Counts one applied entry.
    pub(crate) fn observe_apply(&self, op: &str, success: &str, took: std::time::Duration) {
        self.apply.with_label_values(&["v3", op, success]).observe(took.as_secs_f64());
    }

    /// The text exposition of every series, gauges freshly read.
    pub(crate) fn expose(&self, handle: &Handle) -> Vec<u8> {
        self.gauges.refresh(handle);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("a vector grows");
        text.extend_from_slice(network::text(handle).as_bytes());
        text
    }
}

impl Gauges {
    fn new(r: &Registry) -> Gauges {
        Gauges {
            has_leader: gauge(r, "etcd_server_has_leader", "1 when a leader is known."),
            is_leader: gauge(r, "etcd_server_is_leader", "1 when this member leads."),
            committed: gauge(
                r,
                "etcd_server_proposals_committed_total",
                "The highest committed raft index.",
            ),
            applied: gauge(
                r,
                "etcd_server_proposals_applied_total",
                "The highest applied raft index.",
            ),
            db_size: gauge(r, "etcd_mvcc_db_total_size_in_bytes", "Size of the store's file."),
            db_in_use: gauge(
                r,
                "etcd_mvcc_db_total_size_in_use_in_bytes",
                "Bytes of the store's file that hold data.",
            ),
            quota: gauge(r, "etcd_server_quota_backend_bytes", "The quota of the store."),
            keys: gauge(r, "etcd_debugging_mvcc_keys_total", "Live keys."),
            revision: gauge(r, "etcd_debugging_mvcc_current_revision", "The current revision."),
            compact_revision: gauge(
                r,
                "etcd_debugging_mvcc_compact_revision",
                "The revision last compacted to.",
            ),
            watchers: gauge(r, "etcd_debugging_mvcc_watcher_total", "Watchers."),
            watch_streams: gauge(r, "etcd_debugging_mvcc_watch_stream_total", "Watch streams."),
            auth_revision: gauge(
                r,
                "etcd_debugging_auth_revision",
                "The revision of users and roles.",
            ),
            slow_watchers: gauge(
                r,
                "etcd_debugging_mvcc_slow_watcher_total",
                "Watchers that catch up from history.",
            ),
            resident_bytes: gauge(r, "process_resident_memory_bytes", "Resident memory."),
            open_fds: gauge(r, "process_open_fds", "Open file descriptors."),
            version: labelled(r, "etcd_server_version", "1 at the version.", "server_version"),
            server_id: labelled(r, "etcd_server_id", "1 at the member's id.", "server_id"),
        }
    }

    fn refresh(&self, handle: &Handle) {
        let progress = &handle.progress;
        let (allocated, in_use) = progress.db_size();
        let store = &handle.shared.store;
        self.has_leader.set(i64::from(progress.leader().0 != 0));
        self.is_leader.set(i64::from(progress.leader() == handle.member));
        self.committed.set(progress.committed().0 as i64);
        self.applied.set(progress.applied().0 as i64);
        self.db_size.set(allocated as i64);
        self.db_in_use.set(in_use as i64);
        self.quota.set(handle.limits.quota_bytes);
        self.keys.set(store.stats().keys as i64);
        self.revision.set(store.revision());
        self.compact_revision.set(store.compact_revision());
        if let Some(watch) = *handle.watch_stats.lock() {
            self.watchers.set(watch.watchers as i64);
            self.watch_streams.set(watch.streams as i64);
            self.slow_watchers.set(watch.slow_watchers as i64);
        }
        self.auth_revision.set(handle.shared.auth.read().revision() as i64);
        self.resident_bytes.set(resident_bytes());
        self.open_fds.set(open_fds());
        self.version.with_label_values(&[api::version::SERVER]).set(1);
        self.server_id.with_label_values(&[handle.member.to_string()]).set(1);
    }
}

/// Resident memory of this process; 0 where `/proc` does not tell.
fn resident_bytes() -> i64 {
    const PAGE_BYTES: i64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<i64>().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}

/// Open descriptors of this process; 0 where `/proc` does not tell.
fn open_fds() -> i64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as i64)
}
