//! The consensus half of a member: raft-rs driven by inputs, with the readies it makes turned into
//! outputs (`ready`), and the places where raft-rs must not be left alone (`guard`).
//!
//! Inputs change state and only rarely ask for anything at once; [`Node::poll_ready`] then hands out
//! all that has become due. A driver that handles many inputs before it polls gets one batch.

mod guard;
mod ready;
mod status;

use std::collections::VecDeque;

use api::{
    ids::{MemberId, RaftIndex, Term},
    raftpb,
};
use bytes::Bytes;
use mutants::{Mutant, is_on};

pub use status::{PeerProgress, ReplicationState, Status};

use crate::{
    config::{Config, Error, Recovered},
    convert::{
        self, ConfChangeType, EntryType, Message, MessageType, RaftConfig, RawNode, ReadOnlyOption,
        SnapshotStatus, StateRole,
    },
    input::Input,
    log::Log,
    output::{Output, Role},
    pace::Pace,
    proposals::Proposals,
    reads::{self, Reads},
    timeout::{ElectionTimeout, UNSEEDED_MAX},
};

/// One raft member.
pub struct Node {
    config: Config,
    raw: RawNode<Log>,
    timeout: ElectionTimeout,
    proposals: Proposals,
    reads: Reads,
    /// The last term that is durable.
    saved_term: u64,
    /// Readies given out and not acknowledged.
    outstanding: VecDeque<ready::Outstanding>,
    /// The last entry given to the state machine.
    handed: u64,
    /// The last entry the driver reported as applied.
    applied: u64,
    /// Conf changes given to the state machine and not answered.
    conf_changes: VecDeque<u64>,
    /// The members already stand for every conf change up to here.
    conf_index: u64,
    /// The snapshot being installed.
    restoring: Option<u64>,
    /// Whether this leader has removed itself and is handing over.
    leaving: bool,
    /// The followers that wait for their turn to be sent more (see `pace`).
    waiting: usize,
    /// Who of them is served first is another one each time.
    turn: usize,
    /// The commit index, and for how many ticks it has not moved while there was something to commit.
    stuck: (u64, usize),
    /// What was last reported.
    reported: (Term, MemberId, Role),
}

