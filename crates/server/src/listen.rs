//! Binding listeners from `--listen-*-urls`, before anything else starts.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use config::{Config, Url};
use socket2::{Domain, Protocol, Socket, Type};
use tls::Acceptor;
use tokio::net::{TcpListener, UnixListener};

use crate::{http::Surface, security::Security};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// Idle time after which a connection is probed, and between probes.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// File descriptors that are kept for everything but client connections.
const RESERVED_FILES: u64 = 150;

/// A listener, and what is served on it.
pub(crate) struct Bound {
    pub(crate) listener: Listener,
    pub(crate) acceptor: Acceptor,
    pub(crate) surface: Surface,
    /// The address as it was given.
    pub(crate) address: String,
    /// How many connections may be open.
    pub(crate) connections_max: usize,
}

/// A socket that accepts connections.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

/// A unix socket, whose file goes when it does.
pub(crate) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_file(&self.path);
    }
}

impl Listener {
    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<tls::Socket> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                let _best_effort = stream.set_nodelay(true);
                Ok(stream.into())
            }
            Listener::Unix(socket) => Ok(socket.listener.accept().await?.0.into()),
        }
    }
}

/// Binds the client URLs, those for HTTP alone if there are any, and the metrics URLs.
pub(crate) async fn bind_clients(config: &Config, security: &Security) -> Result<Vec<Bound>> {
    let connections_max = connections_max()?;
    let http_urls = &config.listen_client_http_urls;
    let surface = if http_urls.is_empty() { Surface::Client } else { Surface::Grpc };
    let mut wanted = Vec::new();
    for url in config.listen_client_urls.iter() {
        want(&mut wanted, url, security.client_acceptor(url), surface);
    }
    for url in http_urls.iter() {
        let place = place(url);
        if wanted.iter().any(|want| want.place == place && want.surface != Surface::Http) {
            bail!(
                "cannot bind both --listen-client-urls and --listen-client-http-urls on the same \
                 url {url}"
            );
        }
        want(&mut wanted, url, security.client_acceptor(url), Surface::Http);
    }
    let mut bound = bind_wanted(wanted, config, connections_max).await?;
    let mut wanted = Vec::new();
    for url in config.listen_metrics_urls.iter() {
        want(&mut wanted, url, security.metrics_acceptor(url), Surface::Metrics);
    }
    bound.extend(bind_wanted(wanted, config, connections_max).await?);
    Ok(bound)
}

/// Binds every peer URL.
pub(crate) async fn bind_peers(
    config: &Config,
    security: &Security,
) -> Result<Vec<(Listener, Acceptor)>> {
    let mut listeners = Vec::new();
    for url in config.listen_peer_urls.iter() {
        listeners.push((bind_url(url, config).await?, security.peer_acceptor(url)));
    }
    Ok(listeners)
}

async fn bind_url(url: &Url, config: &Config) -> Result<Listener> {
    if url.is_unix() {
        let place = place(url);
        let failed =
            |error: io::Error| anyhow!("listen unix {place}: bind: {}", config::os_error(&error));
        let socket = bind_unix(&place).map_err(failed)?;
        return Ok(Listener::Unix(socket));
    }
    Ok(Listener::Tcp(bind_tcp(url, config.socket_reuse_port).await?))
}

/// A place to listen at, where several URLs may meet.
struct Wanted {
    url: Url,
    place: String,
    acceptor: Acceptor,
    surface: Surface,
}

/// The address or the file that a URL names.
fn place(url: &Url) -> String {
    if url.is_unix() { url.socket_path() } else { url.host().to_owned() }
}

/// Adds a URL. With TLS and without it, one place serves both.
fn want(wanted: &mut Vec<Wanted>, url: &Url, acceptor: Acceptor, surface: Surface) {
    let place = place(url);
    match wanted.iter_mut().find(|want| want.place == place) {
        Some(same) if same.acceptor.is_tls() != acceptor.is_tls() => {
            let tls = if acceptor.is_tls() { &acceptor } else { &same.acceptor };
            same.acceptor = tls.or_plain();
        }
        Some(_) => {}
        None => wanted.push(Wanted { url: url.clone(), place, acceptor, surface }),
    }
}

