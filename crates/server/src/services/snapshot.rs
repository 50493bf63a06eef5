//! Maintenance.Snapshot: the store as a bbolt file, streamed (spec grpc.md section 8).
//!
//! The stream is that of etcd: pieces of 32 KiB with the count of bytes to come and the version of
//! the schema, then one message with the SHA-256 of the file. The file is made from a view while it is
//! sent, so writes never wait for it, and a client that reads slowly holds a few pieces of memory.
//! When the client has gone, the next piece ends the work.

use std::{
    io,
    time::{Duration, Instant},
};

use api::{etcdserverpb::SnapshotResponse, ids::RaftIndex};
use bytes::Bytes;
use ring::digest;
use storage::{image::Image, schema};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{driver::storage_loop, handle::Handle};

/// Messages that are made and not yet taken by the connection.
const QUEUED_MAX: usize = 8;

/// A client that takes nothing for so long is given up: the view it holds keeps freed space from being
/// used again, and its place is wanted.
const STALLED_MAX: Duration = Duration::from_secs(120);

type Message = Result<SnapshotResponse, Status>;

/// Begins a snapshot of everything applied by now. It waits while too many are under way.
pub(crate) async fn stream(handle: &Handle) -> ReceiverStream<Message> {
    let permit = handle.snapshots.clone().acquire_owned().await;
    let permit = permit.expect("the semaphore is never closed");
    let (sender, receiver) = mpsc::channel(QUEUED_MAX);
    let handle = handle.clone();
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        send(&handle, &sender);
    });
    ReceiverStream::new(receiver)
}

/// Sends everything, or as much as the client takes.
fn send(handle: &Handle, sender: &mpsc::Sender<Message>) {
    let began = Instant::now();
    storage_loop::flush(handle);
    match send_view(handle, sender) {
        Ok(bytes) => {
            let took = began.elapsed();
            handle.metrics.snapshot_duration.observe(took.as_secs_f64());
            tracing::info!(
                "total-bytes" = bytes,
                ?took,
                "successfully sent database snapshot to client"
            );
        }
        Err(storage::Error::Image(bbolt::Error::Io(_))) => {
            tracing::info!(
                "a client went away, or stood still, before the end of its database snapshot"
            );
        }
        Err(error) => {
            tracing::error!(%error, "failed to make a database snapshot");
            // If the client has gone too, there is nobody to tell.
            let _ = sender.blocking_send(Err(Status::unknown(error.to_string())));
        }
    }
}

/// Returns the size of the file.
fn send_view(handle: &Handle, sender: &mpsc::Sender<Message>) -> Result<u64, storage::Error> {
    let view = handle.backend.read()?;
    let version = schema::meta::read_storage_version(&*view)?.unwrap_or_default();
    let index = schema::read_consistent(&*view)?.map_or(RaftIndex(0), |(index, _)| index);
    let image = Image::plan(&*view)?;
    let total = image.bytes();
    tracing::info!(
        "total-bytes" = total,
        "consistent-index" = index.0,
        "storage-version" = version,
        "sending database snapshot to client"
    );
    let post = |remaining_bytes: u64, blob: Bytes| {
        let version = version.clone();
        let message = SnapshotResponse { header: None, remaining_bytes, blob, version };
        let sent = handle.tasks.block_on(sender.send_timeout(Ok(message), STALLED_MAX));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    };
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut left = total;
    image.write(&mut |chunk| {
        hash.update(&chunk);
        left -= chunk.len() as u64;
        post(left, chunk)
    })?;
    assert_eq!(left, 0, "an image has the size that was planned");
    post(0, Bytes::copy_from_slice(hash.finish().as_ref())).map_err(bbolt::Error::from)?;
    Ok(total)
}
