//! What the threads of a member tell the others: positions in the log, the leader, sizes.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use api::ids::{MemberId, RaftIndex, Term};
use tokio::sync::watch;

/// Shared, lock-free status of one member. Written by the drivers, read by the services.
pub(crate) struct Progress {
    leader: watch::Sender<u64>,
    term: AtomicU64,
    committed: AtomicU64,
    applied: watch::Sender<u64>,
    leader_since_ms: AtomicU64,
    db_allocated: AtomicU64,
    db_in_use: AtomicU64,
    unsynced: AtomicUsize,
    peer_bytes: AtomicUsize,
    unapplied: AtomicUsize,
    flush_armed: AtomicBool,
    serves_reads: AtomicBool,
    ready: watch::Sender<bool>,
    stopping: watch::Sender<bool>,
    peers_stopping: watch::Sender<bool>,
    removed: watch::Sender<bool>,
}

impl Progress {
    /// A member that has applied everything up to `applied` and knows no leader.
    pub(crate) fn new(applied: RaftIndex, term: Term) -> Progress {
        Progress {
            leader: watch::Sender::new(0),
            term: AtomicU64::new(term.0),
            committed: AtomicU64::new(applied.0),
            applied: watch::Sender::new(applied.0),
            leader_since_ms: AtomicU64::new(0),
            db_allocated: AtomicU64::new(0),
            db_in_use: AtomicU64::new(0),
            unsynced: AtomicUsize::new(0),
            peer_bytes: AtomicUsize::new(0),
            unapplied: AtomicUsize::new(0),
            flush_armed: AtomicBool::new(false),
            serves_reads: AtomicBool::new(false),
            ready: watch::Sender::new(false),
            stopping: watch::Sender::new(false),
            peers_stopping: watch::Sender::new(false),
            removed: watch::Sender::new(false),
        }
    }

    /// The leader; `MemberId(0)` for none.
    pub(crate) fn leader(&self) -> MemberId {
        MemberId(*self.leader.borrow())
    }

    /// When this member last became leader, in clock milliseconds; 0 for never.
    pub(crate) fn leader_since_ms(&self) -> u64 {
        self.leader_since_ms.load(Ordering::Acquire)
    }

    /// Records the leader; `leading_since` when it is this member.
    pub(crate) fn set_leader(&self, leader: MemberId, leading_since_ms: Option<u64>) {
        if let Some(since) = leading_since_ms {
            self.leader_since_ms.store(since, Ordering::Release);
        }
        self.leader.send_if_modified(|known| std::mem::replace(known, leader.0) != leader.0);
    }

    /// Waits for a leader that `wanted` accepts.
    pub(crate) async fn wait_leader(&self, wanted: impl Fn(MemberId) -> bool) {
        let mut leader = self.leader.subscribe();
        leader.wait_for(|leader| wanted(MemberId(*leader))).await.expect("the sender is in self");
    }

    /// Sees every change of the leader from now on.
    pub(crate) fn watch_leader(&self) -> watch::Receiver<u64> {
        self.leader.subscribe()
    }

    /// The current raft term.
    pub(crate) fn term(&self) -> Term {
        Term(self.term.load(Ordering::Acquire))
    }

    /// Records the raft term.
    pub(crate) fn set_term(&self, term: Term) {
        self.term.store(term.0, Ordering::Release);
    }

    /// The highest index known to be committed.
    pub(crate) fn committed(&self) -> RaftIndex {
        RaftIndex(self.committed.load(Ordering::Acquire))
    }

    /// Records the committed index.
    pub(crate) fn set_committed(&self, index: RaftIndex) {
        self.committed.fetch_max(index.0, Ordering::AcqRel);
    }

    /// Whether what is applied here is linearizable as it is: nobody else takes part in consensus.
    pub(crate) fn serves_reads(&self) -> bool {
        self.serves_reads.load(Ordering::Acquire)
    }

    /// Records that; the node thread alone does.
    pub(crate) fn set_serves_reads(&self, serves: bool) {
        self.serves_reads.store(serves, Ordering::Release);
    }

    /// The highest index applied to the stores that reads use.
    pub(crate) fn applied(&self) -> RaftIndex {
        RaftIndex(*self.applied.borrow())
    }

    /// Records the applied index and wakes who waits for it.
    pub(crate) fn set_applied(&self, index: RaftIndex) {
        self.applied.send_replace(index.0);
    }

