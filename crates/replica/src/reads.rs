//! Linearizable reads (raft thesis, 6.4). raft-rs drops a read that reaches a leader before it has
//! committed an entry of its own term; etcd keeps it until then, and so does this queue, for reads
//! of this member and those forwarded by followers.

use bytes::Bytes;

use crate::convert::{self, Message, MessageType};

/// Reads kept until the leader's first commit.
#[derive(Debug)]
pub(crate) struct Reads {
    deferred: Vec<Message>,
    max: usize,
}

impl Reads {
    /// A queue of at most `max` reads.
    pub(crate) fn new(max: usize) -> Reads {
        Reads { deferred: Vec::new(), max }
    }

    /// Keeps a read; a full queue forgets it, its caller asks again after a while.
    pub(crate) fn defer(&mut self, read: Message) {
        if self.deferred.len() < self.max {
            self.deferred.push(read);
        }
    }

    /// Whether none is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.deferred.is_empty()
    }

    /// All kept reads, oldest first.
    pub(crate) fn take(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.deferred)
    }
}

/// The message that asks raft for an index. Its context is the id in 8 bytes, as etcd's.
pub(crate) fn request(id: u64) -> Message {
    let context = Bytes::copy_from_slice(&id.to_be_bytes());
    convert::local_message(MessageType::MsgReadIndex, vec![convert::proposal(context)])
}

/// The id in a context; `None` if it is none of ours.
pub(crate) fn id_of(context: &[u8]) -> Option<u64> {
    context.try_into().ok().map(u64::from_be_bytes)
}

/// Whether a deferred read was asked for at this member.
pub(crate) fn is_local(read: &Message) -> bool {
    read.from == 0
}
