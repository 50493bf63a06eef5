//! Series of the gRPC server, `grpc_server_*`, by method, and what clients and the member say to each
//! other in bytes. Every method has its counters from the start: a call looks nothing up but itself.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::RwLock;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
};
use tonic::{Status, body::Body};

use super::{counter, register};
use crate::telemetry::Span;

/// The codes of gRPC by number, as its Go library names them.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];
const CANCELED: usize = 1;
const UNKNOWN: usize = 2;
/// The methods of the health service, and what they stream.
const HEALTH: [(&str, &str); 2] = [("Check", "unary"), ("Watch", "server_stream")];
/// What client versions are told apart; those of clients that say something else again and again
/// are counted as unknown.
const VERSIONS_MAX: usize = 64;

/// Counters of one method.
struct Method {
    is_stream: bool,
    started: IntCounter,
    received: IntCounter,
    sent: IntCounter,
    handled: [IntCounter; CODES.len()],
    seconds: Option<Histogram>,
}

/// The series of the gRPC server.
pub(crate) struct GrpcMetrics {
    methods: HashMap<String, Arc<Method>>,
    requests: IntCounterVec,
    /// Unary and streaming calls by the version that clients say they have.
    versions: RwLock<BTreeMap<String, [IntCounter; 2]>>,
    received_bytes: IntCounter,
    sent_bytes: IntCounter,
}

impl GrpcMetrics {
    /// Registers the series; with `extensive` also the histogram of times.
    pub(super) fn new(r: &Registry, extensive: bool) -> GrpcMetrics {
        let labels = ["grpc_type", "grpc_service", "grpc_method"];
        let vec = |name: &str, help: &str, labels: &[&str]| {
            register(r, IntCounterVec::new(Opts::new(name, help), labels).expect("a valid metric"))
        };
        let started = vec("grpc_server_started_total", "Calls started.", &labels);
        let received = vec("grpc_server_msg_received_total", "Messages received.", &labels);
        let sent = vec("grpc_server_msg_sent_total", "Messages sent.", &labels);
        let with_code = ["grpc_type", "grpc_service", "grpc_method", "grpc_code"];
        let handled = vec("grpc_server_handled_total", "Calls ended, by code.", &with_code);
        let seconds = extensive.then(|| {
            let options = HistogramOpts::new("grpc_server_handling_seconds", "Time of calls.");
            register(r, HistogramVec::new(options, &labels).expect("a valid metric"))
        });
        let mut methods = HashMap::new();
        for (path, kind) in all() {
            let (service, method) = path[1..].split_once('/').expect("a method is in a service");
            let values = [kind, service, method];
            let of_code = |code| handled.with_label_values(&[kind, service, method, code]);
            let counters = Method {
                is_stream: kind != "unary",
                started: started.with_label_values(&values),
                received: received.with_label_values(&values),
                sent: sent.with_label_values(&values),
                handled: CODES.map(of_code),
                seconds: seconds.as_ref().map(|seconds| seconds.with_label_values(&values)),
            };
            methods.insert(path, Arc::new(counters));
        }
        GrpcMetrics {
            methods,
            requests: vec(
                "etcd_server_client_requests_total",
                "Requests of clients, by the version that they say they have.",
                &["type", "client_api_version"],
            ),
            versions: RwLock::default(),
            received_bytes: counter(
                r,
                "etcd_network_client_grpc_received_bytes_total",
                "Bytes received from clients.",
            ),
            sent_bytes: counter(
                r,
                "etcd_network_client_grpc_sent_bytes_total",
                "Bytes sent to clients.",
            ),
        }
    }

    /// Begins to count a call; `None` for a method that is not there.
    pub(crate) fn start(&self, path: &str) -> Option<Call> {
        let method = self.methods.get(path)?.clone();
        method.started.inc();
        Some(Call { method, began: Instant::now(), code: None, span: None, message: None })
    }