    /// Waits until everything up to `index` is applied.
    pub(crate) async fn wait_applied(&self, index: RaftIndex) {
        if self.applied() >= index {
            return;
        }
        let mut applied = self.applied.subscribe();
        applied.wait_for(|at| *at >= index.0).await.expect("the sender is in self");
    }

    /// Bytes of the store's file and bytes of it in use.
    pub(crate) fn db_size(&self) -> (u64, u64) {
        (self.db_allocated.load(Ordering::Acquire), self.db_in_use.load(Ordering::Acquire))
    }

    /// Records the sizes after a flush.
    pub(crate) fn set_db_size(&self, size: storage::Size) {
        self.db_allocated.store(size.allocated, Ordering::Release);
        self.db_in_use.store(size.in_use, Ordering::Release);
    }

    /// Bytes of proposals and entries that wait for the node thread or the disk of the log.
    pub(crate) fn unsynced(&self) -> usize {
        self.unsynced.load(Ordering::Acquire)
    }

    /// A proposal or an entry of this size waits.
    pub(crate) fn add_unsynced(&self, bytes: usize) {
        self.unsynced.fetch_add(bytes, Ordering::AcqRel);
    }

    /// It does not wait any more.
    pub(crate) fn remove_unsynced(&self, bytes: usize) {
        self.unsynced.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Bytes of messages of other members that wait for the node thread.
    pub(crate) fn peer_bytes(&self) -> usize {
        self.peer_bytes.load(Ordering::Acquire)
    }

    /// Messages of this size wait.
    pub(crate) fn add_peer_bytes(&self, bytes: usize) {
        self.peer_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// They do not wait any more.
    pub(crate) fn remove_peer_bytes(&self, bytes: usize) {
        self.peer_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Bytes of committed entries that wait for the apply thread.
    pub(crate) fn unapplied(&self) -> usize {
        self.unapplied.load(Ordering::Acquire)
    }

    /// Entries of this size wait.
    pub(crate) fn add_unapplied(&self, bytes: usize) {
        self.unapplied.fetch_add(bytes, Ordering::AcqRel);
    }

    /// They are applied.
    pub(crate) fn remove_unapplied(&self, bytes: usize) {
        self.unapplied.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// After changes entered the window: whether the storage thread has to be told, since no flush
    /// is to come that will find them.
    pub(crate) fn arm_flush(&self) -> bool {
        !self.flush_armed.swap(true, Ordering::SeqCst)
    }

    /// Before a flush takes the window: changes after this have to be told of again.
    pub(crate) fn disarm_flush(&self) {
        self.flush_armed.store(false, Ordering::SeqCst);
    }

    /// The member has published itself: clients are served.
    pub(crate) fn set_ready(&self) {
        self.ready.send_replace(true);
    }

    /// Whether clients are served.
    pub(crate) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Waits until clients are served.
    pub(crate) async fn wait_ready(&self) {
        let mut ready = self.ready.subscribe();
        ready.wait_for(|ready| *ready).await.expect("the sender is in self");
    }

    /// The member is stopping: streams end, new requests are refused.
    pub(crate) fn set_stopping(&self) {
        self.stopping.send_replace(true);
    }

    /// Whether the member is stopping.
    pub(crate) fn stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Resolves when the member begins to stop.
    pub(crate) async fn wait_stopping(&self) {
        let mut stopping = self.stopping.subscribe();
        stopping.wait_for(|stopping| *stopping).await.expect("the sender is in self");
    }

    /// The peer listeners close: the last thing that stops.
    pub(crate) fn set_peers_stopping(&self) {
        self.peers_stopping.send_replace(true);
    }

    /// Resolves when the peer listeners are to close.
    pub(crate) async fn wait_peers_stopping(&self) {
        let mut stopping = self.peers_stopping.subscribe();
        stopping.wait_for(|stopping| *stopping).await.expect("the sender is in self");
    }

    /// This member was removed from the cluster: it has to stop.
    pub(crate) fn set_removed(&self) {
        self.removed.send_replace(true);
    }

    /// Resolves when this member was removed from the cluster.
    pub(crate) async fn wait_removed(&self) {
        let mut removed = self.removed.subscribe();
        removed.wait_for(|removed| *removed).await.expect("the sender is in self");
    }
}
