//! The two sides of a call made within the process: JSON values from a request's body as gRPC
//! messages, and the messages of the answer.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::Response;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use protojson::{Method, Splitter};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{Code, Status, body::Body};

/// Length of what stands before a message: a flag and the length.
const PREFIX: usize = 5;

/// A task that ends when nobody wants its work any more.
pub(super) struct Feeding(JoinHandle<()>);

impl Drop for Feeding {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("requests are far smaller than 4 GiB");
    let mut frame = BytesMut::with_capacity(PREFIX + message.len());
    frame.put_u8(0);
    frame.put_u32(length);
    frame.extend_from_slice(message);
    frame.freeze()
}

/// JSON values of a body, at most `limit` bytes each.
struct Values {
    body: Body,
    splitter: Splitter,
    limit: usize,
}

impl Values {
    fn new(body: Body, limit: usize) -> Values {
        Values { body, splitter: Splitter::default(), limit }
    }

    /// The next value; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        let broken = |error: protojson::Error| Status::invalid_argument(error.to_string());
        loop {
            if let Some(value) = self.splitter.next_value().map_err(broken)? {
                return Ok(Some(value));
            }
            let pending = self.splitter.pending();
            if pending > self.limit {
                let limit = self.limit;
                let text =
                    format!("grpc: received message larger than max ({pending} vs. {limit})");
                return Err(Status::resource_exhausted(text));
            }
            match self.body.frame().await {
                None => return self.splitter.finish().map_err(broken),
                Some(Err(error)) => return Err(Status::invalid_argument(error.to_string())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.splitter.push(&data);
                    }
                }
            }
        }
    }
}

fn decoded(method: &Method, value: &[u8]) -> Result<Bytes, Status> {
    let message = protojson::decode(method.input, value);
    let message = message.map_err(|error| Status::invalid_argument(error.to_string()))?;
    Ok(framed(&message))
}

/// The body of a call with one request: the first value, or an empty message without any.
pub(super) async fn single(method: &Method, body: Body, limit: usize) -> Result<Body, Status> {
    let frame = match Values::new(body, limit).next().await? {
        Some(value) => decoded(method, &value)?,
        None => framed(&[]),
    };
    Ok(Body::new(Full::new(frame)))
}

/// The body of a call with a stream of requests: every value while it is JSON. What is not ends the
/// requests and nothing else, as in etcd.
pub(super) fn stream(method: &'static Method, body: Body, limit: usize) -> (Body, Feeding) {
    let (frames, requests) = mpsc::channel::<Bytes>(1);
    let feeding = tokio::spawn(async move {
        let mut values = Values::new(body, limit);
        loop {
            let frame = match values.next().await {
                Ok(Some(value)) => decoded(method, &value),
                Ok(None) => return,
                Err(status) => Err(status),
            };
            match frame {
                Ok(frame) => {
                    if frames.send(frame).await.is_err() {
                        return;
                    }
                }
                Err(status) => {
                    tracing::debug!(error = status.message(), "failed to decode a request");
                    return;
                }
            }
        }
    });
    let requests = ReceiverStream::new(requests).map(|data| Ok::<_, Status>(Frame::data(data)));
    (Body::new(StreamBody::new(requests)), Feeding(feeding))
}

/// The messages of a gRPC answer.
pub(super) struct Answers {
    body: Body,
    buffer: BytesMut,
    /// What the headers already said, when there is no body.
    status: Option<Status>,
}

impl Answers {
    pub(super) fn new(response: Response<Body>) -> Answers {
        let (parts, body) = response.into_parts();
        let status = Status::from_header_map(&parts.headers);
        Answers { body, buffer: BytesMut::new(), status }
    }

    /// The next message; `None` at a good end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        if let Some(status) = &self.status {
            return ended(status.clone());
        }
        loop {
            if let Some(message) = self.take() {
                return Ok(Some(message));
            }
            let frame = match self.body.frame().await {
                Some(frame) => frame?,
                None => return Err(Status::internal("the answer has no end")),
            };
            match frame.into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    let status = Status::from_header_map(&trailers);
                    let status = status.unwrap_or_else(|| Status::unknown(""));
                    self.status = Some(status.clone());
                    return ended(status);
                }
            }
        }
    }

    /// A whole message of the buffer. The process does not compress messages to itself.
    fn take(&mut self) -> Option<Bytes> {
        let prefix = self.buffer.get(..PREFIX)?;
        let length = u32::from_be_bytes(prefix[1..].try_into().expect("four bytes")) as usize;
        if self.buffer.len() - PREFIX < length {
            return None;
        }
        self.buffer.advance(PREFIX);
        Some(self.buffer.split_to(length).freeze())
    }
}

fn ended(status: Status) -> Result<Option<Bytes>, Status> {
    match status.code() {
        Code::Ok => Ok(None),
        _ => Err(status),
    }
}
