//! What a transport is told when it is made, and the limits and times of the peer protocol.

use std::{sync::Arc, time::Duration};

use api::ids::{ClusterId, MemberId};

use crate::{dial::Dial, version::Versions};

/// Messages that wait for one stream to one peer.
pub const STREAM_MESSAGES_MAX: usize = 4096;
/// Bytes of entries that wait for one stream to one peer. etcd counts messages only; a stuck peer
/// must not keep that many megabytes of the log in memory.
pub const STREAM_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Messages that wait to be posted one by one to one peer.
pub const PIPELINE_MESSAGES_MAX: usize = 64;
/// Connections that post messages to one peer.
pub const PIPELINE_CONNECTIONS: usize = 4;
/// Members known only by the requests they sent. The address comes from the request, so that this
/// is the one list that a stranger can fill.
pub const REMOTES_MAX: usize = 64;
/// Databases that are received at the same time from members that are not known as such; each of
/// those that are may send one.
pub const SNAPSHOTS_OF_STRANGERS_MAX: usize = 2;
/// Bytes a second at which a database has to come.
pub const SNAPSHOT_RATE_MIN: u64 = 16 * 1024;

/// What a transport is told when it is made.
#[derive(Clone)]
pub struct Config {
    /// This member.
    pub member: MemberId,
    /// The cluster whose members may talk to it.
    pub cluster: ClusterId,
    /// The versions that this member claims.
    pub versions: Versions,
    /// The peer URLs of this member, sent with each request (`X-PeerURLs`).
    pub peer_urls: Vec<String>,
    /// How connections to peers are opened.
    pub dial: Arc<dyn Dial>,
    /// Where connections and timers run.
    pub runtime: tokio::runtime::Handle,
    /// How long things may take.
    pub timing: Timing,
}

/// How long things may take; the default is etcd's. Opening a connection has its limits in
/// [`Dial`].
#[derive(Clone, Debug)]
pub struct Timing {
    /// Between two attempts to open a stream.
    pub redial: Duration,
    /// Without a byte read from a stream, or with a write that makes no progress.
    pub stalled: Duration,
    /// Between link heartbeats on a stream without messages.
    pub link_heartbeat: Duration,
    /// To post one message and read the answer.
    pub post: Duration,
    /// Without progress while a database is sent: the peer writes it to its disk meanwhile.
    pub snapshot_stalled: Duration,
    /// From the last byte of a database to the answer: the peer syncs it in between.
    pub snapshot_answer: Duration,
    /// Between probes.
    pub probe: Duration,
    /// Between looks at what the probes found, while they fail or in the beginning.
    pub probe_report_unhealthy: Duration,
    /// The same while they succeed.
    pub probe_report_healthy: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            redial: Duration::from_millis(100),
            stalled: Duration::from_secs(5),
            link_heartbeat: Duration::from_secs(5) / 3,
            post: Duration::from_secs(30),
            snapshot_stalled: Duration::from_secs(60),
            snapshot_answer: Duration::from_secs(600),
            probe: Duration::from_secs(4),
            probe_report_unhealthy: Duration::from_secs(5),
            probe_report_healthy: Duration::from_secs(30),
        }
    }
}
