//! Listeners and connections: gRPC over HTTP/2, the other paths over HTTP/1, on one port.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use api::etcdserverpb::{
    kv_server::KvServer, lease_server::LeaseServer, watch_server::WatchServer,
};
use client::{client::Client, endpoint::Endpoint};
use http::{HeaderMap, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use prost::Message as _;
use tls::Acceptor;
use tokio::net::TcpListener;
use tonic::{Status, body::Body};
use tower_service::Service as _;

use super::{
    broadcast::Broadcasts,
    cache::Cache,
    caller,
    cluster::Stand,
    forward::{self, Limits},
    http_paths as paths,
    kv::KvProxy,
    leader::Leader,
    lease::{Keepers, LeaseProxy},
    metrics::Metrics,
    options::Options,
    security::{Side, to_metrics},
    upstream::Upstream,
    watch::WatchProxy,
};
use crate::Failure;

/// Window of received bytes per stream and connection.
const WINDOW_BYTES: u32 = 4 << 20;
/// How long a connection may be silent before its first request.
const SILENCE: Duration = Duration::from_secs(300);
const MEMBER_LIST: &str = "/etcdserverpb.Cluster/MemberList";

/// A bound socket.
pub(crate) struct Listener {
    socket: TcpListener,
    acceptor: Acceptor,
}

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    Client,
    /// `--metrics-addr`: without gRPC and profiles.
    Metrics,
}

impl Listener {
    /// Binds `host:port`.
    pub(crate) async fn bind(address: &str, acceptor: Acceptor) -> Result<Listener, Failure> {
        let socket = TcpListener::bind(address)
            .await
            .map_err(|error| Failure::of(format!("listen tcp {address}: bind: {error}")))?;
        Ok(Listener { socket, acceptor })
    }

    /// Binds the address of a URL, with TLS if it says so.
    pub(crate) async fn bind_url(url: &str, side: &Side) -> Result<Listener, Failure> {
        let cannot = || Failure::Err(format!("cannot parse {url:?}"));
        let (scheme, rest) = url.split_once("://").ok_or_else(cannot)?;
        let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let acceptor = match (scheme, side.acceptor.is_tls()) {
            ("https" | "unixs", false) => {
                return Err(Failure::of(format!(
                    "cannot listen on TLS for {scheme}://{host}: KeyFile and CertFile are not \
                     presented"
                )));
            }
            ("https", true) => side.acceptor.clone(),
            ("http", _) => Acceptor::plain(),
            _ => return Err(cannot()),
        };
        let listener = Listener::bind(host, acceptor).await?;
        tracing::info!(address = url, "gRPC proxy listening for metrics");
        Ok(listener)
    }
}

/// The proxy: all that connections need.
#[derive(Clone)]
pub(crate) struct Proxy(Arc<Parts>);

struct Parts {
    kv: KvServer<KvProxy>,
    watch: WatchServer<WatchProxy>,
    lease: LeaseServer<LeaseProxy>,
    upstream: Arc<Upstream>,
    cache: Arc<Cache>,
    broadcasts: Arc<Broadcasts>,
    metrics: Arc<Metrics>,
    stand: Option<Stand>,
    limits: Limits,
    to_metrics: tls::Connector,
    own: Option<client::config::Config>,
    own_client: tokio::sync::OnceCell<Client>,
    builder: auto::Builder<TokioExecutor>,
    pprof: bool,
    log_calls: bool,
}

impl Proxy {
    /// Puts the proxy together, and begins to look for a leader and to register.
    pub(crate) fn new(
        upstream: Arc<Upstream>,
        options: &Options,
        side: &Side,
    ) -> Result<Proxy, Failure> {
        let (cache, metrics) = (Arc::new(Cache::default()), Arc::new(Metrics::new()));
        let leader = Leader::new(upstream.clone());
        let kv =
            KvProxy { upstream: upstream.clone(), cache: cache.clone(), metrics: metrics.clone() };
        let broadcasts = Broadcasts::new(upstream.clone(), metrics.clone());
        let watch = WatchProxy {
            upstream: upstream.clone(),
            broadcasts: broadcasts.clone(),
            leader: leader.clone(),
        };
        let keepers = Arc::new(Keepers::default());
        let lease = LeaseProxy { upstream: upstream.clone(), keepers, leader };
        let own = (!options.advertise.is_empty()).then(|| {
            let endpoints = vec![Endpoint::parse(&options.advertise)];
            client::config::Config {
                tls: side.to_self.clone(),
                ..client::config::Config::new(endpoints)
            }
        });
        macro_rules! limited {
            ($server:ident, $service:expr) => {
                $server::new($service)
                    .max_decoding_message_size(forward::REQUEST_MAX)
                    .max_encoding_message_size(i32::MAX as usize)
            };
        }
        Ok(Proxy(Arc::new(Parts {
            kv: limited!(KvServer, kv),
            watch: limited!(WatchServer, watch),
            lease: limited!(LeaseServer, lease),
            stand: Stand::begin(&upstream, options),
            limits: Limits {
                send_max: options.max_send_bytes,
                receive_max: options.max_recv_bytes,
            },
            to_metrics: to_metrics(options)?,
            own,
            own_client: tokio::sync::OnceCell::new(),
            builder: builder(options),
            pprof: options.pprof,
            log_calls: options.log_calls,
            upstream,
            cache,
            broadcasts,
            metrics,
        })))
    }

