//! What every message from a peer goes through before the member sees it.

use std::sync::Arc;

use api::{
    ids::MemberId,
    raftpb::{Message, MessageType},
};
use prost::Message as _;

use crate::{codec::is_link_heartbeat, sink::Sink, stats::Stats};

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejected {
    /// The sender was removed from the cluster.
    #[error("cannot process message from removed member")]
    FromRemoved,
    /// The message is for another member.
    #[error("cannot process message to mismatch member")]
    ToOther,
    /// A message that a member sends to itself only.
    #[error("raft: cannot step raft local message")]
    Local,
}

/// The way of received messages to the member.
#[derive(Clone)]
pub(crate) struct Inbound {
    pub(crate) member: MemberId,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) stats: Arc<Stats>,
}

impl Inbound {
    /// Checks and passes on one message that was posted.
    pub(crate) fn post(&self, mut message: Message) -> Result<(), Rejected> {
        self.check(&message)?;
        normalize(&mut message);
        let (from, kind) = (MemberId(message.from), message.r#type());
        if !self.sink.message(message) {
            self.dropped(from, kind, 1);
        }
        Ok(())
    }

    /// Checks and passes on what came over a stream of `peer`.
    pub(crate) fn stream(&self, mut batch: Vec<Message>, paused: bool) {
        for message in &batch {
            let stats = self.stats.peer(MemberId(message.from));
            stats.received_bytes.add(message.encoded_len() as u64);
        }
        if paused {
            return;
        }
        batch.retain(|message| {
            if is_link_heartbeat(message) {
                return false;
            }
            let checked = self.check(message);
            if let Err(error) = checked {
                tracing::warn!(%error, "failed to process Raft message");
            }
            checked.is_ok()
        });
        batch.iter_mut().for_each(normalize);
        let Some(first) = batch.first() else { return };
        let (from, kind) = (MemberId(first.from), first.r#type());
        let dropped = self.sink.messages(batch);
        if dropped > 0 {
            self.dropped(from, kind, dropped);
        }
    }

    fn check(&self, message: &Message) -> Result<(), Rejected> {
        let from = MemberId(message.from);
        if self.sink.is_removed(from) {
            tracing::warn!(
                "local-member-id" = %self.member,
                "removed-member-id" = %from,
                "rejected Raft message from removed member"
            );
            return Err(Rejected::FromRemoved);
        }
        if message.to != self.member.0 {
            tracing::warn!(
                "local-member-id" = %self.member,
                "mismatch-member-id" = %MemberId(message.to),
                "rejected Raft message to mismatch member"
            );
            return Err(Rejected::ToOther);
        }
        if is_local(message.r#type()) { Err(Rejected::Local) } else { Ok(()) }
    }

    fn dropped(&self, from: MemberId, kind: MessageType, count: usize) {
        self.stats.peer(from).received_failures.add(count as u64);
        tracing::warn!(
            "message-type" = kind.as_str_name(),
            "local-member-id" = %self.member,
            %from,
            count,
            "dropped internal Raft message since receiving buffer is full (overloaded network)"
        );
    }
}

/// etcd up to 3.5 writes an empty snapshot into messages that have none.
fn normalize(message: &mut Message) {
    if message.r#type() != MessageType::MsgSnap {
        message.snapshot = None;
    }
}

/// Messages that raft makes for itself: from another member they are refused.
fn is_local(kind: MessageType) -> bool {
    use MessageType::*;
    matches!(
        kind,
        MsgHup
            | MsgBeat
            | MsgUnreachable
            | MsgSnapStatus
            | MsgCheckQuorum
            | MsgStorageAppend
            | MsgStorageAppendResp
            | MsgStorageApply
            | MsgStorageApplyResp
    )
}
