//! Opening connections with and without TLS.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig,
    client::{Resumption, danger::ServerCertVerifier},
    pki_types::ServerName,
    sign::{CertifiedKey, SingleCertAndKey},
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpSocket, TcpStream, UnixStream},
    time::Instant,
};
use tokio_rustls::TlsConnector;

use crate::{
    chain::Roots,
    error::{Error, io_text},
    parts,
    policy::Policy,
    reload::{INTERVAL, Part, Reloading, Source},
    stream::{Socket, Stream},
    verifier::{Allowed, Checks, OfServers},
};

/// Idle time after which a connection is probed.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`, `unix`.
    Plain,
    /// `https`, `unixs`.
    Tls,
}

/// What connections are opened with.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The authorities that sign server certificates; the system's if there is no file.
    pub trusted_ca_file: Option<PathBuf>,
    /// The own certificate chain and its key, shown to servers that ask.
    pub key_pair: Option<(PathBuf, PathBuf)>,
    /// The name that the server's certificate must have, if it is not that of the host.
    pub server_name: Option<String>,
    /// Whether a server's certificate is taken as it is. The connection is encrypted then, and
    /// nobody knows with whom.
    pub insecure_skip_verify: bool,
    /// Which verified certificates are accepted.
    pub allowed: Allowed,
    /// Versions and cipher suites.
    pub policy: Policy,
    /// The protocols asked for by ALPN; none asks for nothing.
    pub protocols: Vec<&'static str>,
    /// The own address to connect from.
    pub local_address: Option<IpAddr>,
    /// How long connecting may take, without the handshake.
    pub dial_timeout: Duration,
    /// How long the handshake may take.
    pub handshake_timeout: Duration,
    /// How often files are looked at, at most.
    pub reload_interval: Duration,
}

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            trusted_ca_file: None,
            key_pair: None,
            server_name: None,
            insecure_skip_verify: false,
            allowed: Allowed::All,
            policy: Policy::default(),
            protocols: Vec::new(),
            local_address: None,
            dial_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(10),
            reload_interval: INTERVAL,
        }
    }
}

/// Opens connections; cheap to clone.
#[derive(Clone)]
pub struct Connector {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    config: Option<Arc<Reloading<Files>>>,
    server_name: Option<String>,
    local_address: Option<IpAddr>,
    dial_timeout: Duration,
    handshake_timeout: Duration,
}

impl Connector {
    /// Opens connections with and without TLS. Reads all files.
    pub fn new(options: ClientOptions) -> Result<Connector, Error> {
        let mut connector = Inner::plain(&options);
        let interval = options.reload_interval;
        connector.config = Some(Arc::new(Reloading::new(Files::open(options)?, interval)));
        Ok(Connector { inner: Arc::new(connector) })
    }

    /// Opens connections without TLS only; of the options, only those that concern all connections
    /// count, and no file is read.
    pub fn plain(options: &ClientOptions) -> Connector {
        Connector { inner: Arc::new(Inner::plain(options)) }
    }

    /// The same, with another name that servers' certificates must have.
    pub fn with_server_name(&self, name: &str) -> Connector {
        let mut inner = Inner::clone(&self.inner);
        inner.server_name = Some(name.to_owned());
        Connector { inner: Arc::new(inner) }
    }

    /// Connects to `host`, a name or an address (in brackets or not), at `port`: tries each of its
    /// addresses, IPv4 first.
    pub async fn connect(&self, scheme: Scheme, host: &str, port: u16) -> Result<Stream, Error> {
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let socket = self.inner.dial(host, port).await?;
        self.inner.secure(scheme, host, socket.into()).await
    }

    /// Connects to a unix socket. A server with TLS must have a certificate for `server_name` of the
    /// options, or else for `localhost`.
    pub async fn connect_unix(&self, scheme: Scheme, path: &Path) -> Result<Stream, Error> {
        let failed = |reason: String| Error::Dial { address: path.display().to_string(), reason };
        let timeout = self.inner.dial_timeout;
        let socket = match tokio::time::timeout(timeout, UnixStream::connect(path)).await {
            Err(_) => return Err(Error::DialTimeout(path.display().to_string())),
            Ok(connected) => connected.map_err(|error| failed(io_text(&error)))?,
        };
        self.inner.secure(scheme, "localhost", socket.into()).await
    }
}

