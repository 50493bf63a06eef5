//! The v2 API on the client port, with `--enable-v2` (spec http.md section 5): keys, members,
//! machines, statistics, users and roles.

mod auth;
pub(super) mod form;
mod keys;
mod members;
mod requester;
mod roles;
mod stats;
mod users;
mod watch;

use std::sync::{Arc, atomic::AtomicBool};

use http::{HeaderValue, Request, Response, StatusCode};
use tonic::body::Body;

use crate::http::body::Incoming;
use v2store::text;

use super::plain::{go_error, reply};
use crate::handle::Handle;
pub(super) use form::unescape;
use requester::Requester;

const KEYS: &str = "/v2/keys";

/// What serves the v2 API.
#[derive(Clone)]
pub(super) struct V2 {
    handle: Handle,
    /// `--client-cert-auth`: certificates say who asks.
    cert_auth: bool,
    /// The directories of users and roles are there.
    ensured: Arc<AtomicBool>,
}

impl V2 {
    /// Serves the v2 API of a member.
    pub(super) fn new(handle: Handle, cert_auth: bool) -> V2 {
        V2 { handle, cert_auth, ensured: Arc::default() }
    }

    /// Answers a request whose path begins with `/v2/`.
    pub(super) async fn route(&self, request: Request<Incoming>) -> Response<Body> {
        let Ok(path) = unescape(request.uri().path().as_bytes(), false) else {
            return go_error(StatusCode::BAD_REQUEST, "400 Bad Request");
        };
        if let Some(below) = keys::below(&path) {
            return keys::serve(self, request, below).await;
        }
        let path = text::from_bytes(&path);
        match path.as_str() {
            "/v2/machines" => members::machines(self, &request),
            "/v2/stats/self" => stats::own(self, &request),
            "/v2/stats/leader" => stats::leader(self, &request),
            "/v2/stats/store" => stats::store(self, &request),
            "/v2/members" => members::serve(self, request, "").await,
            "/v2/auth/enable" => auth::serve(self, request).await,
            "/v2/auth/users" => users::serve_all(self, request).await,
            "/v2/auth/roles" => roles::serve_all(self, request).await,
            _ => {
                if let Some(id) = path.strip_prefix("/v2/members/") {
                    return members::serve(self, request, id).await;
                }
                if path.starts_with("/v2/auth/users/") || path.starts_with("/v2/auth/roles/") {
                    return self.named(request, &path).await;
                }
                go_error(StatusCode::NOT_FOUND, "404 page not found")
            }
        }
    }

    /// One user or role, or all of them.
    async fn named(&self, request: Request<Incoming>, path: &str) -> Response<Body> {
        let path = v2store::clean(path);
        let mut parts = path.split('/').skip(3);
        match (parts.next(), parts.next(), parts.next()) {
            (Some("users"), None, _) => users::serve_all(self, request).await,
            (Some("roles"), None, _) => roles::serve_all(self, request).await,
            (Some("users"), Some(name), None) => users::serve(self, request, name).await,
            (Some("roles"), Some(name), None) => roles::serve(self, request, name).await,
            _ => message(StatusCode::BAD_REQUEST, "Invalid path"),
        }
    }
}

/// An answer in JSON.
fn json(status: StatusCode, body: String) -> Response<Body> {
    reply(status, "application/json", body)
}

/// An error that is none of the store.
fn message(status: StatusCode, text: &str) -> Response<Body> {
    let mut body = String::from("{\"message\":");
    text::push_string(&mut body, text);
    body.push('}');
    json(status, body)
}

/// What etcd says of errors that are not for clients.
fn internal_error() -> Response<Body> {
    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}

fn header(number: u64) -> HeaderValue {
    HeaderValue::from(number)
}

fn cluster_id(handle: &Handle) -> HeaderValue {
    HeaderValue::from_str(&handle.cluster.to_string()).expect("digits are a header")
}

fn with_cluster_id(handle: &Handle, mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert("x-etcd-cluster-id", cluster_id(handle));
    response
}

/// Where store and raft are.
fn add_indexes(handle: &Handle, response: &mut Response<Body>, index: u64) {
    let headers = response.headers_mut();
    headers.insert("x-etcd-index", header(index));
    headers.insert("x-raft-index", header(handle.progress.committed().0));
    headers.insert("x-raft-term", header(handle.progress.term().0));
}
