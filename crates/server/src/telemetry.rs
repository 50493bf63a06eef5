//! Spans of calls for an OpenTelemetry collector (`--enable-distributed-tracing`), named and attributed
//! as etcd 3.7 does: one of kind server for each call, below it one for what the call asks of the
//! member, with its way through raft as events.
//!
//! A caller's `traceparent` decides whether its calls are recorded; calls without one are sampled.
//! What is not sampled has no span at all, and without tracing nobody ever does: then each place
//! that would begin one looks at a thread-local and goes on.

mod attributes;
mod context;
mod export;
mod otlp;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use config::TracingConfig;
use futures_util::future::Either;
use http::HeaderMap;
use parking_lot::Mutex;
use rand::Rng as _;
use tokio::{
    sync::{mpsc, watch},
    task::futures::TaskLocalFuture,
};

pub(crate) use attributes::{
    compaction, deletion, grant, id_only, key_only, range, range_stream, transaction, watcher,
};
use context::Parent;
use otlp::{KeyValue, SpanKind};

/// Spans that may wait to be sent; further ones are lost.
const QUEUE_SPANS: usize = 2048;
/// Of how many calls without a parent `--distributed-tracing-sampling-rate` says how many are
/// sampled.
const SAMPLING_PER: f64 = 1_000_000.0;
/// The flags of a span in the protocol: sampled; whether its parent is elsewhere is known, and that
/// it is.
const SAMPLED: u32 = 0x001;
const PARENT_KNOWN: u32 = 0x100;
const PARENT_REMOTE: u32 = 0x200;

/// Which library, in etcd's terms, made a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// The gRPC server.
    Grpc,
    /// The member.
    Etcd,
}

/// Begins the spans of calls; without tracing, none.
pub(crate) struct Tracer(Option<Sampling>);

struct Sampling {
    /// Trace ids whose lower 63 bits are below this are sampled.
    bound: u64,
    exporter: Exporter,
}

/// The way to the task that sends spans.
#[derive(Clone)]
struct Exporter {
    queue: mpsc::Sender<(Scope, otlp::Span)>,
    /// Set when the member stops: what is queued is sent, then nothing more.
    closing: Arc<watch::Sender<bool>>,
}

impl Tracer {
    /// The tracer that the configuration asks for; starts what sends its spans.
    pub(crate) fn start(config: &TracingConfig) -> Tracer {
        if !config.enabled {
            return Tracer(None);
        }
        let (queue, spans) = mpsc::channel(QUEUE_SPANS);
        let closing = Arc::new(watch::Sender::new(false));
        tokio::spawn(export::run(spans, closing.subscribe(), config.clone()));
        tracing::debug!(
            address = config.address,
            "service-name" = config.service_name,
            "service-instance-id" = config.instance_id,
            "sampling-rate" = config.sampling_rate,
            "distributed tracing enabled"
        );
        let exporter = Exporter { queue, closing };
        Tracer(Some(Sampling { bound: bound(config.sampling_rate), exporter }))
    }

    /// Begins the span of a gRPC call: of the trace that its caller names, or a new one.
    pub(crate) fn call(&self, path: &str, headers: &HeaderMap) -> Option<Span> {
        let sampling = self.0.as_ref()?;
        let parent = match Parent::read(headers) {
            Some(parent) if !parent.sampled => return None,
            Some(parent) => parent,
            None => Parent { trace: sampling.new_trace()?, ..Parent::default() },
        };
        let name = path.trim_start_matches('/').to_owned();
        let attributes = attributes::call(&name);
        let above = parent.span.as_ref().map_or(&[][..], |span| &span[..]);
        let begun = otlp::Span {
            flags: SAMPLED | PARENT_KNOWN | PARENT_REMOTE,
            trace_state: parent.state,
            ..begin(name, SpanKind::Server, &parent.trace, above, attributes)
        };
        Some(Span::new(Scope::Grpc, sampling.exporter.clone(), begun))
    }

    /// Begins a span of what the member does by itself.
    pub(crate) fn own(&self, name: &str, attributes: Vec<KeyValue>) -> Option<Span> {
        let sampling = self.0.as_ref()?;
        let trace = sampling.new_trace()?;
        let begun = begin(name.to_owned(), SpanKind::Internal, &trace, &[], attributes);
        Some(Span::new(Scope::Etcd, sampling.exporter.clone(), begun))
    }

    /// Has what is queued sent, for at most a few seconds, and no more after it.
    pub(crate) async fn close(&self) {
        let Some(Sampling { exporter, .. }) = &self.0 else { return };
        exporter.closing.send_replace(true);
        // The receiver goes when everything has been sent, or given up.
        exporter.closing.closed().await;
    }
}

