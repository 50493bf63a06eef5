//! From raft's readies to outputs, in the order of asynchronous raft-rs: a ready is taken as soon as
//! there is one, its entries count as stable in memory at once, and as durable when the driver says
//! so. Several may be under way.
//!
//! Outputs of one ready: term, leader and role; answered reads; a snapshot; committed entries; a
//! leader's messages; what to persist. Messages of anybody else (votes, acknowledgements) promise
//! something about the disk and leave after it has been synced.
//!
//! So do those of a leader whose term is not durable, which only one that needed no other vote can
//! be. After a crash it would lead in the same term again, and a learner that had its entries of
//! before would take the new ones of the same index and term for those (raft paper, section 5.3:
//! one leader creates at most one entry with an index in a term). raft-rs sends them at once.

use api::{
    ids::{MemberId, RaftIndex, Term},
    raftpb,
};

use super::Node;
use crate::{
    convert::{self, EntryType, Message, MessageType, Ready, StateRole},
    output::Output,
    progress::Positions,
    reads,
};

/// A ready that was given out and not acknowledged.
#[derive(Debug)]
pub(super) struct Outstanding {
    number: u64,
    term: u64,
    must_sync: bool,
    messages: Vec<raftpb::Message>,
}

impl Node {
    /// Hands out all that has become due since the last call; appends to `out`.
    pub fn poll_ready(&mut self, out: &mut Vec<Output>) {
        self.flush_reads();
        self.flush_proposals();
        self.timeout.settle(&mut self.raw.raft);
        while self.raw.has_ready() {
            let ready = self.raw.ready();
            self.report_state(out);
            self.take_ready(ready, out);
        }
        self.report_state(out);
        self.positions().check(self.restoring.is_some());
    }

    fn take_ready(&mut self, mut ready: Ready, out: &mut Vec<Output>) {
        for read in ready.take_read_states() {
            if let Some(id) = reads::id_of(&read.request_ctx) {
                out.push(Output::ReadReady { id, index: RaftIndex(read.index) });
            }
        }
        let restores = !ready.snapshot().is_empty();
        if restores {
            self.restore(&ready, out);
        }
        self.hand_out(ready.take_committed_entries(), out);
        let term = self.raw.raft.term;
        let mut messages = ready.take_messages();
        let mut early = Vec::new();
        if term > self.saved_term && !mutants::is_on(mutants::Mutant::UnsavedTerm) {
            early = std::mem::take(&mut messages);
        }
        if !messages.is_empty() {
            out.push(Output::Send(messages.into_iter().map(convert::message_out).collect()));
        }
        let number = ready.number();
        let must_sync = ready.must_sync();
        let hard_state = ready.hs().map(convert::hard_state_out);
        let entries = ready.take_entries();
        if hard_state.is_some() || !entries.is_empty() || restores {
            let entries = entries.iter().cloned().map(convert::entry_out).collect();
            out.push(Output::Persist { ready: number, hard_state, entries, must_sync });
        }
        let mut waiting = thin_out(ready.take_persisted_messages());
        if mutants::is_on(mutants::Mutant::EarlyAcknowledgement) && !waiting.is_empty() {
            out.push(Output::Send(std::mem::take(&mut waiting)));
        }
        waiting.extend(early.into_iter().map(convert::message_out));
        self.raw.mut_store().append(entries);
        self.raw.advance_append_async(ready);
        self.wait_for_disk(Outstanding { number, term, must_sync, messages: waiting }, out);
    }

    /// Queues a ready behind those under way; one that nothing has to wait for is done at once.
    fn wait_for_disk(&mut self, ready: Outstanding, out: &mut Vec<Output>) {
        let number = ready.number;
        let done = !ready.must_sync && self.outstanding.is_empty();
        self.outstanding.push_back(ready);
        if done {
            self.persisted(number, out);
        }
    }

    /// Everything up to this ready is durable, and so are those after it that need no sync.
    pub(super) fn persisted(&mut self, number: u64, out: &mut Vec<Output>) {
        let mut messages = Vec::new();
        let mut last = None;
        while let Some(ready) = self.outstanding.front() {
            let done = ready.number <= number || !ready.must_sync;
            // An acknowledgement that was overtaken by a later one says nothing new.
            if !done || (last.is_none() && number < ready.number) {
                break;
            }
            let ready = self.outstanding.pop_front().expect("the front was just seen");
            last = Some(ready.number);
            self.saved_term = self.saved_term.max(ready.term);
            messages.extend(ready.messages);
        }
        let Some(last) = last else { return };
        self.raw.on_persist_ready(last);
        self.advance_applied();
        if !messages.is_empty() {
            out.push(Output::Send(messages));
        }
    }

    fn hand_out(&mut self, entries: Vec<convert::Entry>, out: &mut Vec<Output>) {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        assert_eq!(first.index, self.handed + 1, "committed entries are handed out without gaps");
        self.handed = last.index;
        let conf_changes = entries.iter().filter(|e| e.entry_type == EntryType::EntryConfChange);
        self.conf_changes.extend(conf_changes.map(|e| e.index));
        let entries = entries.into_iter().map(convert::entry_out).collect();
        out.push(Output::Commit { entries });
    }

    fn restore(&mut self, ready: &Ready, out: &mut Vec<Output>) {
        let snapshot = ready.snapshot();
        let metadata = snapshot.get_metadata();
        let index = metadata.index;
        self.raw.mut_store().restore(metadata.clone());
        self.handed = index;
        self.conf_index = index;
        self.restoring = Some(index);
        out.push(Output::Restore { snapshot: convert::snapshot_out(snapshot.clone()) });
    }

    fn report_state(&mut self, out: &mut Vec<Output>) {
        let raft = &self.raw.raft;
        let term = Term(raft.term);
        let leader = MemberId(raft.leader_id);
        let role = convert::role_out(raft.state);
        let before = std::mem::replace(&mut self.reported, (term, leader, role));
        if before.0 != term {
            out.push(Output::Term(term));
        }
        if (before.1, before.2) != (leader, role) {
            out.push(Output::SoftState { leader, role });
        }
    }

    /// Where this member is in its log.
    pub fn positions(&self) -> Positions {
        let log = &self.raw.raft.raft_log;
        Positions {
            compacted: RaftIndex(self.raw.store().compacted()),
            snapshot: RaftIndex(self.raw.store().snapshot_index()),
            applied: RaftIndex(self.applied),
            handed: RaftIndex(self.handed),
            committed: RaftIndex(log.committed),
            persisted: RaftIndex(log.persisted),
            last: RaftIndex(log.last_index()),
        }
    }

    /// Whether this member leads.
    pub(super) fn leads(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }
}

/// Of several acknowledgements for one leader the last says it all.
fn thin_out(messages: Vec<Message>) -> Vec<raftpb::Message> {
    let acknowledges = |m: &Message| m.msg_type == MessageType::MsgAppendResponse && !m.reject;
    let superseded = |i: usize, m: &Message| {
        acknowledges(m)
            && messages[i + 1..].iter().any(|later| acknowledges(later) && later.to == m.to)
    };
    let keep: Vec<bool> = messages.iter().enumerate().map(|(i, m)| !superseded(i, m)).collect();
    let kept = messages.into_iter().zip(keep).filter_map(|(m, keep)| keep.then_some(m));
    kept.map(convert::message_out).collect()
}
