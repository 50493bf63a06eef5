//! How a member is set up, and what it had saved before it stopped.

use api::{
    ids::{MemberId, RaftIndex, Term},
    raftpb::{ConfState, Entry, HardState},
};

/// The settings of one member. Ticks are units of the driver's heartbeat interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This member; not 0.
    pub id: MemberId,
    /// Ticks without a leader before a member campaigns; each wait is drawn from
    /// `election_tick..=2 * election_tick - 1`.
    pub election_tick: usize,
    /// Ticks between heartbeats of a leader.
    pub heartbeat_tick: usize,
    /// Ask for votes before raising the term (raft thesis, 9.6).
    pub pre_vote: bool,
    /// A leader that hears no quorum for an election timeout steps down; who heard a leader ignores
    /// candidates.
    pub check_quorum: bool,
    /// The most bytes of entries in one append message or forwarded proposal; one entry always fits.
    pub max_size_per_msg: u64,
    /// The most append messages on their way to one follower.
    pub max_inflight: usize,
    /// The most proposals held while there is no leader to give them to; more are dropped.
    pub max_waiting_proposals: usize,
    /// The most bytes of such proposals; one always fits.
    pub max_waiting_bytes: usize,
    /// Proposals that waited longer are forgotten: their clients have been told so by then.
    pub waiting_timeout_ms: u64,
    /// The most reads held while a new leader has nothing committed in its term; more are
    /// forgotten, their callers ask again.
    pub max_deferred_reads: usize,
    /// The most bytes of entries kept for followers behind the snapshot; one further behind gets
    /// the snapshot.
    pub max_log_bytes: u64,
    /// Bytes a second at which followers far behind are sent what a quorum already has, all of them
    /// together; more under load (see `pace`). 0 for as fast as they take it.
    pub catch_up_rate: u64,
    /// What election timeouts are drawn from.
    pub seed: u64,
}

impl Config {
    /// etcd's settings for a member (its defaults of 100 ms heartbeats and 1000 ms elections).
    pub fn new(id: MemberId, seed: u64) -> Config {
        Config {
            id,
            election_tick: 10,
            heartbeat_tick: 1,
            pre_vote: true,
            check_quorum: true,
            max_size_per_msg: 1 << 20,
            max_inflight: 512,
            max_waiting_proposals: 5000,
            max_waiting_bytes: 64 << 20,
            waiting_timeout_ms: 7000,
            max_deferred_reads: 4096,
            max_log_bytes: 256 << 20,
            catch_up_rate: 12 << 20,
            seed,
        }
    }
}

/// What a member starts from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// Where the log begins (index and term of the snapshot before the first entry; 0 and 0 for a
    /// log that has its first entry) and the members **as of `applied`**. The members of a brand
    /// new cluster are empty here: they come from its first entries.
    pub snapshot: (RaftIndex, Term, ConfState),
    /// The last saved term, vote and commit.
    pub hard_state: HardState,
    /// All saved entries after the snapshot, without gaps.
    pub entries: Vec<Entry>,
    /// The last entry the store has; committed entries after it are handed out again.
    pub applied: RaftIndex,
}

/// Why a member cannot start from what was recovered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A setting that raft cannot work with.
    #[error("invalid raft setting: {0}")]
    Config(String),
    /// The entries do not follow the snapshot one by one.
    #[error("raft log has a gap: expected index {expected}, found {found}")]
    Gap {
        /// The index that should have come.
        expected: RaftIndex,
        /// The index that came.
        found: RaftIndex,
    },
    /// More was known to be committed than the log holds.
    #[error("committed index {commit} is beyond the last entry {last} of the raft log")]
    CommitBeyondLog {
        /// The recovered commit index.
        commit: RaftIndex,
        /// The last index of the log.
        last: RaftIndex,
    },
    /// The store holds changes that the log does not.
    #[error("applied index {applied} of the store is beyond the last entry {last} of the raft log")]
    AppliedBeyondLog {
        /// The index of the store.
        applied: RaftIndex,
        /// The last index of the log.
        last: RaftIndex,
    },
    /// The store is older than the start of the log.
    #[error("applied index {applied} of the store is before the start {start} of the raft log")]
    AppliedBeforeLog {
        /// The index of the store.
        applied: RaftIndex,
        /// The index of the snapshot the log begins with.
        start: RaftIndex,
    },
    /// A member stands twice, or as voter and learner, or the set is half way between two.
    #[error("invalid set of raft members: {0}")]
    ConfState(&'static str),
}