impl Sampling {
    /// A trace that begins here, if it is one of those that are sampled.
    fn new_trace(&self) -> Option<[u8; 16]> {
        let trace: [u8; 16] = rand::rng().random();
        let low = u64::from_be_bytes(trace[8..].try_into().expect("eight bytes")) >> 1;
        (low < self.bound).then_some(trace)
    }
}

/// The bound of trace ids for a rate per million.
fn bound(rate: i64) -> u64 {
    match rate as f64 / SAMPLING_PER {
        rate if rate <= 0.0 => 0,
        rate if rate >= 1.0 => 1 << 63,
        rate => (rate * (1_u64 << 63) as f64) as u64,
    }
}

fn begin(
    name: String,
    kind: SpanKind,
    trace: &[u8],
    parent: &[u8],
    attributes: Vec<KeyValue>,
) -> otlp::Span {
    let span: [u8; 8] = rand::rng().random();
    otlp::Span {
        trace_id: trace.to_vec(),
        span_id: span.to_vec(),
        parent_span_id: parent.to_vec(),
        name,
        kind: kind as i32,
        start_time_unix_nano: unix_nanos(),
        attributes,
        status: Some(otlp::Status::default()),
        flags: SAMPLED | PARENT_KNOWN,
        ..otlp::Span::default()
    }
}

fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A span under way. It ends when the last that holds it is gone.
#[derive(Clone)]
pub(crate) struct Span(Arc<Live>);

struct Live {
    scope: Scope,
    exporter: Exporter,
    span: Mutex<otlp::Span>,
}

impl Drop for Live {
    fn drop(&mut self) {
        let mut span = std::mem::take(self.span.get_mut());
        span.end_time_unix_nano = unix_nanos();
        // A full queue loses spans: nothing waits for a collector.
        let _lost = self.exporter.queue.try_send((self.scope, span));
    }
}

impl Span {
    fn new(scope: Scope, exporter: Exporter, span: otlp::Span) -> Span {
        Span(Arc::new(Live { scope, exporter, span: Mutex::new(span) }))
    }

    /// Begins a span below this one.
    fn child(&self, name: &str, attributes: Vec<KeyValue>) -> Span {
        let parent = self.0.span.lock();
        let mut begun = begin(
            name.to_owned(),
            SpanKind::Internal,
            &parent.trace_id,
            &parent.span_id,
            attributes,
        );
        begun.trace_state = parent.trace_state.clone();
        Span::new(Scope::Etcd, self.0.exporter.clone(), begun)
    }

    /// Notes where a call came in.
    pub(crate) fn received_at(&self, address: std::net::SocketAddr) {
        self.0.span.lock().attributes.extend(attributes::server(address));
    }

    /// Notes the code of a call that ends, and, for one that is the server's fault, its text.
    pub(crate) fn ended(&self, code: usize, message: Option<&str>) {
        let mut span = self.0.span.lock();
        span.attributes.push(attributes::status(code));
        if attributes::is_fault(code) {
            let message = message.unwrap_or_default().to_owned();
            span.status = Some(otlp::Status { message, code: otlp::STATUS_ERROR });
        }
    }

    fn event(&self, name: &str, attributes: Vec<KeyValue>) {
        let event = otlp::Event { time_unix_nano: unix_nanos(), name: name.to_owned(), attributes };
        self.0.span.lock().events.push(event);
    }
}

tokio::task_local! {
    /// The span of what the task does.
    static CURRENT: Span;
}

/// The span that the task is in, to be carried to another task.
pub(crate) fn current() -> Option<Span> {
    CURRENT.try_with(Span::clone).ok()
}

/// Begins a span below the current one, if there is one.
pub(crate) fn child(name: &str, attributes: impl FnOnce() -> Vec<KeyValue>) -> Option<Span> {
    CURRENT.try_with(|parent| parent.child(name, attributes())).ok()
}

/// Does `work` in a span, which ends with it if nobody else holds it.
///
/// The future is as large as `work`: an `async fn` would hold it several times.
pub(crate) fn within<F: Future>(
    span: Option<Span>,
    work: F,
) -> Either<F, TaskLocalFuture<Span, F>> {
    match span {
        None => Either::Left(work),
        Some(span) => Either::Right(CURRENT.scope(span, work)),
    }
}

/// Notes something that happened in the current span.
pub(crate) fn event(name: &str) {
    let _no_span = CURRENT.try_with(|span| span.event(name, Vec::new()));
}

/// Notes an error in the current span.
pub(crate) fn failed(message: &str) {
    let _no_span = CURRENT.try_with(|span| span.event("exception", attributes::error(message)));
}

#[cfg(test)]
pub(crate) mod tests;
