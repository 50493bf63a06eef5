//! Lease: grant and revoke through raft, the rest as `leases` has it
//! (spec grpc.md section 6).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use api::{
    etcdserverpb::{
        InternalRaftRequest, LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest,
        LeaseKeepAliveResponse, LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest,
        LeaseRevokeResponse, LeaseStatus, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
        lease_server::Lease,
    },
    ids::LeaseId,
};
use apply::{Response as Applied, quota::LEASE_COST};
use futures_core::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::Services;
use crate::{
    auth::Caller,
    handle::Handle,
    leases,
    status::Failure,
    telemetry::{self, Span},
};

type Renewal = Result<LeaseKeepAliveResponse, Failure>;

/// The answers of one stream of renewals: each request is read when the answer to the one before it
/// has been taken. There is no task but the connection's.
pub(crate) struct KeepAlives {
    handle: Handle,
    caller: Arc<Caller>,
    span: Option<Span>,
    requests: Streaming<LeaseKeepAliveRequest>,
    renewing: Option<Pin<Box<dyn Future<Output = Renewal> + Send>>>,
    stopping: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: bool,
}

impl KeepAlives {
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<(), Status>>> {
        if self.handle.progress.stopping() {
            return Poll::Ready(None);
        }
        let Poll::Ready(next) = Pin::new(&mut self.requests).poll_next(cx) else {
            return self.stopping.as_mut().poll(cx).map(|()| None);
        };
        Poll::Ready(match next {
            None => None,
            Some(Ok(request)) => {
                let renewal = keep_alive(self.handle.clone(), self.caller.clone(), request);
                self.renewing = Some(Box::pin(telemetry::within(self.span.clone(), renewal)));
                Some(Ok(()))
            }
            Some(Err(status)) => {
                let failures = &self.handle.metrics.requests.stream_failures;
                failures.with_label_values(&["receive", "lease-keepalive"]).inc();
                Some(Err(status))
            }
        })
    }
}

impl Stream for KeepAlives {
    type Item = Result<LeaseKeepAliveResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(renewing) = &mut this.renewing {
                let answer = ready!(renewing.as_mut().poll(cx));
                this.renewing = None;
                this.ended = answer.is_err();
                return Poll::Ready(Some(answer.map_err(Status::from)));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            match ready!(this.poll_request(cx)) {
                Some(Ok(())) => {}
                Some(Err(status)) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(status)));
                }
                None => this.ended = true,
            }
        }
    }
}

#[tonic::async_trait]
impl Lease for Services {
    type LeaseKeepAliveStream = KeepAlives;

    async fn lease_grant(
        &self,
        request: Request<LeaseGrantRequest>,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        let (caller, mut request) = Caller::split(request);
        self.0.check_quota(LEASE_COST).await?;
        while request.id == 0 {
            // A positive id: the sign bit is cleared.
            request.id = (self.0.ids.next() & (u64::MAX >> 1)) as i64;
        }
        let span = telemetry::child("lease_grant", || telemetry::grant(&request));
        self.0.require_user(&caller).await?;
        let lease_grant = Some(request);
        let request = InternalRaftRequest { lease_grant, ..Default::default() };
        match telemetry::within(span, self.0.propose_as(&caller, request)).await? {
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
        let (caller, request) = Caller::split(request);
        let span = telemetry::child("lease_revoke", || telemetry::id_only(request.id));
        self.0.require_user(&caller).await?;
        let lease_revoke = Some(request);
        let request = InternalRaftRequest { lease_revoke, ..Default::default() };
        match telemetry::within(span, self.0.propose_as(&caller, request)).await? {
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
        let (caller, requests) = Caller::split(request);
        let handle = self.0.clone();
        let stopping = Box::pin(async move { handle.progress.wait_stopping().await });
        Ok(Response::new(KeepAlives {
            handle: self.0.clone(),
            caller: Arc::new(caller),
            span: telemetry::current(),
            requests,
            renewing: None,
            stopping,
            ended: false,
        }))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let (caller, request) = Caller::split(request);
        let seen = self.0.may_see_lease(&caller, &request).await?;
        let mut response = leases::time_to_live(&self.0, request).await?;
        self.0.still_seen(seen)?;
        response.header = Some(self.0.header(0));
        Ok(Response::new(response))
    }

    async fn lease_leases(
        &self,
        request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        let (caller, _) = Caller::split(request);
        let ids = self.0.shared.lessor.lock().leases();
        self.0.may_list_leases(&caller, &ids).await?;
        let leases = ids.into_iter().map(|id| LeaseStatus { id: id.0 }).collect();
        Ok(Response::new(LeaseLeasesResponse { header: Some(self.0.header(0)), leases }))
    }
}

/// Renews one lease. The header is taken before the renewal, as in etcd; a lease that is unknown or
/// gone is answered with TTL 0.
async fn keep_alive(
    handle: Handle,
    caller: Arc<Caller>,
    request: LeaseKeepAliveRequest,
) -> Renewal {
    let header = Some(handle.header(0));
    let span = telemetry::child("lease_renew", || telemetry::id_only(request.id));
    let (id, who) = (LeaseId(request.id), handle.identify(&caller).await?);
    let renewal = leases::renew(&handle, id, || handle.may_renew(who.as_ref(), id));
    let ttl = telemetry::within(span, renewal).await?;
    Ok(LeaseKeepAliveResponse { header, id: request.id, ttl })
}
