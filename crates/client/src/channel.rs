//! What tonic sends calls over: each request goes to a connection that the balancer picks; one
//! that never left goes to another. Failures become gRPC statuses here.

use std::{
    error::Error as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use tonic::{Code, Status, body::Body};
use tower_service::Service;

use crate::{balancer::Balancer, connect::cause};

/// The text of failures of which it is certain that the request was not processed.
pub(crate) const NOT_SENT: &str = "there is no connection available";

/// A handle on the balanced connections; cheap to clone.
#[derive(Clone)]
pub(crate) struct Channel {
    balancer: Arc<Balancer>,
}

impl Channel {
    /// A channel over the balancer's connections.
    pub(crate) fn new(balancer: Arc<Balancer>) -> Channel {
        Channel { balancer }
    }
}

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<ResponseBody>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    /// Always ready: a call waits for its connection inside its own future.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(send(self.balancer.clone(), request))
    }
}

async fn send(
    balancer: Arc<Balancer>,
    mut request: http::Request<Body>,
) -> Result<http::Response<ResponseBody>, Status> {
    loop {
        let mut connection = balancer.pick().await;
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = http::Uri::builder()
            .scheme(connection.scheme)
            .authority(connection.authority)
            .path_and_query(path.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/")))
            .build()
            .map_err(|error| Status::internal(error.to_string()))?;
        match connection.sender.try_send_request(request).await {
            Ok(response) => return Ok(response.map(ResponseBody)),
            Err(mut failure) => match failure.take_message() {
                // It never left: the connection was closing.
                Some(unsent) => {
                    request = unsent;
                    tokio::task::yield_now().await;
                }
                None => return Err(status(&failure.into_error())),
            },
        }
    }
}

/// The body of a response, whose failures are statuses.
pub(crate) struct ResponseBody(Incoming);

impl hyper::body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.0)
            .poll_frame(cx)
            .map(|frame| frame.map(|frame| frame.map_err(|error| status(&error))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// What a failed connection or a reset stream means: the codes of the gRPC specification for
/// HTTP/2 error codes, Unavailable for everything else.
fn status(error: &hyper::Error) -> Status {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(h2) = inner.downcast_ref::<h2::Error>() {
            return of_h2(h2);
        }
        source = inner.source();
    }
    Status::unavailable(format!("error reading from server: {}", cause(error)))
}

fn of_h2(error: &h2::Error) -> Status {
    let text = format!("error reading from server: {}", cause(error));
    if !error.is_reset() {
        return Status::unavailable(text);
    }
    if error.reason() == Some(h2::Reason::REFUSED_STREAM) && error.is_remote() {
        // The server says that nothing was processed (RFC 9113, section 8.7).
        return Status::unavailable(NOT_SENT);
    }
    let code = match error.reason() {
        Some(h2::Reason::CANCEL) => Code::Cancelled,
        Some(h2::Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
        Some(h2::Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
        _ => Code::Internal,
    };
    Status::new(code, text)
}
