//! Watch: one stream carries many watchers (spec grpc.md section 5). Requests are judged here, the
//! watch thread does the rest; what it delivers and what is replied here share one queue.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use api::{
    error::Error,
    etcdserverpb::{WatchRequest, WatchResponse, watch_server::Watch},
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
    driver::{WatchCommand, watch_loop::Outlet},
    handle::Handle,
    status::Failure,
};

/// Replies that may wait for a slow client before its next request is read.
const REPLIES_MAX: usize = 16;

/// Numbers streams; the numbers never leave the process.
static NEXT_STREAM: AtomicU64 = AtomicU64::new(1);

#[tonic::async_trait]
impl Watch for Services {
    type WatchStream = Responses;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Responses>, Status> {
        let stream = StreamId(NEXT_STREAM.fetch_add(1, Ordering::Relaxed));
        let (outlet, deliveries) = Outlet::new(self.0.limits.watch_stream_max);
        let (replies, reply_queue) = mpsc::channel(REPLIES_MAX);
        self.0.watch.push_always(WatchCommand::Open(stream, outlet.clone()));
        let responses = Responses {
            handle: self.0.clone(),
            stream,
            outlet,
            replies: reply_queue,
            replies_open: true,
            deliveries,
            fragments: VecDeque::new(),
        };
        tokio::spawn(serve_requests(self.0.clone(), stream, request.into_inner(), replies));
        Ok(Response::new(responses))
    }
}

/// What the client's side is told beside deliveries.
enum Reply {
    Response(Box<WatchResponse>),
    /// The stream ends with this status.
    End(Status),
}

/// Reads requests until the client is gone. A client that only ends its side of the stream keeps
/// its watchers.
async fn serve_requests(
    handle: Handle,
    stream: StreamId,
    mut requests: Streaming<WatchRequest>,
    replies: mpsc::Sender<Reply>,
) {
    let mut state = StreamState::new();
    loop {
        let request = tokio::select! {
            request = requests.message() => request,
            () = replies.closed() => return,
            () = handle.progress.wait_stopping() => {
                let end = Failure::from(Error::Stopped).into();
                let _gone = replies.send(Reply::End(end)).await;
                return;
            }
        };
        match request {
            Ok(Some(request)) => {
                let revision = handle.shared.store.revision();
                for action in state.handle(request, revision, |_| Ok(())) {
                    if execute(&handle, stream, action, &replies).await.is_err() {
                        return;
                    }
                }
            }
            Ok(None) => break,
            Err(status) => {
                let _gone = replies.send(Reply::End(status)).await;
                return;
            }
        }
    }
    tokio::select! {
        () = replies.closed() => {}
        () = handle.progress.wait_stopping() => {
            let end = Failure::from(Error::Stopped).into();
            let _gone = replies.send(Reply::End(end)).await;
        }
    }
}

/// Carries out one step; an error means that the client is gone.
async fn execute(
    handle: &Handle,
    stream: StreamId,
    action: Action,
    replies: &mpsc::Sender<Reply>,
) -> Result<(), ()> {
    match action {
        Action::Reply(response) => {
            replies.send(Reply::Response(Box::new(response))).await.map_err(|_| ())?;
        }
        Action::Create { watch_id, spec } => {
            let key = WatcherKey { stream, watch_id };
            handle.watch.push_always(WatchCommand::Create(key, Box::new(spec)));
        }
        Action::Cancel { watch_id } => {
            let (done, wait) = oneshot::channel();
            let key = WatcherKey { stream, watch_id };
            handle.watch.push_always(WatchCommand::Cancel(key, done));
            wait.await.map_err(|_| ())?;
        }
        Action::Progress => handle.watch.push_always(WatchCommand::Progress(stream)),
    }
    Ok(())
}

/// The client's side of a stream: replies before deliveries, since a watcher is made known before
/// the hub learns of it.
pub(crate) struct Responses {
    handle: Handle,
    stream: StreamId,
    outlet: Arc<Outlet>,
    replies: mpsc::Receiver<Reply>,
    replies_open: bool,
    deliveries: mpsc::Receiver<Delivery>,
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
        let whole = self.complete(response::response(delivery));
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
        if self.replies_open {
            match self.replies.poll_recv(cx) {
                Poll::Ready(Some(Reply::Response(response))) => {
                    return Poll::Ready(Some(Ok(self.complete(*response))));
                }
                Poll::Ready(Some(Reply::End(status))) => return Poll::Ready(Some(Err(status))),
                Poll::Ready(None) => self.replies_open = false,
                Poll::Pending => {}
            }
        }
        let Some(delivery) = ready!(self.deliveries.poll_recv(cx)) else {
            return Poll::Ready(None);
        };
        if self.outlet.taken(&delivery, self.deliveries.len()) {
            self.handle.watch.push_always(WatchCommand::Room(self.stream));
        }
        Poll::Ready(Some(Ok(self.unpack(delivery))))
    }
}

impl Drop for Responses {
    fn drop(&mut self) {
        self.handle.watch.push_always(WatchCommand::Close(self.stream));
    }
}
