//! A connection, encrypted or not, as one type.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{client, server};

/// The socket below a connection.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Socket {
        Socket::Tcp(stream)
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Socket {
        Socket::Unix(stream)
    }
}

impl Socket {
    /// The other side's address; none for a unix socket.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        match self {
            Socket::Tcp(stream) => stream.peer_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// This side's address; none for a unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Socket::Tcp(stream) => stream.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// Waits for the first byte and leaves it there; `None` at the end.
    pub(crate) async fn first_byte(&self) -> io::Result<Option<u8>> {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let count = match self {
            Socket::Tcp(stream) => {
                let peek = || SockRef::from(stream).peek(&mut byte);
                stream.async_io(Interest::READABLE, peek).await?
            }
            Socket::Unix(stream) => {
                let peek = || SockRef::from(stream).peek(&mut byte);
                stream.async_io(Interest::READABLE, peek).await?
            }
        };
        // SAFETY: `peek` wrote as many bytes as it says.
        Ok((count > 0).then(|| unsafe { byte[0].assume_init() }))
    }
}

/// Calls a method on whatever stream this is.
macro_rules! each {
    ($self:ident, $kind:ident: $($variant:ident)|+, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            $($kind::$variant($stream) => {
                let $stream = Pin::new($stream);
                $call
            })+
        }
    };
}

/// Implements reading and writing for an enum of streams.
macro_rules! forward {
    ($kind:ident: $first:ident $(| $variant:ident)*) => {
        impl AsyncRead for $kind {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                each!(self, $kind: $first $(| $variant)*, stream => stream.poll_read(cx, buf))
            }
        }

        impl AsyncWrite for $kind {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                each!(self, $kind: $first $(| $variant)*, stream => stream.poll_write(cx, bytes))
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                each!(self, $kind: $first $(| $variant)*, stream => stream.poll_flush(cx))
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                each!(self, $kind: $first $(| $variant)*, stream => stream.poll_shutdown(cx))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                each!(self, $kind: $first $(| $variant)*, stream => {
                    stream.poll_write_vectored(cx, slices)
                })
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $kind::$first(stream) => stream.is_write_vectored(),
                    $($kind::$variant(stream) => stream.is_write_vectored(),)*
                }
            }
        }
    };
}

forward!(Socket: Tcp | Unix);

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// Without TLS.
    Plain(Socket),
    /// With TLS, accepted.
    Accepted(Box<server::TlsStream<Socket>>),
    /// With TLS, opened.
    Opened(Box<client::TlsStream<Socket>>),
}

forward!(Stream: Plain | Accepted | Opened);

impl Stream {
    /// The socket below.
    pub fn socket(&self) -> &Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Accepted(stream) => stream.get_ref().0,
            Stream::Opened(stream) => stream.get_ref().0,
        }
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        !matches!(self, Stream::Plain(_))
    }

    /// The protocol that both sides chose, if they talked about it (ALPN).
    pub fn protocol(&self) -> Option<&[u8]> {
        match self {
            Stream::Plain(_) => None,
            Stream::Accepted(stream) => stream.get_ref().1.alpn_protocol(),
            Stream::Opened(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }
}
