//! Connections of HTTP/2, gRPC's above all: one task each, on the thread that owns the connection.
//!
//! The task reads what came, answers at once what can be answered at once, drives everything else that
//! is under way on the connection, and hands all answers to the kernel together. A request has no task
//! of its own and does not leave its thread, unless its service says so.
//!
//! Invariants: a request whose stream was reset is dropped; nothing but the library's own limits bounds
//! what is under way (`--max-concurrent-streams`); after a stop no new request is taken, and the task
//! ends with the last one under way.

mod exchange;
mod frames;
mod keep_alive;
mod ping_limit;
mod socket;
mod unary;

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream as _;
use futures_util::stream::FuturesUnordered;
use h2::{RecvStream, server::SendResponse};
use http::{Extensions, Request, request::Parts};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{HttpSettings, Router, body::Incoming, payload::Payload};
use crate::cores;
pub(crate) use exchange::Received;
use keep_alive::KeepAlive;
use ping_limit::PingLimit;
use socket::{Outgoing, Socket};
use unary::Call;

/// Window of received bytes per stream and connection: the largest request fits without a stall.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Bytes of the headers of one request.
const HEADERS_MAX_BYTES: u32 = 16 * 1024;
/// Bytes that may wait to be sent on a stream before its service is asked for no more.
const SEND_MAX_BYTES: usize = 400 * 1024;
/// Streams that may be reset for a client's mistakes before its connection is.
const RESETS_MAX: usize = 1024;
/// Unary calls whose message has not come as a whole; further ones go the general way. They are all
/// looked at whenever something comes.
const CALLS_MAX: usize = 2 * TURN;
/// Requests that are taken before other connections have their turn.
const TURN: usize = 256;
/// How long a client that is sent away may take to go.
const FAREWELL: Duration = Duration::from_secs(1);

/// What goes on beside reading: answers that are not ready yet, and streams.
type Work = FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>>;

/// Why a connection ended early.
#[derive(Debug)]
pub(super) enum Broken {
    Protocol(h2::Error),
    Socket(io::Error),
    Silent,
    TooManyPings,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Broken::Protocol(error) => error.fmt(f),
            Broken::Socket(error) => error.fmt(f),
            Broken::Silent => f.write_str("the client does not answer pings"),
            Broken::TooManyPings => f.write_str("got too many pings from the client"),
        }
    }
}

/// Serves a connection whose client speaks HTTP/2. `known` goes with each of its requests; its pings
/// come at least `ping_min` apart, where there is such a limit.
pub(super) async fn serve<S>(
    stream: S,
    router: Router,
    known: Extensions,
    settings: &HttpSettings,
    ping_min: Option<Duration>,
) -> Result<(), Broken>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (socket, outgoing) = Outgoing::new(stream, ping_min.map(PingLimit::new));
    let ended = drive(socket, outgoing.clone(), router, known, settings).await;
    if let Err(Broken::TooManyPings) = ended {
        outgoing.lock().say_too_many_pings();
        let leave = poll_fn(|cx| outgoing.lock().poll_leave(cx));
        // What the client makes of it is its own affair.
        let _gone = tokio::time::timeout(FAREWELL, leave).await;
    }
    ended
}

async fn drive<S>(
    socket: Socket<S>,
    outgoing: Arc<Mutex<Outgoing<S>>>,
    router: Router,
    known: Extensions,
    settings: &HttpSettings,
) -> Result<(), Broken>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let builder = builder(settings);
    let mut library = builder.handshake(socket).await.map_err(Broken::Protocol)?;
    let keep_alive = settings.ping_interval.and_then(|interval| {
        let pings = library.ping_pong()?;
        Some(KeepAlive::new(pings, interval, settings.ping_timeout))
    });
    let handle = router.handle.clone();
    let connection = Connection {
        library,
        outgoing,
        router,
        known,
        calls: Vec::new(),
        work: Work::new(),
        has_new: false,
        keep_alive,
        stopping: Some(Box::pin(async move { handle.progress.wait_stopping().await })),
    };
    connection.await
}

fn builder(settings: &HttpSettings) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_concurrent_streams(settings.concurrent_streams_max)
        .max_header_list_size(HEADERS_MAX_BYTES)
        .max_send_buffer_size(SEND_MAX_BYTES)
        .max_local_error_reset_streams(Some(RESETS_MAX));
    builder
}

