//! Lease: grants and the rest are passed on; renewals of one lease share one stream to the cluster.
//!
//! The proxy renews by its own clock for as long as a client does: an answer to a client is the next
//! answer of the cluster.

use std::{collections::HashMap, pin::Pin, sync::Arc, time::Duration};

use api::{
    error::Error as Etcd,
    etcdserverpb::{
        LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
        LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse,
        LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, lease_server::Lease,
    },
};
use bytes::Bytes;
use futures_core::Stream;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, broadcast, mpsc},
    task::JoinSet,
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    caller::Caller,
    leader::Leader,
    upstream::{Upstream, known, status},
};

/// Answers that wait for one client.
const QUEUE: usize = 16;

/// The service.
#[derive(Clone)]
pub(crate) struct LeaseProxy {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) keepers: Arc<Keepers>,
    pub(crate) leader: Leader,
}

/// Leases that are kept alive, by id and token.
#[derive(Default)]
pub(crate) struct Keepers(
    Mutex<HashMap<(i64, Bytes), broadcast::WeakSender<LeaseKeepAliveResponse>>>,
);

impl LeaseProxy {
    /// The answers of the cluster to renewals of a lease; they end with the lease.
    fn answers(&self, caller: &Caller, id: i64) -> broadcast::Receiver<LeaseKeepAliveResponse> {
        let key = (id, caller.identity());
        let mut keepers = self.keepers.0.lock();
        if let Some(sender) = keepers.get(&key).and_then(broadcast::WeakSender::upgrade) {
            return sender.subscribe();
        }
        let (sender, receiver) = broadcast::channel(QUEUE);
        keepers.insert(key.clone(), sender.downgrade());
        let mut keep_alive = caller.client(&self.upstream.client).keep_alive(id);
        let keepers = self.keepers.clone();
        tokio::spawn(async move {
            loop {
                let answer = tokio::select! {
                    answer = keep_alive.next() => answer,
                    () = sender.closed() => {
                        let mut all = keepers.0.lock();
                        if sender.receiver_count() > 0 {
                            continue;
                        }
                        all.remove(&key);
                        return;
                    }
                };
                let Some(answer) = answer else { break };
                // Nobody may want it just now.
                let _ = sender.send(answer);
            }
            let mut all = keepers.0.lock();
            all.remove(&key);
            drop(sender);
        });
        receiver
    }
}

/// Renewals of one client's stream that are not answered yet, by lease.
type Unanswered = Arc<Mutex<HashMap<i64, u64>>>;

/// One client's stream.
struct Renewals {
    proxy: LeaseProxy,
    caller: Caller,
    unanswered: Unanswered,
    /// Told when renewals were answered, or cannot be.
    answered: Notify,
    out: mpsc::Sender<Result<LeaseKeepAliveResponse, Status>>,
}

impl Renewals {
    /// Serves until the client ends, or loses the leader that it wants.
    async fn run(self, mut requests: Streaming<LeaseKeepAliveRequest>) {
        let this = Arc::new(self);
        let mut leases = JoinSet::new();
        let leader = this.proxy.leader.clone();
        let end = loop {
            let request = tokio::select! {
                request = requests.message() => request,
                () = leader.lost(), if this.caller.requires_leader => {
                    break Some(status(known(Etcd::NoLeader)));
                }
                () = this.out.closed() => break None,
                Some(ended) = leases.join_next() => match ended {
                    Ok(Err(error)) => break Some(status(error)),
                    _ => continue,
                },
            };
            match request {
                Ok(Some(LeaseKeepAliveRequest { id })) => {
                    let mut unanswered = this.unanswered.lock();
                    let new = !unanswered.contains_key(&id);
                    *unanswered.entry(id).or_default() += 1;
                    if new {
                        let this = this.clone();
                        leases.spawn(async move { this.keep(id).await });
                    }
                }
                Ok(None) => {
                    // What was asked is answered still.
                    break loop {
                        tokio::select! {
                            () = this.all_answered() => break None,
                            () = this.out.closed() => break None,
                            Some(ended) = leases.join_next() => {
                                if let Ok(Err(error)) = ended {
                                    break Some(status(error));
                                }
                            }
                        }
                    };
                }
                Err(error) => break Some(error),
            }
        };
        leases.abort_all();
        if let Some(end) = end {
            let _gone = this.out.send(Err(end)).await;
        }
    }

