//! Requests about members, and their answers.

use serde::Deserialize;
use tokio::time::Instant;

use super::{
    cluster::{Cluster, Place, Request},
    error::{Error, json_error},
    transport::Answer,
};
use crate::gotext::json;

/// A member as it is told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(rename = "peerURLs")]
    pub(super) peer_urls: Vec<String>,
    #[serde(rename = "clientURLs")]
    pub(super) client_urls: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Collection {
    members: Option<Vec<Member>>,
}

fn request(method: &'static str, below: &str) -> Request {
    let path =
        if below.is_empty() { "v2/members".to_owned() } else { format!("v2/members/{below}") };
    Request::new(method, Place::Path(path.into_bytes()))
}

fn decode<'a, T: Deserialize<'a>>(answer: &'a Answer) -> Result<T, Error> {
    let decoded = serde_json::from_slice(&answer.body);
    decoded.map_err(|error| Error::Other(json_error(&answer.body, &error)))
}

/// Fails unless the status is one of those.
pub(super) fn expect(answer: &Answer, wanted: &[u16]) -> Result<(), Error> {
    if wanted.contains(&answer.status) {
        return Ok(());
    }
    Err(Error::Other(format!("unexpected status code {}", answer.status)))
}

/// The error that `answer` tells.
pub(super) fn refusal(answer: &Answer) -> Error {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Refusal {
        message: String,
    }
    match decode::<Refusal>(answer) {
        Ok(refusal) => Error::Other(refusal.message),
        Err(error) => error,
    }
}

/// All members.
pub(super) fn list(cluster: &Cluster, deadline: Option<Instant>) -> Result<Vec<Member>, Error> {
    let answer = cluster.ask(&request("GET", ""), deadline)?;
    expect(&answer, &[200])?;
    Ok(decode::<Collection>(&answer)?.members.unwrap_or_default())
}

/// The leader.
pub(super) fn leader(cluster: &Cluster, deadline: Option<Instant>) -> Result<Member, Error> {
    let answer = cluster.ask(&request("GET", "leader"), deadline)?;
    expect(&answer, &[200])?;
    decode(&answer)
}

fn with_peer_urls(mut request: Request, urls: &[&str]) -> Result<Request, Error> {
    let urls = membership::urls::parse(urls.iter().copied()).map_err(Error::Other)?;
    let mut body = String::new();
    json::object(&mut body, |object| {
        object.list_always("peerURLs", &urls, |out, url| json::text(out, url));
    });
    request.body = Some(body);
    request.content_type = "application/json";
    Ok(request)
}

/// Adds a member.
pub(super) fn add(
    cluster: &Cluster,
    peer_url: &str,
    deadline: Option<Instant>,
) -> Result<Member, Error> {
    let request = with_peer_urls(request("POST", ""), &[peer_url])?;
    let answer = cluster.ask(&request, deadline)?;
    expect(&answer, &[201, 409])?;
    if answer.status == 409 { Err(refusal(&answer)) } else { decode(&answer) }
}

/// Changes the peer URLs of a member.
pub(super) fn update(
    cluster: &Cluster,
    id: &str,
    peer_urls: &[&str],
    deadline: Option<Instant>,
) -> Result<(), Error> {
    let request = with_peer_urls(request("PUT", id), peer_urls)?;
    let answer = cluster.ask(&request, deadline)?;
    expect(&answer, &[204, 404, 409])?;
    if answer.status == 204 { Ok(()) } else { Err(refusal(&answer)) }
}

/// Removes a member.
pub(super) fn remove(cluster: &Cluster, id: &str, deadline: Option<Instant>) -> Result<(), Error> {
    expect(&cluster.ask(&request("DELETE", id), deadline)?, &[204, 410])
}
