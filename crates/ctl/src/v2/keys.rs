//! Requests about keys, and their answers.

use std::{fmt::Write, time::Duration};

use serde::Deserialize;
use tokio::time::Instant;

use super::{
    cluster::{Cluster, Place, Request},
    error::Error,
    transport::Answer,
    url,
};
use crate::gotext::json::{self, Object};

const FORM: &str = "application/x-www-form-urlencoded";

/// An answer about keys.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Response {
    action: Option<String>,
    node: Option<Node>,
    #[serde(rename = "prevNode")]
    pub(super) prev_node: Option<Node>,
    /// The store's index, from the header.
    #[serde(skip)]
    pub(super) index: u64,
}

/// A key or a directory.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    key: Option<String>,
    dir: Option<bool>,
    value: Option<String>,
    nodes: Option<Vec<Node>>,
    #[serde(rename = "createdIndex")]
    created_index: Option<u64>,
    #[serde(rename = "modifiedIndex")]
    modified_index: Option<u64>,
    expiration: Option<String>,
    ttl: Option<i64>,
}

impl Response {
    /// What was done.
    pub(super) fn action(&self) -> &str {
        self.action.as_deref().unwrap_or_default()
    }

    /// To what. An answer without is refused when it is read.
    pub(super) fn node(&self) -> &Node {
        self.node.as_ref().expect("read() takes no answer without a node")
    }

    /// As Go's client writes it.
    pub(super) fn to_json(&self) -> String {
        let mut out = String::new();
        let node = |object: &mut Object<'_>, name: &str, node: Option<&Node>| match node {
            Some(node) => object.object(name, |inner| node.fill(inner)),
            None => object.null(name),
        };
        json::object(&mut out, |object| {
            object.text_always("action", self.action());
            node(object, "node", self.node.as_ref());
            node(object, "prevNode", self.prev_node.as_ref());
        });
        out
    }
}

impl Node {
    pub(super) fn key(&self) -> &str {
        self.key.as_deref().unwrap_or_default()
    }

    pub(super) fn is_dir(&self) -> bool {
        self.dir.unwrap_or_default()
    }

    pub(super) fn value(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }

    pub(super) fn nodes(&self) -> &[Node] {
        self.nodes.as_deref().unwrap_or_default()
    }

    pub(super) fn created_index(&self) -> u64 {
        self.created_index.unwrap_or_default()
    }

    pub(super) fn modified_index(&self) -> u64 {
        self.modified_index.unwrap_or_default()
    }

    pub(super) fn ttl(&self) -> i64 {
        self.ttl.unwrap_or_default()
    }

    fn fill(&self, object: &mut Object<'_>) {
        object.text_always("key", self.key());
        object.flag("dir", self.is_dir());
        object.text_always("value", self.value());
        match &self.nodes {
            Some(nodes) => object.list_always("nodes", nodes, |out, node| {
                json::object(out, |object| node.fill(object));
            }),
            None => object.null("nodes"),
        }
        object.number_always("createdIndex", self.created_index());
        object.number_always("modifiedIndex", self.modified_index());
        if let Some(expiration) = &self.expiration {
            object.text_always("expiration", &without_trailing_zeros(expiration));
        }
        object.number("ttl", self.ttl());
    }
}

/// A time of RFC 3339 without zeros at the end of its fraction.
fn without_trailing_zeros(time: &str) -> String {
    let Some((seconds, rest)) = time.split_once('.') else { return time.to_owned() };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (fraction, zone) = rest.split_at(end);
    match fraction.trim_end_matches('0') {
        "" => format!("{seconds}{zone}"),
        fraction => format!("{seconds}.{fraction}{zone}"),
    }
}

/// What must be so before a change.
#[derive(Clone, Debug, Default)]
pub(super) struct Condition {
    /// `true`, `false`, or nothing.
    pub(super) exists: &'static str,
    /// The value, if there is a condition on it.
    pub(super) value: String,
    /// The index, or 0.
    pub(super) index: u64,
}

/// How to set a key.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    pub(super) value: Vec<u8>,
    /// Whether it is a directory, which has no value.
    pub(super) dir: bool,
    /// Seconds; none if not positive.
    pub(super) ttl: i64,
    pub(super) condition: Condition,
}

