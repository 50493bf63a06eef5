//! Maintenance.Snapshot: the store as a bbolt file, streamed (spec grpc.md section 8).
//!
//! The stream is that of etcd: pieces of 32 KiB with the count of bytes to come and the version of
//! the schema, then one message with the SHA-256 of the file. The file is made from a view while it is
//! sent, so writes never wait for it, and a client that reads slowly holds a few pieces of memory.
//! When the client has gone, the next piece ends the work.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use api::{etcdserverpb::SnapshotResponse, ids::RaftIndex};
use bytes::Bytes;
use config::GoDuration;
use ring::digest;
use storage::{image::Image, schema};
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::Status;

use crate::{cores::Long, driver::storage_loop, handle::Handle};

/// Messages that are made and not yet taken by the connection.
const QUEUED_MAX: usize = 8;

/// A client that takes nothing for so long is given up: the view it holds keeps freed space from being
/// used again, and its place is wanted.
const STALLED_MAX: Duration = Duration::from_secs(120);

type Message = Result<SnapshotResponse, Status>;

/// Begins a snapshot of everything applied by now, `with_v2` for the v2 keys too. It waits while too
/// many are under way.
pub(crate) async fn stream(handle: &Handle, with_v2: bool) -> Messages {
    // From now on, so that the connection has moved when the first piece is there.
    let long = Long::begin();
    let permit = handle.snapshots.clone().acquire_owned().await;
    let permit = permit.expect("the semaphore is never closed");
    let (sender, receiver) = mpsc::channel(QUEUED_MAX);
    let handle = handle.clone();
    let work = {
        let sender = sender.clone();
        move || {
            let _permit = permit;
            send(&handle, &sender, with_v2);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("snapshot".to_owned()).spawn(work) {
        tracing::error!(%error, "failed to start a thread for a database snapshot");
        // There is room for it: nothing was sent.
        let _ = sender.try_send(Err(Status::unavailable(error.to_string())));
    }
    Messages { received: ReceiverStream::new(receiver), _long: long }
}

/// The pieces of a snapshot: a long answer, as far as its connection is concerned.
pub(crate) struct Messages {
    received: ReceiverStream<Message>,
    _long: Option<Long>,
}

impl Stream for Messages {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        Pin::new(&mut self.received).poll_next(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.received.size_hint()
    }
}

/// Sends everything, or as much as the client takes.
fn send(handle: &Handle, sender: &mpsc::Sender<Message>, with_v2: bool) {
    let began = Instant::now();
    storage_loop::flush(handle);
    // From here on it holds no lock: the view is its own.
    priority::give_way();
    match send_view(handle, sender, with_v2) {
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

/// How long a client may take before that is worth a warning, and again after as long.
struct Watch {
    began: Instant,
    patience: Duration,
    next: Instant,
}

impl Watch {
    /// A connection is expected to take 100 MiB in a second, and half a minute is never too long.
    fn new(bytes: u64, began: Instant) -> Watch {
        const BYTES_PER_SECOND: f64 = 100.0 * 1024.0 * 1024.0;
        let expected = Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND);
        let patience = expected.max(Duration::from_secs(30));
        Watch { began, patience, next: began + patience }
    }

    /// How long it has been, when it is time for a warning.
    fn late(&mut self, now: Instant) -> Option<Duration> {
        if now < self.next {
            return None;
        }
        while self.next <= now {
            self.next += self.patience;
        }
        Some(now - self.began)
    }
}

/// A size in the largest decimal unit that it has one of.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let value = (value * 10.0 + 0.5).floor() / 10.0;
    let digits = usize::from(value < 10.0);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Returns the size of the file.
fn send_view(
    handle: &Handle,
    sender: &mpsc::Sender<Message>,
    with_v2: bool,
) -> Result<u64, storage::Error> {
    let view = handle.backend.read()?;
    let version = schema::meta::read_storage_version(&*view)?.unwrap_or_default();
    let index = schema::read_consistent(&*view)?.map_or(RaftIndex(0), |(index, _)| index);
    let image = if with_v2 { Image::plan_with_v2(&*view)? } else { Image::plan(&*view)? };
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
    let mut watch = Watch::new(total, Instant::now());
    image.write(&mut |chunk| {
        hash.update(&chunk);
        left -= chunk.len() as u64;
        post(left, chunk)?;
        if let Some(taking) = watch.late(Instant::now()) {
            let size = human_bytes(total);
            tracing::warn!(
                taking = %GoDuration::from(taking),
                bytes = total,
                size,
                "snapshotting taking too long to transfer"
            );
        }
        Ok(())
    })?;
    assert_eq!(left, 0, "an image has the size that was planned");
    post(0, Bytes::copy_from_slice(hash.finish().as_ref())).map_err(bbolt::Error::from)?;
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_takes_long_is_worth_a_warning_now_and_then() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut small = Watch::new(1 << 20, began);
        assert_eq!(small.late(at(29)), None);
        assert_eq!(small.late(at(31)), Some(Duration::from_secs(31)));
        assert_eq!(small.late(at(32)), None);
        assert_eq!(small.late(at(100)), Some(Duration::from_secs(100)));
        assert_eq!(small.late(at(119)), None);
        // 10 GiB are expected to take 102.4 seconds.
        let mut large = Watch::new(10 << 30, began);
        assert_eq!(large.late(at(102)), None);
        assert!(large.late(at(103)).is_some());
    }

    #[test]
    fn sizes_are_told_as_etcd_does() {
        for (bytes, told) in
            [(9, "9 B"), (25_000, "25 kB"), (1_234_567, "1.2 MB"), (10 << 30, "11 GB")]
        {
            assert_eq!(human_bytes(bytes), told);
        }
    }
}
