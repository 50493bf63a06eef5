//! What leaves the hub, and the bounded queue to each client that takes it.

use std::sync::Arc;

use api::mvccpb;

/// One gRPC watch stream, numbered by the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// One watcher: its stream, and the id it has there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatcherKey {
    /// The stream that the watcher belongs to.
    pub stream: StreamId,
    /// The id within the stream.
    pub watch_id: i64,
}

/// The `watch_id` of an answer that concerns no single watcher.
pub const NO_WATCH_ID: i64 = -1;

/// One message for a stream. Cloning shares the events.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// Events of whole revisions, in order; never empty.
    Events {
        /// The watcher.
        watch_id: i64,
        /// For the response header; at least the revision of the last event.
        header_revision: i64,
        /// The events as they go on the wire, shared by all watchers that receive the same ones.
        events: Arc<[mvccpb::Event]>,
        /// Whether the client accepts a response in fragments.
        fragment: bool,
    },
    /// The watcher asked for history that is gone; it has been dropped.
    Compacted {
        /// The watcher.
        watch_id: i64,
        /// The oldest revision that can be watched.
        compact_revision: i64,
    },
    /// Everything up to a revision has been sent.
    Progress {
        /// The watcher, or [`NO_WATCH_ID`] when it holds for all of the stream.
        watch_id: i64,
        /// The revision.
        revision: i64,
    },
}

impl Delivery {
    /// About how many bytes the message takes, for queues that are bounded in bytes.
    pub fn size(&self) -> usize {
        const HEADER_BYTES: usize = 48;
        match self {
            Delivery::Events { events, .. } => {
                HEADER_BYTES + events.iter().map(event_size).sum::<usize>()
            }
            Delivery::Compacted { .. } | Delivery::Progress { .. } => HEADER_BYTES,
        }
    }
}

/// Bytes of one event on the wire, nearly.
fn event_size(event: &mvccpb::Event) -> usize {
    let kvs = event.kv.iter().chain(&event.prev_kv);
    8 + kvs.map(|kv| kv.0.len()).sum::<usize>()
}

/// A stream's queue has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The bounded queues to the clients, one a stream, in the hands of the server.
///
/// After [`Full`] the hub offers nothing more to that stream until `WatchHub::stream_has_room`.
/// The server must not lose that wake-up: a queue that was emptied between the refusal and the
/// moment its consumer could know of it has to be noticed too (look again after marking the queue
/// as full, or compare `WatchHub::blocked_streams` with the queues on a timer).
pub trait Sink {
    /// Takes the message or refuses it; never waits. A stream whose client is gone may take
    /// messages and drop them.
    fn offer(&mut self, stream: StreamId, delivery: Delivery) -> Result<(), Full>;
}
