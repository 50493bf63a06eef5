//! Serving one accepted connection of a peer listener: HTTP/1.1 with the deadlines of etcd's.

use std::{convert::Infallible, future::Future, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::io::WriteDeadline;

/// Serves requests on `stream` until the peer closes it, is idle or takes no bytes for `stalled`,
/// or `shutdown` completes; then requests under way are finished (streams end when the transport
/// is stopped).
pub async fn serve_connection<S, F, A, B>(
    stream: S,
    stalled: Duration,
    answer: F,
    shutdown: impl Future<Output = ()>,
) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Response<B>>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let io = TokioIo::new(WriteDeadline::new(stream, stalled));
    let service = service_fn(|request| {
        let answering = answer(request);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(stalled)
        .title_case_headers(true)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = shutdown => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}
