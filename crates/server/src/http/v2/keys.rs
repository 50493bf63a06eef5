//! `/v2/keys`: requests checked in etcd's order, then carried out.

use std::sync::Arc;

use apply::V2Request;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tonic::body::Body;

use crate::http::body::Incoming;
use v2store::{Action, Code, Error, Event, text};

use super::{KEYS, Requester, V2, form::Form, header, json, watch};
use crate::{clock, http::plain::method_not_allowed, limits::V2_PATH_PARTS_MAX, v2::V2Failure};

/// Where keys are in the store.
pub(super) const NAMESPACE: &str = "/1";

const METHODS: &str = "HEAD,GET,PUT,POST,DELETE";

/// A request of the keys API.
#[derive(Debug)]
struct KeyRequest {
    request: V2Request,
    path: String,
    wait: bool,
    stream: bool,
    since: u64,
    no_value_on_success: bool,
}

/// Answers a request whose decoded path below `/v2/keys` is `below`.
pub(super) async fn serve(v2: &V2, request: Request<Incoming>, below: Vec<u8>) -> Response<Body> {
    let method = request.method().clone();
    if !matches!(method, Method::HEAD | Method::GET | Method::PUT | Method::POST | Method::DELETE) {
        return method_not_allowed(METHODS);
    }
    let requester = Requester::of(&request);
    let parsed = match Form::read(request).await {
        Ok(form) => parse(&method, &below, &form, clock::unix_ns()),
        Err(text) => Err(error(Code::InvalidForm, &text)),
    };
    let mut response = match parsed {
        Err(error) => failure(&V2Failure::Store(error)),
        Ok(parsed) => carry_out(v2, parsed, &requester, &method, &below).await,
    };
    response.headers_mut().insert("x-etcd-cluster-id", super::cluster_id(&v2.handle));
    response
}

fn error(code: Code, cause: &str) -> Error {
    Error::new(code, cause, 0)
}

fn parse(method: &Method, below: &[u8], form: &Form, now: i64) -> Result<KeyRequest, Error> {
    let path = v2store::join(NAMESPACE, &text::from_bytes(below));
    if path != NAMESPACE && !path.starts_with("/1/") {
        return Err(error(Code::InvalidForm, "incorrect key prefix"));
    }
    if path.matches('/').count() > V2_PATH_PARTS_MAX {
        return Err(error(Code::InvalidField, "the path has too many parts"));
    }
    let named = |key: &str| format!("invalid value for \"{key}\"");
    let number =
        |key: &str| form.number(key).ok_or_else(|| error(Code::IndexNotANumber, &named(key)));
    let bool = |key: &str| form.bool(key).ok_or_else(|| error(Code::InvalidField, &named(key)));
    let (prev_index, since) = (number("prevIndex")?, number("waitIndex")?);
    let (recursive, sorted, wait) = (bool("recursive")?, bool("sorted")?, bool("wait")?);
    let (dir, quorum, stream) = (bool("dir")?, bool("quorum")?, bool("stream")?);
    if wait && method != Method::GET {
        let text = "\"wait\" can only be used with GET requests";
        return Err(error(Code::InvalidField, text));
    }
    let prev_value = form.value("prevValue");
    if form.get("prevValue").is_some() && prev_value.is_empty() {
        return Err(error(Code::PrevValueRequired, "\"prevValue\" cannot be empty"));
    }
    let no_value_on_success = bool("noValueOnSuccess")?;
    let ttl = match form.value("ttl") {
        b"" => None,
        _ => Some(form.number("ttl").ok_or_else(|| error(Code::TtlNotANumber, &named("ttl")))?),
    };
    let optional = |key: &str| match form.get(key) {
        None => Ok(None),
        Some(_) => {
            let text = format!("invalid value for {key}");
            form.bool(key).map(Some).ok_or_else(|| error(Code::InvalidField, &text))
        }
    };
    let (prev_exist, refresh) = (optional("prevExist")?, optional("refresh")?);
    if refresh == Some(true) {
        if !form.value("value").is_empty() {
            return Err(error(Code::RefreshValue, "A value was provided on a refresh"));
        }
        if ttl.is_none() {
            return Err(error(Code::RefreshTtlRequired, "No TTL value set"));
        }
    }
    // As Go's durations do, times that no clock reaches wrap around.
    let expires = |ttl: u64| now.wrapping_add((ttl as i64).wrapping_mul(text::SECOND_NS));
    let quorum_get = quorum && method == Method::GET;
    let method = if quorum_get { "QGET" } else { method.as_str() };
    let request = V2Request {
        method: Bytes::copy_from_slice(method.as_bytes()),
        path: Bytes::copy_from_slice(path.as_bytes()),
        val: Bytes::copy_from_slice(form.value("value")),
        prev_value: Bytes::copy_from_slice(prev_value),
        expiration: ttl.map_or(0, expires),
        time: now,
        ..V2Request {
            dir,
            prev_index,
            prev_exist,
            recursive,
            sorted,
            quorum,
            refresh,
            ..V2Request::default()
        }
    };
    let wait = wait && !quorum_get;
    Ok(KeyRequest { request, path, wait, stream, since, no_value_on_success })
}

