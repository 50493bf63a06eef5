//! One HTTP/1.1 connection of a client, driven by the task that uses it: no second task, so that
//! bytes which arrive wake their reader directly.

use std::{future::Future, io, pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, header};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, Connection, SendRequest},
};
use hyper_util::rt::TokioIo;

use crate::{config::Config, dial::BoxIo, io::WriteDeadline, url::PeerUrl};

/// The body of a request.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, io::Error>;

/// The largest body that is read of an answer which is not a stream.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// An open connection. Between requests nobody looks at it.
pub(crate) struct Exchange {
    sender: SendRequest<RequestBody>,
    connection: Option<Driven>,
}

/// The half of a connection that reads and writes.
type Driven = Pin<Box<Connection<TokioIo<WriteDeadline<BoxIo>>, RequestBody>>>;

/// The connection broke or the peer does not speak HTTP.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{}", describe(.0))]
    Http(#[from] hyper::Error),
    #[error("{0}: i/o timeout")]
    TimedOut(&'static str),
}

/// An HTTP error with what caused it: hyper's own text names only the kind.
fn describe(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Waits no longer than `limit`; `what` says for what in the error.
pub(crate) async fn within<T, E: Into<ExchangeError>>(
    limit: Duration,
    what: &'static str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, ExchangeError> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(ExchangeError::TimedOut(what)),
    }
}

impl Exchange {
    /// Connects to `url`.
    pub(crate) async fn open(config: &Config, url: &PeerUrl) -> Result<Exchange, ExchangeError> {
        Exchange::open_patient(config, url, config.timing.stalled).await
    }

    /// Connects to `url`; a write may wait for `stalled`.
    pub(crate) async fn open_patient(
        config: &Config,
        url: &PeerUrl,
        stalled: Duration,
    ) -> Result<Exchange, ExchangeError> {
        let io = config.dial.dial(url).await?;
        let io = TokioIo::new(WriteDeadline::new(io, stalled));
        let (sender, connection) = http1::Builder::new().handshake(io).await?;
        Ok(Exchange { sender, connection: Some(Box::pin(connection)) })
    }

    /// Sends `request` and waits for the head of the answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, ExchangeError> {
        let mut answer = std::pin::pin!(self.sender.send_request(request));
        loop {
            tokio::select! {
                biased;
                answered = &mut answer => return Ok(answered?),
                () = drive(&mut self.connection), if self.connection.is_some() => {}
            }
        }
    }

    /// The next bytes of a body; `None` at its end.
    pub(crate) async fn chunk(
        &mut self,
        body: &mut Incoming,
    ) -> Option<Result<Bytes, ExchangeError>> {
        loop {
            let frame = tokio::select! {
                biased;
                () = drive(&mut self.connection), if self.connection.is_some() => continue,
                frame = body.frame() => frame?,
            };
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(bytes)) => return Some(Ok(bytes)),
                Ok(Err(_trailers)) => {}
                Err(error) => return Some(Err(error.into())),
            }
        }
    }

    /// The whole body of an answer, cut off where it is too long to be one of a member.
    pub(crate) async fn collect(&mut self, mut body: Incoming) -> Result<Bytes, ExchangeError> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.chunk(&mut body).await {
            let chunk = chunk?;
            if all.len() + chunk.len() > ANSWER_BYTES_MAX {
                let reason = "the answer of a peer is too long";
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason).into());
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    /// True when the connection can take another request, as far as one can tell without asking.
    pub(crate) fn is_reusable(&self) -> bool {
        self.connection.is_some() && !self.sender.is_closed()
    }
}

/// Reads and writes until the connection ends. Why it ended is told by the request under way.
async fn drive(connection: &mut Option<Driven>) {
    if let Some(open) = connection {
        let _told_by_the_request = open.as_mut().await;
        *connection = None;
    }
}

/// A request to `url` with the path and body given.
pub(crate) fn request(
    method: http::Method,
    url: &PeerUrl,
    path: &str,
    body: RequestBody,
) -> Result<Request<RequestBody>, ExchangeError> {
    // A Unix socket has no host; Go sends its path, which is no valid header.
    let host = if url.scheme().is_unix() { "localhost" } else { url.authority() };
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host)
        .body(body)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error).into())
}

/// A body without bytes.
pub(crate) fn no_body() -> RequestBody {
    http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body of known bytes.
pub(crate) fn full_body(bytes: Bytes) -> RequestBody {
    http_body_util::Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}