impl Node {
    /// A member that continues from what it had saved.
    pub fn new(config: Config, recovered: Recovered) -> Result<Node, Error> {
        let (log, applied) = recover(recovered, Pace::new(config.catch_up_rate))?;
        let raft_config = RaftConfig {
            id: config.id.0,
            election_tick: config.election_tick,
            heartbeat_tick: config.heartbeat_tick,
            applied,
            max_size_per_msg: config.max_size_per_msg,
            max_inflight_msgs: config.max_inflight,
            check_quorum: config.check_quorum,
            pre_vote: config.pre_vote,
            min_election_tick: config.election_tick,
            max_election_tick: UNSEEDED_MAX,
            read_only_option: match is_on(Mutant::ReadWithoutQuorum) {
                true => ReadOnlyOption::LeaseBased,
                false => ReadOnlyOption::Safe,
            },
            ..RaftConfig::default()
        };
        raft_config.validate().map_err(|error| Error::Config(error.to_string()))?;
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&raft_config, log, &logger)
            .expect("a valid configuration and a checked log make a raft node");
        let mut timeout = ElectionTimeout::new(config.seed, config.election_tick);
        let mut node = Node {
            proposals: Proposals::new(config.max_waiting_proposals, config.max_waiting_bytes),
            reads: Reads::new(config.max_deferred_reads),
            saved_term: raw.raft.term,
            outstanding: VecDeque::new(),
            handed: applied,
            applied,
            conf_changes: VecDeque::new(),
            conf_index: applied,
            restoring: None,
            leaving: false,
            waiting: 0,
            turn: 0,
            stuck: (0, 0),
            reported: Default::default(),
            config,
            raw,
            timeout: ElectionTimeout::new(0, 1),
        };
        timeout.settle(&mut node.raw.raft);
        node.timeout = timeout;
        node.positions().check(false);
        Ok(node)
    }

    /// Takes in one event. `now_ms` is the driver's monotonic clock; `out` is appended to.
    pub fn handle(&mut self, input: Input, now_ms: u64, out: &mut Vec<Output>) {
        self.keep_pace(now_ms);
        match input {
            Input::Tick => self.tick(now_ms),
            Input::Propose { ticket, data } => {
                self.propose(ticket, convert::proposal(data), false, now_ms, out);
            }
            Input::ProposeAsLeader { ticket, data, .. } if is_on(Mutant::ExpiryForwarded) => {
                self.propose(ticket, convert::proposal(data), false, now_ms, out);
            }
            Input::ProposeAsLeader { ticket, data, term } => {
                self.propose_as_leader(ticket, data, term, out);
            }
            Input::ProposeConfChange { ticket, change } => {
                let entry = convert::conf_change_proposal(&change);
                self.propose(ticket, entry, true, now_ms, out);
            }
            Input::ReadIndex { id } => self.read(reads::request(id)),
            Input::Message(message) => self.message(message, now_ms, out),
            Input::Unreachable(member) => self.raw.report_unreachable(member.0),
            Input::SnapshotStatus { to, delivered } => self.snapshot_status(to, delivered),
            Input::TransferLeader(member) => self.raw.transfer_leader(member.0),
            Input::StepDown => self.step_down(),
            Input::Persisted { ready } => self.persisted(ready, out),
            Input::ApplyConfChange { change } => self.apply_conf_change(&change, out),
            Input::Applied { index } => self.applied(index),
            Input::SnapshotTaken { index, term, conf_state } => {
                self.snapshot_taken(index, term, conf_state);
            }
            Input::Compact { index } => self.compact(index),
        }
        self.timeout.settle(&mut self.raw.raft);
    }

    /// Passes `count` ticks at once, at start-up: a member that has nobody to wait for, or already
    /// hears its peers, need not sit out a whole election timeout.
    pub fn advance_ticks(&mut self, count: usize) {
        for _ in 0..count {
            self.raft_tick();
        }
    }

    fn tick(&mut self, now_ms: u64) {
        if !self.can_propose() {
            self.proposals.expire(now_ms.saturating_sub(self.config.waiting_timeout_ms));
        }
        self.raft_tick();
    }

    fn raft_tick(&mut self) {
        self.watch_commits();
        if self.must_not_campaign() {
            return;
        }
        if self.is_alone() && self.raw.raft.state != StateRole::Leader {
            // Nobody else could lead or vote: there is no timeout to wait for. Refused by raft while
            // conf changes are unapplied; the next tick tries again.
            self.raw.campaign().expect("a campaign of its own is never an error");
        } else {
            self.raw.tick();
        }
        if self.leaving {
            self.hand_over();
        }
        self.timeout.settle(&mut self.raw.raft);
    }

    fn propose(
        &mut self,
        ticket: u64,
        entry: convert::Entry,
        conf_change: bool,
        now_ms: u64,
        out: &mut Vec<Output>,
    ) {
        if self.proposals.is_full(&entry) {
            self.flush_proposals();
        }
        if self.proposals.is_full(&entry) {
            out.push(Output::Dropped { ticket });
            return;
        }
        self.proposals.push(entry, conf_change, now_ms);
    }

    /// Proposes at once or not at all: a proposal that waits could end up with another leader.
    fn propose_as_leader(&mut self, ticket: u64, data: Bytes, term: Term, out: &mut Vec<Output>) {
        let raft = &self.raw.raft;
        let leads = raft.state == StateRole::Leader && raft.term == term.0;
        if !leads || !self.can_propose() {
            out.push(Output::Dropped { ticket });
            return;
        }
        self.step_proposal(vec![convert::proposal(data)]);
        self.fill_pipelines();
    }

    /// Whether raft would take a proposal now, to append it or to forward it to the leader.
    fn can_propose(&self) -> bool {
        let raft = &self.raw.raft;
        match raft.state {
            StateRole::Leader => raft.lead_transferee.is_none() && !self.leaving,
            StateRole::Follower => raft.leader_id != 0,
            StateRole::Candidate | StateRole::PreCandidate => false,
        }
    }

    /// Gives raft what waits, in messages of the configured size.
    fn flush_proposals(&mut self) {
        if self.proposals.len() == 0 || !self.can_propose() {
            return;
        }
        loop {
            let batch = self.proposals.take_batch(self.config.max_size_per_msg);
            if batch.is_empty() {
                break;
            }
            self.step_proposal(batch);
        }
        // The leader turns a conf change into an empty entry while another is unapplied.
        let leads = self.raw.raft.state == StateRole::Leader;
        while !(leads && self.raw.raft.has_pending_conf()) {
            let Some(entry) = self.proposals.take_conf_change() else { break };
            self.step_proposal(vec![entry]);
        }
        self.fill_pipelines();
    }

    fn step_proposal(&mut self, entries: Vec<convert::Entry>) {
        let mut message = convert::local_message(MessageType::MsgPropose, entries);
        message.from = self.raw.raft.id;
        self.raw.raft.step(message).expect("raft takes proposals when it can");
    }

    fn read(&mut self, read: Message) {
        let raft = &mut self.raw.raft;
        if raft.state == StateRole::Leader && (self.leaving || !raft.commit_to_current_term()) {
            self.reads.defer(read);
        } else {
            // Without a leader it is lost, which is no error: the caller asks again.
            let _ = raft.step(read);
        }
    }

    /// Gives raft the reads that waited for the leader's first commit. One that leads no more
    /// forwards its own and forgets those of others.
    fn flush_reads(&mut self) {
        let raft = &mut self.raw.raft;
        let leads = raft.state == StateRole::Leader;
        if self.reads.is_empty() || (leads && (self.leaving || !raft.commit_to_current_term())) {
            return;
        }
        for read in self.reads.take() {
            if leads || reads::is_local(&read) {
                let _ = raft.step(read);
            }
        }
    }

    fn message(&mut self, message: raftpb::Message, now_ms: u64, out: &mut Vec<Output>) {
        let from = MemberId(message.from);
        let checked = convert::message_in(message, self.config.id.0);
        let mut message = match checked.and_then(|m| self.check_acknowledgement(&m).map(|()| m)) {
            Ok(message) => message,
            Err(refusal) => {
                out.push(Output::Refused { from, refusal });
                return;
            }
        };
        if message.msg_type == MessageType::MsgReadIndex {
            return self.read(message);
        }
        if !self.admit(&mut message) {
            return;
        }
        // The old sin of leases that come back takes an empty entry in the middle of a term.
        let queues = self.leads() && !is_on(Mutant::PromotedAgain);
        if message.msg_type == MessageType::MsgPropose && queues {
            self.queue_conf_changes(&mut message, now_ms);
            if message.entries.is_empty() {
                return;
            }
        }
        // Errors are a response of a stranger or a proposal at a bad time: both are dropped, as by
        // etcd.
        let _ = self.raw.step(message);
        self.fill_pipelines();
    }

    /// Has the conf changes of a forwarded proposal wait like the leader's own: raft would turn one
    /// that comes while another is unapplied into an empty entry, and its client would time out.
    fn queue_conf_changes(&mut self, message: &mut Message, now_ms: u64) {
        let entries = std::mem::take(&mut message.entries);
        for entry in entries {
            if entry.entry_type == EntryType::EntryNormal {
                message.entries.push(entry);
            } else if !self.proposals.is_full(&entry) {
                self.proposals.push(entry, true, now_ms);
            }
        }
    }

    fn step_down(&mut self) {
        let raft = &mut self.raw.raft;
        if raft.state == StateRole::Leader {
            let term = raft.term;
            raft.become_follower(term, 0);
        }
    }

    fn snapshot_status(&mut self, to: MemberId, delivered: bool) {
        let status = if delivered { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.raw.report_snapshot(to.0, status);
        self.keep_next_above_match();
    }

    fn apply_conf_change(&mut self, change: &raftpb::ConfChange, out: &mut Vec<Output>) {
        let index = self.conf_changes.pop_front();
        let index = index.expect("each conf change handed out is answered once");
        // One that was handed out before a snapshot replaced the members is history.
        if self.conf_index < index {
            self.conf_index = index;
            let mut change = convert::conf_change_in(change);
            if self.removes_itself(&change) {
                change.change_type = ConfChangeType::AddLearnerNode;
                self.leaving = true;
            }
            // An error would be the removal of the last voter: membership refuses that, and the
            // members stay as they were.
            let changed = self.raw.apply_conf_change(&change);
            self.leaving &= changed.is_ok();
            self.keep_next_above_match();
            if self.leaving {
                self.hand_over();
            }
        }
        let conf_state = self.raw.raft.prs().conf().to_conf_state();
        let mut conf_state = convert::conf_state_out(&conf_state);
        if self.leaving {
            conf_state.learners.retain(|id| *id != self.config.id.0);
        }
        out.push(Output::ConfState { index: RaftIndex(index), conf_state });
    }

    fn applied(&mut self, index: RaftIndex) {
        let index = index.0;
        assert!(index <= self.handed, "applied {index} was handed out up to {}", self.handed);
        if let Some(conf_change) = self.conf_changes.front() {
            assert!(
                index < *conf_change,
                "conf change {conf_change} is answered before {index} counts as applied"
            );
        }
        self.applied = self.applied.max(index);
        self.advance_applied();
    }

    /// Tells raft what is applied, as far as it knows it to be durable.
    fn advance_applied(&mut self) {
        let log = &self.raw.raft.raft_log;
        let applied = self.applied.min(log.committed).min(log.persisted);
        if log.applied < applied {
            self.raw.advance_apply_to(applied);
        }
        if self.restoring.is_some_and(|index| index <= applied) {
            self.restoring = None;
        }
    }

    fn snapshot_taken(&mut self, index: RaftIndex, term: Term, conf_state: raftpb::ConfState) {
        let store = self.raw.store();
        if index.0 < store.snapshot_index() {
            return; // A leader's snapshot has overtaken it.
        }
        assert!(index.0 <= self.applied, "snapshot {index} is of applied entries");
        let conf_state = convert::conf_state_in(conf_state);
        let metadata = convert::snapshot_metadata(index.0, term.0, conf_state);
        self.raw.mut_store().set_snapshot(metadata);
    }

    fn compact(&mut self, index: RaftIndex) {
        let needed = self.oldest_snapshot_on_its_way().unwrap_or(u64::MAX);
        let applied = self.raw.raft.raft_log.applied;
        let enough = self.raw.store().index_above(self.config.max_log_bytes);
        let index = index.0.max(enough).min(needed).min(applied);
        self.raw.mut_store().compact(index);
    }
}

