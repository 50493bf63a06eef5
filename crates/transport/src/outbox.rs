//! Messages that wait for one stream of one peer, and the response body that writes them.
//!
//! The peer dials, so that the stream is the body of a response: the connection's own task asks it
//! for bytes. Sending is pushing into the queue and waking that task; all messages that wait by then
//! leave in one write.
//!
//! **Invariant:** at most one body writes for an outbox; a newer one makes the older end.

use std::{
    collections::VecDeque,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use api::{ids::MemberId, raftpb::Message};
use bytes::Bytes;
use hyper::body::{Body, Frame};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

use crate::{
    codec::{MsgAppV2Encoder, Output, encode_message, link_heartbeat},
    config::{STREAM_BYTES_MAX, STREAM_MESSAGES_MAX},
    sink::Sink,
    stats::PeerStats,
    status::{Failure, Status},
    stream::StreamKind,
};

/// Bytes encoded at once: what has been encoded is a copy, what waits is shared with the log.
const BATCH_BYTES: usize = 256 * 1024;

/// The queue of one stream.
pub(crate) struct Outbox {
    kind: StreamKind,
    peer: MemberId,
    status: Arc<Status>,
    stats: Arc<PeerStats>,
    sink: Arc<dyn Sink>,
    link_heartbeat: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Message>,
    /// Bytes of the entries in the queue.
    bytes: usize,
    /// The body that writes, counted from 1.
    generation: u64,
    attached: bool,
    stopped: bool,
    waker: Option<Waker>,
}

/// What became of a message.
pub(crate) enum Pushed {
    /// It waits; the waker is to be woken when all messages are pushed.
    Queued(Option<Waker>),
    /// No stream: it has to go another way.
    Detached,
    /// The stream does not keep up.
    Full,
}

impl Outbox {
    pub(crate) fn new(
        kind: StreamKind,
        peer: MemberId,
        status: Arc<Status>,
        stats: Arc<PeerStats>,
        sink: Arc<dyn Sink>,
        link_heartbeat: Duration,
    ) -> Outbox {
        let state = Mutex::default();
        Outbox { kind, peer, status, stats, sink, link_heartbeat, state }
    }

    /// Its name in etcd's log of dropped messages.
    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            StreamKind::MsgAppV2 => "streamMsgAppV2",
            StreamKind::Message => "streamMsg",
        }
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.state.lock().attached
    }

    /// Takes the message if a stream is there and keeps up.
    pub(crate) fn push(&self, message: &mut Option<Message>) -> Pushed {
        let bytes = message.as_ref().map_or(0, payload_bytes);
        let mut state = self.state.lock();
        if !state.attached {
            return Pushed::Detached;
        }
        let full = state.bytes + bytes > STREAM_BYTES_MAX && !state.queue.is_empty();
        if full || state.queue.len() >= STREAM_MESSAGES_MAX {
            return Pushed::Full;
        }
        state.bytes += bytes;
        state.queue.extend(message.take());
        Pushed::Queued(state.waker.take())
    }

    /// Makes a body that writes what is pushed from now on. `None` once the peer is stopped.
    pub(crate) fn attach(self: &Arc<Self>) -> Option<StreamBody> {
        let mut state = self.state.lock();
        if state.stopped {
            return None;
        }
        state.generation += 1;
        let generation = state.generation;
        let replaced = std::mem::replace(&mut state.attached, true);
        let lost = state.drop_queue();
        let waker = state.waker.take();
        drop(state);
        if replaced {
            self.warn("closed TCP streaming connection with remote peer");
        }
        self.finish(lost, waker);
        self.status.activate();
        let kind = self.kind.as_str();
        tracing::info!(
            "stream-writer-type" = kind,
            "remote-peer-id" = %self.peer,
            "established TCP streaming connection with remote peer"
        );
        Some(StreamBody::new(self.clone(), generation))
    }

    /// Ends the stream for good.
    pub(crate) fn stop(&self) {
        let mut state = self.state.lock();
        state.stopped = true;
        let attached = std::mem::replace(&mut state.attached, false);
        let lost = state.drop_queue();
        let waker = state.waker.take();
        drop(state);
        if attached {
            self.warn("closed TCP streaming connection with remote peer");
        }
        self.finish(lost, waker);
    }

    /// The connection of body `generation` is gone.
    fn detach(&self, generation: u64) {
        let mut state = self.state.lock();
        if state.generation != generation || !state.attached {
            return;
        }
        state.attached = false;
        let lost = state.drop_queue();
        drop(state);
        let failure = Failure { action: "write", source: self.kind.as_str() };
        self.status.deactivate(failure, &"connection closed");
        self.stats.sent_failures.add(1);
        self.warn("lost TCP streaming connection with remote peer");
        self.finish(lost, None);
    }

    fn finish(&self, lost: bool, waker: Option<Waker>) {
        if lost {
            self.sink.unreachable(self.peer);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn warn(&self, text: &'static str) {
        let kind = self.kind.as_str();
        tracing::warn!("stream-writer-type" = kind, "remote-peer-id" = %self.peer, "{text}");
    }

    /// Moves messages out for body `generation`; `false` when it has to end.
    fn drain(&self, generation: u64, into: &mut Vec<Message>, cx: &Context<'_>) -> bool {
        let mut state = self.state.lock();
        if state.generation != generation || !state.attached {
            return false;
        }
        let mut taken = 0;
        while taken < BATCH_BYTES {
            let Some(message) = state.queue.pop_front() else { break };
            let bytes = payload_bytes(&message);
            state.bytes -= bytes;
            taken += bytes;
            into.push(message);
        }
        if into.is_empty() {
            state.waker = Some(cx.waker().clone());
        }
        true
    }
}

impl State {
    /// Drops what waits; true if anything did.
    fn drop_queue(&mut self) -> bool {
        self.bytes = 0;
        let lost = !self.queue.is_empty();
        self.queue = VecDeque::new();
        lost
    }
}

/// What a message keeps in memory beyond itself.
fn payload_bytes(message: &Message) -> usize {
    let entries: usize =
        message.entries.iter().map(|entry| entry.data.len() + size_of_val(entry)).sum();
    entries + message.context.len()
}

/// Frames of one connection.
enum Encoder {
    MsgAppV2(MsgAppV2Encoder),
    Message,
}

impl Encoder {
    fn encode(&mut self, message: &Message, out: &mut Output) {
        match self {
            Encoder::MsgAppV2(encoder) => encoder.encode(message, out),
            Encoder::Message => encode_message(message, out),
        }
    }
}

/// The body of a stream's response: writes what its outbox holds until the connection or the peer
/// ends.
pub(crate) struct StreamBody {
    outbox: Arc<Outbox>,
    generation: u64,
    encoder: Encoder,
    out: Output,
    batch: Vec<Message>,
    /// Fires when a link heartbeat may be due.
    timer: Pin<Box<Sleep>>,
    written: Instant,
}

impl StreamBody {
    fn new(outbox: Arc<Outbox>, generation: u64) -> StreamBody {
        let encoder = match outbox.kind {
            StreamKind::MsgAppV2 => Encoder::MsgAppV2(MsgAppV2Encoder::new()),
            StreamKind::Message => Encoder::Message,
        };
        let timer = Box::pin(tokio::time::sleep(outbox.link_heartbeat));
        let (out, batch, written) = (Output::new(), Vec::new(), Instant::now());
        StreamBody { outbox, generation, encoder, out, batch, timer, written }
    }

    fn encode_batch(&mut self) {
        for message in self.batch.drain(..) {
            self.encoder.encode(&message, &mut self.out);
        }
        self.written = Instant::now();
        self.outbox.stats.sent_bytes.add(self.out.len() as u64);
    }

    /// Adds a link heartbeat if nothing was written for long; leaves the timer set.
    fn keep_alive(&mut self, cx: &mut Context<'_>) {
        while self.timer.as_mut().poll(cx).is_ready() {
            let interval = self.outbox.link_heartbeat;
            let now = Instant::now();
            if self.written + interval <= now {
                self.batch.push(link_heartbeat());
                self.encode_batch();
            }
            self.timer.as_mut().reset(self.written + interval);
        }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if this.out.is_empty() {
            if !this.outbox.drain(this.generation, &mut this.batch, cx) {
                return Poll::Ready(None);
            }
            if this.batch.is_empty() {
                this.keep_alive(cx);
            } else {
                this.encode_batch();
            }
        }
        match this.out.pop() {
            Some(segment) => Poll::Ready(Some(Ok(Frame::data(segment)))),
            None => Poll::Pending,
        }
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        self.outbox.detach(self.generation);
    }
}
