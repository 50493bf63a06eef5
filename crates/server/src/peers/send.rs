//! Sending the store to a follower that is too far behind for the log.
//!
//! Raft's message only says that the follower needs it. What is sent is a view of the store as it is
//! by now, flushed before, and the message is made anew from that view: its index, its term and its
//! members belong together by construction. The message's data is the v2 store as JSON, from which
//! members of etcd up to 3.6 also read the membership.

use std::io;

use api::{
    ids::MemberId,
    raftpb::{Message, Snapshot, SnapshotMetadata},
};
use bytes::Bytes;
use membership::Membership;
use storage::{ReadTx, image::Image};
use transport::SnapshotBody;

use crate::{
    driver::{NodeEvent, fatal, spread::Spread, storage_loop},
    handle::Handle,
};

/// Bytes a second at which the view is measured: a processor would be busy with nothing else.
const PLAN_RATE: f64 = (256 << 20) as f64;

/// Begins to send the store to the receiver of `message`. Raft always hears how it ended.
pub(super) fn snapshot(handle: &Handle, message: Message) {
    let to = MemberId(message.to);
    let tasks = handle.tasks.clone();
    let handle = handle.clone();
    tasks.spawn_blocking(move || {
        if let Err(error) = send(&handle, message) {
            tracing::warn!("remote-peer-id" = %to, %error, "failed to send database snapshot");
            handle.node.push_always(NodeEvent::SnapshotStatus { to, delivered: false });
        }
    });
}

/// Hands the transfer over to the transport, then feeds it on this thread, which holds the view.
fn send(handle: &Handle, mut message: Message) -> io::Result<()> {
    storage_loop::flush(handle);
    let broken = |error: storage::Error| io::Error::other(error);
    let view = handle.backend.read().map_err(broken)?;
    let mut spread = Spread::at_rate(PLAN_RATE);
    let mut pause = |bytes| spread.pass(handle.progress.stopping(), bytes);
    let image = Image::plan_in_pieces(&*view, &mut pause).map_err(broken)?;
    message.snapshot = Some(describe(handle, &*view)?);
    let Some(transport) = handle.network.transport() else {
        return Err(io::ErrorKind::NotConnected.into());
    };
    let (body, feed) = body();
    transport.send_snapshot(message, image.bytes(), body);
    // A receiver that goes away ends the feed: the transport has noticed that, too.
    let mut spread = Spread::over(image.bytes());
    let mut send = |chunk: Bytes| {
        spread.pass(handle.progress.stopping(), chunk.len());
        feed.send(chunk)
    };
    match image.write(&mut send) {
        Ok(()) => Ok(()),
        Err(error) => {
            tracing::warn!(%error, "a database snapshot was not sent to its end");
            feed.fail(&error);
            Ok(())
        }
    }
}

/// The description of the store in `view`.
fn describe(handle: &Handle, view: &dyn ReadTx) -> io::Result<Snapshot> {
    let at = storage::schema::read_consistent(view).map_err(io::Error::other)?;
    let (index, term) = at.unwrap_or_default();
    let membership = Membership::load(view, handle.cluster, usize::MAX);
    let membership = membership
        .unwrap_or_else(|error| fatal("failed to read the members from the store", &error));
    let metadata = SnapshotMetadata {
        conf_state: Some(membership.conf_state()),
        index: index.0,
        term: term.0,
    };
    let v2 = v2store::Store::load(view)
        .unwrap_or_else(|error| fatal("failed to read the v2 store from the store", &error));
    let data = v2.save(&membership.to_v2_node()).into();
    Ok(Snapshot { data, metadata: Some(metadata) })
}

/// Chunks that may wait for the connection.
const CHUNKS_MAX: usize = 16;

/// The writing end of a body.
struct Feed(tokio::sync::mpsc::Sender<io::Result<Bytes>>);

impl Feed {
    fn send(&self, chunk: Bytes) -> io::Result<()> {
        self.0.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Breaks the transfer: what was sent must not be taken for the whole.
    fn fail(&self, error: &storage::Error) {
        let _nobody_listens = self.0.blocking_send(Err(io::Error::other(error.to_string())));
    }
}

fn body() -> (SnapshotBody, Feed) {
    let (sender, receiver) = tokio::sync::mpsc::channel(CHUNKS_MAX);
    let chunks = tokio_stream::wrappers::ReceiverStream::new(receiver);
    (SnapshotBody::new(chunks), Feed(sender))
}