/// Checks what was saved and makes the log of it; also returns the applied index.
fn recover(recovered: Recovered, pace: Pace) -> Result<(Log, u64), Error> {
    let Recovered { snapshot: (start, start_term, conf_state), hard_state, entries, applied } =
        recovered;
    let found = |found| RaftIndex(found);
    for (i, entry) in entries.iter().enumerate() {
        let expected = RaftIndex(start.0 + 1 + i as u64);
        if entry.index != expected.0 {
            return Err(Error::Gap { expected, found: found(entry.index) });
        }
    }
    let last = RaftIndex(start.0 + entries.len() as u64);
    if applied < start {
        return Err(Error::AppliedBeforeLog { applied, start });
    }
    if last < applied {
        return Err(Error::AppliedBeyondLog { applied, last });
    }
    if last.0 < hard_state.commit {
        return Err(Error::CommitBeyondLog { commit: RaftIndex(hard_state.commit), last });
    }
    if !convert::conf_state_is_sound(&conf_state) {
        return Err(Error::ConfState("a member stands twice, is 0, or the set is joint"));
    }
    let last_term = entries.last().map_or(start_term.0, |e| e.term);
    let mut hard_state = hard_state;
    // The commit index is saved without a sync and the store with one: it may know better.
    hard_state.commit = hard_state.commit.max(applied.0);
    // Entries of a term whose own record was torn off.
    if hard_state.term < last_term {
        hard_state.term = last_term;
        hard_state.vote = 0;
    }
    let entries: Option<Vec<_>> = entries.into_iter().map(convert::entry_in).collect();
    let entries = entries.ok_or_else(|| Error::Config("an entry has an unknown type".into()))?;
    let hard_state = convert::hard_state_in(hard_state);
    let conf_state = convert::conf_state_in(conf_state);
    let start = (start.0, start_term.0);
    Ok((Log::new(start, entries, hard_state, conf_state, applied.0, pace), applied.0))
}
