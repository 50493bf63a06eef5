//! Against a collector in the same process.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{body::Frame, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::net::TcpListener;

use super::{otlp::Value, *};

/// A span as it arrived, in plain words.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) is_server: bool,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) events: Vec<String>,
    pub(crate) error: String,
}

/// A collector: what it was sent, and where it is.
pub(crate) struct Collector {
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    pub(crate) address: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn words(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let word = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::Text(text)) => text.clone(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Int(number)) => number.to_string(),
        None => panic!("{} has no value", pair.key),
    };
    attributes.iter().map(|pair| (pair.key.clone(), word(pair))).collect()
}

fn read(message: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    for process in otlp::Export::decode(message).unwrap().resource_spans {
        let about = words(&process.resource.unwrap().attributes);
        for span in process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
            seen.push(Seen {
                service: about["service.name"].clone(),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                is_server: span.kind == SpanKind::Server as i32,
                attributes: words(&span.attributes),
                events: span.events.into_iter().map(|event| event.name).collect(),
                error: span.status.map(|status| status.message).unwrap_or_default(),
            });
        }
    }
    seen
}

impl Collector {
    pub(crate) async fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let sink = seen.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let sink = sink.clone();
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let sink = sink.clone();
                    async move {
                        assert!(request.uri().path().ends_with(".TraceService/Export"));
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
                        assert_eq!((body[0], length), (0, body.len() - 5));
                        sink.lock().extend(read(&body[5..]));
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", "0".parse().unwrap());
                        let frames = [
                            Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 5]))),
                            Ok(Frame::trailers(trailers)),
                        ];
                        Ok::<_, Infallible>(Response::new(StreamBody::new(tokio_stream::iter(
                            frames,
                        ))))
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), service),
                );
            }
        });
        Collector { seen, address }
    }

    pub(crate) fn config(&self, sampling_rate: i64) -> TracingConfig {
        let address = self.address.clone();
        TracingConfig { enabled: true, address, sampling_rate, ..TracingConfig::default() }
    }
}

fn parent(flags: &str) -> HeaderMap {
    let text = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", text.parse().unwrap());
    headers
}

#[test]
fn rates_per_million_bound_trace_ids() {
    assert_eq!(bound(0), 0);
    assert_eq!(bound(-1), 0);
    assert_eq!(bound(1_000_000), 1 << 63);
    assert_eq!(bound(500_000), 1 << 62);
}

#[tokio::test]
async fn the_callers_decision_comes_before_the_rate() {
    let nowhere = |sampling_rate| TracingConfig {
        enabled: true,
        address: "127.0.0.1:1".to_owned(),
        sampling_rate,
        ..TracingConfig::default()
    };
    let (never, always) = (Tracer::start(&nowhere(0)), Tracer::start(&nowhere(1_000_000)));
    let off = Tracer::start(&TracingConfig::default());
    let none = HeaderMap::new();
    let begins = |tracer: &Tracer, headers: &HeaderMap| tracer.call("/s/m", headers).is_some();
    assert!(!begins(&never, &none) && begins(&never, &parent("01")));
    assert!(begins(&always, &none) && !begins(&always, &parent("00")));
    assert!(!begins(&off, &none) && !begins(&off, &parent("01")));
    // What a member does by itself has no caller.
    let owns = |tracer: &Tracer| tracer.own("range", Vec::new()).is_some();
    assert!(!owns(&never) && owns(&always) && !owns(&off));
}

#[tokio::test]
async fn spans_arrive_with_their_place_in_the_trace() {
    let collector = Collector::start().await;
    let tracer = Tracer::start(&collector.config(0));
    let call = tracer.call("/etcdserverpb.KV/Put", &parent("01")).unwrap();
    call.received_at("127.0.0.1:2379".parse().unwrap());
    within(Some(call.clone()), async {
        let put = child("put", || key_only(b"a\xff"));
        let work = async {
            event("Send raft proposal");
            failed("etcdserver: request timed out");
        };
        within(put, work).await;
    })
    .await;
    assert!(current().is_none() && child("put", Vec::new).is_none());
    call.ended(14, Some("etcdserver: request timed out"));
    drop(call);
    tokio::time::timeout(Duration::from_secs(30), tracer.close()).await.expect("it closes");

    let seen = collector.seen.lock().clone();
    let [put, call] = &seen[..] else { panic!("two spans: {seen:?}") };
    assert_eq!((&*put.name, &*call.name), ("put", "etcdserverpb.KV/Put"));
    assert_eq!((put.is_server, call.is_server), (false, true));
    assert_eq!(call.trace, "0af7651916cd43dd8448eb211c80319c");
    assert_eq!((&call.parent, &put.trace), (&"b7ad6b7169203331".to_owned(), &call.trace));
    assert_eq!(put.parent, call.id);
    assert_eq!(put.attributes["key"], "a\u{fffd}");
    assert_eq!(put.events, ["Send raft proposal", "exception"]);
    let attributes: Vec<(&str, &str)> =
        call.attributes.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(
        attributes,
        [
            ("rpc.method", "etcdserverpb.KV/Put"),
            ("rpc.response.status_code", "UNAVAILABLE"),
            ("rpc.system.name", "grpc"),
            ("server.address", "127.0.0.1"),
            ("server.port", "2379"),
        ]
    );
    assert_eq!((&*call.error, &*call.service), ("etcdserver: request timed out", "etcd"));
}
