//! Spans on their way to the collector: gathered for some seconds, sent over one connection of gRPC
//! without TLS, again after a while if the collector cannot be reached, and lost after a minute.

use std::{convert::Infallible, time::Duration};

use anyhow::{Context as _, Result, bail};
use bytes::{BufMut as _, Bytes, BytesMut};
use config::TracingConfig;
use http::{Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Scope, attributes,
    otlp::{Export, InstrumentationScope, Resource, ResourceSpans, ScopeSpans, Span},
};

/// How long spans are gathered.
const GATHER: Duration = Duration::from_secs(5);
/// Spans that are sent at once.
const BATCH_SPANS: usize = 512;
/// How long one try may take.
const TRY: Duration = Duration::from_secs(10);
/// Pause after the first try that failed; twice as long after each further one, up to six times.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a batch is worth trying.
const GIVE_UP: Duration = Duration::from_secs(60);
/// The time for what is left when the member stops.
const FAREWELL: Duration = Duration::from_secs(3);

/// What etcd's gRPC library calls itself in traces; dashboards tell spans apart by it.
const GRPC: &str = "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc";
/// The method of collectors.
const PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

type Spans = mpsc::Receiver<(Scope, Span)>;

/// Sends what comes until the member stops.
pub(super) async fn run(mut spans: Spans, mut closing: watch::Receiver<bool>, to: TracingConfig) {
    let mut collector = Collector { to, connection: None };
    loop {
        let mut batch = Vec::new();
        let gathered = tokio::select! {
            more = gather(&mut spans, &mut batch) => more,
            _ = closing.wait_for(|closing| *closing) => false,
        };
        if !gathered {
            // Everything that ended before the stop is in the queue.
            while let Ok(span) = spans.try_recv() {
                batch.push(span);
            }
            for part in batch.chunks(BATCH_SPANS) {
                let sent = timeout(FAREWELL, collector.send(part)).await;
                if !matches!(sent, Ok(Ok(()))) {
                    tracing::warn!(spans = batch.len(), "traces were lost at the stop");
                    break;
                }
            }
            return;
        }
        tokio::select! {
            () = collector.persist(&batch) => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
    }
}

/// Gathers one batch; whether more may come.
async fn gather(spans: &mut Spans, batch: &mut Vec<(Scope, Span)>) -> bool {
    let Some(first) = spans.recv().await else { return false };
    batch.push(first);
    let end = Instant::now() + GATHER;
    while batch.len() < BATCH_SPANS {
        tokio::select! {
            span = spans.recv() => match span {
                Some(span) => batch.push(span),
                None => return false,
            },
            () = sleep_until(end) => break,
        }
    }
    true
}

/// The receiving end.
struct Collector {
    to: TracingConfig,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Collector {
    /// Sends a batch, over and over for a minute.
    async fn persist(&mut self, batch: &[(Scope, Span)]) {
        let end = Instant::now() + GIVE_UP;
        let mut pause = PAUSE;
        loop {
            let error = match timeout(TRY, self.send(batch)).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error,
                Err(_) => anyhow::anyhow!("no answer in {TRY:?}"),
            };
            self.connection = None;
            if Instant::now() + pause > end {
                let (error, address) = (format!("{error:#}"), &self.to.address);
                tracing::warn!(address, error, spans = batch.len(), "failed to export traces");
                return;
            }
            sleep(pause).await;
            pause = (2 * pause).min(6 * PAUSE);
        }
    }

    async fn send(&mut self, batch: &[(Scope, Span)]) -> Result<()> {
        let message = self.request(batch).encode_to_vec();
        let mut body = BytesMut::with_capacity(message.len() + 5);
        body.put_u8(0);
        body.put_u32(u32::try_from(message.len()).context("a batch is below 4 GiB")?);
        body.extend_from_slice(&message);
        let request = Request::post(format!("http://{}{PATH}", self.to.address))
            .header(CONTENT_TYPE, "application/grpc")
            .header("te", "trailers")
            .body(Full::new(body.freeze()))
            .context("the collector's address")?;
        let response = self.connection().await?.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().unwrap_or(&head.headers);
        match trailers.get("grpc-status").map(http::HeaderValue::as_bytes) {
            Some(b"0") => Ok(()),
            status => {
                let status = status.map_or("none".into(), String::from_utf8_lossy);
                let text = trailers.get("grpc-message").and_then(|text| text.to_str().ok());
                bail!("HTTP {}, gRPC status {status}: {}", head.status, text.unwrap_or_default())
            }
        }
    }

    /// The connection, a new one if the last has ended.
    async fn connection(&mut self) -> Result<&mut SendRequest<Full<Bytes>>> {
        if self.connection.as_ref().is_none_or(SendRequest::is_closed) {
            let socket = TcpStream::connect(&self.to.address).await.context("connect")?;
            let io = TokioIo::new(socket);
            let (sender, connection) = hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(
                TokioExecutor::new(),
                io,
            )
            .await?;
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "the connection to the collector ended");
                }
                Ok::<(), Infallible>(())
            });
            self.connection = Some(sender);
        }
        let connection = self.connection.as_mut().expect("it has just been made");
        connection.ready().await?;
        Ok(connection)
    }

    fn request(&self, batch: &[(Scope, Span)]) -> Export {
        let mut about = vec![attributes::text("service.name", &self.to.service_name)];
        if !self.to.instance_id.is_empty() {
            about.insert(0, attributes::text("service.instance.id", &self.to.instance_id));
        }
        let of = |scope: Scope, name: &str| {
            let spans = batch.iter().filter(|(of, _)| *of == scope);
            let spans: Vec<Span> = spans.map(|(_, span)| span.clone()).collect();
            let version = match scope {
                Scope::Grpc => api::version::SERVER.to_owned(),
                Scope::Etcd => String::new(),
            };
            let scope = Some(InstrumentationScope { name: name.to_owned(), version });
            ScopeSpans { scope, spans }
        };
        let mut scope_spans = vec![of(Scope::Etcd, "go.etcd.io/etcd"), of(Scope::Grpc, GRPC)];
        scope_spans.retain(|scope| !scope.spans.is_empty());
        let resource = Some(Resource { attributes: about });
        Export { resource_spans: vec![ResourceSpans { resource, scope_spans }] }
    }
}
