//! The threads of a member: each runs one of the pure machines below and executes what they ask
//! for. Only here are clocks read, disks synced and results handed from thread to thread.
//!
//! ```text
//! services -> [node inbox] -> node thread -> [wal inbox] -> wal thread (write + fdatasync)
//!                  ^------------ persisted -----------------'
//!             node thread -> [apply inbox] -> apply thread -> waiters    (or itself: duty.rs)
//!                                               |-> [watch inbox] -> watch thread -> streams
//!                                               '-> window -> storage thread -> LMDB
//! ```

pub(crate) mod applier;
pub(crate) mod apply_loop;
pub(crate) mod compaction;
pub(crate) mod disk_watch;
pub(crate) mod duty;
pub(crate) mod lease_loop;
pub(crate) mod node_loop;
pub(crate) mod snapshots;
pub(crate) mod spread;
pub(crate) mod storage_loop;
pub(crate) mod wal_loop;
pub(crate) mod watch_loop;

use api::{
    ids::{MemberId, RaftIndex, Term},
    raftpb,
};
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::consensus::Inspection;

pub(crate) use watch_loop::WatchCommand;

/// What can happen to the node thread.
pub(crate) enum NodeEvent {
    /// A client's change.
    Propose {
        /// The request id, as in the payload's header.
        id: u64,
        /// The encoded `InternalRaftRequest`.
        data: Bytes,
        /// Only this member may propose it, as the leader of this term.
        as_leader_of: Option<Term>,
    },
    /// A change of members; its id is the one that its proposer waits under.
    ProposeConfChange {
        /// The change.
        change: raftpb::ConfChange,
    },
    /// Leadership is to go to this voter.
    TransferLeader {
        /// The new leader.
        target: MemberId,
    },
    /// Messages of another member, and about how many bytes they hold.
    Messages {
        /// In the order they came.
        messages: Vec<raftpb::Message>,
        /// What they count for in the bound on such messages.
        bytes: usize,
    },
    /// A message to this member was not delivered.
    Unreachable(MemberId),
    /// Sending the store to a member has ended.
    SnapshotStatus {
        /// The member.
        to: MemberId,
        /// Whether it has it.
        delivered: bool,
    },
    /// Ticks that need not be waited for at the start.
    AdvanceTicks(usize),
    /// The apply thread has cut a snapshot: to be recorded once the store has it.
    Cut(Box<raftpb::Snapshot>),
    /// Somebody wants to know how consensus stands.
    Inspect(oneshot::Sender<Inspection>),
    /// A linearizable read wants an index.
    ReadIndex {
        /// Unique to this attempt.
        id: u64,
    },
    /// The wal thread has synced everything up to this ready.
    Persisted {
        /// The number of the ready.
        ready: u64,
    },
    /// The apply thread met a configuration change.
    ConfChange {
        /// The change, or one of node 0 if it was refused.
        change: raftpb::ConfChange,
    },
    /// The apply thread has applied up to here.
    Applied {
        /// The last applied index.
        index: RaftIndex,
    },
    /// The store has durably committed up to here: the log before it may go.
    Flushed {
        /// The store's consistent index.
        index: RaftIndex,
        /// The term of that entry.
        term: Term,
    },
    /// Finish what was taken and end the thread.
    Stop,
}

/// Ends the process: a broken invariant or a failed disk must not be served from.
pub(crate) fn fatal(what: &str, error: &dyn std::fmt::Display) -> ! {
    tracing::error!(%error, "{what}");
    eprintln!("oxetcd: {what}: {error}");
    std::process::abort()
}