impl Inner {
    fn plain(options: &ClientOptions) -> Inner {
        Inner {
            config: None,
            server_name: options.server_name.clone(),
            local_address: options.local_address,
            dial_timeout: options.dial_timeout,
            handshake_timeout: options.handshake_timeout,
        }
    }

    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, Error> {
        let deadline = Instant::now() + self.dial_timeout;
        let address = || {
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
        };
        let timed_out = || Error::DialTimeout(address());
        let failed = |reason: String| Error::Dial { address: address(), reason };
        let looked_up = tokio::time::timeout_at(deadline, tokio::net::lookup_host((host, port)));
        let mut addresses: Vec<SocketAddr> = match looked_up.await {
            Err(_) => return Err(timed_out()),
            Ok(Err(error)) => return Err(failed(format!("lookup {host}: {}", io_text(&error)))),
            Ok(Ok(addresses)) => addresses.collect(),
        };
        addresses.sort_by_key(SocketAddr::is_ipv6);
        let mut last = failed("no such host".to_owned());
        let count = addresses.len();
        for (at, address) in addresses.into_iter().enumerate() {
            // Each address gets its share of the time that is left.
            let share = (deadline - Instant::now()) / u32::try_from(count - at).unwrap_or(u32::MAX);
            match tokio::time::timeout(share, self.dial_one(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = failed(format!("connect: {}", io_text(&error))),
                Err(_) => last = timed_out(),
            }
        }
        Err(last)
    }

    async fn dial_one(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(local) = self.local_address.filter(|l| l.is_ipv4() == address.is_ipv4()) {
            socket.bind(SocketAddr::new(local, 0))?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(stream)
    }

    async fn secure(&self, scheme: Scheme, host: &str, socket: Socket) -> Result<Stream, Error> {
        if scheme == Scheme::Plain {
            return Ok(Stream::Plain(socket));
        }
        let Some(config) = &self.config else { return Err(Error::TlsWithoutConfig) };
        let name = self.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| Error::Options(format!("tls: {name:?} is no name of a server")))?;
        let shake_hands = async {
            let config = config.current().await;
            TlsConnector::from(config).connect(name, socket).await.map_err(Error::of_handshake)
        };
        match tokio::time::timeout(self.handshake_timeout, shake_hands).await {
            Err(_) => Err(Error::HandshakeTimeout),
            Ok(stream) => Ok(Stream::Opened(Box::new(stream?))),
        }
    }
}

/// The files of a client.
struct Files {
    options: ClientOptions,
    key_pair: Option<Part<CertifiedKey>>,
    roots: Option<Part<Roots>>,
}

impl Files {
    fn open(options: ClientOptions) -> Result<Files, Error> {
        let key_pair = options.key_pair.as_ref().map(|(cert, key)| parts::key_pair(cert, key));
        let key_pair = key_pair.transpose()?;
        let verifies = !options.insecure_skip_verify;
        let roots =
            verifies.then(|| parts::roots(options.trusted_ca_file.as_deref())).transpose()?;
        Ok(Files { options, key_pair, roots })
    }
}

impl Source for Files {
    type Made = ClientConfig;

    fn make(&self) -> ClientConfig {
        let policy = &self.options.policy;
        let verifier: Arc<dyn ServerCertVerifier> = Arc::new(match &self.roots {
            None => OfServers::Unverified,
            Some(roots) => OfServers::Verified(Checks {
                roots: roots.value(),
                revoked: None,
                allowed: self.options.allowed.clone(),
            }),
        });
        let builder = ClientConfig::builder_with_provider(policy.provider())
            .with_protocol_versions(policy.versions())
            .expect("a policy has a suite for each of its versions")
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.key_pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let resolver = Arc::new(SingleCertAndKey::from(pair.value()));
                builder.with_client_cert_resolver(resolver)
            }
        };
        config.alpn_protocols =
            self.options.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        // A resumed session would not show the server's certificate again.
        config.resumption = Resumption::disabled();
        config
    }

    fn refresh(&mut self) -> bool {
        let mut changed = self.key_pair.as_mut().is_some_and(|pair| pair.refresh(|_| Ok(())));
        if self.options.trusted_ca_file.is_some() {
            changed |= self.roots.as_mut().is_some_and(|roots| roots.refresh(parts::some_roots));
        }
        changed
    }
}
