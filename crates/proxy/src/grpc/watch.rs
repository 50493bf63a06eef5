//! Watch: the streams of clients, whose watchers share those of the proxy.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use api::{
    error::Error as Etcd,
    etcdserverpb::{
        RangeRequest, ResponseHeader, WatchCreateRequest, WatchRequest, WatchResponse,
        watch_request::RequestUnion, watch_server::Watch,
    },
};
use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status, Streaming};

use super::{
    broadcast::{Broadcasts, Place},
    caller::Caller,
    leader::Leader,
    receiver::{NO_WATCH, Outlet, Receiver, Waiting},
    upstream::{Upstream, known, status},
};

/// Numbers streams.
static NEXT_STREAM: AtomicU64 = AtomicU64::new(1);

/// The service.
#[derive(Clone)]
pub(crate) struct WatchProxy {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) broadcasts: Arc<Broadcasts>,
    pub(crate) leader: Leader,
}

#[tonic::async_trait]
impl Watch for WatchProxy {
    type WatchStream = Responses;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Responses>, Status> {
        let caller = Caller::of(request.metadata());
        if caller.requires_leader && !self.leader.is_known().await {
            return Err(status(known(Etcd::NoLeader)));
        }
        let (end, ended) = oneshot::channel();
        let stream = NEXT_STREAM.fetch_add(1, Ordering::Relaxed);
        let (outlet, responses) = Outlet::new(stream);
        let served =
            Served { proxy: self.clone(), caller, outlet, watchers: HashMap::new(), next_id: 0 };
        tokio::spawn(served.run(request.into_inner(), end));
        Ok(Response::new(Responses { responses, ended: Some(ended) }))
    }
}

/// One client's stream.
struct Served {
    proxy: WatchProxy,
    caller: Caller,
    outlet: Arc<Outlet>,
    watchers: HashMap<i64, Place>,
    next_id: i64,
}

impl Served {
    /// Serves until the client is gone, loses the leader that it wants, or does not read.
    async fn run(mut self, requests: Streaming<WatchRequest>, mut end: oneshot::Sender<Status>) {
        let (leader, outlet) = (self.proxy.leader.clone(), self.outlet.clone());
        let requires_leader = self.caller.requires_leader;
        let status = tokio::select! {
            status = self.requests(requests) => Some(status),
            () = leader.lost(), if requires_leader => Some(status(known(Etcd::NoLeader))),
            () = outlet.overrun.notified() => {
                tracing::error!("a client does not read its watch responses; its stream ends");
                Some(Status::unavailable("watch responses were not read"))
            }
            () = end.closed() => None,
        };
        for (id, place) in std::mem::take(&mut self.watchers) {
            self.proxy.broadcasts.remove(&place, self.outlet.stream, id).await;
        }
        if let Some(status) = status {
            let _gone = end.send(status);
        }
    }

    async fn requests(&mut self, mut requests: Streaming<WatchRequest>) -> Status {
        loop {
            match requests.message().await {
                Ok(Some(request)) => match request.request_union {
                    Some(RequestUnion::CreateRequest(create)) => self.create(create).await,
                    Some(RequestUnion::CancelRequest(cancel)) => self.cancel(cancel.watch_id).await,
                    Some(RequestUnion::ProgressRequest(_)) | None => {
                        tracing::error!("not supported request type by gRPC proxy");
                    }
                },
                // A client may end its side and go on reading.
                Ok(None) => std::future::pending().await,
                Err(status) => return status,
            }
        }
    }

    async fn create(&mut self, request: WatchCreateRequest) {
        if request.start_revision < 0 {
            return self.refuse(Etcd::Compacted.message().to_owned()).await;
        }
        if let Err(error) = self.permit(&request).await {
            return self.refuse(error.to_string()).await;
        }
        let (key, end) = (request.key.clone(), request.range_end.clone());
        if !end.is_empty() && end <= key && end.as_ref() != b"\0" {
            return self.refuse(String::new()).await;
        }
        let id = self.next_id;
        self.next_id += 1;
        let place = Place { key, end, identity: self.caller.identity() };
        self.watchers.insert(id, place.clone());
        let receiver = Receiver::new(self.outlet.clone(), id, &request);
        self.proxy.broadcasts.add(&place, &self.caller, receiver);
    }

    /// Whether the caller may read what it watches: the cluster would ask the first watcher only.
    async fn permit(&self, request: &WatchCreateRequest) -> Result<(), client::error::Error> {
        let (key, range_end) = match request.key.is_empty() {
            true => (Bytes::from_static(b"\0"), Bytes::from_static(b"\0")),
            false => (request.key.clone(), request.range_end.clone()),
        };
        let probe = RangeRequest {
            key,
            range_end,
            serializable: true,
            count_only: true,
            limit: 1,
            ..RangeRequest::default()
        };
        self.proxy.upstream.range(&self.caller, probe).await.map(drop)
    }

    async fn refuse(&self, reason: String) {
        let response = WatchResponse {
            header: Some(ResponseHeader::default()),
            watch_id: NO_WATCH,
            created: true,
            canceled: true,
            cancel_reason: reason,
            ..WatchResponse::default()
        };
        self.outlet.send(response).await;
    }

    async fn cancel(&mut self, id: i64) {
        let Some(place) = self.watchers.remove(&id) else { return };
        let header = self.proxy.broadcasts.remove(&place, self.outlet.stream, id).await;
        let response =
            WatchResponse { header, watch_id: id, canceled: true, ..WatchResponse::default() };
        self.outlet.send(response).await;
    }
}

/// What a client reads.
pub(crate) struct Responses {
    responses: mpsc::Receiver<Waiting>,
    /// `None` once the end was told.
    ended: Option<oneshot::Receiver<Status>>,
}

impl Stream for Responses {
    type Item = Result<WatchResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(ended) = &mut self.ended else { return Poll::Ready(None) };
        if let Poll::Ready(status) = Pin::new(ended).poll(cx) {
            self.ended = None;
            return Poll::Ready(status.ok().map(Err));
        }
        self.responses.poll_recv(cx).map(|waiting| waiting.map(|(response, _)| Ok(response)))
    }
}
