//! `etcd gateway`: passes TCP connections on to one of several members, whatever is spoken on them.
//!
//! Members that cannot be connected to are left out until a try in the background succeeds.

mod pick;

use std::{io, sync::Arc, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};

use crate::{
    Failure,
    discover::{Discovery, discover},
    flags::{Flag, Kind, Values},
    hosts, tell_ready,
};
use pick::{Remote, Remotes};

/// How long connecting to a member may take.
const DIAL: Duration = Duration::from_secs(20);
/// Idle time after which a connection is probed, and between probes.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Between tries, if `--retry-delay` is zero.
const DEFAULT_RETRY: Duration = Duration::from_secs(5 * 60);
/// Between tries at least.
const MIN_RETRY: Duration = Duration::from_millis(10);

/// The flags of `etcd gateway start`.
pub(crate) const FLAGS: &[Flag] = &[
    Flag::new("discovery-srv", Kind::Text, "", "domain whose SRV records name the members"),
    Flag::new("discovery-srv-name", Kind::Text, "", "suffix of the SRV service to look up"),
    Flag::new("endpoints", Kind::List, "127.0.0.1:2379", "the members, separated by commas"),
    Flag::new(
        "insecure-discovery",
        Kind::Bool,
        "false",
        "accept SRV records of members without TLS",
    ),
    Flag::new("listen-addr", Kind::Text, "127.0.0.1:23790", "where to listen"),
    Flag::new(
        "retry-delay",
        Kind::Duration,
        "1m0s",
        "time between tries to reach a member that failed",
    ),
    Flag::new(
        "trusted-ca-file",
        Kind::Text,
        "",
        "authorities of the members that discovery-srv finds",
    ),
];

/// Runs the gateway; returns why it cannot.
pub(crate) fn start(values: &Values) -> Failure {
    config::log::Logger::stderr().install();
    let args: Vec<String> =
        std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    tracing::info!(args = %config::log::strings(&args), "Running: ");
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::of(error),
    };
    match runtime.block_on(run(values)) {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

async fn run(values: &Values) -> Result<std::convert::Infallible, Failure> {
    let discovery = Discovery {
        domain: values.text("discovery-srv"),
        service: values.text("discovery-srv-name"),
        insecure: values.on("insecure-discovery"),
        trusted_ca_file: values.some("trusted-ca-file").map(Into::into),
    };
    let found = discover(&discovery).await?;
    let remotes = match found.is_empty() {
        true => given(&values.list("endpoints"))?,
        false => found.into_iter().map(|member| Remote::new(member.record)).collect(),
    };
    let address = values.text("listen-addr");
    check(&address, &remotes).await?;
    if remotes.is_empty() {
        return Err(Failure::Out("no endpoints found\n".to_owned()));
    }
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| Failure::of(format!("listen tcp {address}: bind: {error}")))?;
    let addresses: Vec<&str> = remotes.iter().map(|remote| remote.address.as_str()).collect();
    tell_ready();
    tracing::info!(
        endpoints = %config::log::strings(&addresses),
        "ready to proxy client requests"
    );
    let retry = match values.duration("retry-delay") {
        zero if zero.is_zero() => DEFAULT_RETRY,
        delay => delay.to_std().max(MIN_RETRY),
    };
    Err(Failure::of(serve(listener, remotes, retry).await))
}

/// The members of `--endpoints`, all alike; a scheme before an address does not matter.
fn given(endpoints: &[String]) -> Result<Vec<Remote>, Failure> {
    let parse = |endpoint: &String| {
        let address = match endpoint.split_once("://") {
            Some((_, rest)) => rest.split(['/', '?', '#']).next().unwrap_or(rest),
            None => endpoint,
        };
        let (host, port) = hosts::split(address)
            .ok_or_else(|| Failure::Out(format!("error parsing endpoint {address:?}")))?;
        let digits = port.len() - port.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        Ok(Remote::at(host, port[..digits].parse().unwrap_or(0)))
    };
    endpoints.iter().map(parse).collect()
}

/// A gateway that is its own member would connect to itself for ever.
async fn check(listen: &str, remotes: &[Remote]) -> Result<(), Failure> {
    let (host, port) = hosts::split(listen)
        .ok_or_else(|| Failure::Out(format!("failed to validate listen address: {listen}\n")))?;
    let own = hosts::look_up(host)
        .await
        .map_err(|_| Failure::Out(format!("failed to resolve listen host: {host}\n")))?;
    for remote in remotes {
        let target = &remote.record.target;
        let theirs = hosts::look_up(target)
            .await
            .map_err(|_| Failure::Out(format!("failed to resolve endpoint host: {target}\n")))?;
        if remote.record.port.to_string() != port {
            continue;
        }
        if let Some(same) = theirs.intersection(&own).next() {
            return Err(Failure::Out(format!(
                "SRV or endpoint ({target}:{port}->{same}:{port}) should not resolve to the \
                 gateway listen addr ({listen})\n"
            )));
        }
    }
    Ok(())
}

/// Accepts connections until that fails for good.
async fn serve(listener: TcpListener, remotes: Vec<Remote>, retry: Duration) -> io::Error {
    let remotes = Arc::new(Remotes::new(remotes));
    tokio::spawn(monitor(remotes.clone(), retry));
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                tokio::spawn(pass_on(socket, remotes.clone(), retry));
            }
            Err(error) if lasting(&error) => return error,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Whether a listener that failed so will fail again for ever.
fn lasting(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotConnected)
}

/// Connects to a member and copies both ways until both sides have ended.
async fn pass_on(mut client: TcpStream, remotes: Arc<Remotes>, retry: Duration) {
    let mut member = loop {
        let Some(remote) = remotes.pick(&mut rand::rng()) else { return };
        match dial(&remote.address).await {
            Ok(socket) => break socket,
            Err(error) => {
                remote.set_active(false);
                let interval = config::GoDuration::from_millis(retry.as_millis() as i64);
                tracing::warn!(address = remote.address, %interval, %error, "deactivated endpoint");
            }
        }
    };
    tune(&client);
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut member).await {
        tracing::debug!(%error, "connection ended");
    }
}

async fn dial(address: &str) -> io::Result<TcpStream> {
    let connecting = tokio::time::timeout(DIAL, TcpStream::connect(address));
    let socket = connecting.await.map_err(|_| io::ErrorKind::TimedOut)??;
    tune(&socket);
    Ok(socket)
}

fn tune(socket: &TcpStream) {
    // Connections work without either.
    let _ = socket.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    let _ = SockRef::from(socket).set_tcp_keepalive(&keepalive);
}

/// Tries members that failed, again and again.
async fn monitor(remotes: Arc<Remotes>, retry: Duration) {
    loop {
        tokio::time::sleep(retry).await;
        for remote in remotes.inactive() {
            tokio::spawn(async move {
                match dial(&remote.address).await {
                    Ok(_) => {
                        remote.set_active(true);
                        tracing::info!(address = remote.address, "activated");
                    }
                    Err(error) => tracing::warn!(
                        address = remote.address,
                        %error,
                        "failed to activate endpoint (stay inactive for another interval)"
                    ),
                }
            });
        }
    }
}
