//! One connection to one endpoint: dial, then HTTP/2.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};
use tonic::body::Body;

use crate::{
    config::{Config, MIN_KEEPALIVE_TIME, connector},
    endpoint::{Address, Endpoint, Security},
    error::Error,
};

/// An attempt to connect is given up after this time, as gRPC libraries do.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// What a server may send on one stream before it is read.
const STREAM_WINDOW: u32 = 2 << 20;
/// What a server may send on one connection before it is read.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Headers of a response, error texts included.
const MAX_HEADER_BYTES: u32 = 1 << 20;

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
#[derive(Clone)]
pub(crate) struct Connector {
    keepalive_time: Option<Duration>,
    keepalive_timeout: Duration,
    plain: tls::Connector,
    encrypted: Option<tls::Connector>,
    /// TLS also where the endpoint does not ask for it.
    prefer_encrypted: bool,
}

impl Connector {
    /// The connector that `config` describes. Fails when the system's authorities are needed and
    /// cannot be read.
    pub(crate) fn new(config: &Config) -> Result<Connector, Error> {
        let options = tls::ClientOptions {
            dial_timeout: CONNECT_TIMEOUT,
            handshake_timeout: CONNECT_TIMEOUT,
            ..tls::ClientOptions::default()
        };
        let plain = tls::Connector::plain(&options);
        let required = |endpoint: &Endpoint| endpoint.security == Security::Required;
        let encrypted = match &config.tls {
            Some(connector) => Some(connector.clone()),
            None if config.endpoints.iter().any(required) => {
                let connector = connector(options);
                Some(connector.map_err(|error| Error::Config(error.to_string()))?)
            }
            None => None,
        };
        Ok(Connector {
            keepalive_time: config.keepalive_time.map(|time| time.max(MIN_KEEPALIVE_TIME)),
            keepalive_timeout: config.keepalive_timeout,
            plain,
            encrypted,
            prefer_encrypted: config.tls.is_some(),
        })
    }

    /// Connects; an error says which step failed, in the words of Go's gRPC library.
    pub(crate) async fn connect(
        &self,
        endpoint: &Endpoint,
    ) -> Result<(Connection, Driver), String> {
        let authority = http::uri::Authority::try_from(endpoint.authority.as_str())
            .map_err(|error| format!("invalid endpoint {endpoint}: {error}"))?;
        let (stream, encrypted) = self.dial(endpoint).await?;
        let (stream, first_byte) = Preface::new(stream);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADER_BYTES)
            .keep_alive_interval(self.keepalive_time)
            .keep_alive_timeout(self.keepalive_timeout);
        let (sender, driver) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("transport: {}", cause(&error)))?;
        // Only a server that has spoken counts: one that refuses a certificate, or that speaks
        // another protocol, must not be handed requests.
        let mut driver: Driver = Box::pin(driver);
        tokio::select! {
            biased;
            end = &mut driver => {
                let why = end.err().map_or_else(|| "EOF".to_owned(), |error| cause(&error));
                return Err(format!("{PREFACE}: {why}"));
            }
            spoken = first_byte => spoken.map_err(|_| format!("{PREFACE}: EOF"))?,
            () = tokio::time::sleep(CONNECT_TIMEOUT) => {
                return Err(format!("{PREFACE}: i/o timeout"));
            }
        }
        let scheme = match encrypted {
            true => http::uri::Scheme::HTTPS,
            false => http::uri::Scheme::HTTP,
        };
        Ok((Connection { sender, scheme, authority }, driver))
    }

    /// Opens the endpoint's socket; whether it is encrypted.
    async fn dial(&self, endpoint: &Endpoint) -> Result<(tls::Stream, bool), String> {
        let encrypted = match endpoint.security {
            Security::Required => self.encrypted.as_ref(),
            Security::Optional if self.prefer_encrypted => self.encrypted.as_ref(),
            Security::Optional | Security::Plain => None,
        };
        let (connector, scheme) = match encrypted {
            Some(connector) => (connector, tls::Scheme::Tls),
            None if endpoint.security == Security::Required => {
                return Err("no TLS configuration for this endpoint".to_owned());
            }
            None => (&self.plain, tls::Scheme::Plain),
        };
        let stream = match &endpoint.address {
            Address::Tcp(address) => {
                let (host, port) = host_port(address)?;
                connector.connect(scheme, host, port).await
            }
            Address::Unix(path) => {
                let connector = connector.with_server_name(endpoint.server_name());
                connector.connect_unix(scheme, path).await
            }
        };
        let stream = stream.map_err(|error| match error {
            tls::Error::Dial { .. } | tls::Error::DialTimeout(_) => {
                format!("transport: Error while dialing: {error}")
            }
            error => format!("transport: authentication handshake failed: {error}"),
        })?;
        Ok((stream, encrypted.is_some()))
    }
}

/// What a connection ends with before the server has spoken.
const PREFACE: &str = "error reading server preface";

/// The innermost reason of an error.
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// A stream that tells when the server sends its first byte.
struct Preface {
    stream: tls::Stream,
    first_byte: Option<oneshot::Sender<()>>,
}

impl Preface {
    fn new(stream: tls::Stream) -> (Preface, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (Preface { stream, first_byte: Some(sender) }, receiver)
    }
}

impl AsyncRead for Preface {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before
            && let Some(sender) = self.first_byte.take()
        {
            // Nobody waits when the attempt was given up.
            let _ = sender.send(());
        }
        polled
    }
}

impl AsyncWrite for Preface {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
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

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Host and port of `host:port`.
fn host_port(address: &str) -> Result<(&str, u16), String> {
    let failed = |why: String| format!("transport: Error while dialing: dial tcp: {why}");
    match address.rsplit_once(':') {
        Some((host, port)) if host.contains(':') == host.ends_with(']') => {
            let number = port.parse();
            number
                .map(|port| (host, port))
                .map_err(|_| failed(format!("lookup tcp/{port}: unknown port")))
        }
        Some(_) => Err(failed(format!("address {address}: too many colons in address"))),
        None => Err(failed(format!("address {address}: missing port in address"))),
    }
}
