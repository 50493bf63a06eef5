//! `/v2/stats`: what this member did, how its followers are, what was asked of its store.

use http::{Method, Request, Response, StatusCode};
use tonic::body::Body;

use crate::http::body::Incoming;

use super::{V2, json, message};
use crate::http::plain::method_not_allowed;

/// What this member is doing.
pub(super) fn own(v2: &V2, request: &Request<Incoming>) -> Response<Body> {
    if *request.method() != Method::GET {
        return method_not_allowed("GET");
    }
    json(StatusCode::OK, v2.handle.v2_stats.own(&v2.handle))
}

/// How the followers of this leader are.
pub(super) fn leader(v2: &V2, request: &Request<Incoming>) -> Response<Body> {
    if *request.method() != Method::GET {
        return method_not_allowed("GET");
    }
    if v2.handle.progress.leader() != v2.handle.member {
        return message(StatusCode::FORBIDDEN, "not current leader");
    }
    json(StatusCode::OK, v2.handle.v2_stats.followers(&v2.handle))
}

/// What was asked of the store.
pub(super) fn store(v2: &V2, request: &Request<Incoming>) -> Response<Body> {
    if *request.method() != Method::GET {
        return method_not_allowed("GET");
    }
    json(StatusCode::OK, v2.handle.shared.v2.read().stats().to_json())
}
