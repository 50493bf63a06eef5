//! Counters of what was asked of the store, as `/v2/stats/store` shows them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

/// How many requests of each kind succeeded and failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Stats {
    #[serde(rename = "getsSuccess")]
    pub get_success: u64,
    #[serde(rename = "getsFail")]
    pub get_fail: u64,
    #[serde(rename = "setsSuccess")]
    pub set_success: u64,
    #[serde(rename = "setsFail")]
    pub set_fail: u64,
    #[serde(rename = "deleteSuccess")]
    pub delete_success: u64,
    #[serde(rename = "deleteFail")]
    pub delete_fail: u64,
    #[serde(rename = "updateSuccess")]
    pub update_success: u64,
    #[serde(rename = "updateFail")]
    pub update_fail: u64,
    #[serde(rename = "createSuccess")]
    pub create_success: u64,
    #[serde(rename = "createFail")]
    pub create_fail: u64,
    #[serde(rename = "compareAndSwapSuccess")]
    pub compare_and_swap_success: u64,
    #[serde(rename = "compareAndSwapFail")]
    pub compare_and_swap_fail: u64,
    #[serde(rename = "compareAndDeleteSuccess")]
    pub compare_and_delete_success: u64,
    #[serde(rename = "compareAndDeleteFail")]
    pub compare_and_delete_fail: u64,
    #[serde(rename = "expireCount")]
    pub expire_count: u64,
    pub watchers: u64,
}

impl Stats {
    /// As a JSON object.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("counters have names")
    }
}

/// Counts by action, for metrics: the action, how often it succeeded and how often it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Reads of this member.
    pub reads: [(&'static str, u64, u64); 2],
    /// Writes.
    pub writes: [(&'static str, u64, u64); 6],
    /// Nodes that expired.
    pub expired: u64,
    /// Requests to watch.
    pub watch_requests: u64,
    /// Watchers now.
    pub watchers: u64,
}

/// Reads, counted under a shared lock. Members count their own, so they are not stored.
#[derive(Debug, Default)]
pub(crate) struct Gets {
    success: AtomicU64,
    fail: AtomicU64,
    /// Of both, how many were recursive.
    recursive_success: AtomicU64,
    recursive_fail: AtomicU64,
}

impl Gets {
    pub(crate) fn count(&self, succeeded: bool, recursive: bool) {
        let (all, of_recursive) = match succeeded {
            true => (&self.success, &self.recursive_success),
            false => (&self.fail, &self.recursive_fail),
        };
        all.fetch_add(1, Relaxed);
        if recursive {
            of_recursive.fetch_add(1, Relaxed);
        }
    }

    /// Reads by action.
    pub(crate) fn reads(&self) -> [(&'static str, u64, u64); 2] {
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        let (success, fail) = (load(&self.recursive_success), load(&self.recursive_fail));
        let plain = |all: &AtomicU64, recursive: u64| load(all).saturating_sub(recursive);
        [
            ("get", plain(&self.success, success), plain(&self.fail, fail)),
            ("getRecursive", success, fail),
        ]
    }

    pub(crate) fn set(&self, stats: &Stats) {
        self.success.store(stats.get_success, Relaxed);
        self.fail.store(stats.get_fail, Relaxed);
    }

    pub(crate) fn fill(&self, stats: &mut Stats) {
        stats.get_success = self.success.load(Relaxed);
        stats.get_fail = self.fail.load(Relaxed);
    }
}
