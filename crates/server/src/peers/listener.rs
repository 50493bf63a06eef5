//! The listener on which other members reach this one.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use tls::Acceptor;
use tokio::task::JoinSet;
use transport::Served;

use crate::{handle::Handle, listen::Listener};

/// How long connections may finish their requests once the member stops.
const DRAIN: Duration = Duration::from_secs(1);
/// Connections that may be open at a time.
const CONNECTIONS_MAX: usize = 4096;
/// How long a connection may take until its first request can be read: a member speaks at once, and
/// the time for a TLS handshake lies within it. Who says nothing must not keep a place.
const ARRIVAL: Duration = Duration::from_secs(30);

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Serves other members until the member stops, and its peers have been stopped.
pub(crate) async fn serve(
    listener: Listener,
    acceptor: Acceptor,
    handle: Handle,
    stalled: Duration,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => accepted,
            () = handle.progress.wait_peers_stopping() => break,
            Some(_) = connections.join_next() => continue,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a peer connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        connections.spawn(serve_connection(stream, acceptor.clone(), handle.clone(), stalled));
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _cut_off = tokio::time::timeout(DRAIN, drained).await;
}

async fn serve_connection(
    stream: tls::Socket,
    acceptor: Acceptor,
    handle: Handle,
    stalled: Duration,
) {
    let remote = stream.remote_address();
    let stream = match accept_within(ARRIVAL, &acceptor, stream).await {
        Some(Ok((stream, _))) => stream,
        Some(Err(error)) => return crate::security::log_refusal("peer", remote, &error),
        None => return tracing::debug!(?remote, "peer connection without a request"),
    };
    let stopping = handle.clone();
    let answer = |request| {
        let handle = handle.clone();
        async move { route(&handle, request).await }
    };
    let shutdown = async move { stopping.progress.wait_peers_stopping().await };
    if let Err(error) = transport::serve_connection(stream, stalled, answer, shutdown).await {
        tracing::debug!(%error, "peer connection ended");
    }
}

/// `None` when the other side takes too long: it may be silent for ever where TLS is not asked for.
async fn accept_within(
    limit: Duration,
    acceptor: &Acceptor,
    socket: tls::Socket,
) -> Option<Result<(tls::Stream, tls::PeerIdentity), tls::Error>> {
    tokio::time::timeout(limit, acceptor.accept(socket)).await.ok()
}

/// Raft's routes are the transport's; all others are about the cluster.
async fn route(handle: &Handle, request: Request<Incoming>) -> Response<Body> {
    let Some(transport) = handle.network.transport() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "server stopped\n");
    };
    match transport.serve(request).await {
        Served::Answer(response) => response.map(boxed),
        Served::NotMine(request) => crate::peer_http::route(handle, request).await.map(boxed),
    }
}

fn boxed<B>(body: B) -> Body
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    body.map_err(std::io::Error::other).boxed_unsync()
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(boxed(Full::new(Bytes::from_static(text.as_bytes()))));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncWriteExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[tokio::test]
    async fn who_says_nothing_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _silent = TcpStream::connect(address).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let limit = Duration::from_millis(20);
        assert!(accept_within(limit, &Acceptor::plain(), socket.into()).await.is_none());
        let mut speaking = TcpStream::connect(address).await.unwrap();
        speaking.write_all(b"GET").await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let accepted = accept_within(ARRIVAL, &Acceptor::plain(), socket.into()).await;
        assert!(accepted.unwrap().is_ok());
    }
}