struct Connection<S> {
    library: h2::server::Connection<Socket<S>, Payload>,
    outgoing: Arc<Mutex<Outgoing<S>>>,
    router: Router,
    /// What is known of the client: its certificate's name, that the connection is encrypted.
    known: Extensions,
    /// Unary calls whose message has not come as a whole.
    calls: Vec<Call>,
    work: Work,
    /// A visit has taken requests, which nobody has begun.
    has_new: bool,
    keep_alive: Option<KeepAlive>,
    /// `None` once the client has been told that the member stops.
    stopping: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Future for Connection<S> {
    type Output = Result<(), Broken>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let this = &mut *self;
        if let Some(stopping) = &mut this.stopping
            && stopping.as_mut().poll(cx).is_ready()
        {
            this.stopping = None;
            this.library.graceful_shutdown();
        }
        let is_visit = cores::is_visit();
        if is_visit && !this.has_new {
            this.poll_work(cx);
        }
        let ended = this.poll_requests(is_visit, cx);
        if let Some(keep_alive) = &mut this.keep_alive {
            let heard = this.outgoing.lock().take_heard();
            if keep_alive.poll(heard, cx).is_err() {
                return Poll::Ready(Err(Broken::Silent));
            }
        }
        if !is_visit {
            // What these answer wakes the task again; only then the library has its frames.
            this.poll_work(cx);
        }
        let has_calls = !(this.calls.is_empty() && this.work.is_empty());
        let mut outgoing = this.outgoing.lock();
        if outgoing.pings_too_much(has_calls) {
            return Poll::Ready(Err(Broken::TooManyPings));
        }
        match (outgoing.poll_flush(cx), ended) {
            (Poll::Ready(Err(error)), _) => Poll::Ready(Err(Broken::Socket(error))),
            (_, Poll::Ready(ended)) => Poll::Ready(ended.map_err(Broken::Protocol)),
            (_, Poll::Pending) => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection<S> {
    /// Takes the requests that have come. Ready when the connection is over.
    /// In a visit they are left for the connection's own thread.
    fn poll_requests(
        &mut self,
        is_visit: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), h2::Error>> {
        self.has_new &= is_visit;
        let mut read_all = false;
        for _ in 0..TURN {
            match self.library.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.begin(request, respond);
                    self.has_new |= is_visit;
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    read_all = true;
                    break;
                }
            }
        }
        // A call that has been waiting for its message may have been sent that, too.
        self.has_new |= is_visit && !self.calls.is_empty();
        if self.has_new || !read_all {
            cx.waker().wake_by_ref();
        }
        if !is_visit {
            self.take_messages(read_all, cx);
        }
        Poll::Pending
    }

    /// Asks what is under way for its answers.
    fn poll_work(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(())) = Pin::new(&mut self.work).poll_next(cx) {}
    }

    fn begin(&mut self, request: Request<RecvStream>, respond: SendResponse<Payload>) {
        let (mut head, stream) = request.into_parts();
        if !self.known.is_empty() {
            head.extensions.extend(self.known.clone());
        }
        match unary::method(&self.router, &head) {
            Some(method) if self.calls.len() < CALLS_MAX => {
                self.calls.push(Call::new(method, head, stream, respond));
            }
            _ => self.serve(head, Received::new(Bytes::new(), stream), respond),
        }
    }

    /// Looks whether the messages of unary calls are whole. `read_all`: the library has read all that
    /// there is. A call with a deadline that has to wait for more does so the general way, which has
    /// a timer for it.
    fn take_messages(&mut self, read_all: bool, cx: &mut Context<'_>) {
        let mut at = 0;
        while at < self.calls.len() {
            if !self.calls[at].is_whole(self.router.grpc.receive_max()) {
                if read_all && self.calls[at].is_timed() {
                    let (head, body, respond) = self.calls.swap_remove(at).into_parts();
                    self.serve(head, body, respond);
                } else {
                    at += 1;
                }
                continue;
            }
            match self.calls.swap_remove(at).answer(&self.router) {
                unary::Next::Gone => {}
                unary::Next::Work(work) => self.work.push(work),
                unary::Next::AtOnce(mut work) => {
                    if work.as_mut().poll(cx).is_pending() {
                        self.work.push(work);
                    }
                }
                unary::Next::Other(head, body, respond) => self.serve(*head, body, respond),
            }
        }
    }

    /// Serves a request the general way.
    fn serve(&mut self, head: Parts, body: Received, mut respond: SendResponse<Payload>) {
        let router = self.router.clone();
        let request = Request::from_parts(head, Incoming::Http2(body));
        self.work.push(Box::pin(tokio::task::unconstrained(async move {
            let routed = exchange::while_wanted(&mut respond, router.route(request)).await;
            if let Some(response) = routed {
                exchange::send(respond, response).await;
            }
        })));
    }
}