fn key_request(method: &'static str, key: &[u8]) -> Request {
    Request::new(method, Place::Key(key.to_vec()))
}

fn bool_text(value: bool) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// Seconds as Go's client sends them: what does not fit into nanoseconds wraps around.
fn ttl_text(ttl: i64) -> Option<Vec<u8>> {
    let nanos = ttl.wrapping_mul(1_000_000_000);
    let nanos = u64::try_from(nanos).ok().filter(|nanos| *nanos > 0)?;
    Some(Duration::from_nanos(nanos).as_secs().to_string().into_bytes())
}

/// Reads a key.
pub(super) fn get(
    cluster: &Cluster,
    key: &[u8],
    [recursive, sorted, quorum]: [bool; 3],
) -> Result<Response, Error> {
    let mut request = key_request("GET", key);
    request.query = vec![
        ("recursive", bool_text(recursive)),
        ("sorted", bool_text(sorted)),
        ("quorum", bool_text(quorum)),
    ];
    read(&cluster.ask(&request, cluster.deadline())?)
}

/// Sets a key.
pub(super) fn set(cluster: &Cluster, key: &[u8], set: &Set) -> Result<Response, Error> {
    let mut request = key_request("PUT", key);
    let mut form = Vec::new();
    let condition = &set.condition;
    if set.dir {
        request.query.push(("dir", bool_text(true)));
    } else {
        if !condition.value.is_empty() {
            request.query.push(("prevValue", condition.value.clone().into_bytes()));
        }
        form.push(("value", set.value.clone()));
    }
    if condition.index != 0 {
        request.query.push(("prevIndex", condition.index.to_string().into_bytes()));
    }
    if !condition.exists.is_empty() {
        request.query.push(("prevExist", condition.exists.into()));
    }
    form.extend(ttl_text(set.ttl).map(|ttl| ("ttl", ttl)));
    request.content_type = FORM;
    request.body = Some(url::form(&form));
    // Whether a key was new cannot be told when a request is repeated.
    request.once = condition.exists == "false";
    read(&cluster.ask(&request, cluster.deadline())?)
}

/// Makes a numbered key in a directory.
pub(super) fn create_in_order(
    cluster: &Cluster,
    dir: &[u8],
    value: Vec<u8>,
    ttl: i64,
) -> Result<Response, Error> {
    let mut request = key_request("POST", dir);
    let mut form = vec![("value", value)];
    form.extend(ttl_text(ttl).map(|ttl| ("ttl", ttl)));
    request.content_type = FORM;
    request.body = Some(url::form(&form));
    read(&cluster.ask(&request, cluster.deadline())?)
}

/// Removes a key.
pub(super) fn delete(
    cluster: &Cluster,
    key: &[u8],
    dir: bool,
    recursive: bool,
    condition: &Condition,
) -> Result<Response, Error> {
    let mut request = key_request("DELETE", key);
    if !condition.value.is_empty() {
        request.query.push(("prevValue", condition.value.clone().into_bytes()));
    }
    if condition.index != 0 {
        request.query.push(("prevIndex", condition.index.to_string().into_bytes()));
    }
    for (name, _) in [("dir", dir), ("recursive", recursive)].iter().filter(|(_, wanted)| *wanted) {
        request.query.push((name, bool_text(true)));
    }
    request.content_type = FORM;
    request.once = true;
    read(&cluster.ask(&request, cluster.deadline())?)
}

/// Changes of a key, one after the other.
pub(super) struct Watcher<'c> {
    cluster: &'c Cluster,
    key: Vec<u8>,
    recursive: bool,
    /// The index to wait for; 0 for the next change.
    index: u64,
}

impl<'c> Watcher<'c> {
    /// Changes behind the index `after`, or from now on if that is 0.
    pub(super) fn new(cluster: &'c Cluster, key: &[u8], after: u64, recursive: bool) -> Self {
        let index = if after > 0 { after.wrapping_add(1) } else { 0 };
        Watcher { cluster, key: key.to_vec(), recursive, index }
    }

