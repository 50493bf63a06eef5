//! One connection to the server and unary calls on it.

use crate::grpc::{
    frame::Decoder,
    method::{Heads, Method},
    socket::Socket,
    status::{self, Failure},
    target::Target,
};
use anyhow::{Context as _, Result};
use bytes::Bytes;
use h2::{
    RecvStream,
    client::{ResponseFuture, SendRequest},
};
use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::timeout;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Receive window of a stream: the largest answer that needs no window update on its way.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Receive window of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 64 * 1024 * 1024;

/// What becomes of the answer's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Its bytes are counted and dropped.
    Nothing,
    /// It is handed to the caller.
    Message,
}

/// The answer of a unary call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Bytes of the body, framing included.
    pub(crate) bytes: usize,
    /// The message; empty with [`Keep::Nothing`].
    pub(crate) message: Bytes,
}

/// A handle to one connection; clones share it. The connection closes with its last handle.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    sender: SendRequest<Bytes>,
    heads: Rc<Heads>,
}

impl Channel {
    /// Connects to a member. Must be called within a `LocalSet`.
    pub(crate) async fn connect(target: &Target) -> Result<Self> {
        let (endpoint, scheme) = (&target.endpoint, target.scheme());
        let authority = &endpoint.authority;
        let name = if endpoint.tls { "https" } else { "http" };
        let heads = Heads::new(name, authority, target.token.as_ref())
            .with_context(|| format!("endpoint {authority:?}"))?;
        let connected = target.connector.connect(scheme, &endpoint.host, endpoint.port);
        let stream = timeout(CONNECT_TIMEOUT, connected)
            .await
            .with_context(|| format!("connect to {authority} within {CONNECT_TIMEOUT:?}"))?
            .with_context(|| format!("connect to {authority}"))?;
        let (socket, outgoing) = Socket::new(stream);
        // The preface that h2 wrote waits in the buffer until the task below flushes it.
        let (sender, mut connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake::<_, Bytes>(socket)
            .await
            .context("start HTTP/2")?;
        tokio::task::spawn_local(poll_fn(move |cx: &mut Context<'_>| {
            let done = Pin::new(&mut connection).poll(cx);
            // An error is seen by the calls: dropping the connection fails them.
            match outgoing.borrow_mut().poll_flush(cx) {
                Poll::Ready(Err(_)) => Poll::Ready(()),
                _ => done.map(|_closed| ()),
            }
        }));
        Ok(Self { sender, heads: Rc::new(heads) })
    }

    /// Calls `method` with one framed message and waits for answer and status.
    pub(crate) async fn unary(
        &mut self,
        method: Method,
        framed: Bytes,
        keep: Keep,
    ) -> Result<Answer, Failure> {
        poll_fn(|cx| self.sender.poll_ready(cx)).await?;
        let (response, mut body) = self.sender.send_request(self.heads.of(method), false)?;
        body.send_data(framed, true)?;
        read_answer(response, keep).await
    }

    /// Opens a call of `method` whose messages are yet to be sent.
    pub(crate) async fn open(
        &mut self,
        method: Method,
    ) -> Result<(h2::SendStream<Bytes>, ResponseFuture), Failure> {
        poll_fn(|cx| self.sender.poll_ready(cx)).await?;
        let (response, body) = self.sender.send_request(self.heads.of(method), false)?;
        Ok((body, response))
    }
}

/// Checks the head of an answer. `Some(body)` unless it says all: then the call failed or, against
/// the protocol, ended well without a message.
pub(crate) fn body_of(response: http::Response<RecvStream>) -> Result<RecvStream, Failure> {
    let (head, body) = response.into_parts();
    if head.status != http::StatusCode::OK {
        return Err(Failure::Transport(format!("HTTP status {}", head.status)));
    }
    match status::of_headers(&head.headers) {
        Some(Err(failure)) => Err(failure),
        Some(Ok(())) | None => Ok(body),
    }
}

async fn read_answer(response: ResponseFuture, keep: Keep) -> Result<Answer, Failure> {
    let mut body = body_of(response.await?)?;
    let mut answer = Answer { bytes: 0, message: Bytes::new() };
    let mut decoder = Decoder::default();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        answer.bytes += chunk.len();
        body.flow_control().release_capacity(chunk.len())?;
        if keep == Keep::Message {
            decoder.push(chunk);
        }
    }
    let trailers = body.trailers().await?;
    match trailers.as_ref().and_then(status::of_headers) {
        Some(outcome) => outcome?,
        None => return Err(Failure::Transport("answer without grpc-status".into())),
    }
    if keep == Keep::Message {
        answer.message =
            decoder.next()?.ok_or_else(|| Failure::Transport("answer without a message".into()))?;
        decoder.finish()?;
    }
    Ok(answer)
}