    async fn route(
        &self,
        surface: Surface,
        encrypted: bool,
        request: Request<Incoming>,
    ) -> Response<Body> {
        if surface == Surface::Client && request.version() == Version::HTTP_2 {
            let kind = request.headers().get(header::CONTENT_TYPE);
            if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
                return self.call(request.map(Body::new)).await;
            }
            let kind = String::from_utf8_lossy(kind.map_or(b"", |kind| kind.as_bytes()));
            let text = format!("invalid gRPC request content-type {kind:?}");
            let mut response = Status::invalid_argument(text).into_http();
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return response;
        }
        let parts = &self.0;
        match request.uri().path() {
            "/metrics" => {
                let endpoints = parts.upstream.client.endpoints();
                paths::member_metrics(&parts.to_metrics, &endpoints, encrypted).await
            }
            "/health" => {
                let sickness = paths::cluster_sickness(&parts.upstream).await;
                paths::health(&request, sickness)
            }
            "/proxy/metrics" => {
                let kept = i64::try_from(parts.cache.len()).unwrap_or(i64::MAX);
                parts.metrics.cache_keys.set(kept);
                parts.broadcasts.count();
                let kind = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
                paths::reply(StatusCode::OK, kind, parts.metrics.text())
            }
            "/proxy/health" => {
                let sickness = paths::own_sickness(self.own_client().await).await;
                paths::health(&request, sickness)
            }
            _ if parts.pprof && surface == Surface::Client => paths::profile(&request)
                .unwrap_or_else(|| paths::error(StatusCode::NOT_FOUND, "404 page not found")),
            _ => paths::error(StatusCode::NOT_FOUND, "404 page not found"),
        }
    }

    /// The client of the proxy itself; `None` if it has no address.
    async fn own_client(&self) -> Option<&Client> {
        let config = self.0.own.clone()?;
        self.0.own_client.get_or_try_init(|| Client::new(config)).await.ok()
    }

    /// Answers one call.
    async fn call(&self, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let method = protojson::METHODS.iter().find(|method| method.path == path);
        let is_stream = method.is_some_and(|method| method.server_streams);
        let counted = method.map(|method| {
            let kind = match (method.client_streams, method.server_streams) {
                (false, false) => "unary",
                (true, false) => "client_stream",
                (false, true) => "server_stream",
                (true, true) => "bidi_stream",
            };
            let (service, name) = split(&path);
            self.0.metrics.started.with_label_values(&[kind, service, name]).inc();
            [kind, service, name]
        });
        let timeout = caller::timeout(request.headers());
        let called = self.dispatch(&path, is_stream, request);
        let response = match timeout {
            None => called.await,
            Some(limit) => tokio::time::timeout(limit, called).await.unwrap_or_else(|_| {
                Status::deadline_exceeded("context deadline exceeded").into_http()
            }),
        };
        self.told(&path, counted, response)
    }

    /// Counts and logs a call once it is over.
    fn told(
        &self,
        path: &str,
        counted: Option<[&str; 3]>,
        mut response: Response<Body>,
    ) -> Response<Body> {
        translate(path, &mut response);
        let Some([kind, service, method]) = counted else { return response };
        let (parts, log) = (self.0.clone(), self.0.log_calls);
        let labels = [kind.to_owned(), service.to_owned(), method.to_owned()];
        let end = move |headers: &HeaderMap| {
            let code = Status::from_header_map(headers).map_or(tonic::Code::Ok, |s| s.code());
            let code = client::error::code_name(code);
            let [kind, service, method] = &labels;
            parts.metrics.handled.with_label_values(&[kind, service, method, code]).inc();
            if log {
                tracing::info!(
                    "grpc.service" = service,
                    "grpc.method" = method,
                    "grpc.code" = code,
                    "finished call"
                );
            }
        };
        if response.headers().contains_key("grpc-status") {
            end(response.headers());
            return response;
        }
        response.map(|body| Body::new(super::metrics::Ending::new(body, end)))
    }

    async fn dispatch(&self, path: &str, stream: bool, request: Request<Body>) -> Response<Body> {
        let parts = &self.0;
        let (service, _) = split(path);
        let called = match service {
            "etcdserverpb.KV" => parts.kv.clone().call(request).await,
            "etcdserverpb.Watch" => parts.watch.clone().call(request).await,
            "etcdserverpb.Lease" => parts.lease.clone().call(request).await,
            "etcdserverpb.Cluster" if path == MEMBER_LIST && parts.stand.is_some() => {
                let members = parts.stand.as_ref().map(Stand::members).unwrap_or_default();
                Ok(one_message(&members.encode_to_vec()))
            }
            "etcdserverpb.Cluster"
            | "etcdserverpb.Maintenance"
            | "etcdserverpb.Auth"
            | "v3electionpb.Election"
            | "v3lockpb.Lock" => {
                let client = &parts.upstream.client;
                let forwarded = forward::forward(client, parts.limits, stream, request).await;
                Ok(forwarded.unwrap_or_else(Status::into_http))
            }
            _ if !path.trim_start_matches('/').contains('/') => {
                let text = format!("malformed method name: {path:?}");
                Ok(Status::unimplemented(text).into_http())
            }
            unknown => Ok(Status::unimplemented(format!("unknown service {unknown}")).into_http()),
        };
        match called {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// A successful answer of one message.
fn one_message(message: &[u8]) -> Response<Body> {
    let length = u32::try_from(message.len()).expect("an answer of this proxy is small");
    let framed = [&[0][..], &length.to_be_bytes(), message].concat();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    use http_body_util::BodyExt as _;
    let body = http_body_util::Full::new(bytes::Bytes::from(framed));
    let mut response =
        Response::new(Body::new(body.with_trailers(async move { Some(Ok(trailers)) })));
    let kind = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Service and method of `/service/method`.
fn split(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.rsplit_once('/').unwrap_or((path, ""))
}

/// What the gRPC library says otherwise than etcd's.
fn translate(path: &str, response: &mut Response<Body>) {
    let headers = response.headers();
    let Some(status) = Status::from_header_map(headers) else { return };
    let replaced = match status.code() {
        tonic::Code::Unimplemented if status.message().is_empty() => {
            let (service, method) = split(path);
            Status::unimplemented(format!("unknown method {method} for service {service}"))
        }
        tonic::Code::OutOfRange => {
            let said = "Error, decoded message length too large: found ";
            let Some(rest) = status.message().strip_prefix(said) else { return };
            let size = rest.split(' ').next().unwrap_or_default();
            let max = forward::REQUEST_MAX;
            let text = format!("grpc: received message larger than max ({size} vs. {max})");
            Status::resource_exhausted(text)
        }
        _ => return,
    };
    *response = replaced.into_http();
}

fn builder(options: &Options) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(SILENCE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.concurrent_streams_max)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .keep_alive_interval(options.ping_interval)
        .keep_alive_timeout(options.ping_timeout);
    builder
}

/// Accepts connections until that fails for good.
pub(crate) async fn serve(listener: Listener, proxy: Proxy, surface: Surface) -> io::Error {
    let Listener { socket, acceptor } = listener;
    loop {
        let stream = match socket.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return error,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Connections work without.
        let _ = stream.set_nodelay(true);
        let (acceptor, proxy) = (acceptor.clone(), proxy.clone());
        tokio::spawn(async move { serve_connection(stream, acceptor, proxy, surface).await });
    }
}

async fn serve_connection(
    stream: tokio::net::TcpStream,
    acceptor: Acceptor,
    proxy: Proxy,
    surface: Surface,
) {
    let accepted = tokio::time::timeout(SILENCE, acceptor.accept(stream)).await;
    let (stream, identity) = match accepted {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(error)) => {
            tracing::debug!(%error, "rejected connection");
            return;
        }
        Err(_) => return,
    };
    let (builder, encrypted) = (proxy.0.builder.clone(), identity.is_tls);
    let service = TowerToHyperService::new(tower::service_fn(move |request: Request<_>| {
        let proxy = proxy.clone();
        async move { Ok::<_, Infallible>(proxy.route(surface, encrypted, request).await) }
    }));
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "client connection ended");
    }
}
