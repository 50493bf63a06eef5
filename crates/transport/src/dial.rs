//! Opening connections to peers.

use std::{future::Future, io, path::Path, pin::Pin};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::url::PeerUrl;

/// A connection, plain or encrypted.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection of any kind.
pub type BoxIo = Box<dyn Io>;

/// A connection being opened.
pub type Dialing<'a> = Pin<Box<dyn Future<Output = io::Result<BoxIo>> + Send + 'a>>;

/// Opens connections to peers. A [`tls::Connector`] does; tests put faults in between.
///
/// TCP connections have no delay (`TCP_NODELAY`) and keepalive. An attempt ends by itself: etcd
/// gives one second and an election timeout to connect and ten seconds to the TLS handshake.
pub trait Dial: Send + Sync + 'static {
    /// Connects to `url`, handshake included.
    fn dial<'a>(&'a self, url: &'a PeerUrl) -> Dialing<'a>;
}

impl Dial for tls::Connector {
    fn dial<'a>(&'a self, url: &'a PeerUrl) -> Dialing<'a> {
        let scheme = if url.scheme().is_tls() { tls::Scheme::Tls } else { tls::Scheme::Plain };
        Box::pin(async move {
            let connected = if url.scheme().is_unix() {
                self.connect_unix(scheme, Path::new(url.host())).await
            } else {
                self.connect(scheme, url.host(), url.port()).await
            };
            Ok(Box::new(connected.map_err(io::Error::other)?) as BoxIo)
        })
    }
}
