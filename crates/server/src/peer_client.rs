//! Requests to other members over HTTP/1.1 on their peer URLs (spec http.md section 4): members,
//! versions, hashes, leases, promotion. Raft messages go through `transport`.
//!
//! A few idle connections per URL are kept, for a follower forwards every keep-alive of its clients.
//! Nothing is tried twice here, except where a kept connection turns out to be closed before the
//! request was sent: the callers know what may be repeated.

pub(crate) mod cluster;
pub(crate) mod hash_kv;
pub(crate) mod lease;
pub(crate) mod promote;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::timeout;
use transport::{
    Dial,
    url::{PeerUrl, UrlError},
};

/// The cluster, in requests and answers.
pub(crate) const CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");

/// Idle connections kept per URL.
const IDLE_MAX: usize = 16;

type Connection = SendRequest<Full<Bytes>>;

/// Asks other members.
pub(crate) struct PeerClient {
    dial: Arc<dyn Dial>,
    idle: Mutex<BTreeMap<PeerUrl, Vec<Connection>>>,
}

/// A request to one URL of a member.
pub(crate) struct Ask<'a> {
    /// GET or POST.
    pub(crate) method: Method,
    /// The peer URL, such as `http://10.0.0.1:2380`.
    pub(crate) url: &'a str,
    /// The path below it.
    pub(crate) path: &'a str,
    /// Headers beside `Host`.
    pub(crate) headers: HeaderMap,
    /// The body; may be empty.
    pub(crate) body: Bytes,
    /// How long the whole may take.
    pub(crate) limit: Duration,
    /// How long an answer may be.
    pub(crate) answer_max: usize,
}

/// What a member answered.
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The whole body.
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as text, for errors.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Why a member was not heard.
#[derive(Debug, Error)]
pub(crate) enum PeerError {
    /// The URL is none.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The path or a header cannot be sent.
    #[error("{0}")]
    Request(#[from] http::Error),
    /// The member cannot be reached.
    #[error("{0}")]
    Dial(#[from] std::io::Error),
    /// It does not speak HTTP, or went away.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// It took too long.
    #[error("context deadline exceeded")]
    Deadline,
    /// The answer is longer than any member's.
    #[error("answer of more than {0} bytes")]
    TooLong(usize),
}

impl PeerClient {
    /// Opens connections by `dial`.
    pub(crate) fn new(dial: Arc<dyn Dial>) -> PeerClient {
        PeerClient { dial, idle: Mutex::default() }
    }

    /// Sends one request and reads the whole answer.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Answer, PeerError> {
        let limit = ask.limit;
        timeout(limit, self.exchange(ask)).await.unwrap_or(Err(PeerError::Deadline))
    }

    async fn exchange(&self, ask: Ask<'_>) -> Result<Answer, PeerError> {
        let url: PeerUrl = ask.url.parse()?;
        let answer_max = ask.answer_max;
        let mut request = request(&url, ask)?;
        let (mut connection, response) = loop {
            let Some(mut kept) = self.take_idle(&url) else {
                let mut connection = self.open(&url).await?;
                let response = connection.send_request(request).await?;
                break (connection, response);
            };
            match kept.try_send_request(request).await {
                Ok(response) => break (kept, response),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        };
        let answer = collect(response, answer_max).await?;
        // Ready once the end of the answer has been seen; otherwise it is of no further use.
        if connection.ready().await.is_ok() {
            self.keep(url, connection);
        }
        Ok(answer)
    }

    fn take_idle(&self, url: &PeerUrl) -> Option<Connection> {
        let mut idle = self.idle.lock();
        let connections = idle.get_mut(url)?;
        connections.retain(|connection| !connection.is_closed());
        let taken = connections.pop();
        if taken.is_none() {
            idle.remove(url);
        }
        taken
    }

    fn keep(&self, url: PeerUrl, connection: Connection) {
        let mut idle = self.idle.lock();
        // Those to members that have gone or moved would otherwise stay for ever.
        idle.retain(|_, connections| {
            connections.retain(|connection| !connection.is_closed());
            !connections.is_empty()
        });
        let connections = idle.entry(url).or_default();
        if connections.len() < IDLE_MAX {
            connections.push(connection);
        }
    }

    async fn open(&self, url: &PeerUrl) -> Result<Connection, PeerError> {
        let io = self.dial.dial(url).await?;
        let (sender, connection) = http1::Builder::new().handshake(TokioIo::new(io)).await?;
        // How it ended is told by the request under way, if there is one.
        tokio::spawn(async move { connection.await.ok() });
        Ok(sender)
    }
}

fn request(url: &PeerUrl, ask: Ask<'_>) -> Result<Request<Full<Bytes>>, PeerError> {
    // A Unix socket has no host.
    let host = if url.scheme().is_unix() { "localhost" } else { url.authority() };
    let host = HeaderValue::from_str(host).map_err(http::Error::from)?;
    let mut request =
        Request::builder().method(ask.method).uri(ask.path).body(Full::new(ask.body))?;
    *request.headers_mut() = ask.headers;
    request.headers_mut().insert(header::HOST, host);
    Ok(request)
}

async fn collect(response: Response<Incoming>, max: usize) -> Result<Answer, PeerError> {
    let (head, mut rest) = response.into_parts();
    let mut body = BytesMut::new();
    while let Some(frame) = rest.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if body.len() + data.len() > max {
            return Err(PeerError::TooLong(max));
        }
        body.extend_from_slice(&data);
    }
    Ok(Answer { status: head.status, headers: head.headers, body: body.freeze() })
}

#[cfg(test)]
mod tests;
