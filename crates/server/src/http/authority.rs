//! Makes the `:authority` of old grpc-go clients acceptable to the HTTP/2 library.
//!
//! The maintenance calls of etcdctl 3.4 (`defrag`, `endpoint status`, `endpoint hashkv`) put the
//! endpoint as the user wrote it, `http://127.0.0.1:2379`, into `:authority`. etcd serves such
//! calls; the `h2` crate resets the stream. [`AuthorityShim`] sits between the socket and the
//! HTTP library and turns such a value into an equally long, valid one: `:` of the scheme becomes
//! `B` and every `/` becomes `3` (`httpB33127.0.0.1:2379`). In the Huffman code of HPACK both are
//! changes of one bit, so all lengths and the decoder's dynamic table stay right. No service
//! looks at the authority.
//!
//! Invariants: exactly as many bytes go out as come in, in order; only the text of an
//! `:authority` literal ever changes; bytes go straight into the caller's buffer, and only when a
//! read ends inside the scheme of an `:authority` are those (fewer than eight) bytes held back
//! until the next read. Writes pass untouched.

mod scanner;
#[cfg(test)]
mod tests;

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use scanner::{LOOKAHEAD_MAX, Scanner};

/// A byte stream whose HTTP/2 requests carry a valid `:authority`.
pub(crate) struct AuthorityShim<S> {
    inner: S,
    scanner: Scanner,
    held: Held,
}

/// Bytes that were read and not yet given to the caller.
#[derive(Default)]
struct Held {
    bytes: [u8; LOOKAHEAD_MAX],
    /// `bytes[from..to]` are held.
    from: usize,
    to: usize,
    /// The scanner has passed the bytes: they may go out.
    settled: bool,
}

impl<S> AuthorityShim<S> {
    /// Wraps a connection of which nothing has been read.
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, scanner: Scanner::new(), held: Held::default() }
    }
}

impl Held {
    fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Holds bytes that the scanner could not decide on.
    fn hold(&mut self, bytes: &[u8]) {
        self.bytes[..bytes.len()].copy_from_slice(bytes);
        (self.from, self.to, self.settled) = (0, bytes.len(), false);
    }

    /// Gives as many bytes to the caller as its buffer takes.
    fn deliver(&mut self, buf: &mut ReadBuf<'_>) {
        let count = buf.remaining().min(self.to - self.from);
        buf.put_slice(&self.bytes[self.from..self.from + count]);
        self.from += count;
    }
}

impl<S: AsyncRead + Unpin> AuthorityShim<S> {
    /// Reads what the scanner still needs to decide on the held bytes, and no more.
    fn poll_settle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.settled {
            let wanted = self.scanner.wanted();
            assert!(wanted > self.held.to, "the scanner leaves bytes only when it needs more");
            let mut more = ReadBuf::new(&mut self.held.bytes[self.held.to..wanted]);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut more))?;
            let count = more.filled().len();
            self.held.to += count;
            let consumed = self.scanner.scan(&mut self.held.bytes[..self.held.to]);
            assert!(consumed == 0 || consumed == self.held.to, "a scheme is decided on at once");
            // At the end of the stream the bytes go out as they are.
            self.held.settled = count == 0 || consumed == self.held.to;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for AuthorityShim<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if !this.held.is_empty() {
                ready!(this.poll_settle(cx))?;
                this.held.deliver(buf);
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            let fresh = &mut buf.filled_mut()[before..];
            let consumed = this.scanner.scan(fresh);
            if consumed == fresh.len() {
                return Poll::Ready(Ok(()));
            }
            this.held.hold(&fresh[consumed..]);
            buf.set_filled(before + consumed);
            // An empty answer would mean the end of the stream.
            if consumed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for AuthorityShim<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
