//! The one place that names raft-rs's messages: etcd's `raftpb` in, `eraftpb` out, and back. Payloads
//! are moved, never copied (both sides hold `Bytes`).
//!
//! The two protocols share their field numbers up to 12. Beyond, etcd has `vote` (13) and `responses`
//! (14), which never leave a member, and raft-rs has `request_snapshot`, `commit_term` and priorities,
//! which are hints: they are not sent, and read as absent. Conf change types differ, too: etcd's 2
//! is an update of a member's data, raft-rs's 2 adds a learner, and 3 it cannot read. It does read
//! conf changes that are proposed, to tell joint ones apart, so inside raft-rs their payload stands in
//! the entry's `context`, which etcd's entries do not have, and `data` is empty: a change of one node.
//!
//! What a peer sends is judged here, before raft-rs would panic on it ([`Refusal`]).

use api::raftpb;
use bytes::Bytes;

pub(crate) use raft::{
    Config as RaftConfig, Error as RaftError, GetEntriesContext, ProgressState, Raft, RaftState,
    RawNode, ReadOnlyOption, Ready, SnapshotStatus, StateRole, Storage, StorageError,
    eraftpb::{
        ConfChange, ConfChangeType, ConfState, Entry, EntryType, HardState, Message, MessageType,
        Snapshot as RaftSnapshot, SnapshotMetadata,
    },
};

use crate::output::{Refusal, Role};

/// An entry to be proposed: raft gives it its place.
pub(crate) fn proposal(data: Bytes) -> Entry {
    Entry { data, ..Entry::default() }
}

/// The bytes an entry carries.
pub(crate) fn payload_len(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len()
}

/// A conf change to be proposed, in etcd's encoding.
pub(crate) fn conf_change_proposal(change: &raftpb::ConfChange) -> Entry {
    let context = prost::Message::encode_to_vec(change).into();
    Entry { context, entry_type: EntryType::EntryConfChange, ..Entry::default() }
}

/// A message for raft that carries entries alone; raft fills in the rest.
pub(crate) fn local_message(kind: MessageType, entries: Vec<Entry>) -> Message {
    Message { msg_type: kind, entries: entries.into(), ..Message::default() }
}

