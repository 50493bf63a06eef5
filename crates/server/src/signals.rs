//! What the driver's threads tell the loops that watch over a member: events that are counted, so
//! that nobody who was busy misses one.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// The events of one member.
pub(crate) struct Signals {
    /// A leader's first entry of its term was applied.
    first_commit: watch::Sender<u64>,
    /// The cluster version was set.
    cluster_version: watch::Sender<u64>,
    /// There has been no leader for so long that streams which need one end.
    leaderless: watch::Sender<u64>,
    /// When raft ticked last, in clock milliseconds.
    ticked_ms: AtomicU64,
}

impl Signals {
    /// Nothing has happened.
    pub(crate) fn new() -> Signals {
        Signals {
            first_commit: watch::Sender::new(0),
            cluster_version: watch::Sender::new(0),
            leaderless: watch::Sender::new(0),
            ticked_ms: AtomicU64::new(0),
        }
    }

    /// A leader's first entry of its term was applied.
    pub(crate) fn first_commit(&self) {
        self.first_commit.send_modify(|count| *count += 1);
    }

    /// Sees every [`Signals::first_commit`] from now on.
    pub(crate) fn watch_first_commit(&self) -> watch::Receiver<u64> {
        self.first_commit.subscribe()
    }

    /// The cluster version was set.
    pub(crate) fn cluster_version(&self) {
        self.cluster_version.send_modify(|count| *count += 1);
    }

    /// Sees every [`Signals::cluster_version`] from now on.
    pub(crate) fn watch_cluster_version(&self) -> watch::Receiver<u64> {
        self.cluster_version.subscribe()
    }

    /// Streams that need a leader end now.
    pub(crate) fn leaderless(&self) {
        self.leaderless.send_modify(|count| *count += 1);
    }

    /// Sees every [`Signals::leaderless`] from now on.
    pub(crate) fn watch_leaderless(&self) -> watch::Receiver<u64> {
        self.leaderless.subscribe()
    }

    /// Raft has ticked.
    pub(crate) fn ticked(&self, now_ms: u64) {
        self.ticked_ms.store(now_ms, Ordering::Relaxed);
    }

    /// When raft ticked last.
    pub(crate) fn ticked_ms(&self) -> u64 {
        self.ticked_ms.load(Ordering::Relaxed)
    }
}