async fn bind_wanted(
    wanted: Vec<Wanted>,
    config: &Config,
    connections_max: usize,
) -> Result<Vec<Bound>> {
    let mut bound = Vec::new();
    for Wanted { url, place, acceptor, surface } in wanted {
        let listener = bind_url(&url, config).await?;
        let address = if surface == Surface::Metrics { url.to_string() } else { place };
        bound.push(Bound { listener, acceptor, surface, address, connections_max });
    }
    Ok(bound)
}

/// Binds a unix socket in the place of one that nobody removed.
fn bind_unix(path: &str) -> io::Result<UnixSocket> {
    let path = Path::new(path);
    if std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    // Removed by its full name, whatever the current folder is by then.
    Ok(UnixSocket { listener, path: std::path::absolute(path)? })
}

/// Binds a URL's address; `localhost` the first of those that it stands for.
async fn bind_tcp(url: &Url, reuse_port: bool) -> Result<TcpListener> {
    let host = url.host().to_owned();
    let resolve = move || host.to_socket_addrs().map(Iterator::collect::<Vec<_>>);
    let addresses = tokio::task::spawn_blocking(resolve).await.context("resolve")?;
    let addresses = addresses.with_context(|| format!("resolve {}", url.host()))?;
    bind_first(&addresses, reuse_port)
}

/// Binds the first address that can be bound: IPv4 before IPv6, as Go's listener does.
fn bind_first(addresses: &[SocketAddr], reuse_port: bool) -> Result<TcpListener> {
    let mut sorted = addresses.to_vec();
    sorted.sort_by_key(SocketAddr::is_ipv6);
    let mut last = None;
    for address in sorted {
        match bind_one(address, reuse_port) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some((address, error)),
        }
    }
    let (address, error) = last.context("the host has no address")?;
    // Go's words, which people look for.
    bail!("listen tcp {address}: bind: {}", config::os_error(&error))
}

fn bind_one(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Always, as Go does, whether `--socket-reuse-address` asks or not: a restarted member must not
    // wait for old connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.set_nonblocking(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// How many connections each listener for clients takes. The limit of open files is raised as far
/// as it goes, as Go does at every start.
fn connections_max() -> Result<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live structure of the right type.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error()).context("failed to get the limit of open files");
    }
    if limit.rlim_cur < limit.rlim_max {
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        // SAFETY: as above.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
            limit = raised;
        }
    }
    if limit.rlim_cur <= RESERVED_FILES {
        bail!(
            "file descriptor limit of etcd process is too low; please set higher (limit {}, \
             recommended {RESERVED_FILES})",
            limit.rlim_cur
        );
    }
    let most = usize::try_from(limit.rlim_cur - RESERVED_FILES).unwrap_or(usize::MAX);
    Ok(most.min(tokio::sync::Semaphore::MAX_PERMITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unix_socket_takes_the_place_of_one_left_behind() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("a:1");
        let text = path.to_str().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _inside = runtime.enter();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(bind_unix(text).unwrap());
        assert!(!path.exists());
        // Anything else at that place stays.
        std::fs::write(&path, "data").unwrap();
        assert!(bind_unix(text).is_err());
        assert!(path.exists());
    }

    #[test]
    fn one_place_may_serve_with_and_without_tls() {
        let folder = tempfile::TempDir::new().unwrap();
        let hosts = ["127.0.0.1".to_owned()];
        let made = tls::self_signed::open(folder.path(), &hosts, 1).unwrap();
        let with = Acceptor::tls(tls::ServerOptions::new(made.cert, made.key)).unwrap();
        let url = |text| Url::parse(text).unwrap();
        let mut wanted = Vec::new();
        want(&mut wanted, &url("http://127.0.0.1:1"), Acceptor::plain(), Surface::Client);
        want(&mut wanted, &url("https://127.0.0.1:1"), with.clone(), Surface::Client);
        want(&mut wanted, &url("https://127.0.0.1:2"), with, Surface::Client);
        let kinds: Vec<(bool, bool)> =
            wanted.iter().map(|w| (w.acceptor.is_plain(), w.acceptor.is_tls())).collect();
        assert_eq!(kinds, [(true, true), (false, true)]);
    }
}
