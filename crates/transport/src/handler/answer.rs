//! Answers as Go's `net/http` writes them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use api::ids::ClusterId;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use hyper::body::{Frame, SizeHint};

use crate::{headers, outbox::StreamBody};

/// An answer of the peer surface.
pub(crate) type Response = http::Response<Body>;

/// The body of an answer: a text, or a stream that ends with its connection.
pub struct Body(Kind);

enum Kind {
    Full(Bytes),
    Stream(Box<StreamBody>),
}

impl Body {
    /// A body of known bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Body {
        Body(Kind::Full(bytes.into()))
    }

    pub(super) fn stream(stream: StreamBody) -> Body {
        Body(Kind::Stream(Box::new(stream)))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Kind::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Stream(stream) => Pin::new(&mut **stream).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Kind::Full(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}

/// An error as Go's `http.Error` writes it.
pub(super) fn text(status: StatusCode, reason: &str) -> Response {
    let mut response = Response::new(Body::full(format!("{reason}\n")));
    *response.status_mut() = status;
    content_type(&mut response, "text/plain; charset=utf-8");
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// The answer to a message that the member does not take; the connection is closed after it.
///
/// etcd means to answer 403 to removed members here, on which a sender stops itself. It never does
/// (its error type misses the interface that it is asked for by one result), and the same answer
/// would go to a member that has an old id for this one; so it stays at what members really see.
pub(super) fn processing_failed(reason: &str) -> Response {
    let mut response = text(StatusCode::INTERNAL_SERVER_ERROR, reason);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// An answer without a body.
pub(super) fn no_content() -> Response {
    let mut response = Response::new(Body::full(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

pub(super) fn content_type(response: &mut Response, value: &'static str) {
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
}

/// Adds the cluster, which every answer behind the check of the method names.
pub(super) fn of_cluster(mut response: Response, cluster: ClusterId) -> Response {
    response.headers_mut().insert(headers::CLUSTER_ID, headers::id_value(cluster.0));
    response
}