    /// Answers the renewals of one lease until the client makes no more, or the lease ends.
    async fn keep(&self, id: i64) -> Result<(), client::error::Error> {
        let mut answers = self.proxy.answers(&self.caller, id);
        let mut idle: Option<Instant> = None;
        loop {
            let silence = async {
                match idle {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                answer = answers.recv() => match answer {
                    Ok(answer) => {
                        if self.reply(id, &answer).await {
                            let ttl = u64::try_from(answer.ttl).unwrap_or(0);
                            idle = Some(Instant::now() + Duration::from_secs(ttl));
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return self.ended(id).await,
                },
                () = silence => {
                    let mut unanswered = self.unanswered.lock();
                    match unanswered.get(&id) {
                        Some(count) if *count > 0 => idle = None,
                        _ => {
                            unanswered.remove(&id);
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    /// Returns when no renewal waits for an answer.
    async fn all_answered(&self) {
        loop {
            let answered = self.answered.notified();
            if self.unanswered.lock().values().all(|count| *count == 0) {
                return;
            }
            answered.await;
        }
    }

    /// Sends an answer to each renewal that waits for one; whether any did.
    async fn reply(&self, id: i64, answer: &LeaseKeepAliveResponse) -> bool {
        let mut any = false;
        loop {
            let place = self.out.reserve().await;
            let mut unanswered = self.unanswered.lock();
            match (place, unanswered.get_mut(&id)) {
                (Ok(place), Some(count)) if *count > 0 => {
                    *count -= 1;
                    place.send(Ok(*answer));
                    any = true;
                }
                _ => {
                    self.answered.notify_one();
                    return any;
                }
            }
        }
    }

    /// The lease is not kept alive any more: says what is left of it.
    async fn ended(&self, id: i64) -> Result<(), client::error::Error> {
        let request = LeaseTimeToLiveRequest { id, keys: false };
        let client = self.caller.client(&self.proxy.upstream.client);
        let left = client.lease_time_to_live(request).await?;
        let answer = LeaseKeepAliveResponse { header: left.header, id, ttl: left.ttl };
        loop {
            self.reply(id, &answer).await;
            let mut unanswered = self.unanswered.lock();
            if unanswered.get(&id).is_none_or(|count| *count == 0) || self.out.is_closed() {
                unanswered.remove(&id);
                return Ok(());
            }
        }
    }
}

#[tonic::async_trait]
impl Lease for LeaseProxy {
    type LeaseKeepAliveStream =
        Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

    async fn lease_grant(
        &self,
        request: Request<LeaseGrantRequest>,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        let client = Caller::of(request.metadata()).client(&self.upstream.client);
        client.lease_grant(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        let client = Caller::of(request.metadata()).client(&self.upstream.client);
        client.lease_revoke(request.into_inner()).await.map(Response::new).map_err(status)
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let caller = Caller::of(request.metadata());
        if caller.requires_leader && !self.leader.is_known().await {
            return Err(status(known(Etcd::NoLeader)));
        }
        let (out, answers) = mpsc::channel(QUEUE);
        let stream = Renewals {
            proxy: self.clone(),
            caller,
            unanswered: Unanswered::default(),
            answered: Notify::new(),
            out,
        };
        tokio::spawn(stream.run(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let client = Caller::of(request.metadata()).client(&self.upstream.client);
        let mut left = client.lease_time_to_live(request.into_inner()).await.map_err(status)?;
        left.keys = left.keys.iter().filter_map(|key| self.upstream.namespace.leave(key)).collect();
        Ok(Response::new(left))
    }

    async fn lease_leases(
        &self,
        request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        let client = Caller::of(request.metadata()).client(&self.upstream.client);
        client.lease_leases(request.into_inner()).await.map(Response::new).map_err(status)
    }
}
