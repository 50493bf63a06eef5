//! Requests and responses of HTTP/2 streams as those of the `http` crate.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, Response, header};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::body::Body;

use super::super::payload::Payload;

/// A frame of a stream this short is handed to the library without asking whether the client has room.
/// Asking wakes the one who asks, for nothing: the frame is on its way by then.
const SHORT_BYTES: usize = 1024;
/// So many bytes of a stream may be handed over without asking; then it is asked, and waited until the
/// client has taken all of them.
const UNASKED_MAX_BYTES: usize = 16 * 1024;

/// Headers of HTTP/1 connections, which HTTP/2 forbids.
const OF_CONNECTIONS: [&str; 3] = ["keep-alive", "proxy-connection", "upgrade"];

/// What a client sends on one stream.
pub(crate) struct Received {
    /// What was received before this was made.
    first: Option<Bytes>,
    stream: RecvStream,
    data_ended: bool,
}

impl Received {
    /// The body that begins with `first` and goes on in `stream`.
    pub(super) fn new(first: Bytes, stream: RecvStream) -> Received {
        let first = Some(first).filter(|first| !first.is_empty());
        Received { first, stream, data_ended: false }
    }
}

/// Whether a client that resets its stream so has just lost interest.
fn is_farewell(error: &h2::Error) -> bool {
    matches!(error.reason(), Some(Reason::NO_ERROR | Reason::CANCEL))
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Fails only when the stream is over.
                    let _over = self.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) if is_farewell(&error) => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.data_ended = true,
            }
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Ok(None) => Poll::Ready(None),
            Err(error) if is_farewell(&error) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Runs `work` until it is done or the client loses interest, which drops it.
pub(super) async fn while_wanted<T>(
    respond: &mut SendResponse<Payload>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = std::pin::pin!(work);
    poll_fn(|cx| {
        if respond.poll_reset(cx).is_ready() {
            return Poll::Ready(None);
        }
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Sends a whole response. A client that goes away ends it, which is no error.
pub(super) async fn send(mut respond: SendResponse<Payload>, response: Response<Body>) {
    // Any error says that the stream, or the connection, is over.
    let _over = try_send(&mut respond, response).await;
}

async fn try_send(
    respond: &mut SendResponse<Payload>,
    response: Response<Body>,
) -> Result<(), h2::Error> {
    let (mut head, mut body) = response.into_parts();
    strip(&mut head.headers);
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0)
        && !head.headers.contains_key(header::CONTENT_LENGTH)
    {
        head.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let ended = body.is_end_stream();
    let mut stream = respond.send_response(Response::from_parts(head, ()), ended)?;
    if ended {
        return Ok(());
    }
    let mut unasked = 0;
    loop {
        let next = poll_fn(|cx| match Pin::new(&mut body).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending if stream.poll_reset(cx).is_ready() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        match next.await {
            None => return Ok(()),
            Some(None) => return stream.send_data(Bytes::new().into(), true),
            Some(Some(Err(_))) => {
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
            Some(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    unasked += data.len();
                    if data.len() > SHORT_BYTES || unasked > UNASKED_MAX_BYTES {
                        if !has_room(&mut stream, data.len()).await {
                            return Ok(());
                        }
                        unasked = 0;
                    }
                    let last = body.is_end_stream();
                    stream.send_data(data.into(), last)?;
                    if last {
                        return Ok(());
                    }
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return stream.send_trailers(trailers);
                }
            },
        }
    }
}

/// Waits until the client takes some of `bytes` more; false when it takes nothing any more.
pub(super) async fn has_room(stream: &mut SendStream<Payload>, bytes: usize) -> bool {
    stream.reserve_capacity(bytes);
    poll_fn(|cx| {
        loop {
            if stream.capacity() > 0 {
                return Poll::Ready(true);
            }
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(false),
            }
        }
    })
    .await
}

fn strip(headers: &mut HeaderMap) {
    headers.remove(header::CONNECTION);
    headers.remove(header::TRANSFER_ENCODING);
    for name in OF_CONNECTIONS {
        headers.remove(name);
    }
}
