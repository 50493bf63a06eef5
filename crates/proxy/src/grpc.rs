//! `etcd grpc-proxy`: a server of etcd's API whose store is a cluster elsewhere.
//!
//! Serializable reads are answered from a cache ([`cache`]), watches of one range share one watch of
//! the cluster ([`broadcast`]), renewals of one lease share one stream ([`lease`]). Everything else
//! is passed on: KV, watches and leases message by message ([`upstream`]), the other services as they
//! come ([`forward`]).

mod broadcast;
mod cache;
mod caller;
mod cluster;
mod connection;
mod forward;
mod http_paths;
mod kv;
mod leader;
mod lease;
mod metrics;
mod namespace;
mod options;
mod receiver;
mod register;
mod security;
mod upstream;
mod watch;

use std::{convert::Infallible, sync::Arc, time::Duration};

use client::{client::Client, endpoint::Endpoint};

use crate::{Failure, discover::discover, flags::Values, tell_ready};
use connection::Listener;
pub(crate) use options::FLAGS;
use options::Options;
use upstream::Upstream;

/// How long a first connection, and fetching a token, may take.
const DIAL: Duration = Duration::from_secs(5);

/// Runs the proxy; returns why it cannot.
pub(crate) fn start(values: &Values) -> Failure {
    let options = match Options::read(values) {
        Ok(options) => options,
        Err(failure) => return failure,
    };
    match config::log::Logger::open(&options.log()) {
        Ok(logger) => logger.install(),
        Err(error) => return Failure::of(error),
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::of(error),
    };
    match runtime.block_on(run(&options)) {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

async fn run(options: &Options) -> Result<Infallible, Failure> {
    let side = security::Side::open(options)?;
    let listener = Listener::bind(&options.listen_addr, side.acceptor.clone()).await?;
    tracing::info!(address = options.listen_addr, "listening for gRPC proxy client requests");
    let metrics_listener = match &options.metrics_addr {
        Some(url) => Some(Listener::bind_url(url, &side).await?),
        None => None,
    };
    let client = connect(options).await?;
    if let Some(interval) = options.auto_sync {
        tokio::spawn(register::synchronise(client.clone(), interval));
    }
    let upstream = Arc::new(Upstream::new(client, &options.namespace, options.ordering));
    if options.ordering {
        recover_order(&upstream).await;
    }
    let proxy = connection::Proxy::new(upstream, options, &side)?;
    tracing::info!(address = options.listen_addr, "started gRPC proxy");
    tell_ready();
    if let Some(listener) = metrics_listener {
        tracing::info!("gRPC proxy server metrics URL serving");
        tokio::spawn(connection::serve(listener, proxy.clone(), connection::Surface::Metrics));
    }
    let error = connection::serve(listener, proxy, connection::Surface::Client).await;
    Err(Failure::of(error))
}

/// The client of the cluster.
async fn connect(options: &Options) -> Result<Client, Failure> {
    let found = discover(&options.discovery).await?;
    let endpoints: Vec<String> = match found.is_empty() {
        true => options.endpoints.clone(),
        false => found.into_iter().map(|member| member.endpoint).collect(),
    };
    let endpoints = endpoints.iter().map(|endpoint| Endpoint::parse(endpoint)).collect();
    let settings = client::config::Config {
        dial_timeout: Some(DIAL),
        keepalive_time: options.dial_keepalive_time,
        keepalive_timeout: options.dial_keepalive_timeout,
        max_request_bytes: options.max_send_bytes,
        max_recv_bytes: options.max_recv_bytes,
        tls: security::to_cluster(options)?,
        ..client::config::Config::new(endpoints)
    };
    Client::new(settings).await.map_err(Failure::of)
}

/// Learns a revision from a quorum: no answer of this proxy will be older.
async fn recover_order(upstream: &Upstream) {
    tracing::info!("waiting for linearized read from cluster to recover ordering");
    let request = || api::etcdserverpb::RangeRequest { keys_only: true, ..client::kv::get("_") };
    while let Err(error) = upstream.range(&caller::Caller::default(), request()).await {
        tracing::warn!(%error, "ordering recovery failed, retrying in 1s");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
