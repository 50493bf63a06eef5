//! A connection that writes when its owner says so, not on each frame.
//!
//! The HTTP/2 library hands every larger DATA frame to the kernel by itself. [`Socket`] takes what it
//! writes into a buffer and calls flushing done; the task of the connection sends it all at once, when
//! the library has nothing more to say for now.
//!
//! Invariants: exactly what was written goes out, in order; bytes wait in the buffer only while the
//! task of the connection runs, or while the kernel takes no more and will wake that task; the buffer
//! has a limit, beyond which writing waits for the kernel.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A buffer this long is sent before more is taken.
const BUFFERED_MAX_BYTES: usize = 128 * 1024;
/// What an empty buffer may keep of its memory.
const KEPT_BYTES: usize = 16 * 1024;

/// A connection with what waits to be sent on it.
pub(super) struct Outgoing<S> {
    stream: S,
    buffer: BytesMut,
    /// Whether anything was received since this was last asked.
    heard: bool,
}

/// The connection as the HTTP/2 library sees it.
pub(super) struct Socket<S>(Arc<Mutex<Outgoing<S>>>);

impl<S: AsyncWrite + Unpin> Outgoing<S> {
    /// Wraps `stream`; the second part is for the task that flushes.
    pub(super) fn new(stream: S) -> (Socket<S>, Arc<Mutex<Outgoing<S>>>) {
        let outgoing = Outgoing { stream, buffer: BytesMut::new(), heard: false };
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
        if self.buffer.capacity() > KEPT_BYTES {
            self.buffer = BytesMut::new();
        }
        // TLS has a buffer of its own.
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Whether anything was received since the last call of this.
    pub(super) fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut outgoing = self.0.lock();
        let read = Pin::new(&mut outgoing.stream).poll_read(cx, buf);
        outgoing.heard |= matches!(read, Poll::Ready(Ok(())));
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
        outgoing.buffer.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
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
        let (mut socket, outgoing) = Outgoing::new(near);
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
        let (mut socket, outgoing) = Outgoing::new(near);
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
}
