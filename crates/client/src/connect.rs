//! One connection to one endpoint: dial, then HTTP/2.

use std::{io, pin::Pin, time::Duration};

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tonic::body::Body;

use crate::{
    config::{Config, MIN_KEEPALIVE_TIME},
    endpoint::{Address, Endpoint},
};

/// An attempt to connect is given up after this time, as gRPC libraries do.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// What a server may send on one stream before it is read.
const STREAM_WINDOW: u32 = 2 << 20;
/// What a server may send on one connection before it is read.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Headers of a response, error texts included.
const MAX_HEADER_BYTES: u32 = 1 << 20;

/// Bytes both ways: TCP, a Unix socket, or TLS over either.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection that takes requests. Clones share it.
#[derive(Clone)]
pub(crate) struct Connection {
    /// Takes requests.
    pub(crate) sender: SendRequest<Body>,
    /// The scheme of requests.
    pub(crate) scheme: http::uri::Scheme,
    /// The authority of requests.
    pub(crate) authority: http::uri::Authority,
}

/// What moves a connection's bytes; ends when the connection does.
pub(crate) type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// What all connections of a client have in common.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    keepalive_time: Option<Duration>,
    keepalive_timeout: Duration,
}

impl Connector {
    /// The connector that `config` describes.
    pub(crate) fn new(config: &Config) -> Connector {
        Connector {
            keepalive_time: config.keepalive_time.map(|time| time.max(MIN_KEEPALIVE_TIME)),
            keepalive_timeout: config.keepalive_timeout,
        }
    }

    /// Connects; an error says which step failed, in the words of Go's network library.
    pub(crate) async fn connect(
        &self,
        endpoint: &Endpoint,
    ) -> Result<(Connection, Driver), String> {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.try_connect(endpoint)).await {
            Ok(result) => result,
            Err(_) => Err(format!("dial {}: i/o timeout", describe(endpoint))),
        }
    }

    async fn try_connect(&self, endpoint: &Endpoint) -> Result<(Connection, Driver), String> {
        let authority = http::uri::Authority::try_from(endpoint.authority.as_str())
            .map_err(|error| format!("invalid endpoint {endpoint}: {error}"))?;
        let io = dial(endpoint).await.map_err(|error| {
            format!("dial {}: connect: {}", describe(endpoint), describe_io(&error))
        })?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADER_BYTES)
            .keep_alive_interval(self.keepalive_time)
            .keep_alive_timeout(self.keepalive_timeout);
        let (sender, driver) = builder
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| format!("HTTP/2 handshake: {error}"))?;
        let connection = Connection { sender, scheme: http::uri::Scheme::HTTP, authority };
        Ok((connection, Box::pin(driver)))
    }
}

/// Opens the endpoint's socket.
async fn dial(endpoint: &Endpoint) -> io::Result<Box<dyn Io>> {
    match &endpoint.address {
        Address::Tcp(address) => {
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            Ok(Box::new(socket))
        }
        Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
    }
}

/// Network and address, as Go's dial errors name them.
fn describe(endpoint: &Endpoint) -> String {
    match &endpoint.address {
        Address::Tcp(address) => format!("tcp {address}"),
        Address::Unix(path) => format!("unix {}", path.display()),
    }
}

/// The system's word for an error, as Go writes it: lower case, without the number.
fn describe_io(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    text.to_lowercase()
}
