//! The peer protocol of etcd ("rafthttp"): how the messages of raft and whole stores get from one
//! member to another.
//!
//! [`codec`] is pure: frames in and out of byte buffers. [`Transport`] holds the peers: each member
//! dials two long-lived GET requests to each other one, over which the *dialled* side writes its
//! messages; without them messages are posted one by one; a store goes as one POST of its own.
//! [`Transport::serve`] is the server side of all three. [`Sink`] is the member behind it.
//!
//! **Invariants:** sending never blocks; every queue has a limit named in [`config`]; whatever a
//! peer sends, memory grows only with bytes that really came, up to the limit of a message.
//! Messages may be lost or, between two ways, overtake each other: raft expects no better.

mod clock;
pub mod codec;
pub mod config;
pub mod dial;
mod exchange;
mod handler;
pub mod headers;
mod inbound;
pub mod io;
mod listener;
mod outbox;
mod peer;
mod pipeline;
mod post;
mod probe;
mod quiet;
mod reader;
pub mod sink;
mod snapshot;
pub mod stats;
mod status;
mod stream;
mod transport;
pub mod url;
pub mod version;

pub use config::{Config, Timing};
pub use dial::Dial;
pub use handler::{Body, Served};
pub use listener::serve_connection;
pub use sink::{Sink, SnapshotReceiver};
pub use snapshot::{ChunkWriter, SnapshotBody};
pub use stats::Stats;
pub use transport::Transport;
pub use version::{Version, Versions};
