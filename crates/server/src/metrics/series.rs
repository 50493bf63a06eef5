//! Series by area, each present from the start where etcd shows it from the start. Those that have
//! no counterpart here (phases of bbolt commits, the gRPC proxy) stay at zero, as
//! docs/compat/metrics.md says of each.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, exponential_buckets,
};

use super::register;

/// Buckets: the first bound, the factor, how many.
type Buckets = (f64, f64, usize);
/// One millisecond to 8.192 s.
const DISK: Buckets = (0.001, 2.0, 14);
/// A hundred milliseconds to 51.2 s.
const TRANSFER: Buckets = (0.1, 2.0, 10);
/// Ten milliseconds to 163.84 s.
const HASH: Buckets = (0.01, 2.0, 15);

fn counter(r: &Registry, name: &str, help: &str) -> IntCounter {
    register(r, IntCounter::new(name, help).expect("a valid metric"))
}

fn gauge(r: &Registry, name: &str, help: &str) -> IntGauge {
    register(r, IntGauge::new(name, help).expect("a valid metric"))
}

fn options(name: &str, help: &str, (start, factor, count): Buckets) -> HistogramOpts {
    let buckets = exponential_buckets(start, factor, count).expect("valid buckets");
    HistogramOpts::new(name, help).buckets(buckets)
}

fn histogram(r: &Registry, name: &str, help: &str, buckets: Buckets) -> Histogram {
    register(r, Histogram::with_opts(options(name, help, buckets)).expect("a valid metric"))
}

fn counters(r: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(r, IntCounterVec::new(Opts::new(name, help), labels).expect("a valid metric"))
}

fn gauges(r: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(r, IntGaugeVec::new(Opts::new(name, help), labels).expect("a valid metric"))
}

fn histograms(
    r: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: Buckets,
) -> HistogramVec {
    let options = options(name, help, buckets);
    register(r, HistogramVec::new(options, labels).expect("a valid metric"))
}

macro_rules! kind {
    (counter) => {
        IntCounter
    };
    (gauge) => {
        IntGauge
    };
    (histogram) => {
        Histogram
    };
    (counters) => {
        IntCounterVec
    };
    (gauges) => {
        IntGaugeVec
    };
    (histograms) => {
        HistogramVec
    };
}

