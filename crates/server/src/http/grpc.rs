//! gRPC dispatch by service name, with what etcd's gRPC library says where tonic says it otherwise:
//! unknown services and methods, oversized messages, passed deadlines, compression.

use std::time::Duration;

use api::{
    error::Error,
    etcdserverpb::{
        auth_server::AuthServer, cluster_server::ClusterServer, kv_server::KvServer,
        lease_server::LeaseServer, maintenance_server::MaintenanceServer,
        watch_server::WatchServer,
    },
    health::health_server::HealthServer,
    ids::MemberId,
    v3electionpb::election_server::ElectionServer,
    v3lockpb::lock_server::LockServer,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version, header};
use tonic::{Status, body::Body, codec::CompressionEncoding};
use tower_service::Service;

use super::leader_bound::LeaderBound;
use crate::{
    handle::Handle,
    metrics::Call,
    services::{Health, Services},
    slow::{self, Ends},
    status::Failure,
    telemetry,
};

/// The methods that answer with a stream.
const STREAMS: &[&str] = &[
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.Lease/LeaseKeepAlive",
    "/etcdserverpb.Maintenance/Snapshot",
    "/etcdserverpb.KV/RangeStream",
    "/v3electionpb.Election/Observe",
    "/grpc.health.v1.Health/Watch",
];
/// The methods that a learner serves; of ranges only serializable ones, which `kv` sees to.
const OF_LEARNERS: &[&str] = &[
    "/etcdserverpb.Maintenance/Status",
    "/etcdserverpb.Maintenance/Snapshot",
    "/etcdserverpb.KV/Range",
];

/// Every service of one member.
#[derive(Clone)]
pub(crate) struct Grpc {
    kv: KvServer<Services>,
    watch: WatchServer<Services>,
    lease: LeaseServer<Services>,
    cluster: ClusterServer<Services>,
    maintenance: MaintenanceServer<Services>,
    auth: AuthServer<Services>,
    lock: LockServer<Services>,
    election: ElectionServer<Services>,
    health: HealthServer<Health>,
    pub(super) services: Services,
    receive_max: usize,
    pub(super) handle: Handle,
}

/// Builds a generated server with etcd's message limits.
macro_rules! server {
    ($server:ident, $service:expr, $limit:expr) => {
        $server::new($service)
            .max_decoding_message_size($limit)
            .max_encoding_message_size(i32::MAX as usize)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip)
    };
}

impl Grpc {
    /// The services over `handle`.
    pub(crate) fn new(handle: &Handle) -> Grpc {
        let limit = handle.limits.grpc_bytes_max;
        let services = Services(handle.clone());
        Grpc {
            kv: server!(KvServer, services.clone(), limit),
            watch: server!(WatchServer, services.clone(), limit),
            lease: server!(LeaseServer, services.clone(), limit),
            cluster: server!(ClusterServer, services.clone(), limit),
            maintenance: server!(MaintenanceServer, services.clone(), limit),
            auth: server!(AuthServer, services.clone(), limit),
            lock: server!(LockServer, services.clone(), limit),
            election: server!(ElectionServer, services.clone(), limit),
            health: server!(HealthServer, Health(handle.clone()), limit),
            services,
            receive_max: limit,
            handle: handle.clone(),
        }
    }

    /// Answers one call, which came over the connection with these ends.
    pub(crate) async fn call(&self, mut request: Request<Body>, ends: Ends) -> Response<Body> {
        answer_in_kind(request.headers_mut());
        let path = request.uri().path().to_owned();
        let mut call = self.handle.metrics.grpc.start(&path);
        let tracer = &self.handle.tracer;
        let span = call
            .as_mut()
            .and_then(|call| call.begin_span(tracer.call(&path, request.headers())?, ends.local));
        telemetry::within(span, async {
            if STREAMS.contains(&path.as_str()) {
                return self.serve(&path, request, call).await;
            }
            slow::watched(&self.handle, &path, ends, self.serve(&path, request, call)).await
        })
        .await
    }

    /// Bytes of the largest message that is taken.
    pub(super) fn receive_max(&self) -> usize {
        self.receive_max
    }

