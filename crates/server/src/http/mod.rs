//! The client listener: HTTP/1 and HTTP/2 on one port, gRPC told from plain HTTP by its content
//! type (spec http.md section 1).

mod access;
mod answer;
mod authority;
pub(crate) mod body;
mod clean;
mod connection;
mod debug;
mod gateway;
mod grpc;
mod h2;
mod health;
mod leader_bound;
mod payload;
mod pieces;
pub(crate) mod plain;
mod preface;
mod v2;

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use tonic::body::Body;

pub(crate) use access::Access;
use body::Incoming;
pub(crate) use connection::serve;
pub(crate) use grpc::Grpc;

use crate::{handle::Handle, slow::Ends};
use gateway::Gateway;

/// HTTP/2 settings of client connections.
#[derive(Clone, Debug)]
pub(crate) struct HttpSettings {
    /// Streams per connection (`--max-concurrent-streams`).
    pub(crate) concurrent_streams_max: u32,
    /// Idle time before the server pings (`--grpc-keepalive-interval`); `None` for never.
    pub(crate) ping_interval: Option<Duration>,
    /// Time that a ping may go unanswered (`--grpc-keepalive-timeout`).
    pub(crate) ping_timeout: Duration,
    /// Time between two pings of a client (`--grpc-keepalive-min-time`).
    pub(crate) ping_min: Duration,
    /// Who may use the HTTP paths.
    pub(crate) access: Access,
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
    gateway: Option<Gateway>,
    v2: Option<v2::V2>,
    access: Arc<Access>,
    /// Of the connection that this one serves.
    ends: Ends,
}

impl Router {
    fn new(surface: Surface, handle: Handle, access: Access) -> Router {
        let grpc = Arc::new(Grpc::new(&handle));
        let gateway = access.gateway.then(|| Gateway::new(handle.clone(), grpc.clone()));
        let v2 = access.v2.then(|| v2::V2::new(handle.clone(), access.cert_auth));
        let (access, ends) = (Arc::new(access), Ends::default());
        Router { surface, handle, grpc, gateway, v2, access, ends }
    }

    async fn route(&self, request: Request<Incoming>) -> Response<Body> {
        if self.surface != Surface::Metrics && !self.handle.progress.is_ready() {
            tokio::select! {
                () = self.handle.progress.wait_ready() => {}
                () = self.handle.progress.wait_stopping() => {}
            }
        }
        let kind = request.headers().get(http::header::CONTENT_TYPE);
        let is_grpc = grpc::is_call(&request);
        match self.surface {
            Surface::Client | Surface::Grpc if is_grpc && request.method() != Method::POST => {
                grpc::not_post(request.method())
            }
            Surface::Client | Surface::Grpc if is_grpc => {
                self.grpc.call(request.map(Body::new), self.ends).await
            }
            Surface::Grpc => grpc::not_grpc(kind),
            Surface::Metrics => plain::route(&self.handle, self.surface, request).await,
            Surface::Client | Surface::Http => self.http(request).await,
        }
    }

    /// Answers a request of the client listener that is no gRPC.
    async fn http(&self, mut request: Request<Incoming>) -> Response<Body> {
        if let Some(below) = request.uri().path().strip_prefix("/v3beta/") {
            let path = format!("/v3/{below}");
            *request.uri_mut() = with_path(request.uri(), &path);
        }
        if let Some(refusal) = self.access.refuse(&self.handle, &request) {
            return refusal;
        }
        let cors = self.access.cors_headers(request.headers());
        let mut response = if request.method() == Method::OPTIONS {
            Response::new(Body::empty())
        } else {
            self.path(request).await
        };
        response.headers_mut().extend(cors);
        response
    }

    async fn path(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        let clean = match &self.gateway {
            Some(_) if path == "/v3" => Some("/v3/".to_owned()),
            _ => clean::other_path(path),
        };
        if let Some(clean) = clean.filter(|_| request.method() != Method::CONNECT) {
            return redirect(&with_path(request.uri(), &clean));
        }
        let request = match debug::route(&self.handle, self.access.pprof, request).await {
            Ok(response) => return response,
            Err(request) => request,
        };
        let path = request.uri().path();
        if let Some(v2) = self.v2.as_ref().filter(|_| path.starts_with("/v2/")) {
            return v2.route(request).await;
        }
        match &self.gateway {
            Some(gateway) if path.starts_with("/v3/") => gateway.route(request).await,
            _ => plain::route(&self.handle, self.surface, request).await,
        }
    }
}

/// A URI with another path, and its query.
fn with_path(uri: &Uri, path: &str) -> Uri {
    let whole = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = whole.parse().ok();
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

fn redirect(to: &Uri) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let target = to.path_and_query().map_or("/", |target| target.as_str());
    if let Ok(location) = HeaderValue::from_str(target) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_stay_with_their_paths() {
        let uri: Uri = "/v3beta/kv?a=b".parse().unwrap();
        assert_eq!(with_path(&uri, "/v3/kv").to_string(), "/v3/kv?a=b");
    }
}
