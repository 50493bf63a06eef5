//! The busiest unary methods, answered without gRPC's general layers: one message in, one out, both
//! whole.
//!
//! What is unusual about a call (compression, a message that is too large, broken or one of several)
//! goes the general way, which has the words for it; nothing has been done about the call until then.
//!
//! Invariant: services, checks, their order, metrics, spans and errors are those of the general way.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use h2::{RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Response, header, request::Parts};
use prost::Message;
use tonic::{Request, Status, metadata::MetadataMap};

use super::{
    super::{
        Router, Surface,
        answer::{Answer, PREFIX_BYTES, Service},
        payload::Payload,
        pieces::{Outgoing, Pieces},
    },
    exchange::{Received, has_room},
};

/// A client that takes nothing of a long answer for this long keeps no other answer waiting.
const STALL: Duration = Duration::from_millis(50);

/// The methods that are answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Range,
    Put,
    DeleteRange,
    Txn,
}

impl Method {
    const ALL: [Method; 4] = [Method::Range, Method::Put, Method::DeleteRange, Method::Txn];

    fn path(self) -> &'static str {
        match self {
            Method::Range => "/etcdserverpb.KV/Range",
            Method::Put => "/etcdserverpb.KV/Put",
            Method::DeleteRange => "/etcdserverpb.KV/DeleteRange",
            Method::Txn => "/etcdserverpb.KV/Txn",
        }
    }
}

/// The method that a request calls, if it is answered here.
pub(super) fn method(router: &Router, head: &Parts) -> Option<Method> {
    if !matches!(router.surface, Surface::Client | Surface::Grpc) {
        return None;
    }
    let path = head.uri.path();
    let method = Method::ALL.into_iter().find(|method| method.path() == path)?;
    let kind = head.headers.get(header::CONTENT_TYPE)?.as_bytes();
    let plain = kind == b"application/grpc" || kind == b"application/grpc+proto";
    let usual = plain && head.method == http::Method::POST;
    (usual && router.handle.progress.is_ready()).then_some(method)
}

/// A call whose message is being received.
pub(super) struct Call {
    method: Method,
    head: Parts,
    stream: RecvStream,
    respond: SendResponse<Payload>,
    data: Bytes,
    /// Pieces of a message that came in several; `data` is empty then.
    pieces: BytesMut,
    gone: bool,
}

/// What becomes of a call.
pub(super) enum Next {
    /// Nothing: its client has gone.
    Gone,
    /// It is answered by this, maybe as soon as it is asked.
    AtOnce(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// It is answered by this, later.
    Work(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// It goes the general way.
    Other(Box<Parts>, Received, SendResponse<Payload>),
}

impl Call {
    pub(super) fn new(
        method: Method,
        head: Parts,
        stream: RecvStream,
        respond: SendResponse<Payload>,
    ) -> Call {
        let (data, pieces) = (Bytes::new(), BytesMut::new());
        Call { method, head, stream, respond, data, pieces, gone: false }
    }

    /// Takes what has come; whether there is nothing more to wait for. No waker is left behind: who
    /// calls this does so whenever the connection has received something.
    pub(super) fn is_whole(&mut self, receive_max: usize) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            if self.data.len().max(self.pieces.len()) > receive_max + PREFIX_BYTES {
                return true;
            }
            match self.stream.poll_data(&mut cx) {
                Poll::Pending => return false,
                Poll::Ready(None) => return true,
                Poll::Ready(Some(Err(_))) => {
                    self.gone = true;
                    return true;
                }
                Poll::Ready(Some(Ok(data))) => {
                    let _over = self.stream.flow_control().release_capacity(data.len());
                    self.add(data);
                }
            }
        }
    }

    fn add(&mut self, data: Bytes) {
        if self.data.is_empty() && self.pieces.is_empty() {
            self.data = data;
            return;
        }
        self.pieces.extend_from_slice(&std::mem::take(&mut self.data));
        self.pieces.extend_from_slice(&data);
    }

    /// Whether its client says how long it may take.
    pub(super) fn is_timed(&self) -> bool {
        self.head.headers.contains_key("grpc-timeout")
    }

    /// The call for the general way, with what has come of its message.
    pub(super) fn into_parts(mut self) -> (Parts, Received, SendResponse<Payload>) {
        let data = self.take_data();
        (self.head, Received::new(data, self.stream), self.respond)
    }

    fn take_data(&mut self) -> Bytes {
        let data = std::mem::take(&mut self.data);
        if data.is_empty() { std::mem::take(&mut self.pieces).freeze() } else { data }
    }

