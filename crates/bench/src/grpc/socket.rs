//! A TCP stream that writes when its owner says so, not on each frame.
//!
//! `h2` flushes after every larger DATA frame and reads into small buffers. With a thousand
//! requests ready at once that is a thousand system calls. [`Socket`] takes what `h2` writes into a
//! buffer and calls flushing done; [`Outgoing::poll_flush`], which the connection's task calls each
//! time `h2` has nothing more to do, sends it all at once.
//!
//! Invariant: bytes wait in the buffer only while the connection's task is running, or while the
//! kernel accepts no more and will wake that task.

use bytes::{Buf, BytesMut};
use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A buffer longer than this is sent before more is taken.
const OUTGOING_MAX_BYTES: usize = 256 * 1024;

/// A connection and what waits to be sent on it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    stream: tls::Stream,
    buffer: BytesMut,
}

impl Outgoing {
    /// Hands the buffer to the kernel; pending when the kernel takes no more for now.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.buffer.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.buffer))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.buffer.advance(sent);
        }
        // TLS keeps records of its own.
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

/// The stream as `h2` sees it.
#[derive(Debug)]
pub(crate) struct Socket {
    outgoing: Rc<RefCell<Outgoing>>,
}

impl Socket {
    /// Wraps `stream`; the second part is for the task that flushes.
    pub(crate) fn new(stream: tls::Stream) -> (Self, Rc<RefCell<Outgoing>>) {
        let outgoing = Outgoing { stream, buffer: BytesMut::with_capacity(64 * 1024) };
        let outgoing = Rc::new(RefCell::new(outgoing));
        (Self { outgoing: Rc::clone(&outgoing) }, outgoing)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.outgoing.borrow_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut outgoing = self.outgoing.borrow_mut();
        if outgoing.buffer.len() >= OUTGOING_MAX_BYTES {
            ready!(outgoing.poll_flush(cx))?;
        }
        outgoing.buffer.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut outgoing = self.outgoing.borrow_mut();
        ready!(outgoing.poll_flush(cx))?;
        Pin::new(&mut outgoing.stream).poll_shutdown(cx)
    }
}
