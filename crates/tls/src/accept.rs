//! Accepting connections with and without TLS.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    server::{NoServerSessionStorage, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use crate::{
    chain::Roots,
    crl::RevocationList,
    error::Error,
    handshakes::{Handshakes, PATIENCE},
    identity::{PeerIdentity, VerifiedCertificate},
    parts,
    policy::Policy,
    reload::{INTERVAL, Part, Reloading, Source},
    remote,
    stream::{Socket, Stream},
    verifier::{Allowed, Checks, OfClients},
};

/// The first byte of a TLS handshake.
const HANDSHAKE_RECORD: u8 = 0x16;

/// What a listener with TLS is made of.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The certificate chain in PEM.
    pub cert_file: PathBuf,
    /// Its key in PEM.
    pub key_file: PathBuf,
    /// The authorities that sign client certificates. Given, it makes clients show one.
    pub trusted_ca_file: Option<PathBuf>,
    /// Whether clients must show a certificate; without a file, one that the system trusts.
    pub client_cert_auth: bool,
    /// The list of revoked certificates.
    pub crl_file: Option<PathBuf>,
    /// Which verified certificates are accepted.
    pub allowed: Allowed,
    /// Whether a client's certificate must name the address that it connects from, if it names any.
    pub check_remote_address: bool,
    /// Versions and cipher suites.
    pub policy: Policy,
    /// The protocols offered by ALPN, the preferred one first.
    pub protocols: Vec<&'static str>,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How many handshakes may be under way.
    pub handshakes_max: usize,
    /// How often files are looked at, at most.
    pub reload_interval: Duration,
}

impl ServerOptions {
    /// A listener with this certificate that asks clients for none.
    pub fn new(cert_file: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> ServerOptions {
        ServerOptions {
            cert_file: cert_file.into(),
            key_file: key_file.into(),
            trusted_ca_file: None,
            client_cert_auth: false,
            crl_file: None,
            allowed: Allowed::All,
            check_remote_address: false,
            policy: Policy::default(),
            protocols: vec![crate::HTTP2, crate::HTTP1],
            handshake_timeout: Duration::from_secs(10),
            handshakes_max: 1024,
            reload_interval: INTERVAL,
        }
    }
}

/// Accepts connections; cheap to clone, and clones share their limits and their files.
#[derive(Clone)]
pub struct Acceptor {
    tls: Option<Arc<Tls>>,
    plain: bool,
}

struct Tls {
    config: Reloading<Files>,
    handshakes: Arc<Handshakes>,
    handshake_timeout: Duration,
    check_remote_address: bool,
}

impl Acceptor {
    /// Accepts connections without TLS only.
    pub fn plain() -> Acceptor {
        Acceptor { tls: None, plain: true }
    }

    /// Accepts connections with TLS only. Reads all files.
    pub fn tls(options: ServerOptions) -> Result<Acceptor, Error> {
        let (interval, handshakes_max) = (options.reload_interval, options.handshakes_max);
        let handshake_timeout = options.handshake_timeout;
        let check_remote_address = options.check_remote_address;
        let tls = Tls {
            config: Reloading::new(Files::open(options)?, interval),
            handshakes: Arc::new(Handshakes::new(handshakes_max, PATIENCE)),
            handshake_timeout,
            check_remote_address,
        };
        Ok(Acceptor { tls: Some(Arc::new(tls)), plain: false })
    }

    /// The same, and connections without TLS too: the first byte tells them apart.
    pub fn or_plain(&self) -> Acceptor {
        Acceptor { tls: self.tls.clone(), plain: true }
    }

    /// Whether connections with TLS are accepted.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether connections without TLS are accepted.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Makes a connection of a socket: waits for its first byte where that matters, and for the
    /// handshake. Takes as long as the other side likes only as long as nobody speaks TLS; so call
    /// it off the loop that accepts sockets.
    pub async fn accept(&self, socket: impl Into<Socket>) -> Result<(Stream, PeerIdentity), Error> {
        let socket = socket.into();
        if self.plain {
            let first = socket.first_byte().await.map_err(Error::Io)?;
            if first != Some(HANDSHAKE_RECORD) {
                let identity =
                    PeerIdentity { remote: socket.remote_address(), ..PeerIdentity::default() };
                return Ok((Stream::Plain(socket), identity));
            }
        }
        match &self.tls {
            None => {
                linger(socket).await;
                Err(Error::TlsWithoutConfig)
            }
            Some(tls) => tls.accept(socket).await,
        }
    }
}

impl Tls {
    async fn accept(&self, socket: Socket) -> Result<(Stream, PeerIdentity), Error> {
        let place = self.handshakes.enter().await;
        let accepted = tokio::select! {
            accepted = tokio::time::timeout(self.handshake_timeout, self.shake_hands(socket)) => {
                accepted.unwrap_or(Err((Error::HandshakeTimeout, None)))
            }
            () = place.evicted() => Err((Error::HandshakeTimeout, None)),
        };
        drop(place);
        match accepted {
            Ok(accepted) => Ok(accepted),
            Err((error, socket)) => {
                if let Some(socket) = socket {
                    linger(socket).await;
                }
                Err(error)
            }
        }
    }

