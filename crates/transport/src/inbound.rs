//! What every message from a peer goes through before the member sees it.

use std::sync::Arc;

use api::{
    ids::MemberId,
    raftpb::{Message, MessageType},
};

use crate::{codec::is_link_heartbeat, quiet::Quiet, sink::Sink, stats::Stats};

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejected {
    /// The sender was removed from the cluster.
    #[error("cannot process message from removed member")]
    FromRemoved,
    /// The message is for another member.
    #[error("cannot process message to mismatch member")]
    ToOther,
}

/// The way of received messages to the member.
#[derive(Clone)]
pub(crate) struct Inbound {
    pub(crate) member: MemberId,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) quiet: Arc<Quiet>,
}

impl Inbound {
    /// Checks and passes on one message that was posted.
    pub(crate) fn post(&self, mut message: Message) -> Result<(), Rejected> {
        self.check(&message)?;
        if is_local(message.r#type()) {
            return Ok(());
        }
        normalize(&mut message);
        let (from, kind) = (MemberId(message.from), message.r#type());
        if !self.sink.message(message) {
            self.dropped(from, kind, 1);
        }
        Ok(())
    }

    /// Checks and passes on what came over a stream.
    pub(crate) fn stream(&self, mut batch: Vec<Message>) {
        let mut good_from = 0;
        batch.retain_mut(|message| {
            if is_link_heartbeat(message) || is_local(message.r#type()) {
                return false;
            }
            // All messages of a batch come from one member, as a rule.
            if good_from != message.from || message.to != self.member.0 {
                if let Err(error) = self.check(message) {
                    tracing::debug!(%error, "failed to process Raft message");
                    return false;
                }
                good_from = message.from;
            }
            normalize(message);
            true
        });
        let Some(first) = batch.first() else { return };
        let (from, kind) = (MemberId(first.from), first.r#type());
        let dropped = self.sink.messages(batch);
        if dropped > 0 {
            self.dropped(from, kind, dropped);
        }
    }

    /// Whether the message comes from a member and is for this one.
    pub(crate) fn check(&self, message: &Message) -> Result<(), Rejected> {
        let from = MemberId(message.from);
        if self.sink.is_removed(from) {
            if self.quiet.may_log() {
                tracing::warn!(
                    "local-member-id" = %self.member,
                    "removed-member-id" = %from,
                    "rejected Raft message from removed member"
                );
            }
            return Err(Rejected::FromRemoved);
        }
        if message.to != self.member.0 {
            if self.quiet.may_log() {
                tracing::warn!(
                    "local-member-id" = %self.member,
                    "mismatch-member-id" = %MemberId(message.to),
                    "rejected Raft message to mismatch member"
                );
            }
            return Err(Rejected::ToOther);
        }
        Ok(())
    }

    fn dropped(&self, from: MemberId, kind: MessageType, count: usize) {
        let failures = &self.stats.peer(from).received_failures;
        failures.add(count as u64);
        if self.quiet.may_log() {
            tracing::warn!(
                "message-type" = kind.as_str_name(),
                "local-member-id" = %self.member,
                %from,
                dropped = failures.get(),
                "dropped internal Raft message since receiving buffer is full (overloaded network)"
            );
        }
    }
}

/// etcd up to 3.5 writes an empty snapshot into messages that have none.
fn normalize(message: &mut Message) {
    if message.r#type() != MessageType::MsgSnap {
        message.snapshot = None;
    }
}

/// Messages that raft makes for itself: from another member they are taken and ignored.
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
