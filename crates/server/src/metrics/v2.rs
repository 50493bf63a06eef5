//! What was asked of the v2 store, as series: brought up to the store's own counters when they are read.

use prometheus::{IntCounter, IntCounterVec};
use v2store::Counts;

use super::series::V2Store;
use crate::handle::Handle;

impl V2Store {
    /// Follows the store, with `--enable-v2`: without, etcd has nothing to show either.
    pub(super) fn refresh(&self, handle: &Handle) {
        if !handle.v2_stats.is_enabled() {
            return;
        }
        let counts = handle.shared.v2.read().counts();
        let Counts { reads, writes, expired, watch_requests, watchers } = counts;
        let families = [
            (&reads[..], &self.reads, &self.reads_failed),
            (&writes[..], &self.writes, &self.writes_failed),
        ];
        for (actions, total, failed) in families {
            for (action, success, fail) in actions {
                follow_of(total, action, success + fail);
                follow_of(failed, action, *fail);
            }
        }
        follow(&self.expires, expired);
        follow(&self.watch_requests, watch_requests);
        self.watchers.set(i64::try_from(watchers).unwrap_or(i64::MAX));
    }
}

/// An action has a series once it was asked for.
fn follow_of(counters: &IntCounterVec, action: &str, total: u64) {
    if total > 0 {
        follow(&counters.with_label_values(&[action]), total);
    }
}

/// Counters only grow, also when a snapshot brought a store that was asked for less.
fn follow(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
