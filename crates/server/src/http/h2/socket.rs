//! A connection that writes when its owner says so, not on each frame.
//!
//! The HTTP/2 library hands every larger DATA frame to the kernel by itself. [`Socket`] takes what it
//! writes into a buffer and calls flushing done; the task of the connection sends it all at once, when
//! the library has nothing more to say for now.
//!
//! Invariants: exactly what was written goes out, in order; bytes wait in the buffer only while the
//! task of the connection runs, or while the kernel takes no more and will wake that task; the buffer
//! has a limit, beyond which writing waits for the kernel.
//!
//! The library answers pings without a word about them, so the limit of pings is kept here: the frames
//! of both directions are followed, by their heads alone.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{
    frames::{ACK, DATA, Frames, HEADERS, PING, go_away},
    ping_limit::PingLimit,
};

/// A buffer this long is sent before more is taken.
const BUFFERED_MAX_BYTES: usize = 128 * 1024;
/// What an empty buffer may keep of its memory.
const KEPT_BYTES: usize = 16 * 1024;
/// The memory of a buffer that outgrows this: room for the limit and what one write may add to it.
const ROOM_BYTES: usize = BUFFERED_MAX_BYTES + 32 * 1024;
/// Bytes before the first frame of a client.
const PREFACE_BYTES: usize = 24;

