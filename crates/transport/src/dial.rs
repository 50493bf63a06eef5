//! Opening connections to peers.

use std::{future::Future, io, pin::Pin, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use crate::url::PeerUrl;

/// Idle time before the kernel probes a connection, as Go's dialer has it.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A connection, plain or encrypted.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection of any kind.
pub type BoxIo = Box<dyn Io>;

/// A connection being opened.
pub type Dialing<'a> = Pin<Box<dyn Future<Output = io::Result<BoxIo>> + Send + 'a>>;

/// Opens connections to peers. The caller sets the time limit.
pub trait Dial: Send + Sync + 'static {
    /// Connects to `url`, handshake included.
    fn dial<'a>(&'a self, url: &'a PeerUrl) -> Dialing<'a>;
}

/// Opens unencrypted connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainDial;

impl Dial for PlainDial {
    fn dial<'a>(&'a self, url: &'a PeerUrl) -> Dialing<'a> {
        Box::pin(async move {
            if url.scheme().is_tls() {
                let reason = format!("no TLS configured for {url}");
                return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
            }
            if url.scheme().is_unix() {
                return Ok(Box::new(UnixStream::connect(url.host()).await?) as BoxIo);
            }
            let stream = TcpStream::connect((url.host(), url.port())).await?;
            tune(&stream)?;
            Ok(Box::new(stream) as BoxIo)
        })
    }
}

/// Sets what every TCP connection between members has: no delay, keepalive.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
