//! The peer routes below `/raft`: which handler a path has, in etcd's order of checks and with
//! etcd's answers (spec http.md section 4).

#![expect(clippy::result_large_err, reason = "a refusal is an answer as large as any other")]

mod answer;
mod places;
mod post;
mod snapshot;
mod stream;

use std::time::SystemTime;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Method, Request, StatusCode, header};

use crate::{
    clock, headers, probe,
    transport::{Shared, Transport},
    version::Versions,
};

pub use answer::Body;
pub(crate) use answer::Response;
use answer::text;
pub(crate) use places::Places;

const RAFT: &str = "/raft";
const STREAM: &str = "/raft/stream/";
const SNAPSHOT: &str = "/raft/snapshot";

/// What became of a request.
pub enum Served<B> {
    /// The answer.
    Answer(http::Response<Body>),
    /// Not below `/raft`: a request of another part of the peer surface.
    NotMine(Request<B>),
}

/// Why a request is refused before it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Incompatible,
    ClusterMismatch,
}

impl Refused {
    fn answer(self) -> Response {
        match self {
            Refused::Incompatible => text(StatusCode::PRECONDITION_FAILED, "incompatible version"),
            Refused::ClusterMismatch => {
                text(StatusCode::PRECONDITION_FAILED, "cluster ID mismatch")
            }
        }
    }
}

impl Transport {
    /// Serves a request that came to a peer listener.
    pub async fn serve<B>(&self, request: Request<B>) -> Served<B>
    where
        B: hyper::body::Body + Send + Unpin + 'static,
        B::Data: Buf + Send,
        B::Error: std::fmt::Display,
    {
        let path = request.uri().path();
        if path != RAFT && !path.starts_with("/raft/") {
            return Served::NotMine(request);
        }
        Served::Answer(match path {
            RAFT => self.serve_post(request).await,
            SNAPSHOT => self.serve_snapshot(request).await,
            probe::PATH => probing(),
            _ if path.starts_with(STREAM) => self.serve_stream(&request),
            _ => text(StatusCode::NOT_FOUND, "404 page not found"),
        })
    }
}

/// Answers a probe of any method.
fn probing() -> Response {
    let health = probe::Health { ok: true, now: clock::format(SystemTime::now()) };
    let mut body = serde_json::to_vec(&health).expect("two fields are always written as JSON");
    body.push(b'\n');
    let mut response = Response::new(Body::full(body));
    answer::content_type(&mut response, "text/plain; charset=utf-8");
    response
}

/// Refuses any method but `allowed`.
fn check_method(method: &Method, allowed: Method) -> Result<(), Response> {
    if *method == allowed {
        return Ok(());
    }
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    let value = header::HeaderValue::from_str(allowed.as_str()).expect("a method is a token");
    response.headers_mut().insert(header::ALLOW, value);
    Err(response)
}

/// Refuses members of other clusters and of versions that do not fit.
fn check_compatible(shared: &Shared, headers: &HeaderMap) -> Result<(), Refused> {
    let config = &shared.config;
    let server = headers::version(headers, &headers::SERVER_VERSION);
    let min_cluster = headers::version(headers, &headers::MIN_CLUSTER_VERSION);
    let name = headers::text(headers, &headers::SERVER_FROM);
    let remote = server.zip(min_cluster);
    let remote = remote.map(|(server, min_cluster)| Versions { server, min_cluster });
    let checked = match &remote {
        Some(remote) => config.versions.check(remote).map_err(|error| error.to_string()),
        None => Err("the versions in the headers are none".to_owned()),
    };
    let names_cluster = headers::names_cluster(headers, config.cluster);
    if checked.is_ok() && names_cluster {
        return Ok(());
    }
    let may_log = shared.quiet.may_log();
    if let Err(error) = checked {
        if may_log {
            tracing::warn!(
                "local-member-id" = %config.member,
                "local-member-cluster-id" = %config.cluster,
                "local-member-server-version" = %config.versions.server,
                "local-member-server-minimum-cluster-version" = %config.versions.min_cluster,
                "remote-peer-server-name" = name,
                "remote-peer-server-version" = headers::text(headers, &headers::SERVER_VERSION),
                "remote-peer-server-minimum-cluster-version" =
                    headers::text(headers, &headers::MIN_CLUSTER_VERSION),
                error,
                "failed version compatibility check"
            );
        }
        return Err(Refused::Incompatible);
    }
    if may_log {
        tracing::warn!(
            "local-member-id" = %config.member,
            "local-member-cluster-id" = %config.cluster,
            "local-member-server-version" = %config.versions.server,
            "remote-peer-server-name" = name,
            "remote-peer-server-version" = headers::text(headers, &headers::SERVER_VERSION),
            "remote-peer-cluster-id" = headers::text(headers, &headers::CLUSTER_ID),
            "request cluster ID mismatch"
        );
    }
    Err(Refused::ClusterMismatch)
}

/// Remembers who sent a request, so that it can be answered.
fn note_sender(transport: &Transport, headers: &HeaderMap) {
    if let Some((from, urls)) = headers::sender(headers) {
        transport.note_sender(from, &urls);
    }
}

/// The next bytes of a request's body: `None` at its end, an error when it is cut off or stalls.
async fn chunk<B>(body: &mut B, limit: std::time::Duration) -> Option<Result<Bytes, String>>
where
    B: hyper::body::Body + Unpin,
    B::Data: Buf,
    B::Error: std::fmt::Display,
{
    loop {
        let next = std::future::poll_fn(|cx| std::pin::Pin::new(&mut *body).poll_frame(cx));
        let frame = match tokio::time::timeout(limit, next).await {
            Err(_) => return Some(Err("read: i/o timeout".to_owned())),
            Ok(frame) => frame?,
        };
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(mut data)) => return Some(Ok(data.copy_to_bytes(data.remaining()))),
            Ok(Err(_trailers)) => {}
            Err(error) => return Some(Err(error.to_string())),
        }
    }
}
