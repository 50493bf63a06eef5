//! Binding listeners from `--listen-*-urls`, before anything else starts.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use config::{Url, UrlList};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Binds every URL of a list, shared with other processes when `reuse_port` (`--socket-reuse-port`).
/// `localhost` binds each address that it stands for and that exists.
pub(crate) async fn bind(urls: &UrlList, reuse_port: bool) -> Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for text in urls.texts() {
        let url = Url::parse(&text).map_err(|error| anyhow!(error))?;
        if url.is_unix() || url.is_tls() {
            bail!("listening on {}:// is not built yet", url.scheme());
        }
        let host = url.host().to_owned();
        let resolve = move || host.to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        let addresses = tokio::task::spawn_blocking(resolve).await.context("resolve")?;
        let addresses = addresses.with_context(|| format!("resolve {}", url.host()))?;
        listeners
            .push(bind_first(&addresses, reuse_port).with_context(|| format!("listen on {url}"))?);
    }
    Ok(listeners)
}

/// Binds the first address that can be bound: IPv4 before IPv6, as Go's listener does.
fn bind_first(addresses: &[SocketAddr], reuse_port: bool) -> Result<TcpListener> {
    let mut sorted = addresses.to_vec();
    sorted.sort_by_key(SocketAddr::is_ipv6);
    let mut last = None;
    for address in sorted {
        match bind_one(address, reuse_port) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("the host has no address")?.into())
}

fn bind_one(address: SocketAddr, reuse_port: bool) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Always, as Go does, whether `--socket-reuse-address` asks or not: a restarted member must not wait for old connections to time out.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(Duration::from_secs(30)))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
