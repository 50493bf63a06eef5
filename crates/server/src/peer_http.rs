//! What members ask of each other beside raft, on the peer listener (spec http.md section 4): the
//! members, promotion, hashes, leases, versions.
//!
//! Texts and statuses are etcd's: members of other releases read them.

use std::time::Duration;

use api::{
    error::Error,
    etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse},
    ids::{LeaseId, MemberId},
    leasepb::{LeaseInternalRequest, LeaseInternalResponse},
};
use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use prost::Message;
use tonic::{body::Body, metadata::MetadataMap};

use crate::{
    auth::Caller,
    corruption,
    handle::Handle,
    http::plain::{go_error, method_not_allowed, reply, version_json},
    leases::{self, Unanswered},
    members,
    peer_client::{
        CLUSTER_ID,
        hash_kv::{HashAnswer, HashHeader, HashRequest},
        promote::NOT_LEARNER,
    },
};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/protobuf";
const PROMOTE: &str = "/members/promote/";
/// The longest body of a request: ids and flags.
const REQUEST_MAX: usize = 64 * 1024;

/// Answers a request that is not one of raft's.
pub(crate) async fn route(handle: &Handle, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    match path {
        "/members" => get(&request).unwrap_or_else(|| list_members(handle)),
        "/members/hashkv" => match get(&request) {
            Some(refusal) => refusal,
            None => hash_kv(handle, request).await,
        },
        "/leases" | "/leases/internal" => lease(handle, request).await,
        "/downgrade/enabled" => match get(&request) {
            Some(refusal) => refusal,
            None => downgrade_enabled(handle).await,
        },
        "/version" => {
            get(&request).unwrap_or_else(|| reply(StatusCode::OK, JSON, version_json(handle)))
        }
        _ => match path.strip_prefix(PROMOTE) {
            Some(_) if request.method() != Method::POST => method_not_allowed("POST"),
            Some(id) => promote(handle, id, request.headers()).await,
            None => go_error(StatusCode::NOT_FOUND, "404 page not found"),
        },
    }
}

/// The refusal of a method other than GET.
fn get(request: &Request<Incoming>) -> Option<Response<Body>> {
    (request.method() != Method::GET).then(|| method_not_allowed("GET"))
}

/// Names the cluster in an answer.
fn with_cluster(handle: &Handle, mut response: Response<Body>) -> Response<Body> {
    let id = HeaderValue::from_str(&handle.cluster.to_string()).expect("hex digits are a value");
    response.headers_mut().insert(CLUSTER_ID, id);
    response
}

fn list_members(handle: &Handle) -> Response<Body> {
    let json = members_json(handle.shared.membership.read().members());
    with_cluster(handle, reply(StatusCode::OK, JSON, json))
}

/// A list of members as Go's encoder writes it, with the line feed at its end.
fn members_json<'a>(members: impl IntoIterator<Item = &'a membership::Member>) -> Vec<u8> {
    let mut json = membership::members_to_json(members);
    json.push(b'\n');
    json
}

async fn promote(handle: &Handle, id: &str, headers: &HeaderMap) -> Response<Body> {
    let Ok(id) = id.parse().map(MemberId) else {
        let text = format!("member {id} not found in cluster");
        return with_cluster(handle, go_error(StatusCode::NOT_FOUND, &text));
    };
    let token = headers.get(header::AUTHORIZATION);
    let promoted = async {
        handle.require_admin(&caller(token)).await?;
        members::promote(handle, id, token).await
    };
    let response = match promoted.await {
        Ok(members) => reply(StatusCode::OK, JSON, members_json(&members)),
        Err(failure) => {
            let error = &failure.message;
            tracing::warn!("member-id" = %id, %error, "failed to promote a member");
            refuse_promotion(error)
        }
    };
    with_cluster(handle, response)
}

/// Who asked the member that passed this on.
fn caller(token: Option<&HeaderValue>) -> Caller {
    let headers = token.map(|token| (HeaderName::from_static("token"), token.clone()));
    Caller::new(&MetadataMap::from_headers(headers.into_iter().collect()), &Extensions::new())
}

/// What the member that passed a promotion on can tell apart; everything else it tries again.
fn refuse_promotion(error: &str) -> Response<Body> {
    if error == Error::MemberNotFound.message() {
        go_error(StatusCode::NOT_FOUND, "membership: ID not found")
    } else if error == Error::MemberNotLearner.message() {
        go_error(StatusCode::PRECONDITION_FAILED, NOT_LEARNER)
    } else if error == Error::LearnerNotReady.message() {
        go_error(StatusCode::PRECONDITION_FAILED, error)
    } else {
        let json = r#"{"message":"Internal Server Error"}"#;
        reply(StatusCode::INTERNAL_SERVER_ERROR, JSON, json)
    }
}