    /// Answers a call that is whole.
    pub(super) fn answer(mut self, router: &Router) -> Next {
        if self.gone {
            return Next::Gone;
        }
        self.data = self.take_data();
        match self.method {
            Method::Range => self.call(router, |kv, request| Box::pin(kv.range_now(request))),
            Method::Put => self.call(router, |kv, request| Box::pin(kv.put_now(request))),
            Method::DeleteRange => {
                self.call(router, |kv, request| Box::pin(kv.delete_now(request)))
            }
            Method::Txn => self.call(router, |kv, request| Box::pin(kv.txn_now(request))),
        }
    }

    fn call<Q, A>(self, router: &Router, service: Service<Q, A>) -> Next
    where
        Q: Message + Default + Send + 'static,
        A: Outgoing + Send + 'static,
    {
        let Call { method, head, stream, mut respond, data, .. } = self;
        let whole = message(&data, router.grpc.receive_max());
        let Some(message) = whole.and_then(|message| Q::decode(message).ok()) else {
            return Next::Other(Box::new(head), Received::new(data, stream), respond);
        };
        let bytes = data.len() - PREFIX_BYTES;
        let (grpc, ends, path) = (router.grpc.clone(), router.ends, method.path());
        let metadata = MetadataMap::from_headers(head.headers);
        let request = Request::from_parts(metadata, head.extensions, message);
        // A write surely waits; a read may be answered at once.
        let at_once = method == Method::Range;
        let work = grpc.unary(path, ends, request, bytes, service);
        let answered = Box::pin(tokio::task::unconstrained(async move {
            let mut work = pin!(work);
            let wanted = poll_fn(|cx| match work.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                // The client has lost interest: that drops the work.
                Poll::Pending if respond.poll_reset(cx).is_ready() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            if let Some(answer) = wanted.await {
                // Fails only when the client has gone.
                let _gone = send(&mut respond, answer).await;
            }
        }));
        if at_once { Next::AtOnce(answered) } else { Next::Work(answered) }
    }
}

/// Sends the head of an answer with a message.
fn begin(
    respond: &mut SendResponse<Payload>,
    mut headers: HeaderMap,
) -> Result<SendStream<Payload>, h2::Error> {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let mut head = Response::new(());
    *head.headers_mut() = headers;
    respond.send_response(head, false)
}

/// Sends the end of such an answer.
fn end(mut stream: SendStream<Payload>) -> Result<(), h2::Error> {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}

/// The one plain message that `data` is, if that is what it is.
fn message(data: &Bytes, max: usize) -> Option<Bytes> {
    let (prefix, message) = data.split_first_chunk::<PREFIX_BYTES>()?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    let plain = prefix[0] == 0 && length == message.len() && length <= max;
    plain.then(|| data.slice(PREFIX_BYTES..))
}

/// Waits as [`has_room`] does; others that wait for this answer to go out are told if it takes long.
async fn has_room_in_time(
    stream: &mut SendStream<Payload>,
    bytes: usize,
    pieces: &mut Pieces,
) -> bool {
    let mut room = pin!(has_room(stream, bytes));
    if pieces.is_waited_for() {
        match tokio::time::timeout(STALL, room.as_mut()).await {
            Ok(has_room) => return has_room,
            Err(_) => pieces.stalled(),
        }
    }
    room.await
}

async fn send(respond: &mut SendResponse<Payload>, answer: Answer) -> Result<(), h2::Error> {
    match answer {
        Answer::Message(framed, headers) => {
            let mut stream = begin(respond, headers)?;
            stream.send_data(framed.into(), false)?;
            end(stream)
        }
        Answer::Long(mut pieces, headers) => {
            let mut stream = begin(respond, headers)?;
            while let Some(piece) = pieces.next() {
                if !has_room_in_time(&mut stream, piece.remaining(), &mut pieces).await {
                    return Ok(());
                }
                stream.send_data(piece, false)?;
            }
            end(stream)
        }
        Answer::Failure(status) => {
            let (head, _empty) = status.into_http::<()>().into_parts();
            respond.send_response(Response::from_parts(head, ()), true).map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_plain_message_is_taken_and_nothing_else() {
        let of = |bytes: &'static [u8]| message(&Bytes::from_static(bytes), 3);
        assert_eq!(of(b"\0\0\0\0\x02ab").unwrap(), "ab");
        assert_eq!(of(b"\0\0\0\0\0").unwrap(), "");
        for other in [
            &b""[..],
            b"\0\0\0",
            b"\x01\0\0\0\x02ab",
            b"\0\0\0\0\x02a",
            b"\0\0\0\0\x02abc",
            b"\0\0\0\0\x01a\0\0\0\0\x01b",
            b"\0\0\0\0\x04abcd",
        ] {
            assert_eq!(of(other), None, "{other:?}");
        }
    }
}
