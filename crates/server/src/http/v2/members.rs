//! `/v2/members` and `/v2/machines`.

use api::{error::Error, ids::MemberId};
use http::{Method, Request, Response, StatusCode, header};
use membership::Member;
use serde::{Deserialize, Serialize};
use tonic::body::Body;

use crate::http::body::Incoming;

use super::{
    Requester, V2,
    auth::{denied, go_json},
    form::read_body,
    internal_error, json, message, with_cluster_id,
};
use crate::{
    auth::Caller,
    http::plain::{go_error, method_not_allowed, reply},
    members,
    status::Failure,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberJson<'a> {
    id: String,
    name: &'a str,
    #[serde(rename = "peerURLs")]
    peer_urls: &'a [String],
    #[serde(rename = "clientURLs")]
    client_urls: &'a [String],
}

#[derive(Serialize)]
struct MembersJson<'a> {
    members: Vec<MemberJson<'a>>,
}

impl<'a> From<&'a Member> for MemberJson<'a> {
    fn from(member: &'a Member) -> MemberJson<'a> {
        MemberJson {
            id: member.id.to_string(),
            name: &member.name,
            peer_urls: &member.peer_urls,
            client_urls: &member.client_urls,
        }
    }
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(rename = "peerURLs", default)]
    peer_urls: Option<Vec<String>>,
}

/// The client URLs of all members.
pub(super) fn machines(v2: &V2, request: &Request<Incoming>) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return method_not_allowed("GET,HEAD");
    }
    let membership = v2.handle.shared.membership.read();
    let mut urls: Vec<String> =
        membership.members().flat_map(|member| member.client_urls.clone()).collect();
    urls.sort_unstable();
    reply(StatusCode::OK, "text/plain; charset=utf-8", urls.join(", "))
}

/// The members; `below` is what comes after them in the path.
pub(super) async fn serve(v2: &V2, request: Request<Incoming>, below: &str) -> Response<Body> {
    let method = request.method().clone();
    if !matches!(method, Method::GET | Method::POST | Method::DELETE | Method::PUT) {
        return method_not_allowed("GET,POST,DELETE,PUT");
    }
    let requester = Requester::of(&request);
    if method != Method::GET && !v2.is_root(&requester).await {
        return denied();
    }
    let done = match method {
        Method::GET => Ok(get(v2, below)),
        Method::POST => add(v2, request).await,
        Method::DELETE => remove(v2, below).await,
        _ => update(v2, request, below).await,
    };
    with_cluster_id(&v2.handle, done.unwrap_or_else(|refused| refused))
}

/// An answer, or one that says what is wrong.
type Answer = Result<Response<Body>, Response<Body>>;

fn get(v2: &V2, below: &str) -> Response<Body> {
    let membership = v2.handle.shared.membership.read();
    match below {
        "" => {
            let members = MembersJson { members: membership.members().map(Into::into).collect() };
            json(StatusCode::OK, go_json(&members) + "\n")
        }
        "leader" => match membership.member(v2.handle.progress.leader()) {
            Some(leader) => json(StatusCode::OK, go_json(&MemberJson::from(leader)) + "\n"),
            None => message(StatusCode::SERVICE_UNAVAILABLE, "During election"),
        },
        _ => message(StatusCode::NOT_FOUND, "Not found"),
    }
}

async fn add(v2: &V2, request: Request<Incoming>) -> Answer {
    let peer_urls = wanted_urls(request).await?;
    let new = members::new_member(&peer_urls, false).map_err(|failure| other(&failure))?;
    permit(v2).await?;
    match members::add(&v2.handle, &new).await {
        Ok(_) => Ok(json(StatusCode::CREATED, go_json(&MemberJson::from(&new)) + "\n")),
        Err(failure) if is(&failure, Error::MemberExist) => {
            Err(message(StatusCode::CONFLICT, "membership: ID exists"))
        }
        Err(failure) => Err(conflict_or_other(&failure)),
    }
}

async fn remove(v2: &V2, below: &str) -> Answer {
    let id = member_id(below)?;
    permit(v2).await?;
    if v2.handle.shared.membership.read().is_removed(id) {
        let text = format!("Member permanently removed: {id}");
        return Err(message(StatusCode::GONE, &text));
    }
    match members::remove(&v2.handle, id).await {
        Ok(_) => Ok(no_content()),
        Err(failure) if is(&failure, Error::MemberNotFound) => Err(no_such_member(&id)),
        Err(failure) => Err(other(&failure)),
    }
}

async fn update(v2: &V2, request: Request<Incoming>, below: &str) -> Answer {
    let id = member_id(below)?;
    let peer_urls = wanted_urls(request).await?;
    permit(v2).await?;
    match members::update(&v2.handle, id, peer_urls).await {
        Ok(_) => Ok(no_content()),
        Err(failure) if is(&failure, Error::MemberNotFound) => Err(no_such_member(&id)),
        Err(failure) => Err(conflict_or_other(&failure)),
    }
}

/// With authentication of today's API on, members are changed through that API only: users of this one
/// are others.
async fn permit(v2: &V2) -> Result<(), Response<Body>> {
    let admitted = v2.handle.require_admin(&Caller::default()).await;
    admitted.map_err(|failure| other(&failure))
}

fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn is(failure: &Failure, error: Error) -> bool {
    failure.message == error.message()
}

fn conflict_or_other(failure: &Failure) -> Response<Body> {
    match is(failure, Error::PeerUrlExist) {
        true => message(StatusCode::CONFLICT, "membership: peerURL exists"),
        false => other(failure),
    }
}

fn other(failure: &Failure) -> Response<Body> {
    tracing::warn!("internal-server-error" = %failure.message, "v2 response error");
    internal_error()
}

fn no_such_member(id: &impl std::fmt::Display) -> Response<Body> {
    message(StatusCode::NOT_FOUND, &format!("No such member: {id}"))
}

#[expect(clippy::result_large_err, reason = "a response is the answer, made once a request")]
fn member_id(below: &str) -> Result<MemberId, Response<Body>> {
    if below.is_empty() {
        return Err(go_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"));
    }
    let is_hex = below.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = if is_hex { u64::from_str_radix(below, 16).ok() } else { None };
    id.map(MemberId).ok_or_else(|| no_such_member(&below))
}

/// The URLs in the body of a request.
async fn wanted_urls(request: Request<Incoming>) -> Result<Vec<String>, Response<Body>> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let mut kind = kind.map(|kind| v2store::text::from_bytes(kind.as_bytes())).unwrap_or_default();
    if let Some(at) = kind.find(';') {
        kind = kind[..at].to_lowercase().trim().to_owned();
    }
    if kind != "application/json" {
        let text = format!("Bad Content-Type {kind}, accept application/json");
        return Err(message(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text));
    }
    let bad = |text: &str| message(StatusCode::BAD_REQUEST, text);
    let body = read_body(request.into_body()).await.map_err(|text| bad(&text))?;
    let wanted: Wanted = serde_json::from_slice(&body).map_err(|error| {
        if error.is_eof() { bad("unexpected end of JSON input") } else { bad(&error.to_string()) }
    })?;
    let urls = wanted.peer_urls.unwrap_or_default();
    membership::urls::parse(urls.iter().map(String::as_str)).map_err(|text| bad(&text))
}