    /// Counts a call that was let in, by its client's version.
    pub(crate) fn admitted(&self, call: Option<&Call>, version: &str) {
        let Some(call) = call else { return };
        let kind = usize::from(call.method.is_stream);
        if let Some(counters) = self.versions.read().get(version) {
            counters[kind].inc();
            return;
        }
        let mut versions = self.versions.write();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".+-".contains(&byte);
        let told = versions.len() < VERSIONS_MAX
            && !version.is_empty()
            && version.len() <= 32
            && version.bytes().all(plain);
        let version = if told { version } else { "unknown" };
        let counters = versions.entry(version.to_owned()).or_insert_with(|| {
            ["unary", "stream"].map(|kind| self.requests.with_label_values(&[kind, version]))
        });
        counters[kind].inc();
    }

    /// A request whose messages are counted.
    pub(crate) fn requests(&self, call: Option<&Call>, request: Request<Body>) -> Request<Body> {
        let Some(call) = call else { return request };
        let (messages, bytes) = (call.method.received.clone(), self.received_bytes.clone());
        request.map(|body| Body::new(Counted::new(body, messages, bytes, None)))
    }

    /// Counts the one message of a unary call.
    pub(crate) fn received(&self, call: &Call, bytes: usize) {
        call.method.received.inc();
        self.received_bytes.inc_by(bytes as u64);
    }

    /// Counts the answer of a unary call, which ends it.
    pub(crate) fn answered(&self, call: &mut Call, bytes: usize) {
        call.method.sent.inc();
        self.sent_bytes.inc_by(bytes as u64);
        call.code = Some(0);
        call.message = call.span.is_some().then(String::new);
    }

    /// A response whose messages are counted, and its end.
    pub(crate) fn responses(&self, call: Option<Call>, response: Response<Body>) -> Response<Body> {
        let Some(mut call) = call else { return response };
        if call.end(response.headers()) {
            return response;
        }
        let (messages, bytes) = (call.method.sent.clone(), self.sent_bytes.clone());
        response.map(|body| Body::new(Counted::new(body, messages, bytes, Some(call))))
    }
}