async fn hash_kv(handle: &Handle, request: Request<Incoming>) -> Response<Body> {
    let cluster = request.headers().get(CLUSTER_ID).map_or(&b""[..], HeaderValue::as_bytes);
    if !cluster.is_empty() && cluster != handle.cluster.to_string().as_bytes() {
        return go_error(StatusCode::PRECONDITION_FAILED, "cluster ID mismatch");
    }
    let Ok(body) = read(request).await else {
        return go_error(StatusCode::BAD_REQUEST, "error reading body");
    };
    let Ok(request) = serde_json::from_slice::<HashRequest>(&body) else {
        return go_error(StatusCode::BAD_REQUEST, "error unmarshalling request");
    };
    match corruption::hash(handle, request.revision).await {
        Ok(hash) => {
            let answer = HashAnswer {
                header: HashHeader { revision: handle.shared.store.revision() },
                hash: hash.hash,
                compact_revision: hash.compact_revision,
                hash_revision: hash.revision,
            };
            let json = serde_json::to_vec(&answer).expect("numbers are JSON");
            with_cluster(handle, reply(StatusCode::OK, JSON, json))
        }
        Err(error) => {
            let revision = request.revision;
            tracing::warn!("requested-revision" = revision, %error, "failed to get hashKV");
            let text = match error {
                mvcc::ReadError::Compacted => "mvcc: required revision has been compacted",
                mvcc::ReadError::Future => "mvcc: required revision is a future revision",
                mvcc::ReadError::Storage(error) if error.is_damage() => {
                    api::error::Error::Corrupt.message()
                }
                // As in `status`: the member stops rather than to go on without its store.
                mvcc::ReadError::Storage(error) => {
                    crate::driver::fatal("failed to read the store", &error)
                }
            };
            go_error(StatusCode::BAD_REQUEST, text)
        }
    }
}

/// `/leases` and `/leases/internal`: answered by the primary alone.
async fn lease(handle: &Handle, request: Request<Incoming>) -> Response<Body> {
    if request.method() != Method::POST {
        return go_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    }
    let renews = request.uri().path() == "/leases";
    let body = match read(request).await {
        Ok(body) => body,
        Err(Unread::TooLarge) => {
            return go_error(StatusCode::PAYLOAD_TOO_LARGE, "request body too large");
        }
        Err(Unread::Broken) => return go_error(StatusCode::BAD_REQUEST, "error reading body"),
    };
    let unreadable = || go_error(StatusCode::BAD_REQUEST, "error unmarshalling request");
    if renews {
        match LeaseKeepAliveRequest::decode(body) {
            Ok(request) => renew(handle, request).await,
            Err(_) => unreadable(),
        }
    } else {
        match LeaseInternalRequest::decode(body) {
            Ok(request) => time_to_live(handle, request).await,
            Err(_) => unreadable(),
        }
    }
}

/// Waits until this member has applied what is committed; the refusal when that takes too long.
async fn caught_up(handle: &Handle) -> Result<(), Response<Body>> {
    let text = "waiting for node to catch up its applied index has timed out";
    handle.catch_up().await.map_err(|_| go_error(StatusCode::REQUEST_TIMEOUT, text))
}

async fn renew(handle: &Handle, request: LeaseKeepAliveRequest) -> Response<Body> {
    if let Err(refusal) = caught_up(handle).await {
        return refusal;
    }
    match leases::renew_here(handle, LeaseId(request.id)).await {
        Ok(ttl) => {
            let answer = LeaseKeepAliveResponse { header: None, id: request.id, ttl };
            reply(StatusCode::OK, PROTOBUF, answer.encode_to_vec())
        }
        Err(Unanswered::NotFound) => go_error(StatusCode::NOT_FOUND, "lease not found"),
        Err(Unanswered::NotPrimary) => {
            go_error(StatusCode::BAD_REQUEST, &leases::not_primary().message)
        }
        Err(Unanswered::Failed(failure)) => go_error(StatusCode::BAD_REQUEST, &failure.message),
    }
}

async fn time_to_live(handle: &Handle, request: LeaseInternalRequest) -> Response<Body> {
    if let Err(refusal) = caught_up(handle).await {
        return refusal;
    }
    let request = request.lease_time_to_live_request.unwrap_or_default();
    match leases::time_to_live_here(handle, request).await {
        Ok(mut found) => {
            // Empty, but there: old members read it.
            found.header = Some(Default::default());
            let answer = LeaseInternalResponse { lease_time_to_live_response: Some(found) };
            reply(StatusCode::OK, PROTOBUF, answer.encode_to_vec())
        }
        Err(Unanswered::NotFound) => go_error(StatusCode::NOT_FOUND, "lease not found"),
        Err(Unanswered::NotPrimary | Unanswered::Failed(_)) => {
            go_error(StatusCode::INTERNAL_SERVER_ERROR, &leases::not_primary().message)
        }
    }
}

async fn downgrade_enabled(handle: &Handle) -> Response<Body> {
    let response = match handle.linearizable().await {
        Ok(()) => {
            let enabled = handle.shared.membership.read().downgrade().enabled;
            reply(StatusCode::OK, "text/plain", enabled.to_string())
        }
        Err(failure) => {
            let text = format!("failed linearized read: {}", failure.message);
            go_error(StatusCode::INTERNAL_SERVER_ERROR, &text)
        }
    };
    with_cluster(handle, response)
}

/// Why a body was not read.
enum Unread {
    TooLarge,
    Broken,
}

/// Reads the body of a request, for as long as a member takes to send one.
async fn read(request: Request<Incoming>) -> Result<Bytes, Unread> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let body = Limited::new(request.into_body(), REQUEST_MAX).collect();
    match tokio::time::timeout(PATIENCE, body).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Unread::TooLarge),
        Ok(Err(_)) | Err(_) => Err(Unread::Broken),
    }
}
