//! The first bytes of a connection, which tell HTTP/2 from HTTP/1, read and put back.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// What every HTTP/2 client says first.
const HTTP2: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// As many first bytes of a connection as it takes to tell.
#[derive(Default)]
pub(super) struct Preface {
    bytes: [u8; HTTP2.len()],
    len: usize,
}

impl Preface {
    /// Reads until it is clear what the client speaks, or it has nothing more to say.
    pub(super) async fn read(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
        while self.len < HTTP2.len() && HTTP2.starts_with(&self.bytes[..self.len]) {
            match stream.read(&mut self.bytes[self.len..]).await? {
                0 => return Ok(()),
                count => self.len += count,
            }
        }
        Ok(())
    }

    /// Whether the client speaks HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.bytes[..self.len] == HTTP2[..]
    }
}

/// A connection that begins with what was read of it.
pub(super) struct Rewound<S> {
    preface: Preface,
    given: usize,
    stream: S,
}

impl<S> Rewound<S> {
    /// Puts `preface` back before the rest of `stream`.
    pub(super) fn new(preface: Preface, stream: S) -> Rewound<S> {
        Rewound { preface, given: 0, stream }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let rest = &this.preface.bytes[this.given..this.preface.len];
        if !rest.is_empty() {
            let count = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..count]);
            this.given += count;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(bytes: &[u8]) -> (bool, Vec<u8>) {
        let mut stream = bytes;
        let mut preface = Preface::default();
        preface.read(&mut stream).await.unwrap();
        let is_http2 = preface.is_http2();
        let mut seen = Vec::new();
        let mut rewound = Rewound::new(preface, tokio::io::join(stream, tokio::io::sink()));
        rewound.read_to_end(&mut seen).await.unwrap();
        (is_http2, seen)
    }

    #[tokio::test]
    async fn no_byte_is_lost_in_telling() {
        let http2 = [&HTTP2[..], b"frames"].concat();
        for (bytes, is_http2) in [
            (&http2[..], true),
            (&HTTP2[..], true),
            (b"GET / HTTP/1.1\r\n\r\n", false),
            (b"PRI * HTTP/1.1\r\n\r\nmore than the preface", false),
            (b"PRI", false),
            (b"", false),
        ] {
            assert_eq!(told(bytes).await, (is_http2, bytes.to_vec()));
        }
    }
}