/// A group of series: its fields, and how each is registered.
macro_rules! series {
    ($(#[$doc:meta])* $group:ident {
        $($field:ident: $kind:ident $name:literal $help:literal $(($($argument:expr),*))?;)*
    }) => {
        $(#[$doc])*
        pub(crate) struct $group { $(pub(crate) $field: kind!($kind),)* }

        impl $group {
            pub(super) fn new(registry: &Registry) -> $group {
                $group { $($field: $kind(registry, $name, $help $($(, $argument)*)?),)* }
            }
        }
    };
}

series! {
    /// Leases.
    Leases {
        granted: counter "etcd_debugging_lease_granted_total" "Leases granted.";
        revoked: counter "etcd_debugging_lease_revoked_total" "Leases revoked.";
        renewed: counter "etcd_debugging_lease_renewed_total" "Leases renewed by this leader.";
        ttl: histogram "etcd_debugging_lease_ttl_total" "Times to live, in seconds, of leases granted."
            ((1.0, 2.0, 24));
    }
}

series! {
    /// Compactions of the store.
    Compactions {
        keys: counter "etcd_debugging_mvcc_db_compaction_keys_total" "Revisions removed.";
        last: gauge "etcd_debugging_mvcc_db_compaction_last" "Unix time of the last compaction.";
        pause: histogram "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds"
            "Time of one step of removing revisions." ((1.0, 2.0, 13));
        total: histogram "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds"
            "Time of a compaction, from its first step to its last." ((100.0, 2.0, 14));
        index_pause: histogram "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds"
            "Time for which a compaction holds up writes." ((0.5, 2.0, 14));
    }
}

series! {
    /// What watch streams send.
    Sends {
        control: histogram
            "etcd_debugging_server_watch_send_loop_control_stream_duration_seconds"
            "Time to make ready an answer to a request for a watcher." (DISK);
        progress: histogram "etcd_debugging_server_watch_send_loop_progress_duration_seconds"
            "Time to make ready a notification of progress." (DISK);
        events: histogram "etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds"
            "Time to make ready one response with events." (DISK);
        event: histogram
            "etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds"
            "The same, divided by the number of events." (DISK);
        pending: gauge "etcd_debugging_mvcc_pending_events_total" "Events that wait to be sent.";
    }
}

series! {
    /// Snapshots: files of our own, and databases of the leader.
    Snapshots {
        marshal: histogram "etcd_debugging_snap_save_marshalling_duration_seconds"
            "Time to encode a snapshot file." (DISK);
        save: histogram "etcd_debugging_snap_save_total_duration_seconds"
            "Time to write a snapshot file." (DISK);
        fsync: histogram "etcd_snap_fsync_duration_seconds" "Time to sync a snapshot file." (DISK);
        db_fsync: histogram "etcd_snap_db_fsync_duration_seconds"
            "Time to sync a database of the leader." (DISK);
        db_save: histogram "etcd_snap_db_save_total_duration_seconds"
            "Time to receive and sync a database of the leader." (TRANSFER);
    }
}

series! {
    /// The store.
    Store {
        write: histogram "etcd_debugging_disk_backend_commit_write_duration_seconds"
            "Time of the writes of one commit of the store." (DISK);
        defrag: histogram "etcd_disk_backend_defrag_duration_seconds"
            "Time of a defragmentation." ((0.1, 2.0, 13));
        readers: gauge "etcd_mvcc_db_open_read_transactions" "Open views of the store.";
        hash: histogram "etcd_mvcc_hash_duration_seconds" "Time to hash the whole store." (HASH);
        hash_rev: histogram "etcd_mvcc_hash_rev_duration_seconds"
            "Time to hash the keys up to a revision." (HASH);
        put_bytes: gauge "etcd_debugging_mvcc_total_put_size_in_bytes"
            "Bytes of keys and values put.";
        wal_write: histogram "etcd_disk_wal_write_duration_seconds"
            "Time to write to the write-ahead log." (DISK);
    }
}

series! {
    /// Requests and reads.
    Requests {
        duration: histograms "etcd_server_request_duration_seconds"
            "Time of a request, from its arrival to its answer." (&["type", "success"], DISK);
        range: histograms "etcd_server_range_duration_seconds" "Time of a range."
            (&["success"], (0.0001, 2.0, 20));
        stream_failures: counters "etcd_network_server_stream_failures_total"
            "Streams of clients that ended with an error." (&["Type", "API"]);
    }
}

series! {
    /// Checks of `/livez` and `/readyz`.
    Checks {
        result: gauges "etcd_server_healthcheck" "The result of each check." (&["type", "name"]);
        total: counters "etcd_server_healthchecks_total" "Checks done."
            (&["type", "name", "status"]);
    }
}

series! {
    /// What is so about this member, set when a scrape reads it.
    State {
        cluster_version: gauges "etcd_cluster_version" "1 at the cluster's version."
            (&["cluster_version"]);
        features: gauges "etcd_server_feature_enabled" "1 where a feature is on."
            (&["name", "stage"]);
        go_version: gauges "etcd_server_go_version" "1 at what this server is built with."
            (&["server_go_version"]);
        is_learner: gauge "etcd_server_is_learner" "1 when this member is a learner.";
        alarms: gauges "etcd_debugging_server_alarms" "1 for each alarm that is raised."
            (&["server_id", "alarm_type"]);
    }
}

series! {
    /// The v2 store, with `--enable-v2`.
    V2Store {
        expires: counter "etcd_debugging_store_expires_total" "Keys of the v2 store that expired.";
        reads: counters "etcd_debugging_store_reads_total" "Reads of the v2 store." (&["action"]);
        reads_failed: counters "etcd_debugging_store_reads_failed_total"
            "Reads of the v2 store that failed." (&["action"]);
        writes: counters "etcd_debugging_store_writes_total" "Writes of the v2 store." (&["action"]);
        writes_failed: counters "etcd_debugging_store_writes_failed_total"
            "Writes of the v2 store that failed." (&["action"]);
        watch_requests: counter "etcd_debugging_store_watch_requests_total"
            "Watches of the v2 store.";
        watchers: gauge "etcd_debugging_store_watchers" "Watchers of the v2 store.";
    }
}

series! {
    /// Parts of etcd that this server does without: always zero.
    #[expect(dead_code, reason = "registered, and never moved")]
    Absent {
        rebalance: histogram "etcd_debugging_disk_backend_commit_rebalance_duration_seconds"
            "A phase of bbolt's commits; this store has none." (DISK);
        spill: histogram "etcd_debugging_disk_backend_commit_spill_duration_seconds"
            "A phase of bbolt's commits; this store has none." (DISK);
        defragmenting: gauge "etcd_disk_defrag_inflight"
            "1 during a defragmentation, which here takes no time.";
        cache_hits: gauge "etcd_grpc_proxy_cache_hits_total" "Cache hits of the gRPC proxy.";
        cache_keys: gauge "etcd_grpc_proxy_cache_keys_total" "Keys in the cache of the gRPC proxy.";
        cache_misses: gauge "etcd_grpc_proxy_cache_misses_total" "Cache misses of the gRPC proxy.";
        events: counter "etcd_grpc_proxy_events_coalescing_total" "Events joined by the gRPC proxy.";
        coalesced: gauge "etcd_grpc_proxy_watchers_coalescing_total"
            "Watchers joined by the gRPC proxy.";
    }
}

impl Leases {
    /// Counts a grant.
    pub(crate) fn grant(&self, ttl: i64) {
        self.granted.inc();
        self.ttl.observe(ttl as f64);
    }
}

impl Sends {
    /// Counts a response with `events` events that took so long to make ready.
    pub(crate) fn observe(&self, events: usize, took: Duration) {
        let seconds = took.as_secs_f64();
        if events == 0 {
            self.progress.observe(seconds);
            return;
        }
        self.events.observe(seconds);
        self.event.observe(seconds / events as f64);
    }
}

impl Requests {
    /// Counts a range that took so long.
    pub(crate) fn observe_range(&self, success: bool, took: Duration) {
        let success = if success { "true" } else { "false" };
        self.range.with_label_values(&[success]).observe(took.as_secs_f64());
    }
}

impl Checks {
    /// Counts a check of `/livez` or `/readyz`.
    pub(crate) fn record(&self, kind: &str, name: &str, passed: bool) {
        self.result.with_label_values(&[kind, name]).set(i64::from(passed));
        let status = if passed { "success" } else { "error" };
        self.total.with_label_values(&[kind, name, status]).inc();
    }
}
