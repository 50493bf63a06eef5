//! What a member tells about itself.

use api::ids::{MemberId, RaftIndex, Term};

use super::Node;
use crate::{
    convert::{self, ProgressState},
    output::Role,
    progress::Positions,
};

/// A member at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// This member.
    pub id: MemberId,
    /// Its term.
    pub term: Term,
    /// Its vote in that term; 0 for none.
    pub vote: MemberId,
    /// Its role.
    pub role: Role,
    /// The leader; 0 when unknown.
    pub leader: MemberId,
    /// Whom this leader hands leadership to.
    pub transferee: Option<MemberId>,
    /// Where it is in its log.
    pub positions: Positions,
    /// The first entry in memory.
    pub first: RaftIndex,
    /// Proposals that wait for a leader or the next ready.
    pub waiting_proposals: usize,
}

/// How entries reach a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicationState {
    /// One message at a time, until the logs are known to meet.
    Probe,
    /// A stream of messages.
    Replicate,
    /// It is too far behind and receives a snapshot.
    Snapshot,
}

/// A member as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerProgress {
    /// The member.
    pub id: MemberId,
    /// Whether it does not vote.
    pub learner: bool,
    /// The last entry known to be on its disk.
    pub matched: RaftIndex,
    /// The next entry to send.
    pub next: RaftIndex,
    /// How entries reach it.
    pub state: ReplicationState,
    /// Whether it was heard of in this election timeout.
    pub recent_active: bool,
}

impl Node {
    /// This member at the moment.
    pub fn status(&self) -> Status {
        let raft = &self.raw.raft;
        Status {
            id: self.config.id,
            term: Term(raft.term),
            vote: MemberId(raft.vote),
            role: convert::role_out(raft.state),
            leader: MemberId(raft.leader_id),
            transferee: raft.lead_transferee.map(MemberId),
            positions: self.positions(),
            first: RaftIndex(self.first_index()),
            waiting_proposals: self.proposals.len(),
        }
    }

    /// All members in this leader's eyes, itself among them, ids ascending; none if it does not lead.
    pub fn peers(&self) -> Vec<PeerProgress> {
        if !self.leads() {
            return Vec::new();
        }
        let raft = &self.raw.raft;
        let conf_state = raft.prs().conf().to_conf_state();
        let progress = raft.prs().iter().map(|(id, progress)| PeerProgress {
            id: MemberId(*id),
            learner: conf_state.learners.contains(id),
            matched: RaftIndex(progress.matched),
            next: RaftIndex(progress.next_idx),
            state: match progress.state {
                ProgressState::Probe => ReplicationState::Probe,
                ProgressState::Replicate => ReplicationState::Replicate,
                ProgressState::Snapshot => ReplicationState::Snapshot,
            },
            recent_active: progress.recent_active,
        });
        let mut peers: Vec<_> = progress.collect();
        peers.sort_unstable_by_key(|peer| peer.id);
        peers
    }
}
