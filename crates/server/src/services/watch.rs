//! Watch: one stream carries many watchers (spec grpc.md section 5). Requests are judged here, the
//! watch thread does the rest; what it delivers and what is replied here share one queue.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use api::{
    error::Error,
    etcdserverpb::{WatchRequest, WatchResponse, watch_request::RequestUnion, watch_server::Watch},
    range::KeyRange,
};
use futures_core::Stream;
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status, Streaming};
use watch::{
    delivery::{Delivery, StreamId, WatcherKey},
    request::{Action, StreamState},
    response,
};

use super::Services;
use crate::{
    auth::Caller,
    driver::{
        WatchCommand,
        watch_loop::{Item, Outlet},
    },
    handle::Handle,
    status::Failure,
    telemetry::{self, Span},
};

/// Numbers streams; the numbers never leave the process.
static NEXT_STREAM: AtomicU64 = AtomicU64::new(1);

/// A stream of its own for each caller.
pub(super) fn next_stream() -> StreamId {
    StreamId(NEXT_STREAM.fetch_add(1, Ordering::Relaxed))
}

#[tonic::async_trait]
impl Watch for Services {
    type WatchStream = Responses;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Responses>, Status> {
        let stream = next_stream();
        let (outlet, items) = Outlet::new(self.0.limits.watch_stream_max);
        let (end, ended) = oneshot::channel();
        self.0.watch.push_always(WatchCommand::Open(stream, outlet.clone()));
        let (caller, requests) = Caller::split(request);
        let input = Input { caller, requests };
        let work = serve(self.0.clone(), stream, input, outlet.clone(), end);
        tokio::spawn(telemetry::within(telemetry::current(), work));
        Ok(Response::new(Responses {
            handle: self.0.clone(),
            stream,
            outlet,
            items,
            ended: Some(ended),
            fragments: VecDeque::new(),
        }))
    }
}

/// The client's side of a stream, and who the client is.
struct Input {
    caller: Caller,
    requests: Streaming<WatchRequest>,
}

/// Serves a stream until the client is gone or the member stops.
async fn serve(
    handle: Handle,
    stream: StreamId,
    input: Input,
    outlet: Arc<Outlet>,
    end: oneshot::Sender<Status>,
) {
    let status = tokio::select! {
        status = serve_requests(&handle, stream, input, &outlet) => status,
        () = outlet.closed() => return,
        () = handle.progress.wait_stopping() => Failure::from(Error::Stopped).into(),
    };
    let _gone = end.send(status);
}

/// Reads requests until one is broken. A client that only ends its side of the stream keeps its
/// watchers: this then never returns.
async fn serve_requests(
    handle: &Handle,
    stream: StreamId,
    input: Input,
    outlet: &Outlet,
) -> Status {
    let Input { caller, mut requests } = input;
    let mut state = StreamState::new();
    let mut spans = Spans::default();
    loop {
        match requests.message().await {
            Ok(Some(request)) => {
                let span = spans.begin(&request);
                // The stream's credentials are judged at each watcher that it creates; watchers that
                // are there stay when rights change, as in etcd.
                let creates = matches!(request.request_union, Some(RequestUnion::CreateRequest(_)));
                let who = match creates {
                    true => handle.identify(&caller).await,
                    false => Ok(None),
                };
                let revision = handle.shared.store.revision();
                let permit = |range: &KeyRange| {
                    let who = who.map_err(known)?.unwrap_or_default();
                    let judged = handle.shared.auth.read().check_read(&who, range);
                    judged.map_err(|refusal| known(refusal.into()))
                };
                for action in state.handle(request, revision, permit) {
                    spans.follow(&action, &span);
                    execute(handle, stream, action, outlet).await;
                }
            }
            Ok(None) => std::future::pending().await,
            Err(status) => {
                let failures = &handle.metrics.requests.stream_failures;
                failures.with_label_values(&["receive", "watch"]).inc();
                return status;
            }
        }
    }
}

/// The spans of watchers: each lasts until its watcher is cancelled, or the stream ends.
#[derive(Default)]
struct Spans(HashMap<i64, Span>);

impl Spans {
    /// Begins the span of a watcher that is asked for, if the stream is traced.
    fn begin(&self, request: &WatchRequest) -> Option<Span> {
        let Some(RequestUnion::CreateRequest(create)) = &request.request_union else {
            return None;
        };
        telemetry::child("watch", || telemetry::watcher(create))
    }

