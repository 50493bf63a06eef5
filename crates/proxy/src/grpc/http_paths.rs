//! What the proxy serves over HTTP/1: metrics and health of the cluster and of itself.

use std::{os::unix::ffi::OsStrExt as _, time::Duration};

use api::{error::Error as Etcd, etcdserverpb::WatchCreateRequest};
use bytes::Bytes;
use client::{
    client::Client,
    endpoint::{Address, Endpoint, Security},
    kv::get,
};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rand::seq::IndexedRandom as _;
use tonic::body::Body;

use super::{caller::Caller, upstream::Upstream};
use crate::hosts;

const TEXT: &str = "text/plain; charset=utf-8";
/// How long a member may take to be read from.
const READ: Duration = Duration::from_secs(1);
/// How long a watch of the proxy itself may take.
const WATCH: Duration = Duration::from_secs(3);
/// How long a member may take to tell its metrics.
const SCRAPE: Duration = Duration::from_secs(30);
/// The most that a member's metrics may be.
const SCRAPE_MAX: usize = 64 << 20;
/// The profiles that Go's index names.
const PROFILES: [&str; 9] =
    ["allocs", "block", "goroutine", "heap", "mutex", "profile", "symbol", "threadcreate", "trace"];

/// A response with a body in hand.
pub(crate) fn reply(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An error in the form of Go's HTTP server.
pub(crate) fn error(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = reply(status, TEXT, format!("{text}\n"));
    let no_sniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, no_sniff);
    response
}

/// Answers a check of health.
pub(crate) fn health<B>(request: &Request<B>, sickness: Option<String>) -> Response<Body> {
    if request.method() != Method::GET {
        let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        return response;
    }
    let Some(reason) = sickness else {
        return reply(StatusCode::OK, TEXT, r#"{"health":"true","reason":""}"#);
    };
    tracing::warn!(%reason, "serving /health false");
    let reason = serde_json::Value::from(reason);
    let body = format!(r#"{{"health":"false","reason":{reason}}}"#);
    error(StatusCode::SERVICE_UNAVAILABLE, &body)
}

/// Whether the cluster can be read; why not.
pub(crate) async fn cluster_sickness(upstream: &Upstream) -> Option<String> {
    let caller = Caller::default();
    let read = tokio::time::timeout(READ, upstream.range(&caller, get("a")));
    match read.await {
        Ok(result) => read_failure(result.map(drop)),
        Err(_) => Some("GET ERROR:context deadline exceeded".to_owned()),
    }
}

fn read_failure(result: Result<(), client::error::Error>) -> Option<String> {
    match result {
        Err(error) if !error.is(Etcd::PermissionDenied) => Some(format!("GET ERROR:{error}")),
        _ => None,
    }
}

/// Whether the proxy serves its own address; why not.
pub(crate) async fn own_sickness(own: Option<&Client>) -> Option<String> {
    let Some(own) = own else { return Some("no connection to proxy".to_owned()) };
    let read = own.with_timeout(READ).range(get("a")).await.map(drop);
    if let Some(sickness) = read_failure(read) {
        return Some(sickness);
    }
    let request = WatchCreateRequest { key: "a".into(), ..WatchCreateRequest::default() };
    match tokio::time::timeout(WATCH, own.watch(request)).await {
        Ok(_) => None,
        Err(_) => Some("WATCH TIMEOUT".to_owned()),
    }
}

/// The metrics of a member.
pub(crate) async fn member_metrics(
    connector: &tls::Connector,
    endpoints: &[Endpoint],
    encrypted: bool,
) -> Response<Body> {
    let endpoint = endpoints.choose(&mut rand::rng());
    let scraped = async { scrape(connector, endpoint?, encrypted).await };
    match tokio::time::timeout(SCRAPE, scraped).await {
        Ok(Some(text)) => reply(StatusCode::OK, "text/plain; version=0.0.4", text),
        _ => error(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"),
    }
}

async fn scrape(connector: &tls::Connector, endpoint: &Endpoint, encrypted: bool) -> Option<Bytes> {
    let Address::Tcp(address) = &endpoint.address else { return None };
    let (host, port) = hosts::split(address)?;
    let scheme = match endpoint.security {
        Security::Required => tls::Scheme::Tls,
        Security::Optional if encrypted => tls::Scheme::Tls,
        Security::Optional | Security::Plain => tls::Scheme::Plain,
    };
    let stream = connector.connect(scheme, host, port.parse().ok()?).await.ok()?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let driver = tokio::spawn(connection);
    let request = Request::get("/metrics").header(header::HOST, &endpoint.authority);
    let response = sender.send_request(request.body(Empty::<Bytes>::new()).ok()?).await.ok()?;
    let body = Limited::new(response.into_body(), SCRAPE_MAX).collect().await.ok()?;
    driver.abort();
    Some(body.to_bytes())
}

/// What there is of `/debug/pprof/`: no profiles of Go's runtime, which this program has not.
pub(crate) fn profile(request: &Request<Incoming>) -> Option<Response<Body>> {
    let name = request.uri().path().strip_prefix("/debug/pprof/")?;
    if name == "cmdline" {
        let line: Vec<Vec<u8>> =
            std::env::args_os().map(|arg| arg.as_os_str().as_bytes().to_vec()).collect();
        return Some(reply(StatusCode::OK, TEXT, line.join(&0)));
    }
    Some(match name.is_empty() || PROFILES.contains(&name) {
        true => error(
            StatusCode::NOT_IMPLEMENTED,
            "profiles of the Go runtime do not exist here; use perf(1) on this process",
        ),
        false => error(StatusCode::NOT_FOUND, "Unknown profile"),
    })
}