    async fn serve(
        &self,
        path: &str,
        request: Request<Body>,
        call: Option<Call>,
    ) -> Response<Body> {
        let timeout = deadline(request.headers());
        let encoding = request.headers().get(ENCODING).cloned();
        let metrics = &self.handle.metrics.grpc;
        let version = match self.admit(path, request.headers()) {
            Ok(version) => version,
            Err(refusal) => {
                let response = Status::from(Failure::from(refusal)).into_http();
                return metrics.responses(call, response);
            }
        };
        metrics.admitted(call.as_ref(), version);
        let bound = STREAMS.contains(&path) && asks_for_leader(request.headers());
        let dispatched = self.dispatch(path, metrics.requests(call.as_ref(), request));
        let mut response = match timeout {
            None => dispatched.await,
            Some(limit) => match tokio::time::timeout(limit, dispatched).await {
                Ok(response) => response,
                Err(_) => Status::from(Failure::DEADLINE).into_http(),
            },
        };
        self.translate(path, encoding.as_ref(), &mut response);
        if bound {
            response = response.map(|stream| Body::new(LeaderBound::new(&self.handle, stream)));
        }
        metrics.responses(call, response)
    }

    /// What is checked before a call reaches its service, in etcd's order; the version that the
    /// client says it has.
    pub(super) fn admit<'a>(&self, path: &str, headers: &'a HeaderMap) -> Result<&'a str, Error> {
        if self.handle.is_learner() && !OF_LEARNERS.contains(&path) {
            return Err(Error::NotSupportedForLearner);
        }
        let version = headers.get("client-api-version").map_or(&b""[..], HeaderValue::as_bytes);
        let version = std::str::from_utf8(version).map_err(|_| Error::InvalidClientApiVersion)?;
        if asks_for_leader(headers) && self.handle.progress.leader() == MemberId(0) {
            return Err(Error::NoLeader);
        }
        Ok(version)
    }

    async fn dispatch(&self, path: &str, request: Request<Body>) -> Response<Body> {
        let (service, _) = split_path(path);
        let called = match service {
            "etcdserverpb.KV" => self.kv.clone().call(request).await,
            "etcdserverpb.Watch" => self.watch.clone().call(request).await,
            "etcdserverpb.Lease" => self.lease.clone().call(request).await,
            "etcdserverpb.Cluster" => self.cluster.clone().call(request).await,
            "etcdserverpb.Maintenance" => self.maintenance.clone().call(request).await,
            "etcdserverpb.Auth" => self.auth.clone().call(request).await,
            "v3lockpb.Lock" => self.lock.clone().call(request).await,
            "v3electionpb.Election" => self.election.clone().call(request).await,
            "grpc.health.v1.Health" => self.health.clone().call(request).await,
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

    /// Rewrites the statuses that tonic's own layers make to the texts of etcd's gRPC library.
    fn translate(&self, path: &str, encoding: Option<&HeaderValue>, response: &mut Response<Body>) {
        let limit = self.receive_max;
        let headers = response.headers_mut();
        let code = headers.get("grpc-status").and_then(|code| code.to_str().ok()).unwrap_or("");
        let message = headers.get("grpc-message").and_then(|text| text.to_str().ok());
        let Some(message) = message else {
            if code == "12" {
                let (service, method) = split_path(path);
                set_message(headers, &format!("unknown method {method} for service {service}"));
            }
            return;
        };
        if code == "11"
            && let Some(size) = oversized_bytes(message)
        {
            headers.insert("grpc-status", HeaderValue::from_static("8"));
            let text = format!("grpc: received message larger than max ({size} vs. {limit})");
            set_message(headers, &text);
        } else if code == "12" && message.starts_with("Content%20is%20compressed") {
            let kind = String::from_utf8_lossy(encoding.map_or(&b""[..], HeaderValue::as_bytes));
            let text = format!("grpc: Decompressor is not installed for grpc-encoding \"{kind}\"");
            set_message(headers, &text);
        } else if message.starts_with("Error%20decompressing:") {
            let text = match code {
                "8" => {
                    format!("grpc: received message after decompression larger than max {limit}")
                }
                _ => "grpc: failed to decompress the message".to_owned(),
            };
            set_message(headers, &text);
        }
    }
}

/// How the messages of a call are compressed.
const ENCODING: &str = "grpc-encoding";

/// Who compresses is answered so, and nobody else, whatever else a client says that it takes: what
/// etcd's gRPC library does.
fn answer_in_kind(headers: &mut HeaderMap) {
    const ACCEPTED: &str = "grpc-accept-encoding";
    let gzip = HeaderValue::from_static("gzip");
    if headers.get(ENCODING) == Some(&gzip) {
        headers.insert(ACCEPTED, gzip);
    } else {
        headers.remove(ACCEPTED);
    }
}

/// Whether a request is gRPC's: HTTP/2, and of its kind of content. gRPC-Web is another kind.
pub(super) fn is_call<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    let of_grpc = rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')));
    of_grpc && request.version() == Version::HTTP_2
}