/// Out: an entry for the log or the state machine.
pub(crate) fn entry_out(entry: Entry) -> raftpb::Entry {
    let r#type = entry.entry_type as i32;
    let is_normal = entry.entry_type == EntryType::EntryNormal;
    let data = if is_normal { entry.data } else { entry.context };
    raftpb::Entry { term: entry.term, index: entry.index, r#type, data }
}

/// In: an entry of the log or of a peer; `None` for a type that does not exist.
pub(crate) fn entry_in(entry: raftpb::Entry) -> Option<Entry> {
    let entry_type = match raftpb::EntryType::try_from(entry.r#type).ok()? {
        raftpb::EntryType::EntryNormal => EntryType::EntryNormal,
        raftpb::EntryType::EntryConfChange => EntryType::EntryConfChange,
        raftpb::EntryType::EntryConfChangeV2 => EntryType::EntryConfChangeV2,
    };
    let raftpb::Entry { term, index, data, .. } = entry;
    let (data, context) = match entry_type {
        EntryType::EntryNormal => (data, Bytes::new()),
        _ => (Bytes::new(), data),
    };
    Some(Entry { entry_type, term, index, data, context, ..Entry::default() })
}

/// Out: term, vote and commit.
pub(crate) fn hard_state_out(state: &HardState) -> raftpb::HardState {
    raftpb::HardState { term: state.term, vote: state.vote, commit: state.commit }
}

/// In: term, vote and commit.
pub(crate) fn hard_state_in(state: raftpb::HardState) -> HardState {
    let raftpb::HardState { term, vote, commit } = state;
    HardState { term, vote, commit, ..HardState::default() }
}

/// Out: the members, ids ascending as etcd has them (raft-rs keeps them in a hash set).
pub(crate) fn conf_state_out(state: &ConfState) -> raftpb::ConfState {
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    raftpb::ConfState {
        voters: sorted(&state.voters),
        learners: sorted(&state.learners),
        voters_outgoing: sorted(&state.voters_outgoing),
        learners_next: sorted(&state.learners_next),
        auto_leave: state.auto_leave,
    }
}

/// In: the members.
pub(crate) fn conf_state_in(state: raftpb::ConfState) -> ConfState {
    ConfState {
        voters: state.voters,
        learners: state.learners,
        voters_outgoing: state.voters_outgoing,
        learners_next: state.learners_next,
        auto_leave: state.auto_leave,
        ..ConfState::default()
    }
}

/// In: a conf change to be applied. An update, or a type that does not exist, changes no voter: it is
/// a change of node 0, which raft ignores.
pub(crate) fn conf_change_in(change: &raftpb::ConfChange) -> ConfChange {
    use ConfChangeType::{AddLearnerNode, AddNode, RemoveNode};
    use raftpb::ConfChangeType as Etcd;
    let (change_type, node_id) = match Etcd::try_from(change.r#type) {
        Ok(Etcd::ConfChangeAddNode) => (AddNode, change.node_id),
        Ok(Etcd::ConfChangeRemoveNode) => (RemoveNode, change.node_id),
        Ok(Etcd::ConfChangeAddLearnerNode) => (AddLearnerNode, change.node_id),
        Ok(Etcd::ConfChangeUpdateNode) | Err(_) => (AddNode, 0),
    };
    ConfChange { change_type, node_id, ..ConfChange::default() }
}

/// The description of a snapshot.
pub(crate) fn snapshot_metadata(index: u64, term: u64, conf_state: ConfState) -> SnapshotMetadata {
    let conf_state = Some(conf_state).into();
    SnapshotMetadata { conf_state, index, term, ..SnapshotMetadata::default() }
}

/// A snapshot without data.
pub(crate) fn metadata_snapshot(metadata: SnapshotMetadata) -> RaftSnapshot {
    RaftSnapshot { metadata: Some(metadata).into(), ..RaftSnapshot::default() }
}

/// Out: a snapshot.
pub(crate) fn snapshot_out(snapshot: RaftSnapshot) -> raftpb::Snapshot {
    let metadata = snapshot.get_metadata();
    let metadata = raftpb::SnapshotMetadata {
        conf_state: Some(conf_state_out(metadata.get_conf_state())),
        index: metadata.index,
        term: metadata.term,
    };
    raftpb::Snapshot { data: snapshot.data, metadata: Some(metadata) }
}

fn snapshot_in(snapshot: raftpb::Snapshot) -> Option<RaftSnapshot> {
    let metadata = snapshot.metadata?;
    let conf_state = metadata.conf_state?;
    if metadata.index == 0 || !conf_state_is_sound(&conf_state) || conf_state.voters.is_empty() {
        return None;
    }
    let metadata = snapshot_metadata(metadata.index, metadata.term, conf_state_in(conf_state));
    Some(RaftSnapshot { data: snapshot.data, ..metadata_snapshot(metadata) })
}

/// Whether no member stands twice and the set is not half way between two (etcd never enters joint
/// consensus).
pub(crate) fn conf_state_is_sound(state: &raftpb::ConfState) -> bool {
    let mut ids: Vec<u64> = state.voters.iter().chain(&state.learners).copied().collect();
    ids.sort_unstable();
    let distinct = ids.windows(2).all(|pair| pair[0] != pair[1]) && ids.first() != Some(&0);
    let joint =
        !state.voters_outgoing.is_empty() || !state.learners_next.is_empty() || state.auto_leave;
    distinct && !joint
}

/// Out: the role.
pub(crate) fn role_out(role: StateRole) -> Role {
    match role {
        StateRole::Follower => Role::Follower,
        StateRole::PreCandidate => Role::PreCandidate,
        StateRole::Candidate => Role::Candidate,
        StateRole::Leader => Role::Leader,
    }
}

/// Out: a message for a peer.
pub(crate) fn message_out(message: Message) -> raftpb::Message {
    let mut message = message;
    let snapshot = message.has_snapshot().then(|| snapshot_out(message.take_snapshot()));
    let entries = message.take_entries().into_iter().map(entry_out).collect();
    raftpb::Message {
        r#type: message.msg_type as i32,
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries,
        commit: message.commit,
        vote: 0,
        snapshot,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context,
        responses: Vec::new(),
    }
}

/// In: a message of a peer for member `own`, or what is wrong with it.
pub(crate) fn message_in(message: raftpb::Message, own: u64) -> Result<Message, Refusal> {
    let msg_type = message_type_in(message.r#type).ok_or(Refusal::WrongType)?;
    if message.to != own {
        return Err(Refusal::WrongMember);
    }
    // A transfer is sent in the name of its target.
    let own_allowed = msg_type == MessageType::MsgTransferLeader;
    if message.from == 0 || (message.from == own && !own_allowed) {
        return Err(Refusal::WrongSender);
    }
    let forwarded = matches!(msg_type, MessageType::MsgPropose | MessageType::MsgReadIndex);
    if message.term == 0 && !forwarded {
        return Err(Refusal::NoTerm);
    }
    if message.term != 0 && forwarded {
        return Err(Refusal::WrongType);
    }
    check_entries(msg_type, &message)?;
    let raftpb::Message {
        to,
        from,
        term,
        log_term,
        index,
        commit,
        reject,
        reject_hint,
        context,
        ..
    } = message;
    let entries: Option<Vec<Entry>> = message.entries.into_iter().map(entry_in).collect();
    let entries = entries.ok_or(Refusal::WrongEntries)?;
    let snapshot = match (msg_type, message.snapshot) {
        (MessageType::MsgSnapshot, snapshot) => {
            Some(snapshot.and_then(snapshot_in).ok_or(Refusal::WrongSnapshot)?)
        }
        _ => None,
    };
    Ok(Message {
        msg_type,
        to,
        from,
        term,
        log_term,
        index,
        entries: entries.into(),
        commit,
        snapshot: snapshot.into(),
        reject,
        reject_hint,
        context,
        ..Message::default()
    })
}

/// raft indexes into these without looking.
fn check_entries(kind: MessageType, message: &raftpb::Message) -> Result<(), Refusal> {
    let entries = &message.entries;
    let sound = match kind {
        MessageType::MsgAppend => {
            let place = |i: usize| message.index.checked_add(1 + i as u64);
            let continuous = entries.iter().enumerate().all(|(i, e)| place(i) == Some(e.index));
            let terms = std::iter::once(message.log_term).chain(entries.iter().map(|e| e.term));
            continuous && terms.is_sorted() && entries.last().is_none_or(|e| e.term <= message.term)
        }
        MessageType::MsgPropose => !entries.is_empty(),
        MessageType::MsgReadIndex | MessageType::MsgReadIndexResp => entries.len() == 1,
        _ => true,
    };
    sound.then_some(()).ok_or(Refusal::WrongEntries)
}

/// The types that members send each other.
fn message_type_in(kind: i32) -> Option<MessageType> {
    use raftpb::MessageType as Etcd;
    Some(match Etcd::try_from(kind).ok()? {
        Etcd::MsgProp => MessageType::MsgPropose,
        Etcd::MsgApp => MessageType::MsgAppend,
        Etcd::MsgAppResp => MessageType::MsgAppendResponse,
        Etcd::MsgVote => MessageType::MsgRequestVote,
        Etcd::MsgVoteResp => MessageType::MsgRequestVoteResponse,
        Etcd::MsgSnap => MessageType::MsgSnapshot,
        Etcd::MsgHeartbeat => MessageType::MsgHeartbeat,
        Etcd::MsgHeartbeatResp => MessageType::MsgHeartbeatResponse,
        Etcd::MsgTransferLeader => MessageType::MsgTransferLeader,
        Etcd::MsgTimeoutNow => MessageType::MsgTimeoutNow,
        Etcd::MsgReadIndex => MessageType::MsgReadIndex,
        Etcd::MsgReadIndexResp => MessageType::MsgReadIndexResp,
        Etcd::MsgPreVote => MessageType::MsgRequestPreVote,
        Etcd::MsgPreVoteResp => MessageType::MsgRequestPreVoteResponse,
        Etcd::MsgHup
        | Etcd::MsgBeat
        | Etcd::MsgUnreachable
        | Etcd::MsgSnapStatus
        | Etcd::MsgCheckQuorum
        | Etcd::MsgStorageAppend
        | Etcd::MsgStorageAppendResp
        | Etcd::MsgStorageApply
        | Etcd::MsgStorageApplyResp
        | Etcd::MsgForgetLeader => return None,
    })
}