thread_local! {
    /// The memory of a large buffer that is empty: for the next connection of this thread that has
    /// much to send, which is soon.
    static SPARE: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// A connection with what waits to be sent on it.
pub(super) struct Outgoing<S> {
    stream: S,
    buffer: BytesMut,
    /// Whether anything was received since this was last asked.
    heard: bool,
    pings: Option<Pings>,
}

/// What tells whether a client pings too much.
struct Pings {
    limit: PingLimit,
    received: Frames,
    sent: Frames,
    last_stream: u32,
    /// Whether calls were under way when the owner last said so, or came since.
    has_calls: bool,
    /// Whether headers or data were sent since the last ping.
    has_answered: bool,
    too_many: bool,
}

impl Pings {
    fn new(limit: PingLimit) -> Pings {
        Pings {
            limit,
            received: Frames::after(PREFACE_BYTES),
            sent: Frames::after(0),
            last_stream: 0,
            has_calls: false,
            has_answered: false,
            too_many: false,
        }
    }

    fn received(&mut self, bytes: &[u8]) {
        self.received.follow(bytes, |head| match head.kind {
            HEADERS => {
                self.last_stream = self.last_stream.max(head.stream);
                self.has_calls = true;
            }
            PING if head.flags & ACK == 0 => {
                let has_answered = std::mem::take(&mut self.has_answered);
                self.too_many |= self.limit.count(Instant::now(), has_answered, self.has_calls);
            }
            _ => {}
        });
    }

    fn sent(&mut self, bytes: &[u8]) {
        self.sent.follow(bytes, |head| self.has_answered |= matches!(head.kind, DATA | HEADERS));
    }
}

/// The connection as the HTTP/2 library sees it.
pub(super) struct Socket<S>(Arc<Mutex<Outgoing<S>>>);

impl<S: AsyncWrite + Unpin> Outgoing<S> {
    /// Wraps `stream`, of which nothing was read; the second part is for the task that flushes.
    pub(super) fn new(stream: S, limit: Option<PingLimit>) -> (Socket<S>, Arc<Mutex<Outgoing<S>>>) {
        let pings = limit.map(Pings::new);
        let outgoing = Outgoing { stream, buffer: BytesMut::new(), heard: false, pings };
        let outgoing = Arc::new(Mutex::new(outgoing));
        (Socket(outgoing.clone()), outgoing)
    }

    /// Hands the buffer to the kernel; pending while the kernel takes no more.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.buffer.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.buffer.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.buffer))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.buffer.advance(sent);
        }
        // Its capacity says nothing before the memory of what was sent is part of it again.
        if self.buffer.try_reclaim(ROOM_BYTES) {
            SPARE.set(Some(std::mem::take(&mut self.buffer)));
        } else if self.buffer.capacity() > KEPT_BYTES {
            self.buffer = BytesMut::new();
        }
        // TLS has a buffer of its own.
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Adds to the buffer, which is made as large as it may become once it is no small one: growing
    /// step by step, it would be copied more than it is filled.
    fn add(&mut self, bytes: &[u8]) {
        let length = self.buffer.len() + bytes.len();
        if length > KEPT_BYTES && length > self.buffer.capacity() && length <= ROOM_BYTES {
            let spare = SPARE.take();
            let mut roomy = spare.unwrap_or_else(|| BytesMut::with_capacity(ROOM_BYTES));
            roomy.extend_from_slice(&self.buffer);
            self.buffer = roomy;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether anything was received since the last call of this.
    pub(super) fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }

    /// Whether the client pings too much. `has_calls`: calls are under way.
    pub(super) fn pings_too_much(&mut self, has_calls: bool) -> bool {
        let Some(pings) = &mut self.pings else { return false };
        pings.has_calls = has_calls;
        pings.too_many
    }

    /// Adds the last words to a client that pings too much, unless they would fall into a frame.
    pub(super) fn say_too_many_pings(&mut self) {
        let Some(pings) = self.pings.as_ref().filter(|pings| pings.sent.is_whole()) else { return };
        let reason = h2::Reason::ENHANCE_YOUR_CALM;
        self.buffer.extend_from_slice(&go_away(pings.last_stream, reason, b"too_many_pings"));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Outgoing<S> {
    /// Sends what there is, then reads to the end of what the client says: bytes that nobody read
    /// would take from it what was sent.
    pub(super) fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.buffer.is_empty() {
            ready!(self.poll_flush(cx))?;
        }
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        let mut bytes = [0; 1024];
        loop {
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut outgoing = self.0.lock();
        let before = buf.filled().len();
        let read = Pin::new(&mut outgoing.stream).poll_read(cx, buf);
        outgoing.heard |= matches!(read, Poll::Ready(Ok(())));
        if let Some(pings) = &mut outgoing.pings {
            pings.received(&buf.filled()[before..]);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut outgoing = self.0.lock();
        if outgoing.buffer.len() >= BUFFERED_MAX_BYTES {
            ready!(outgoing.poll_flush(cx))?;
        }
        outgoing.add(bytes);
        if let Some(pings) = &mut outgoing.pings {
            pings.sent(bytes);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut outgoing = self.0.lock();
        if outgoing.buffer.len() >= BUFFERED_MAX_BYTES {
            ready!(outgoing.poll_flush(cx))?;
        }
        let mut taken = 0;
        for part in parts {
            if outgoing.buffer.len() >= BUFFERED_MAX_BYTES {
                break;
            }
            outgoing.add(part);
            if let Some(pings) = &mut outgoing.pings {
                pings.sent(part);
            }
            taken += part.len();
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outgoing = self.0.lock();
        ready!(outgoing.poll_flush(cx))?;
        Pin::new(&mut outgoing.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_is_written_goes_out_when_its_owner_says_so() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (mut socket, outgoing) = Outgoing::new(near, None);
        socket.write_all(b"one").await.unwrap();
        socket.flush().await.unwrap();
        socket.write_all(b" two").await.unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let mut seen = [0; 16];
        let mut buf = ReadBuf::new(&mut seen);
        assert!(Pin::new(&mut far).poll_read(&mut cx, &mut buf).is_pending());
        assert!(outgoing.lock().poll_flush(&mut cx).is_ready());
        assert_eq!(far.read(&mut seen).await.unwrap(), 7);
        assert_eq!(&seen[..7], b"one two");
        far.write_all(b"x").await.unwrap();
        assert!(!outgoing.lock().take_heard());
        assert_eq!(socket.read(&mut seen).await.unwrap(), 1);
        assert!(outgoing.lock().take_heard());
        assert!(!outgoing.lock().take_heard());
    }

    #[tokio::test]
    async fn the_buffer_has_a_limit() {
        let (near, mut far) = tokio::io::duplex(1024);
        let (mut socket, outgoing) = Outgoing::new(near, None);
        let written = tokio::spawn(async move {
            socket.write_all(&vec![7; 2 * BUFFERED_MAX_BYTES]).await.unwrap();
            socket.write_all(&[8]).await.unwrap();
            socket.shutdown().await.unwrap();
        });
        let mut seen = Vec::new();
        far.read_to_end(&mut seen).await.unwrap();
        written.await.unwrap();
        assert_eq!(seen.len(), 2 * BUFFERED_MAX_BYTES + 1);
        assert_eq!(seen.last(), Some(&8));
        assert!(outgoing.lock().buffer.capacity() <= KEPT_BYTES);
    }

    #[tokio::test]
    async fn parts_are_taken_in_order_up_to_the_limit() {
        let (near, mut far) = tokio::io::duplex(1024);
        let (mut socket, _outgoing) = Outgoing::new(near, None);
        assert!(socket.is_write_vectored());
        let (one, two) = (vec![1; BUFFERED_MAX_BYTES - 1], [2; 3]);
        let parts = [&one[..], &two, &[3]].map(IoSlice::new);
        let mut cx = Context::from_waker(Waker::noop());
        let taken = Pin::new(&mut socket).poll_write_vectored(&mut cx, &parts);
        let Poll::Ready(Ok(taken)) = taken else { panic!("it has room: {taken:?}") };
        assert_eq!(taken, one.len() + two.len());
        let parts = [&[3][..], &[4; 2]].map(IoSlice::new);
        assert!(Pin::new(&mut socket).poll_write_vectored(&mut cx, &parts).is_pending());
        let written = tokio::spawn(async move {
            let parts = [&[3][..], &[4; 2]].map(IoSlice::new);
            assert_eq!(socket.write_vectored(&parts).await.unwrap(), 3);
            socket.shutdown().await.unwrap();
        });
        let mut seen = Vec::new();
        far.read_to_end(&mut seen).await.unwrap();
        written.await.unwrap();
        assert_eq!(seen[..one.len()], one);
        assert_eq!(seen[one.len()..], [2, 2, 2, 3, 4, 4]);
    }

    #[test]
    fn a_large_buffer_is_one_piece_of_memory_and_goes_to_the_next() {
        SPARE.set(None);
        let mut cx = Context::from_waker(Waker::noop());
        let mut seen = None;
        for _ in 0..3 {
            let (near, _far) = tokio::io::duplex(1 << 20);
            let (_socket, outgoing) = Outgoing::new(near, None);
            let mut outgoing = outgoing.lock();
            outgoing.add(&[1; KEPT_BYTES]);
            assert!(outgoing.buffer.capacity() < ROOM_BYTES);
            outgoing.add(&[2; KEPT_BYTES]);
            let memory = outgoing.buffer.as_ptr();
            outgoing.add(&[3; BUFFERED_MAX_BYTES - KEPT_BYTES]);
            assert_eq!(outgoing.buffer.as_ptr(), memory);
            assert_eq!(*seen.get_or_insert(memory), memory);
            assert_eq!(outgoing.buffer[KEPT_BYTES - 1..=KEPT_BYTES], [1, 2]);
            assert!(outgoing.poll_flush(&mut cx).is_ready());
            assert_eq!(outgoing.buffer.capacity(), 0);
        }
        let spare = SPARE.take().expect("the last one's");
        assert!(spare.is_empty() && spare.capacity() >= ROOM_BYTES);
    }
}
