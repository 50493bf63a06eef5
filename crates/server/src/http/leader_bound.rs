//! The stream of a client that asked for a member with a leader: it ends when there has been none
//! for three election timeouts (spec grpc.md section 3.1).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use api::error::Error;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use hyper::body::{Body as HttpBody, Frame};
use tonic::{Status, body::Body};

use crate::handle::Handle;

/// The body of a response until the leader is lost; then the error as its trailers.
pub(super) struct LeaderBound {
    /// `None` once the leader was lost.
    stream: Option<Body>,
    lost: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl LeaderBound {
    /// Bounds `stream` by the leaders that this member sees from now on.
    pub(super) fn new(handle: &Handle, stream: Body) -> LeaderBound {
        let mut leaderless = handle.signals.watch_leaderless();
        let lost = async move {
            // The sender lives as long as the member; without it streams end by themselves.
            if leaderless.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        LeaderBound { stream: Some(stream), lost: Box::pin(lost) }
    }
}

impl HttpBody for LeaderBound {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let LeaderBound { stream, lost } = &mut *self;
        let Some(body) = stream else { return Poll::Ready(None) };
        if lost.as_mut().poll(cx).is_ready() {
            *stream = None;
            return Poll::Ready(Some(Ok(Frame::trailers(no_leader()))));
        }
        Pin::new(body).poll_frame(cx)
    }
}

fn no_leader() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(Error::NoLeader.code() as i32));
    super::grpc::set_message(&mut trailers, Error::NoLeader.message());
    trailers
}
