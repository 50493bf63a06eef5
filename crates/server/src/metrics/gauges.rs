//! Gauges that are set when a scrape reads them.

use prometheus::{IntGauge, IntGaugeVec, Registry};

use super::{gauge, labelled};
use crate::handle::Handle;

/// Gauges that are set when a scrape reads them.
pub(super) struct Gauges {
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
    version: IntGaugeVec,
    server_id: IntGaugeVec,
}

impl Gauges {
    /// Registers them.
    pub(super) fn new(r: &Registry) -> Gauges {
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
            version: labelled(r, "etcd_server_version", "1 at the version.", "server_version"),
            server_id: labelled(r, "etcd_server_id", "1 at the member's id.", "server_id"),
        }
    }

    /// Sets them to what is so now.
    pub(super) fn refresh(&self, handle: &Handle) {
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
        self.version.with_label_values(&[api::version::SERVER]).set(1);
        self.server_id.with_label_values(&[handle.member.to_string()]).set(1);
    }
}
