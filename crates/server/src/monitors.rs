//! The loops that watch over a running member and its cluster, each until the member stops.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::{
    cluster_version::monitor,
    compactor::{self, Compactor},
    corruption, damage,
    handle::Handle,
    leadership,
};

/// How often, and whether, each loop looks.
#[derive(Clone, Debug)]
pub(crate) struct MonitorSettings {
    /// How often the versions of cluster and storage are looked at.
    pub(crate) version_check: Duration,
    /// `--downgrade-check-time`; zero for never.
    pub(crate) downgrade_check: Duration,
    /// `--corrupt-check-time`; zero for never.
    pub(crate) corrupt_check: Duration,
    /// `--compact-hash-check-time`, with gate CompactHashCheck.
    pub(crate) compaction_check: Option<Duration>,
    /// `--scrub-interval`; zero for never.
    pub(crate) scrub: Duration,
    /// `--auto-compaction-retention` and `--auto-compaction-mode`.
    pub(crate) retention: config::Retention,
}

/// Starts them.
pub(crate) fn spawn(handle: &Handle, settings: &MonitorSettings, tasks: &mut JoinSet<()>) {
    tasks.spawn(monitor::watch_cluster(handle.clone(), settings.version_check));
    tasks.spawn(monitor::watch_storage(handle.clone(), settings.version_check));
    tasks.spawn(leadership::watch_streams(handle.clone()));
    tasks.spawn(damage::watch(handle.clone()));
    if !settings.scrub.is_zero() {
        tasks.spawn(damage::scrub(handle.clone(), settings.scrub));
    }
    if !settings.downgrade_check.is_zero() {
        tasks.spawn(monitor::watch_downgrade(handle.clone(), settings.downgrade_check));
    }
    if !settings.corrupt_check.is_zero() {
        tasks.spawn(corruption::check_periodically(handle.clone(), settings.corrupt_check));
    }
    if let Some(period) = settings.compaction_check {
        tasks.spawn(corruption::check_compactions(handle.clone(), period));
    }
    if let Some(compactor) = Compactor::new(settings.retention) {
        tasks.spawn(compactor::run(handle.clone(), compactor));
    }
}