    /// Waits for the next change.
    pub(super) fn next(&mut self) -> Result<Response, Error> {
        loop {
            let mut request = key_request("GET", &self.key);
            request.query = vec![
                ("wait", bool_text(true)),
                ("waitIndex", self.index.to_string().into_bytes()),
                ("recursive", bool_text(self.recursive)),
            ];
            request.waits = true;
            let no_deadline: Option<Instant> = None;
            match read(&self.cluster.ask(&request, no_deadline)?) {
                Err(Error::EmptyBody) => {}
                Err(error) => return Err(error),
                Ok(response) => {
                    self.index = response.node().modified_index().wrapping_add(1);
                    return Ok(response);
                }
            }
        }
    }
}

/// An answer, or the store's error.
fn read(answer: &Answer) -> Result<Response, Error> {
    let invalid = || {
        Error::other(
            "client: response is invalid json. The endpoint is probably not valid etcd cluster \
             endpoint",
        )
    };
    if answer.status != 200 && answer.status != 201 {
        let refusal: Refusal = serde_json::from_slice(&answer.body).map_err(|_| invalid())?;
        return Err(Error::Other(refusal.text()));
    }
    if answer.body.is_empty() {
        return Err(Error::EmptyBody);
    }
    let mut response: Response = serde_json::from_slice(&answer.body).map_err(|_| invalid())?;
    if response.node.is_none() {
        return Err(invalid());
    }
    if let Some(index) = answer.header("X-Etcd-Index").filter(|text| !text.is_empty()) {
        response.index = crate::gotext::number::parse_uint(index, 10).map_err(Error::Other)?;
    }
    Ok(response)
}

/// The store's error.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    #[serde(rename = "errorCode")]
    code: i64,
    message: String,
    cause: String,
    index: u64,
}

impl Refusal {
    fn text(&self) -> String {
        let mut out = String::new();
        let Refusal { code, message, cause, index } = self;
        write!(out, "{code}: {message} ({cause}) [{index}]").expect("a String takes everything");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let mut headers = hyper::HeaderMap::new();
        headers.insert("X-Etcd-Index", "7".parse().unwrap());
        Answer { status, headers, body: body.to_owned().into() }
    }

    #[test]
    fn answers_are_read_and_written() {
        let body = r#"{"action":"set","node":{"key":"/a","value":"<1>","expiration":"2026-11-21T11:00:00.120Z","ttl":5,"modifiedIndex":7,"createdIndex":7}}"#;
        let response = read(&answer(201, body)).unwrap();
        assert_eq!((response.index, response.node().value()), (7, "<1>"));
        let expected = r#"{"action":"set","node":{"key":"/a","value":"\u003c1\u003e","nodes":null,"createdIndex":7,"modifiedIndex":7,"expiration":"2026-11-21T11:00:00.12Z","ttl":5},"prevNode":null}"#;
        assert_eq!(response.to_json(), expected);
        let body = r#"{"action":"get","node":{"key":"/","dir":true,"nodes":[{"key":"/a"}]}}"#;
        let expected = r#"{"action":"get","node":{"key":"/","dir":true,"value":"","nodes":[{"key":"/a","value":"","nodes":null,"createdIndex":0,"modifiedIndex":0}],"createdIndex":0,"modifiedIndex":0},"prevNode":null}"#;
        assert_eq!(read(&answer(200, body)).unwrap().to_json(), expected);
    }

    #[test]
    fn refusals_and_pages_that_are_no_answers() {
        let body = r#"{"errorCode":100,"message":"Key not found","cause":"/a","index":5}"#;
        let error = read(&answer(404, body)).unwrap_err();
        assert_eq!(error.to_string(), "100: Key not found (/a) [5]");
        for (status, body) in [(404, "404 page not found\n"), (200, "<html>"), (200, "{}")] {
            let text = read(&answer(status, body)).unwrap_err().to_string();
            assert!(text.starts_with("client: response is invalid json"), "{text}");
        }
        assert_eq!(read(&answer(200, "")).unwrap_err(), Error::EmptyBody);
    }

    #[test]
    fn times_to_live_wrap_around_as_in_go() {
        assert_eq!(ttl_text(0), None);
        assert_eq!(ttl_text(-1), None);
        assert_eq!(ttl_text(100).unwrap(), b"100");
        assert_eq!(ttl_text(10_000_000_000), None);
        assert_eq!(ttl_text(20_000_000_000).unwrap(), b"1553255926");
    }
}
