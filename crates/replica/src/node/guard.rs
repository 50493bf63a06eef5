//! Where raft-rs 0.7 must not be left alone:
//!
//! - A sole voter wins its own vote at once, and raft-rs asserts that its log is durable by then: no
//!   campaign while it is not.
//! - A campaign looks at all entries that are not applied, also while a snapshot that replaces them
//!   waits for the disk: no campaign until it is installed.
//! - A leader that removes itself would lead on without a progress of its own, and panic at the next
//!   commit: it stays on as a learner, out of everybody's quorum, until it has handed over.
//! - The next index of a follower must stay above its match index: a stale rejection must not
//!   lower it, nor a snapshot or a conf change.
//! - Entries beyond one message's size are sent only with the next acknowledgement: pipelines are
//!   filled at once.

use mutants::{Mutant, is_on};

use super::Node;
use crate::{
    convert::{
        ConfChange, ConfChangeType, Message, MessageType, ProgressState, StateRole, Storage,
    },
    output::Refusal,
};

impl Node {
    /// Whether this member is the only voter.
    pub(super) fn is_alone(&self) -> bool {
        let raft = &self.raw.raft;
        raft.promotable() && raft.prs().is_singleton()
    }

    /// Whether a read of what this member has applied is linearizable, without any word from raft. So
    /// it is for a leader without other members, once it has applied an entry of its own term: all
    /// that was ever acknowledged comes before that entry or is acknowledged here, after it was
    /// applied. Anybody who joins has to be sent something first.
    pub fn serves_reads_alone(&self) -> bool {
        let raft = &self.raw.raft;
        let no_others = || self.is_alone() && raft.prs().iter().len() == 1;
        let is_term_of = |index| raft.raft_log.term(index).is_ok_and(|term| term == raft.term);
        self.leads()
            && !self.leaving
            && no_others()
            && (is_term_of(self.applied) || is_on(Mutant::ReadBeforeApplied))
    }

    /// Whether a campaign now would look for entries that a snapshot is replacing, or be won over
    /// entries that are not durable.
    pub(super) fn must_not_campaign(&self) -> bool {
        let raft = &self.raw.raft;
        let log = &raft.raft_log;
        let won_too_early = self.is_alone() && log.persisted != log.last_index();
        raft.state != StateRole::Leader && (self.restoring.is_some() || won_too_early)
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
        self.waiting = 0;
        let raft = &mut self.raw.raft;
        if raft.state != StateRole::Leader || raft.prs().iter().len() < 2 {
            return;
        }
        let mut peers: Vec<u64> = raft.prs().iter().map(|(id, _)| *id).collect();
        peers.sort_unstable();
        peers.retain(|id| *id != raft.id);
        let first = self.turn % peers.len().max(1);
        peers.rotate_left(first);
        for peer in peers {
            let next_due = |raft: &crate::convert::Raft<_>| {
                let progress = raft.prs().get(peer)?;
                let due = progress.state != ProgressState::Snapshot
                    && !progress.is_paused()
                    && progress.next_idx <= raft.raft_log.last_index();
                due.then_some(progress.next_idx)
            };
            while let Some(next) = next_due(raft) {
                raft.send_append(peer);
                if next_due(raft) == Some(next) {
                    self.waiting += 1;
                    break;
                }
            }
        }
    }

    /// Time has come to `now_ms`: sends more to followers that had to wait.
    pub fn keep_pace(&mut self, now_ms: u64) {
        let raft = &self.raw.raft;
        let committed = raft.raft_log.committed;
        // Half an election timeout without a commit: whoever is paced may be needed for the quorum.
        let stands_still = self.stuck.1 >= self.config.election_tick / 2;
        let suspended = stands_still || raft.lead_transferee.is_some();
        let waiting = self.waiting;
        let pace = self.raw.mut_store().pace_mut();
        pace.observe(committed, suspended);
        if pace.fill(now_ms, waiting) {
            self.turn = self.turn.wrapping_add(1);
            self.fill_pipelines();
        }
    }

    /// In how many milliseconds [`Node::keep_pace`] has something to send if nothing else happens.
    pub fn due_in_ms(&self) -> Option<u64> {
        self.raw.store().pace().due_in_ms().filter(|_| self.leads())
    }

    /// With each tick: whether the commit index stands still.
    pub(super) fn watch_commits(&mut self) {
        let log = &self.raw.raft.raft_log;
        let waits = log.committed < log.last_index() && log.committed == self.stuck.0;
        self.stuck = (log.committed, if waits { self.stuck.1 + 1 } else { 0 });
    }

    /// Whether this leader is about to apply its own removal.
    pub(super) fn removes_itself(&self, change: &ConfChange) -> bool {
        self.leads()
            && change.change_type == ConfChangeType::RemoveNode
            && change.node_id == self.config.id.0
    }

    /// A removed leader leads until another one does: the others may not know yet that the removal is
    /// committed, and while they count its vote they cannot always do without it. It answers no
    /// reads, for its word counts no more, takes no proposals, and is deposed by nothing but a term
    /// that follows its own. Called after the removal and with each tick.
    pub(super) fn hand_over(&mut self) {
        let raft = &mut self.raw.raft;
        if raft.state != StateRole::Leader {
            self.leaving = false;
            raft.set_check_quorum(self.config.check_quorum);
            return;
        }
        raft.set_check_quorum(false);
        let caught_up = raft.lead_transferee.filter(|heir| {
            let matched = raft.prs().get(*heir).map(|progress| progress.matched);
            matched == Some(raft.raft_log.last_index())
        });
        if let Some(heir) = caught_up {
            // It may have refused the first time, with the removal not applied yet.
            raft.send_timeout_now(heir);
        } else if raft.lead_transferee.is_none() {
            let voters = raft.prs().conf().to_conf_state().voters;
            let matched = |id: &u64| raft.prs().get(*id).map_or(0, |progress| progress.matched);
            if let Some(heir) = voters.iter().copied().max_by_key(|id| (matched(id), *id)) {
                self.raw.transfer_leader(heir);
            }
        }
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
