//! The client listener: HTTP/1 and HTTP/2 on one port, gRPC told from plain HTTP by its content
//! type (spec http.md section 1).

mod authority;
mod connection;
mod grpc;
mod health;
mod leader_bound;
pub(crate) mod plain;

use std::{sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::body::Incoming;
use tonic::body::Body;

pub(crate) use connection::serve;
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
    /// gRPC alone: HTTP has listeners of its own (`--listen-client-http-urls`).
    Grpc,
    /// Every HTTP path, without gRPC.
    Http,
    /// Metrics and health only (`--listen-metrics-urls`).
    Metrics,
}

/// Sends a request to its service.
#[derive(Clone)]
struct Router {
    surface: Surface,
    handle: Handle,
    grpc: Arc<Grpc>,
}

impl Router {
    fn new(surface: Surface, handle: Handle) -> Router {
        let grpc = Arc::new(Grpc::new(&handle));
        Router { surface, handle, grpc }
    }

    async fn route(&self, request: Request<Incoming>) -> Response<Body> {
        if self.surface != Surface::Metrics {
            tokio::select! {
                () = self.handle.progress.wait_ready() => {}
                () = self.handle.progress.wait_stopping() => {}
            }
        }
        let kind = request.headers().get(http::header::CONTENT_TYPE);
        let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        match self.surface {
            Surface::Client | Surface::Grpc if is_grpc => self.grpc.call(request).await,
            Surface::Grpc => grpc::not_grpc(kind),
            _ => plain::route(&self.handle, self.surface, request).await,
        }
    }
}