    /// A refusal comes with the socket if there is something on its way to the other side.
    async fn shake_hands(
        &self,
        socket: Socket,
    ) -> Result<(Stream, PeerIdentity), (Error, Option<Socket>)> {
        let first = socket.first_byte().await.map_err(|error| (Error::Io(error), None))?;
        match first {
            None => return Err((Error::Closed, None)),
            Some(HANDSHAKE_RECORD) => {}
            // Go says nothing to somebody who speaks another protocol.
            Some(_) => return Err((Error::not_tls(), Some(socket))),
        }
        let config = self.config.current().await;
        let accepting = TlsAcceptor::from(config.config.clone()).accept(socket);
        let stream = match accepting.into_fallible().await {
            Ok(stream) => stream,
            Err((error, socket)) => return Err((Error::of_handshake(error), Some(socket))),
        };
        let refused = |error| (error, None);
        let identity = identify(&stream, config.verifies_clients).map_err(refused)?;
        if self.check_remote_address {
            remote::check(&identity).await.map_err(refused)?;
        }
        Ok((Stream::Accepted(Box::new(stream)), identity))
    }
}

/// Lets the other side read why it is refused: closing a socket with unread bytes would take that
/// away from it.
async fn linger(mut socket: Socket) {
    const PATIENCE: Duration = Duration::from_millis(500);
    const UNREAD_MAX: u64 = 64 * 1024;
    let drain = async {
        socket.shutdown().await?;
        tokio::io::copy(&mut (&mut socket).take(UNREAD_MAX), &mut tokio::io::sink()).await
    };
    let _whatever_comes = tokio::time::timeout(PATIENCE, drain).await;
}

fn identify(
    stream: &tokio_rustls::server::TlsStream<Socket>,
    verified: bool,
) -> Result<PeerIdentity, Error> {
    let (socket, connection) = stream.get_ref();
    let leaf = connection.peer_certificates().and_then(|chain| chain.first());
    let certificate = match leaf.filter(|_| verified) {
        None => None,
        Some(leaf) => Some(Arc::new(
            VerifiedCertificate::read(leaf)
                .map_err(|_| Error::Handshake(rustls::CertificateError::BadEncoding.into()))?,
        )),
    };
    Ok(PeerIdentity { remote: socket.remote_address(), is_tls: true, certificate })
}

/// The files of a listener.
struct Files {
    options: ServerOptions,
    key_pair: Part<CertifiedKey>,
    roots: Option<Part<Roots>>,
    revoked: Option<Part<RevocationList>>,
}

/// A configuration made of them.
struct Made {
    config: Arc<ServerConfig>,
    verifies_clients: bool,
}

impl Files {
    fn open(options: ServerOptions) -> Result<Files, Error> {
        let key_pair = parts::key_pair(&options.cert_file, &options.key_file)?;
        let asks = options.trusted_ca_file.is_some() || options.client_cert_auth;
        let roots = asks.then(|| parts::roots(options.trusted_ca_file.as_deref())).transpose()?;
        let revoked = options.crl_file.as_deref().map(parts::revoked).transpose()?;
        Ok(Files { options, key_pair, roots, revoked })
    }
}

impl Source for Files {
    type Made = Made;

    fn make(&self) -> Made {
        let policy = &self.options.policy;
        let builder = ServerConfig::builder_with_provider(policy.provider())
            .with_protocol_versions(policy.versions())
            .expect("a policy has a suite for each of its versions");
        let builder = match &self.roots {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let checks = Checks {
                    roots: roots.value(),
                    revoked: self.revoked.as_ref().map(Part::value),
                    allowed: self.options.allowed.clone(),
                };
                let verifier: Arc<dyn ClientCertVerifier> = Arc::new(OfClients(checks));
                builder.with_client_cert_verifier(verifier)
            }
        };
        let resolver = Arc::new(SingleCertAndKey::from(self.key_pair.value()));
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols =
            self.options.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        if self.roots.is_some() {
            // A resumed session would bring a certificate back that is no longer good.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Made { config: Arc::new(config), verifies_clients: self.roots.is_some() }
    }

    fn refresh(&mut self) -> bool {
        let mut changed = self.key_pair.refresh(|_| Ok(()));
        if let Some(roots) = &mut self.roots {
            changed |= roots.refresh(parts::some_roots);
        }
        if let Some(revoked) = &mut self.revoked {
            changed |= revoked.refresh(|_| Ok(()));
        }
        changed
    }
}
