//! Whether a peer is active, since when, and the log lines of its changes.

use std::{fmt, sync::Arc, time::Instant};

use api::ids::MemberId;
use parking_lot::Mutex;

use crate::stats::PeerStats;

/// Where a failure happened, in the words of etcd's log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    /// What failed: dial, read, write, heartbeat, post.
    pub(crate) action: &'static str,
    /// Over which connection.
    pub(crate) source: &'static str,
}

/// Whether one peer is active: a connection to it works in one direction at least.
#[derive(Debug)]
pub(crate) struct Status {
    id: MemberId,
    stats: Arc<PeerStats>,
    active_since: Mutex<Option<Instant>>,
}

impl Status {
    pub(crate) fn new(id: MemberId, stats: Arc<PeerStats>) -> Status {
        Status { id, stats, active_since: Mutex::new(None) }
    }

    /// A connection works.
    pub(crate) fn activate(&self) {
        let mut since = self.active_since.lock();
        if since.is_none() {
            *since = Some(Instant::now());
            self.stats.active.add(1);
            tracing::info!("peer-id" = %self.id, "peer became active");
        }
    }

    /// A connection failed.
    pub(crate) fn deactivate(&self, failure: Failure, reason: &dyn fmt::Display) {
        let Failure { action, source } = failure;
        let error = format_args!("failed to {action} {} on {source} ({reason})", self.id);
        let mut since = self.active_since.lock();
        if since.take().is_some() {
            self.stats.active.add(-1);
            self.stats.disconnected.add(1);
            let peer = self.id;
            tracing::warn!(
                "peer-id" = %peer, %error, "peer became inactive (message send to peer failed)"
            );
        } else {
            tracing::debug!("peer-id" = %self.id, %error, "peer deactivated again");
        }
    }

    /// Forgets the peer: it was removed.
    pub(crate) fn stop(&self) {
        if self.active_since.lock().take().is_some() {
            self.stats.active.add(-1);
        }
    }

    pub(crate) fn active_since(&self) -> Option<Instant> {
        *self.active_since.lock()
    }

    pub(crate) fn is_active(&self) -> bool {
        self.active_since().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Stats;

    #[test]
    fn only_changes_of_state_count() {
        let stats = Stats::default().peer(MemberId(1));
        let status = Status::new(MemberId(1), stats.clone());
        let failure = Failure { action: "dial", source: "stream Message" };
        status.deactivate(failure, &"refused");
        assert_eq!((stats.active.get(), stats.disconnected.get()), (0, 0));
        status.activate();
        let since = status.active_since();
        status.activate();
        assert!(since.is_some() && status.active_since() == since);
        assert_eq!(stats.active.get(), 1);
        status.deactivate(failure, &"refused");
        status.deactivate(failure, &"refused");
        assert_eq!((stats.active.get(), stats.disconnected.get()), (0, 1));
        assert!(!status.is_active());
    }
}
