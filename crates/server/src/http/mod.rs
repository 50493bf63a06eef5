//! The client listener: HTTP/1 and HTTP/2 on one port, gRPC told from plain HTTP by its content
//! type (spec http.md section 1).

mod authority;
mod grpc;
mod health;
mod plain;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, task::JoinSet};
use tonic::body::Body;

use authority::AuthorityShim;
pub(crate) use grpc::Grpc;

use crate::handle::Handle;

/// HTTP/2 settings of client connections.
#[derive(Clone, Debug)]
pub(crate) struct HttpSettings {
    /// Streams per connection (`--max-concurrent-streams`).
    pub(crate) concurrent_streams_max: u32,
    /// Idle time before the server pings (`--grpc-keepalive-interval`); `None` for never.
    pub(crate) ping_interval: Option<Duration>,
    /// Time that a ping may go unanswered (`--grpc-keepalive-timeout`).
    pub(crate) ping_timeout: Duration,
}

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    /// gRPC and every HTTP path.
    Client,
    /// Metrics and health only (`--listen-metrics-urls`).
    Metrics,
}

/// Window of received bytes per stream and connection: the largest request fits without a stall.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// How long connections may finish their requests once the member stops.
const DRAIN: Duration = Duration::from_secs(7);

/// Serves `listener` until the member stops, then drains its connections.
pub(crate) async fn serve(
    listener: TcpListener,
    surface: Surface,
    handle: Handle,
    settings: HttpSettings,
) {
    let grpc = Arc::new(Grpc::new(&handle));
    let builder = builder(&settings);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = handle.progress.wait_stopping() => break,
            Some(_) = connections.join_next() => continue,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a client connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _best_effort = stream.set_nodelay(true);
        let connection = serve_connection(
            TokioIo::new(AuthorityShim::new(stream)),
            remote,
            builder.clone(),
            Router { surface, handle: handle.clone(), grpc: grpc.clone() },
        );
        connections.spawn(connection);
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _cut_off = tokio::time::timeout(DRAIN, drained).await;
}

fn builder(settings: &HttpSettings) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(300));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.concurrent_streams_max)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .keep_alive_interval(settings.ping_interval)
        .keep_alive_timeout(settings.ping_timeout);
    builder
}

async fn serve_connection(
    io: TokioIo<AuthorityShim<tokio::net::TcpStream>>,
    remote: SocketAddr,
    builder: auto::Builder<TokioExecutor>,
    router: Router,
) {
    let progress = router.handle.clone();
    let service = TowerToHyperService::new(tower::service_fn(move |request| {
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.route(request).await) }
    }));
    let connection = builder.serve_connection(io, service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = progress.progress.wait_stopping() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %remote, "client connection ended");
    }
}

/// Sends a request to its service.
#[derive(Clone)]
struct Router {
    surface: Surface,
    handle: Handle,
    grpc: Arc<Grpc>,
}

impl Router {
    async fn route(&self, request: Request<Incoming>) -> Response<Body> {
        let is_grpc = request
            .headers()
            .get(http::header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if self.surface == Surface::Client {
            tokio::select! {
                () = self.handle.progress.wait_ready() => {}
                () = self.handle.progress.wait_stopping() => {}
            }
            if is_grpc {
                return self.grpc.call(request).await;
            }
        }
        plain::route(&self.handle, self.surface, request).await
    }
}
