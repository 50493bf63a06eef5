//! What the transport tells this member.

use std::{io, time::Instant};

use api::{
    ids::{MemberId, RaftIndex},
    raftpb::{Message, MessageType},
};
use bytes::Bytes;
use transport::{Sink, SnapshotReceiver};

use super::receive::{Receiver, received_path};
use crate::{driver::NodeEvent, handle::Handle};

/// The member as its transport sees it.
pub(crate) struct MemberSink(pub(crate) Handle);

/// About what a message holds in memory.
pub(super) fn size_of_message(message: &Message) -> usize {
    let entries = message.entries.iter().map(|entry| entry.data.len() + 48).sum::<usize>();
    entries + message.context.len() + 192
}

impl MemberSink {
    /// A snapshot is useless without the store that goes with it.
    fn admit(&self, message: &Message) -> bool {
        if message.r#type != MessageType::MsgSnap as i32 {
            return true;
        }
        let metadata = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
        let index = metadata.map_or(0, |metadata| metadata.index);
        let there = received_path(&self.0.snap_dir, RaftIndex(index)).exists();
        if !there {
            tracing::warn!(
                "snapshot-index" = index,
                "remote-peer-id" = %MemberId(message.from),
                "ignored a snapshot message without its database"
            );
        }
        there
    }
}

impl MemberSink {
    /// Whether the disk of the log or apply (which waits while a store of the leader is installed) is
    /// so far behind that no more entries are taken in.
    fn is_behind(&self) -> bool {
        let progress = &self.0.progress;
        let backlog = progress.peer_bytes() + progress.unsynced() + progress.unapplied();
        backlog > self.0.limits.backlog_bytes_max
    }
}

impl Sink for MemberSink {
    fn message(&self, message: Message) -> bool {
        self.messages(vec![message]) == 0
    }

    fn messages(&self, mut messages: Vec<Message>) -> usize {
        messages.retain(|message| self.admit(message));
        let came = messages.len();
        self.0.v2_stats.received(&messages, size_of_message);
        if self.0.progress.peer_bytes() > self.0.limits.peer_bytes_max {
            return came;
        }
        if self.is_behind() {
            messages.retain(|message| message.entries.is_empty());
        }
        let dropped = came - messages.len();
        if messages.is_empty() {
            return dropped;
        }
        let bytes = messages.iter().map(size_of_message).sum();
        self.0.progress.add_peer_bytes(bytes);
        self.0.node.push_always(NodeEvent::Messages { messages, bytes });
        dropped
    }

    fn unreachable(&self, id: MemberId) {
        self.0.v2_stats.failed(id);
        self.0.node.push_always(NodeEvent::Unreachable(id));
    }

    fn snapshot_status(&self, id: MemberId, ok: bool) {
        self.0.node.push_always(NodeEvent::SnapshotStatus { to: id, delivered: ok });
    }

    fn removed(&self) {
        self.0.progress.set_removed();
    }

    fn is_removed(&self, id: MemberId) -> bool {
        self.0.shared.membership.read().is_removed(id)
    }

    fn receive_snapshot(
        &self,
        _from: MemberId,
        index: RaftIndex,
    ) -> io::Result<Box<dyn SnapshotReceiver>> {
        let receiver = Box::new(Receiver::create(&self.0.snap_dir, index)?);
        Ok(Box::new(Timed { receiver, began: Instant::now(), handle: self.0.clone() }))
    }
}

/// A store that is arriving, and since when.
struct Timed {
    receiver: Box<Receiver>,
    began: Instant,
    handle: Handle,
}

impl SnapshotReceiver for Timed {
    fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        self.receiver.write(chunk)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        let syncing = Instant::now();
        self.receiver.finish()?;
        let snapshots = &self.handle.metrics.snapshots;
        snapshots.db_fsync.observe(syncing.elapsed().as_secs_f64());
        snapshots.db_save.observe(self.began.elapsed().as_secs_f64());
        Ok(())
    }
}
