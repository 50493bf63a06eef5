//! The series of `/proxy/metrics`.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use prometheus::{
    Encoder as _, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder, core::Collector,
};
use tonic::{Status, body::Body};

/// The series of one proxy.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) cache_hits: IntGauge,
    pub(crate) cache_misses: IntGauge,
    pub(crate) cache_keys: IntGauge,
    pub(crate) events_coalescing: IntCounter,
    pub(crate) watchers_coalescing: IntGauge,
    pub(crate) started: IntCounterVec,
    pub(crate) handled: IntCounterVec,
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect("each series is registered once");
    collector
}

impl Metrics {
    /// All series, at zero.
    pub(crate) fn new() -> Metrics {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| {
            let name = format!("etcd_grpc_proxy_{name}");
            add(&registry, IntGauge::new(name, help).expect("a valid metric"))
        };
        let calls = |name: &str, help: &str, labels: &[&str]| {
            let calls = IntCounterVec::new(Opts::new(name, help), labels);
            add(&registry, calls.expect("a valid metric"))
        };
        let labels = ["grpc_type", "grpc_service", "grpc_method"];
        let with_code = ["grpc_type", "grpc_service", "grpc_method", "grpc_code"];
        let events = "etcd_grpc_proxy_events_coalescing_total";
        let events =
            IntCounter::new(events, "Responses that were shared.").expect("a valid metric");
        Metrics {
            cache_hits: gauge("cache_hits_total", "Reads answered from the cache."),
            cache_misses: gauge("cache_misses_total", "Reads not found in the cache."),
            cache_keys: gauge("cache_keys_total", "Answers in the cache."),
            events_coalescing: add(&registry, events),
            watchers_coalescing: gauge("watchers_coalescing_total", "Watchers that share another."),
            started: calls("grpc_server_started_total", "Calls started.", &labels),
            handled: calls("grpc_server_handled_total", "Calls ended, by code.", &with_code),
            registry,
        }
    }

    /// The series as text.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("a vector grows");
        text
    }
}

/// A body whose trailers are looked at. One that goes without was cancelled by its client.
pub(crate) struct Ending<F: FnOnce(&HeaderMap)> {
    body: Body,
    end: Option<F>,
}

impl<F: FnOnce(&HeaderMap)> Ending<F> {
    /// Calls `end` with the trailers of the body.
    pub(crate) fn new(body: Body, end: F) -> Ending<F> {
        Ending { body, end: Some(end) }
    }
}

impl<F: FnOnce(&HeaderMap) + Unpin> HttpBody for Ending<F> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
            && let Some(end) = self.end.take()
        {
            end(trailers);
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

impl<F: FnOnce(&HeaderMap)> Drop for Ending<F> {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            let mut canceled = HeaderMap::new();
            canceled.insert("grpc-status", HeaderValue::from_static("1"));
            end(&canceled);
        }
    }
}
