//! All that a member can ask for.

use api::{
    ids::{MemberId, RaftIndex, Term},
    raftpb::{ConfState, Entry, HardState, Message, Snapshot},
};

/// What a member is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    #[default]
    Follower,
    /// Asks whether it could win an election.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
}

/// One thing for the driver to do. Outputs are executed in the order they were given.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The term has changed.
    Term(Term),
    /// The leader or the own role has changed.
    SoftState {
        /// The leader; 0 when unknown.
        leader: MemberId,
        /// The own role.
        role: Role,
    },
    /// Everything up to `index` is committed in the leader's view since before the read was asked
    /// for: once it is applied the read may be served.
    ReadReady {
        /// The id of the [`Input::ReadIndex`](crate::Input::ReadIndex).
        id: u64,
        /// The index to wait for.
        index: RaftIndex,
    },
    /// These entries are committed and durable here: apply them, in order, once each. The state
    /// machine answers each configuration change with
    /// [`Input::ApplyConfChange`](crate::Input::ApplyConfChange).
    Commit {
        /// The entries, never none, without gaps since the last commit.
        entries: Vec<Entry>,
    },
    /// A leader's snapshot replaces store and log up to its index: the transport has its data. The
    /// [`Output::Persist`] that follows at once must be saved after the snapshot's own record, and
    /// its acknowledgement covers both; [`Input::Applied`](crate::Input::Applied) of the snapshot's
    /// index comes after that.
    Restore {
        /// The snapshot as it was sent: index, term, members, and data if it carried any.
        snapshot: Snapshot,
    },
    /// Messages to other members, to be sent now (a leader's are sent while its own disk works, raft
    /// thesis 10.2.1; a follower's have waited for it).
    ///
    /// A `MsgSnap` only says that its receiver needs the store: it is sent with the store as it is by
    /// then, and with that store's index, term and members, which are never older than those in the
    /// message. (Those may be from before its receiver was added.) What became of it is told by
    /// [`Input::SnapshotStatus`](crate::Input::SnapshotStatus), always, or nothing else is sent.
    Send(Vec<Message>),
    /// To be saved in the log in this order: entries replace those of the same index and after.
    Persist {
        /// The number to acknowledge with [`Input::Persisted`](crate::Input::Persisted); numbers
        /// ascend, and one acknowledgement covers all before it.
        ready: u64,
        /// Term, vote and commit, when changed.
        hard_state: Option<HardState>,
        /// Entries to append.
        entries: Vec<Entry>,
        /// Whether it must be durable before it is acknowledged. If not, it is only a newer commit
        /// index; nothing waits for it and it need not be acknowledged.
        must_sync: bool,
    },
    /// The set of members after an [`Input::ApplyConfChange`](crate::Input::ApplyConfChange).
    ConfState {
        /// The entry of the change.
        index: RaftIndex,
        /// The members, ids ascending.
        conf_state: ConfState,
    },
    /// There was no room to wait: this proposal will not be proposed.
    Dropped {
        /// The proposer's name for it.
        ticket: u64,
    },
    /// A message of another member was not acted upon.
    Refused {
        /// Who sent it, as far as it says.
        from: MemberId,
        /// What was wrong.
        refusal: Refusal,
    },
}

/// Why a peer's message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is for another member.
    #[error("message is for another member")]
    WrongMember,
    /// It says that it is from nobody, or from this member.
    #[error("message has an impossible sender")]
    WrongSender,
    /// Its type is unknown or never leaves a member.
    #[error("message type is unknown or local")]
    WrongType,
    /// A type that is always part of a term has none.
    #[error("message has no term")]
    NoTerm,
    /// It lacks entries that its type needs, or has ones that do not follow each other.
    #[error("message has missing or unordered entries")]
    WrongEntries,
    /// It acknowledges entries that this leader does not have.
    #[error("message acknowledges entries beyond the log")]
    BeyondLog,
    /// A snapshot without index, term or members.
    #[error("message has an incomplete snapshot")]
    WrongSnapshot,
}
