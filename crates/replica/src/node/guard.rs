//! Where raft-rs 0.7 must not be left alone:
//!
//! - A sole voter wins its own vote at once, and raft-rs asserts that its log is durable by then: no
//!   campaign while it is not.
//! - A leader that removes itself keeps leading in raft-rs without a progress of its own, and panics at
//!   the next commit: it hands over and steps down.
//! - The next index of a follower must stay above its match index: a stale rejection must not
//!   lower it, nor a snapshot or a conf change.
//! - Entries beyond one message's size are sent only with the next acknowledgement: pipelines are
//!   filled at once.

use super::Node;
use crate::{
    convert::{Message, MessageType, ProgressState, StateRole, Storage},
    output::Refusal,
};

impl Node {
    /// Whether this member is the only voter.
    pub(super) fn is_alone(&self) -> bool {
        let raft = &self.raw.raft;
        raft.promotable() && raft.prs().is_singleton()
    }

    /// Whether winning a campaign now would meet entries that are not durable.
    pub(super) fn must_not_campaign(&self) -> bool {
        let raft = &self.raw.raft;
        raft.state != StateRole::Leader
            && self.is_alone()
            && raft.raft_log.persisted != raft.raft_log.last_index()
    }

    /// Whether raft may see a message, which may be mended for it.
    pub(super) fn admit(&self, message: &mut Message) -> bool {
        match message.msg_type {
            MessageType::MsgTimeoutNow => !self.must_not_campaign(),
            MessageType::MsgAppendResponse => self.admit_rejection(message),
            _ => true,
        }
    }

    /// Refuses an acknowledgement, by a follower of this leader, of what the leader never had.
    pub(super) fn check_acknowledgement(&self, message: &Message) -> Result<(), Refusal> {
        let raft = &self.raw.raft;
        let is_acknowledgement = message.msg_type == MessageType::MsgAppendResponse
            && raft.state == StateRole::Leader
            && message.term == raft.term
            && !message.reject;
        if is_acknowledgement && raft.raft_log.last_index() < message.index {
            return Err(Refusal::BeyondLog);
        }
        Ok(())
    }

    /// Whether a follower's rejection is news: one of an entry that it has acknowledged since is not.
    /// What it says of the end of its log is raised to what it has acknowledged.
    fn admit_rejection(&self, message: &mut Message) -> bool {
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader || message.term != raft.term || !message.reject {
            return true;
        }
        let Some(progress) = raft.prs().get(message.from) else { return true };
        if message.index <= progress.matched {
            return false;
        }
        let log = &raft.raft_log;
        message.reject_hint = message.reject_hint.min(log.last_index());
        let hint = match message.log_term {
            0 => message.reject_hint,
            term => log.find_conflict_by_term(message.reject_hint, term).0,
        };
        if hint < progress.matched {
            message.reject_hint = progress.matched;
            message.log_term = 0;
        }
        true
    }

    /// Repairs what a snapshot or a conf change left.
    pub(super) fn keep_next_above_match(&mut self) {
        for (_, progress) in self.raw.raft.mut_prs().iter_mut() {
            progress.next_idx = progress.next_idx.max(progress.matched + 1);
        }
    }

    /// Sends followers that keep up all they may have, not one message's worth.
    pub(super) fn fill_pipelines(&mut self) {
        let raft = &mut self.raw.raft;
        if raft.state != StateRole::Leader || raft.prs().iter().len() < 2 {
            return;
        }
        let mut peers: Vec<u64> = raft.prs().iter().map(|(id, _)| *id).collect();
        peers.sort_unstable();
        peers.retain(|id| *id != raft.id);
        for peer in peers {
            let next_due = |raft: &crate::convert::Raft<_>| {
                let progress = raft.prs().get(peer)?;
                let due = progress.state == ProgressState::Replicate
                    && !progress.is_paused()
                    && progress.next_idx <= raft.raft_log.last_index();
                due.then_some(progress.next_idx)
            };
            while let Some(next) = next_due(raft) {
                raft.send_append(peer);
                if next_due(raft) == Some(next) {
                    break;
                }
            }
        }
    }

    /// After a conf change: a leader that is no voter any more tells everybody what is committed,
    /// asks the most advanced voter to take over and follows.
    pub(super) fn step_down_if_removed(&mut self) {
        let raft = &mut self.raw.raft;
        if raft.state != StateRole::Leader || raft.promotable() {
            return;
        }
        raft.bcast_append();
        let voters = raft.prs().conf().to_conf_state().voters;
        let matched = |id: &u64| raft.prs().get(*id).map_or(0, |progress| progress.matched);
        let heir = voters.iter().copied().max_by_key(|id| (matched(id), *id));
        if let Some(heir) = heir {
            raft.send_timeout_now(heir);
        }
        let term = raft.term;
        raft.become_follower(term, 0);
    }

    /// The oldest snapshot that a follower is being sent: entries after it must stay.
    pub(super) fn oldest_snapshot_on_its_way(&self) -> Option<u64> {
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader {
            return None;
        }
        let followers = raft.prs().iter().map(|(_, progress)| progress);
        let receiving = followers.filter(|p| p.state == ProgressState::Snapshot);
        receiving.map(|p| p.pending_snapshot).min()
    }

    /// The first index in memory, for messages and tests.
    pub(super) fn first_index(&self) -> u64 {
        self.raw.store().first_index().expect("the log in memory always answers")
    }
}
