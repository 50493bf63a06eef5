//! The Prometheus series of a member, with etcd's names (spec metrics.md). The only file that names
//! them, with `network`; what lower layers count is read from their `stats` when a scrape comes.

mod busy;
mod gauges;
mod grpc;
mod heap;
mod network;
mod process;
pub(crate) mod request_name;
mod series;
mod v2;

use std::{collections::BTreeSet, time::Instant};

use api::{
    etcdserverpb::AlarmMember,
    event::{Changes, EventKind},
    ids::MemberId,
};
use config::{Config, GATES, Stage};
use parking_lot::Mutex;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, core::Collector, exponential_buckets,
};

pub(crate) use heap::{count_by, heap, status_bytes};
pub(crate) use process::open_files_max;

use crate::handle::Handle;
use busy::Busy;
use gauges::Gauges;
pub(crate) use grpc::Call;
use grpc::GrpcMetrics;
pub(crate) use series::Compactions;
use series::{Absent, Checks, Leases, Requests, Sends, Snapshots, State, Store, V2Store};

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
    busy_applies: Busy,
    busy_requests: Busy,
    pub(crate) lease_expired: IntCounter,
    pub(crate) health_success: IntCounter,
    pub(crate) health_failures: IntCounter,
    pub(crate) watch_events: IntCounter,
    promotions: IntCounter,
    promotions_failed: IntCounterVec,
    pub(crate) grpc: GrpcMetrics,
    pub(crate) leases: Leases,
    pub(crate) compactions: Compactions,
    pub(crate) sends: Sends,
    pub(crate) snapshots: Snapshots,
    pub(crate) store: Store,
    pub(crate) requests: Requests,
    pub(crate) checks: Checks,
    /// Events that watch streams have taken from their queues.
    pub(crate) events_taken: IntCounter,
    /// When the compaction under way took its first step.
    pub(crate) compaction_began: Mutex<Option<Instant>>,
    state: State,
    _absent: Absent,
    v2: V2Store,
    /// Alarms that a scrape has shown: they stay, with 0, once they are disarmed.
    alarms_shown: Mutex<BTreeSet<(String, &'static str)>>,
    scrapes: IntCounterVec,
    scraping: IntGauge,
    gauges: Gauges,
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

fn scrapes(registry: &Registry) -> IntCounterVec {
    let name = "promhttp_metric_handler_requests_total";
    let scrapes = IntCounterVec::new(Opts::new(name, "Scrapes, by HTTP status."), &["code"]);
    let scrapes = register(registry, scrapes.expect("a valid metric"));
    for code in ["200", "500", "503"] {
        scrapes.with_label_values(&[code]);
    }
    scrapes
}

/// The state of a member, with what never changes set.
fn state(registry: &Registry, config: &Config) -> State {
    let state = State::new(registry);
    state.go_version.with_label_values(&[process::TOOLCHAIN]).set(1);
    for gate in GATES {
        let stage = match gate.stage {
            Stage::Alpha => "ALPHA",
            Stage::Beta => "BETA",
        };
        let on = config.feature_gates.enabled(gate.name);
        state.features.with_label_values(&[gate.name, stage]).set(i64::from(on));
    }
    state
}

impl Metrics {
    /// Registers every series.
    pub(crate) fn new(config: &Config) -> Metrics {
        let r = Registry::new();
        Metrics {
            grpc: GrpcMetrics::new(&r, config.metrics == "extensive"),
            leases: Leases::new(&r),
            compactions: Compactions::new(&r),
            sends: Sends::new(&r),
            snapshots: Snapshots::new(&r),
            store: Store::new(&r),
            requests: Requests::new(&r),
            checks: Checks::new(&r),
            events_taken: IntCounter::new("events_taken", "Not shown.").expect("a valid metric"),
            compaction_began: Mutex::default(),
            state: state(&r, config),
            _absent: Absent::new(&r),
            v2: V2Store::new(&r),
            alarms_shown: Mutex::default(),
            scrapes: scrapes(&r),
            scraping: gauge(&r, "promhttp_metric_handler_requests_in_flight", "Scrapes."),
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
            busy_applies: Busy::default(),
            busy_requests: Busy::default(),
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
    pub(crate) fn observe_apply(&self, op: &str, success: bool, took: std::time::Duration) {
        let labels = ["v3", op, if success { "true" } else { "false" }];
        self.busy_applies.observe(&self.apply, op, success, &labels, took.as_secs_f64());
    }

    /// Counts a request that took so long.
    pub(crate) fn observe_request(&self, name: &str, success: bool, took: std::time::Duration) {
        let labels = [name, if success { "true" } else { "false" }];
        let duration = &self.requests.duration;
        self.busy_requests.observe(duration, name, success, &labels, took.as_secs_f64());
    }

    /// The text exposition of every series, gauges freshly read.
    pub(crate) fn expose(&self, handle: &Handle) -> Vec<u8> {
        self.scraping.inc();
        self.gauges.refresh(handle);
        self.refresh(handle);
        self.v2.refresh(handle);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("a vector grows");
        text.extend_from_slice(network::text(handle).as_bytes());
        text.extend_from_slice(process::text(handle).as_bytes());
        self.scrapes.with_label_values(&["200"]).inc();
        self.scraping.dec();
        text
    }

    /// Counts what a write did to keys. Within a transaction deletes are counted by key.
    pub(crate) fn changed(&self, request: &str, changes: Option<&Changes>) {
        match request {
            "Put" => self.puts.inc(),
            "DeleteRange" => self.deletes.inc(),
            _ => {}
        }
        let Some(changes) = changes else { return };
        let puts = changes.events.iter().filter(|event| event.kind == EventKind::Put);
        let (mut count, mut bytes) = (0, 0);
        for put in puts {
            count += 1;
            bytes += put.kv.decode().map_or(0, |kv| kv.key.len() + kv.value.len());
        }
        self.store.put_bytes.add(bytes as i64);
        if request == "Txn" {
            self.txns.inc();
            self.puts.inc_by(count);
            self.deletes.inc_by(changes.events.len() as u64 - count);
        }
    }

    /// Notes alarms that were raised or disarmed: each is shown from now on.
    pub(crate) fn saw_alarms(&self, alarms: &[AlarmMember]) {
        let mut shown = self.alarms_shown.lock();
        shown.extend(alarms.iter().map(named));
    }

    /// Sets what is looked up only when a scrape comes.
    fn refresh(&self, handle: &Handle) {
        let state = &self.state;
        state.cluster_version.reset();
        if let Some(version) = handle.shared.membership.read().cluster_version() {
            let version = version.to_string();
            let short = version.rsplit_once('.').map_or(&*version, |(short, _)| short);
            state.cluster_version.with_label_values(&[short]).set(1);
        }
        state.is_learner.set(i64::from(handle.is_learner()));
        let streams = handle.limits.snapshot_streams_max;
        let reading = streams.saturating_sub(handle.snapshots.available_permits());
        self.store.readers.set(reading as i64);
        if let Some(watch) = *handle.watch_stats.lock() {
            let pending = watch.delivered_events.saturating_sub(self.events_taken.get());
            self.sends.pending.set(pending as i64);
        }
        let mut shown = self.alarms_shown.lock();
        for (member, alarm) in shown.iter() {
            state.alarms.with_label_values(&[member.as_str(), alarm]).set(0);
        }
        for alarm in handle.shared.alarms.read().list(0) {
            let (member, name) = named(&alarm);
            state.alarms.with_label_values(&[member.as_str(), name]).set(1);
            shown.insert((member, name));
        }
    }
}

/// The labels of an alarm.
fn named(alarm: &AlarmMember) -> (String, &'static str) {
    (MemberId(alarm.member_id).to_string(), alarm.alarm().as_str_name())
}
