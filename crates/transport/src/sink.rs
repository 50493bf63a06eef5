//! What a member does with what its transport learns.

use std::io;

use api::{
    ids::{MemberId, RaftIndex},
    raftpb::Message,
};
use bytes::Bytes;

/// The member behind a transport. Calls come from many threads, must never block, and must not call
/// the transport back: it may hold a lock.
pub trait Sink: Send + Sync + 'static {
    /// A raft message for this member, checked for that. `false` when there was no room for it, so
    /// that it is dropped and counted; raft sends again what matters.
    fn message(&self, message: Message) -> bool;

    /// Messages that arrived together, in their order; how many found no room.
    fn messages(&self, messages: Vec<Message>) -> usize {
        messages.into_iter().filter_map(|message| (!self.message(message)).then_some(())).count()
    }

    /// A message to `id` was not delivered.
    fn unreachable(&self, id: MemberId);

    /// Sending the store to `id` came to its end.
    fn snapshot_status(&self, id: MemberId, ok: bool);

    /// A peer says that this member was removed from the cluster: it has to stop. May come often.
    fn removed(&self);

    /// True when `id` was a member and was removed.
    fn is_removed(&self, id: MemberId) -> bool;

    /// Opens the destination of a database that `from` sends, at raft index `index`. Called on a
    /// thread that may block, as are the methods of what it returns.
    fn receive_snapshot(
        &self,
        from: MemberId,
        index: RaftIndex,
    ) -> io::Result<Box<dyn SnapshotReceiver>>;
}

/// The destination of one database. Dropped without [`SnapshotReceiver::finish`], nothing of it
/// stays.
pub trait SnapshotReceiver: Send {
    /// Appends bytes.
    fn write(&mut self, chunk: Bytes) -> io::Result<()>;

    /// All bytes have come: makes the file durable under its name.
    fn finish(self: Box<Self>) -> io::Result<()>;
}