/// What a call says that is not made by POST.
pub(super) fn not_post(method: &Method) -> Response<Body> {
    let method = method.as_str();
    let text = format!("Received a HEADERS frame with :method {method:?} which should be POST");
    let mut response = Status::internal(text).into_http();
    *response.status_mut() = http::StatusCode::METHOD_NOT_ALLOWED;
    response
}

/// What a listener for gRPC alone says to anything else.
pub(super) fn not_grpc(content_type: Option<&HeaderValue>) -> Response<Body> {
    let kind = content_type.map_or(&b""[..], HeaderValue::as_bytes);
    let kind = String::from_utf8_lossy(kind);
    let text = format!("invalid gRPC request content-type {kind:?}");
    let mut response = Status::invalid_argument(text).into_http();
    *response.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

/// Whether a call wants a member that has a leader.
fn asks_for_leader(headers: &HeaderMap) -> bool {
    headers.get("hasleader").is_some_and(|value| value == "true")
}

/// Service and method of `/service/method`; the service may itself have slashes.
fn split_path(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.rsplit_once('/').unwrap_or((path, ""))
}

/// Puts a percent-encoded message: only printable ASCII without `%` stands for itself.
pub(super) fn set_message(headers: &mut HeaderMap, text: &str) {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    let value = HeaderValue::from_str(&encoded).expect("printable ASCII is a header value");
    headers.insert("grpc-message", value);
}

/// The size in tonic's "message length too large" text, percent-encoded as it is on the wire.
fn oversized_bytes(message: &str) -> Option<u64> {
    let text = message.replace("%20", " ").replace("%3A", ":").replace("%2C", ",");
    let tail = text.strip_prefix("Error, decoded message length too large: found ")?;
    tail.split(' ').next()?.parse().ok()
}

/// The `grpc-timeout` of a request: up to eight digits and a unit.
pub(super) fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.len() > 8 {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_from_other_requests() {
        let is = |version, kind: &str| {
            let request = Request::builder().version(version).header("content-type", kind);
            is_call(&request.body(()).unwrap())
        };
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc;a=b"] {
            assert!(is(Version::HTTP_2, kind), "{kind}");
            assert!(!is(Version::HTTP_11, kind), "{kind}");
        }
        for kind in ["application/grpc-web", "application/grpc-web+proto", "application/json", ""] {
            assert!(!is(Version::HTTP_2, kind), "{kind}");
        }
    }

    #[test]
    fn timeouts_are_read_in_every_unit() {
        let ask = |value: &str| {
            let request = Request::builder().header("grpc-timeout", value).body(()).unwrap();
            deadline(request.headers())
        };
        assert_eq!(ask("5S"), Some(Duration::from_secs(5)));
        assert_eq!(ask("250m"), Some(Duration::from_millis(250)));
        assert_eq!(ask("S"), None);
        assert_eq!(ask("123456789S"), None);
        assert_eq!(ask("5x"), None);
    }

    #[test]
    fn the_size_is_found_in_tonics_text() {
        let text = "Error, decoded message length too large: found 3000000 bytes, the limit is: 2";
        assert_eq!(oversized_bytes(text), Some(3_000_000));
        assert_eq!(oversized_bytes(&text.replace(' ', "%20")), Some(3_000_000));
        assert_eq!(oversized_bytes("something else"), None);
    }
}