/// Every method with what it streams.
fn all() -> Vec<(String, &'static str)> {
    let mut all: Vec<(String, &'static str)> = protojson::METHODS
        .iter()
        .map(|method| {
            let kind = match (method.client_streams, method.server_streams) {
                (false, false) => "unary",
                (true, false) => "client_stream",
                (false, true) => "server_stream",
                (true, true) => "bidi_stream",
            };
            (method.path.to_owned(), kind)
        })
        .collect();
    let health = |(method, kind)| (format!("/grpc.health.v1.Health/{method}"), kind);
    all.extend(HEALTH.map(health));
    all
}

/// The code that headers or trailers say.
fn code(headers: &HeaderMap) -> Option<usize> {
    let code = headers.get("grpc-status")?.to_str().ok()?.parse::<usize>().ok();
    Some(code.filter(|code| *code < CODES.len()).unwrap_or(UNKNOWN))
}

/// A call under way. One that goes without a code was cancelled by its client.
pub(crate) struct Call {
    method: Arc<Method>,
    began: Instant,
    code: Option<usize>,
    /// The span of the call, if it is traced, and what it failed with.
    span: Option<Span>,
    message: Option<String>,
}

impl Call {
    /// Has `span` end with the call; returns it to be the current one.
    pub(crate) fn begin_span(&mut self, span: Span, at: Option<SocketAddr>) -> Option<Span> {
        if let Some(address) = at {
            span.received_at(address);
        }
        self.span = Some(span.clone());
        Some(span)
    }

    /// The call ends with this failure.
    pub(crate) fn failed(&mut self, status: &Status) {
        let code = status.code() as usize;
        self.code = Some(if code < CODES.len() { code } else { UNKNOWN });
        self.message = self.span.is_some().then(|| status.message().to_owned());
    }

    /// Takes the status from headers or trailers; whether there is one.
    fn end(&mut self, headers: &HeaderMap) -> bool {
        self.code = code(headers);
        if self.span.is_some() {
            let status = Status::from_header_map(headers);
            self.message = status.map(|status| status.message().to_owned());
        }
        self.code.is_some()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(CANCELED);
        if let Some(span) = self.span.take() {
            span.ended(code, self.message.as_deref());
        }
        self.method.handled[code].inc();
        if let Some(seconds) = &self.method.seconds {
            seconds.observe(self.began.elapsed().as_secs_f64());
        }
    }
}

/// A body of gRPC messages that are counted as they pass.
struct Counted {
    body: Body,
    messages: IntCounter,
    bytes: IntCounter,
    call: Option<Call>,
    cutter: Cutter,
}

impl Counted {
    fn new(body: Body, messages: IntCounter, bytes: IntCounter, call: Option<Call>) -> Counted {
        Counted { body, messages, bytes, call, cutter: Cutter::default() }
    }
}

/// Follows the five bytes before each message, over any number of frames.
#[derive(Default)]
struct Cutter {
    prefix: [u8; 5],
    have: usize,
    /// Bytes of the present message that are still to come.
    left: usize,
}

impl Cutter {
    /// How many messages end in these bytes, and how many of the bytes are theirs.
    fn pass(&mut self, mut data: &[u8]) -> (u64, u64) {
        let (mut messages, mut bytes) = (0, 0);
        while !data.is_empty() {
            if self.have < self.prefix.len() {
                let taken = data.len().min(self.prefix.len() - self.have);
                self.prefix[self.have..self.have + taken].copy_from_slice(&data[..taken]);
                self.have += taken;
                data = &data[taken..];
                if self.have < self.prefix.len() {
                    break;
                }
                let length = self.prefix[1..].try_into().expect("four bytes");
                self.left = u32::from_be_bytes(length) as usize;
            }
            let taken = data.len().min(self.left);
            data = &data[taken..];
            bytes += taken as u64;
            self.left -= taken;
            if self.left == 0 {
                messages += 1;
                self.have = 0;
            }
        }
        (messages, bytes)
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            if let Some(data) = frame.data_ref() {
                let (messages, bytes) = this.cutter.pass(data);
                this.messages.inc_by(messages);
                this.bytes.inc_by(bytes);
            } else if let (Some(trailers), Some(call)) = (frame.trailers_ref(), &mut this.call) {
                if !call.end(trailers) {
                    call.code = Some(UNKNOWN);
                }
                this.call = None;
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_over_frames_of_any_size() {
        let stream = [&[0, 0, 0, 0, 3, 1, 2, 3][..], &[0; 5], &[0, 0, 0, 0, 1, 9]].concat();
        for size in 1..=stream.len() {
            let mut cutter = Cutter::default();
            let mut sum = (0, 0);
            for part in stream.chunks(size) {
                let (messages, bytes) = cutter.pass(part);
                sum = (sum.0 + messages, sum.1 + bytes);
            }
            assert_eq!(sum, (3, 4), "frames of {size}");
        }
    }

    #[test]
    fn a_call_is_counted_from_start_to_end() {
        let registry = Registry::new();
        let metrics = GrpcMetrics::new(&registry, true);
        let method = &metrics.methods["/etcdserverpb.KV/Range"];
        let call = metrics.start("/etcdserverpb.KV/Range");
        metrics.admitted(call.as_ref(), "3.5.0");
        metrics.admitted(call.as_ref(), "\u{1}");
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert("grpc-status", "3".parse().unwrap());
        drop(metrics.responses(call, response));
        drop(metrics.start("/etcdserverpb.KV/Range"));
        assert_eq!(method.started.get(), 2);
        assert_eq!((method.handled[3].get(), method.handled[CANCELED].get()), (1, 1));
        assert_eq!(method.seconds.as_ref().unwrap().get_sample_count(), 2);
        for version in ["3.5.0", "unknown"] {
            assert_eq!(metrics.requests.with_label_values(&["unary", version]).get(), 1);
        }
        assert!(metrics.start("/etcdserverpb.KV/None").is_none());
    }
}
