//! Sending the store to a peer: one POST whose body is a MsgSnap and then a whole bbolt file.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use api::raftpb::Message;
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use tokio::sync::{mpsc, oneshot};

use crate::{
    codec::{Output, encode_message},
    exchange::{Exchange, ExchangeError, within},
    pipeline::Pipe,
    post::{PostError, check_answer, post_request},
    status::Failure,
};

const PATH: &str = "/raft/snapshot";
/// Chunks between the thread that reads the store and the connection.
const CHUNKS_WAITING_MAX: usize = 4;
/// What a writer collects before it hands on a chunk.
const CHUNK_BYTES: usize = 128 * 1024;

/// A database as a stream of chunks, read no faster than the peer takes them.
pub struct SnapshotBody {
    chunks: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
}

impl SnapshotBody {
    /// A body from any stream of chunks.
    pub fn new(chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> SnapshotBody {
        SnapshotBody { chunks: Box::pin(chunks) }
    }

    /// A body that `write` writes on a thread which may block. An error it returns breaks the
    /// transfer; once the transfer is over, writing fails with `BrokenPipe`.
    pub fn from_writer(
        runtime: &tokio::runtime::Handle,
        write: impl FnOnce(&mut ChunkWriter) -> io::Result<()> + Send + 'static,
    ) -> SnapshotBody {
        let (sender, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
        runtime.spawn_blocking(move || {
            let mut writer = ChunkWriter { open: BytesMut::new(), sender };
            let written = write(&mut writer).and_then(|()| io::Write::flush(&mut writer));
            if let Err(error) = written {
                let _nobody_listens = writer.sender.blocking_send(Err(error));
            }
        });
        SnapshotBody::new(Chunks(receiver))
    }
}

struct Chunks(mpsc::Receiver<io::Result<Bytes>>);

impl Stream for Chunks {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

/// The writing end of a [`SnapshotBody`], for a thread that may block.
pub struct ChunkWriter {
    open: BytesMut,
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl ChunkWriter {
    /// Hands on a chunk as it is.
    pub fn write_chunk(&mut self, chunk: Bytes) -> io::Result<()> {
        io::Write::flush(self)?;
        self.send(chunk)
    }

    fn send(&mut self, chunk: Bytes) -> io::Result<()> {
        self.sender.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl io::Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK_BYTES - self.open.len());
        self.open.extend_from_slice(&bytes[..taken]);
        if self.open.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        let chunk = self.open.split().freeze();
        self.open.reserve(CHUNK_BYTES);
        self.send(chunk)
    }
}

/// The frame of the message, then the database.
struct PostBody {
    head: Output,
    database: SnapshotBody,
    /// Told when the last chunk has been handed on.
    sent: Option<oneshot::Sender<()>>,
}

/// Ends when an answer is overdue: some time after all was sent.
async fn late(all_sent: oneshot::Receiver<()>, limit: Duration) -> ExchangeError {
    if all_sent.await.is_err() {
        // The body was dropped before its end: the request fails by itself.
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(limit).await;
    ExchangeError::TimedOut("read")
}

impl Body for PostBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(segment) = self.head.pop() {
            return Poll::Ready(Some(Ok(Frame::data(segment))));
        }
        let next = ready!(self.database.chunks.as_mut().poll_next(cx));
        if next.is_none()
            && let Some(sent) = self.sent.take()
        {
            let _nobody_waits = sent.send(());
        }
        Poll::Ready(next.map(|chunk| chunk.map(Frame::data)))
    }
}

/// One transfer. Its end is always reported, however it comes about.
pub(crate) struct Transfer {
    pipe: Pipe,
    index: u64,
    bytes: u64,
    started: Instant,
    ended: bool,
}

impl Transfer {
    pub(crate) fn begin(pipe: Pipe, message: &Message, size: u64) -> Transfer {
        let metadata = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
        let index = metadata.map_or(0, |metadata| metadata.index);
        pipe.stats.snapshot_send_inflight.add(1);
        tracing::info!(
            "snapshot-index" = index,
            "remote-peer-id" = %pipe.peer,
            bytes = size,
            "sending database snapshot"
        );
        Transfer { pipe, index, bytes: size, started: Instant::now(), ended: false }
    }

    pub(crate) async fn run(mut self, message: Message, database: SnapshotBody) {
        let posted = self.post(message, database).await;
        self.end(posted);
    }

    async fn post(&self, message: Message, database: SnapshotBody) -> Result<(), PostError> {
        let config = &self.pipe.config;
        let url = self.pipe.picker.pick();
        let mut head = Output::new();
        encode_message(&message, &mut head);
        let (sent, all_sent) = oneshot::channel();
        let body = PostBody { head, database, sent: Some(sent) }.boxed_unsync();
        let posted = async {
            let request = post_request(config, &url, PATH, "application/octet-stream", body)?;
            let stalled = config.timing.snapshot_stalled;
            let mut exchange = Exchange::open_patient(config, &url, stalled).await?;
            let (answer, body) = tokio::select! {
                answer = exchange.send(request) => answer?,
                error = late(all_sent, config.timing.snapshot_answer) => return Err(error.into()),
            }
            .into_parts();
            let body = within(config.timing.stalled, "read", exchange.collect(body)).await?;
            check_answer(&self.pipe, (&url, PATH), &answer, &body)
        };
        let posted = posted.await;
        if posted.is_err() {
            self.pipe.picker.unreachable(&url);
        }
        posted
    }

    fn end(&mut self, posted: Result<(), PostError>) {
        self.ended = true;
        let Pipe { peer, status, stats, sink, .. } = &self.pipe;
        stats.snapshot_send_inflight.add(-1);
        if let Err(error) = &posted {
            tracing::warn!(
                "snapshot-index" = self.index,
                "remote-peer-id" = %peer,
                bytes = self.bytes,
                %error,
                "failed to send database snapshot"
            );
            if matches!(error, PostError::Removed) {
                sink.removed();
            }
            status.deactivate(Failure { action: "post", source: "sendMsgSnap" }, error);
            stats.sent_failures.add(1);
            stats.snapshot_send_failures.add(1);
            sink.unreachable(*peer);
        } else {
            status.activate();
            stats.sent_bytes.add(self.bytes);
            stats.snapshot_send_success.add(1);
            stats.snapshot_send_took.observe(self.started.elapsed());
            tracing::info!(
                "snapshot-index" = self.index,
                "remote-peer-id" = %peer,
                bytes = self.bytes,
                "sent database snapshot"
            );
        }
        sink.snapshot_status(*peer, posted.is_ok());
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Err(PostError::Stopped));
        }
    }
}
