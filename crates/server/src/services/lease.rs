//! Lease: grant and revoke through raft, the rest answered by the leader from memory
//! (spec grpc.md section 6).

use std::pin::Pin;

use api::{
    error::{Code, Error},
    etcdserverpb::{
        InternalRaftRequest, LeaseCheckpoint, LeaseCheckpointRequest, LeaseGrantRequest,
        LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
        LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus,
        LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, lease_server::Lease,
    },
    ids::LeaseId,
};
use apply::{Response as Applied, quota::LEASE_COST};
use futures_core::Stream;
use lease::RenewError;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Services;
use crate::{handle::Handle, status::Failure};

/// Keep-alive answers that may wait for one stream.
const KEEP_ALIVE_ANSWERS_MAX: usize = 16;

type KeepAlives = Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Lease for Services {
    type LeaseKeepAliveStream = KeepAlives;

    async fn lease_grant(
        &self,
        request: Request<LeaseGrantRequest>,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        let mut request = request.into_inner();
        self.0.check_quota(LEASE_COST).await?;
        while request.id == 0 {
            // A positive id: the sign bit is cleared.
            request.id = (self.0.ids.next() & (u64::MAX >> 1)) as i64;
        }
        let lease_grant = Some(request);
        match self.0.propose(InternalRaftRequest { lease_grant, ..Default::default() }).await? {
            Applied::LeaseGrant(mut response) => {
                self.0.complete(&mut response.header);
                Ok(Response::new(response))
            }
            other => unreachable!("a grant was answered by {other:?}"),
        }
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        let lease_revoke = Some(request.into_inner());
        match self.0.propose(InternalRaftRequest { lease_revoke, ..Default::default() }).await? {
            Applied::LeaseRevoke(mut response) => {
                self.0.complete(&mut response.header);
                Ok(Response::new(response))
            }
            other => unreachable!("a revoke was answered by {other:?}"),
        }
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<KeepAlives>, Status> {
        let mut requests = request.into_inner();
        let handle = self.0.clone();
        let (answers, stream) = tokio::sync::mpsc::channel(KEEP_ALIVE_ANSWERS_MAX);
        tokio::spawn(async move {
            loop {
                let request = tokio::select! {
                    request = requests.message() => request,
                    () = answers.closed() => return,
                    () = handle.progress.wait_stopping() => return,
                };
                let answer = match request {
                    Ok(Some(request)) => keep_alive(&handle, request).await.map_err(Status::from),
                    Ok(None) => return,
                    Err(status) => Err(status),
                };
                let failed = answer.is_err();
                if answers.send(answer).await.is_err() || failed {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let request = request.into_inner();
        self.0.catch_up().await?;
        let id = LeaseId(request.id);
        let now = self.0.clock.now_ms();
        let (found, keys) = {
            let lessor = self.0.shared.lessor.lock();
            (lessor.time_to_live(id, now), request.keys.then(|| lessor.keys(id)).flatten())
        };
        let (granted_ttl, ttl) = match found {
            None => (0, -1),
            Some(lease) => match lease.remaining_ttl {
                Some(remaining) => (lease.granted_ttl, remaining),
                None => return Err(Failure::from(Error::LeaderChanged).into()),
            },
        };
        Ok(Response::new(LeaseTimeToLiveResponse {
            header: Some(self.0.header(0)),
            id: request.id,
            ttl,
            granted_ttl,
            keys: keys.unwrap_or_default(),
        }))
    }

    async fn lease_leases(
        &self,
        _request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        let ids = self.0.shared.lessor.lock().leases();
        let leases = ids.into_iter().map(|id| LeaseStatus { id: id.0 }).collect();
        Ok(Response::new(LeaseLeasesResponse { header: Some(self.0.header(0)), leases }))
    }
}

/// Renews one lease. The header is taken before the renewal, as in etcd; a lease that is unknown or
/// gone is answered with TTL 0.
async fn keep_alive(
    handle: &Handle,
    request: LeaseKeepAliveRequest,
) -> Result<LeaseKeepAliveResponse, Failure> {
    let header = Some(handle.header(0));
    let id = LeaseId(request.id);
    let mut caught_up = false;
    let ttl = loop {
        let renewed = handle.shared.lessor.lock().renew(id, handle.clock.now_ms());
        match renewed {
            Ok(ttl) => break ttl,
            // The grant may be committed and not applied yet: look again after that.
            Err(RenewError::NotFound) if !caught_up => {
                handle.catch_up().await?;
                caught_up = true;
            }
            Err(RenewError::NotFound) => break 0,
            Err(RenewError::Expired) => break wait_for_revocation(handle, id).await?,
            Err(RenewError::Checkpointed) => clear_checkpoint(handle, id).await?,
            Err(RenewError::NotPrimary) => return Err(not_primary()),
        }
    };
    Ok(LeaseKeepAliveResponse { header, id: request.id, ttl })
}

/// This member does not lead, or does not know that it does: the client has to ask again.
fn not_primary() -> Failure {
    Failure { code: Code::Unknown, message: "not a primary lessor".into() }
}

/// A recorded remaining time would count after a change of leader: takes it off the record first.
async fn clear_checkpoint(handle: &Handle, id: LeaseId) -> Result<(), Failure> {
    let checkpoint = LeaseCheckpoint { id: id.0, remaining_ttl: 0 };
    let lease_checkpoint = Some(LeaseCheckpointRequest { checkpoints: vec![checkpoint] });
    handle.propose(InternalRaftRequest { lease_checkpoint, ..Default::default() }).await?;
    Ok(())
}

/// An expired lease is being revoked: its keep-alive is answered when that is done, with TTL 0, or
/// with the new TTL if the lease came back (this member lost and won the leadership).
async fn wait_for_revocation(handle: &Handle, id: LeaseId) -> Result<i64, Failure> {
    const POLL: std::time::Duration = std::time::Duration::from_millis(20);
    let deadline = tokio::time::Instant::now() + handle.limits.request_timeout;
    while tokio::time::Instant::now() < deadline {
        tokio::time::sleep(POLL).await;
        let renewed = handle.shared.lessor.lock().renew(id, handle.clock.now_ms());
        match renewed {
            Ok(ttl) => return Ok(ttl),
            Err(RenewError::NotFound) => return Ok(0),
            Err(RenewError::NotPrimary) => return Err(not_primary()),
            Err(RenewError::Expired | RenewError::Checkpointed) => {}
        }
    }
    Err(Error::Timeout.into())
}