    fn follow(&mut self, action: &Action, span: &Option<Span>) {
        match (action, span) {
            (Action::Create { watch_id, .. }, Some(span)) => {
                self.0.insert(*watch_id, span.clone());
            }
            (Action::Cancel { watch_id }, _) => drop(self.0.remove(watch_id)),
            _ => {}
        }
    }
}

/// The refusals that clients of watches are told; everything else is a missing permission.
fn known(failure: Failure) -> Error {
    let told = [Error::InvalidAuthToken, Error::AuthOldRevision, Error::UserEmpty];
    let found = told.into_iter().find(|error| Failure::from(*error) == failure);
    found.unwrap_or(Error::PermissionDenied)
}

/// Carries out one step, to its end.
async fn execute(handle: &Handle, stream: StreamId, action: Action, outlet: &Outlet) {
    let (done, wait) = oneshot::channel();
    match action {
        Action::Reply(response) => {
            let _gone = outlet.reply(response).await;
            return;
        }
        Action::Create { watch_id, spec } => {
            let key = WatcherKey { stream, watch_id };
            handle.watch.push_always(WatchCommand::Create(key, Box::new(spec)));
            return;
        }
        Action::Cancel { watch_id } => {
            let key = WatcherKey { stream, watch_id };
            handle.watch.push_always(WatchCommand::Cancel(key, done));
        }
        Action::Progress => handle.watch.push_always(WatchCommand::Progress(stream, done)),
    }
    let _stopped = wait.await;
}

/// The client's side of a stream. Replies and deliveries share one queue: a watcher is made known
/// before the hub learns of it, and nothing of it comes after it was cancelled.
pub(crate) struct Responses {
    handle: Handle,
    stream: StreamId,
    outlet: Arc<Outlet>,
    items: mpsc::Receiver<Item>,
    /// Resolves to the status that the stream ends with; `None` once it has.
    ended: Option<oneshot::Receiver<Status>>,
    /// The rest of a response that is sent in parts.
    fragments: VecDeque<WatchResponse>,
}

impl Responses {
    fn complete(&self, mut response: WatchResponse) -> WatchResponse {
        let revision = response.header.map_or(0, |header| header.revision);
        let mut header = self.handle.header_without_revision();
        header.revision = revision;
        response.header = Some(header);
        response
    }

    /// Turns a delivery into responses; the first is returned, the rest waits in `fragments`.
    fn unpack(&mut self, delivery: Delivery) -> WatchResponse {
        let fragmented = matches!(delivery, Delivery::Events { fragment: true, .. });
        let began = Instant::now();
        let whole = self.complete(response::response(delivery));
        let (metrics, events) = (&self.handle.metrics, whole.events.len());
        metrics.watch_events.inc_by(events as u64);
        metrics.events_taken.inc_by(events as u64);
        if events > 0 || !whole.canceled {
            metrics.sends.observe(events, began.elapsed());
        }
        if !fragmented {
            return whole;
        }
        let limit = self.handle.limits.grpc_bytes_max;
        self.fragments = response::fragment(whole, limit).into();
        self.fragments.pop_front().expect("a response has at least one part")
    }
}

impl Stream for Responses {
    type Item = Result<WatchResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(fragment) = self.fragments.pop_front() {
            return Poll::Ready(Some(Ok(fragment)));
        }
        if let Some(ended) = &mut self.ended
            && let Poll::Ready(status) = Pin::new(ended).poll(cx)
        {
            self.ended = None;
            if let Ok(status) = status {
                return Poll::Ready(Some(Err(status)));
            }
        }
        let Some(item) = ready!(self.items.poll_recv(cx)) else { return Poll::Ready(None) };
        if self.outlet.taken(&item, self.items.len()) {
            self.handle.watch.push_always(WatchCommand::Room(self.stream));
        }
        Poll::Ready(Some(Ok(match item {
            Item::Damaged => {
                let failure = Failure::from(api::error::Error::Corrupt);
                return Poll::Ready(Some(Err(failure.into())));
            }
            Item::Delivery(delivery) => self.unpack(delivery),
            Item::Reply(response) => {
                let began = Instant::now();
                let response = self.complete(*response);
                self.handle.metrics.sends.control.observe(began.elapsed().as_secs_f64());
                response
            }
        })))
    }
}

impl Drop for Responses {
    fn drop(&mut self) {
        // What nobody will take does not wait any more.
        self.items.close();
        while let Ok(item) = self.items.try_recv() {
            if let Item::Delivery(Delivery::Events { events, .. }) = item {
                self.handle.metrics.events_taken.inc_by(events.len() as u64);
            }
        }
        self.handle.watch.push_always(WatchCommand::Close(self.stream));
    }
}