async fn carry_out(
    v2: &V2,
    parsed: KeyRequest,
    requester: &Requester,
    method: &Method,
    below: &[u8],
) -> Response<Body> {
    let KeyRequest { request, path, wait, stream, since, no_value_on_success } = parsed;
    let recursive = request.recursive;
    let writes = *method != Method::GET && *method != Method::HEAD;
    let key = text::from_bytes(below);
    if !v2.may_use_key(requester, &key, recursive, writes).await {
        let denied = error(Code::Unauthorized, "Insufficient credentials");
        return failure(&V2Failure::Store(denied));
    }
    if wait {
        return match watch::begin(&v2.handle, &path, recursive, stream, since) {
            Ok(response) => response,
            Err(error) => failure(&V2Failure::Store(error)),
        };
    }
    let is_local = matches!(&request.method[..], b"GET" | b"HEAD");
    let done = match is_local {
        true => v2.handle.v2_get(&path, recursive),
        false => v2.handle.v2_propose(request).await,
    };
    match done {
        Ok(event) => answer(v2, &event, no_value_on_success),
        Err(error) => failure(&error),
    }
}

fn answer(v2: &V2, event: &Arc<Event>, no_value_on_success: bool) -> Response<Body> {
    let hides = matches!(
        event.action,
        Action::Set | Action::CompareAndSwap | Action::Create | Action::Update
    );
    let mut body = event.to_json(NAMESPACE, !(no_value_on_success && hides));
    body.push('\n');
    let status = if event.is_created() { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = json(status, body);
    super::add_indexes(&v2.handle, &mut response, event.etcd_index);
    response
}

/// The answer to a request that failed.
pub(super) fn failure(failure: &V2Failure) -> Response<Body> {
    let raft;
    let error = match failure {
        V2Failure::Store(error) => error,
        V2Failure::Member(failure) => {
            tracing::warn!("internal-server-error" = %failure.message, "v2 response error");
            raft = error(Code::RaftInternal, &failure.message);
            &raft
        }
    };
    let status = StatusCode::from_u16(error.code.status()).expect("statuses have three digits");
    let mut response =
        Response::new(Body::new(Full::new(Bytes::from(error.to_json(NAMESPACE) + "\n"))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert("x-etcd-index", header(error.index));
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What comes after `/v2/keys` in a path.
pub(super) fn below(path: &[u8]) -> Option<Vec<u8>> {
    let below = path.strip_prefix(KEYS.as_bytes())?;
    (below.is_empty() || below.starts_with(b"/")).then(|| below.to_vec())
}
