//! All that can happen to a member.

use api::{
    ids::{MemberId, RaftIndex, Term},
    raftpb::{ConfChange, ConfState, Message},
};
use bytes::Bytes;

/// One event. Requests of the shell come first, acknowledgements of earlier outputs last.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// One heartbeat interval has passed.
    Tick,
    /// A client's change. It waits while no leader is known; it is never answered here, only
    /// [`Output::Dropped`](crate::Output::Dropped) says that it will not be proposed at all.
    Propose {
        /// The proposer's name for it.
        ticket: u64,
        /// The payload of the entry.
        data: Bytes,
    },
    /// A change that nobody but the leader of this term may make, such as the end of a lease by its
    /// clock: it is not forwarded. [`Output::Dropped`](crate::Output::Dropped) from anyone else.
    ProposeAsLeader {
        /// The proposer's name for it.
        ticket: u64,
        /// The payload of the entry.
        data: Bytes,
        /// The term in which it was decided.
        term: Term,
    },
    /// A change of members (one at a time, raft thesis 4.1). It waits while no leader is known or,
    /// on the leader, while an earlier one is not applied yet.
    ProposeConfChange {
        /// The proposer's name for it.
        ticket: u64,
        /// The change.
        change: ConfChange,
    },
    /// A linearizable read wants an index. Lost when there is no leader: the caller asks again
    /// with a new id.
    ReadIndex {
        /// Unique to this attempt, in the whole cluster and for all time.
        id: u64,
    },
    /// A message of another member. A malformed one is refused, not acted upon.
    Message(Message),
    /// A message to this member could not be delivered.
    Unreachable(MemberId),
    /// The snapshot of a [`MsgSnap`](api::raftpb::MessageType::MsgSnap) was delivered, or failed to.
    SnapshotStatus {
        /// Whom it was for.
        to: MemberId,
        /// Whether it arrived and was accepted.
        delivered: bool,
    },
    /// Hand leadership to this voter; progress shows in [`Status`](crate::Status).
    TransferLeader(MemberId),
    /// Lead no more, without an heir: the own disk does not answer. The term stays; the others elect
    /// somebody once they miss the heartbeats.
    StepDown,
    /// This ready, and all before it, are durable.
    Persisted {
        /// The number of the ready.
        ready: u64,
    },
    /// The next configuration change entry that was handed out has been judged by the state
    /// machine. Must come before the [`Input::Applied`] that passes its entry, once per such entry,
    /// in order.
    ApplyConfChange {
        /// The change; of node 0 when it was refused.
        change: ConfChange,
    },
    /// The state machine has applied everything up to here.
    Applied {
        /// The last applied index.
        index: RaftIndex,
    },
    /// The store holds everything up to here durably; followers that are too far behind get this
    /// snapshot instead of entries.
    SnapshotTaken {
        /// The last index in the snapshot.
        index: RaftIndex,
        /// The term of that entry.
        term: Term,
        /// The members as of that index.
        conf_state: ConfState,
    },
    /// Let go of the entries in memory up to here, as far as the snapshot allows and no follower's
    /// snapshot on its way needs them.
    Compact {
        /// The last index to let go of.
        index: RaftIndex,
    },
}
