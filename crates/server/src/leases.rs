//! Keep-alives and times to live (spec raft-server.md section 11): answered by the leader from
//! memory, asked of the leader by everybody else, over and over until the request's time is up.
//!
//! The leader may be elected and not the primary yet, or be the primary and not lead any more: then
//! the answer is sought again, wherever the leader is by then.

use std::time::Duration;

use api::{
    error::{Code, Error},
    etcdserverpb::{
        InternalRaftRequest, LeaseCheckpoint, LeaseCheckpointRequest, LeaseTimeToLiveRequest,
        LeaseTimeToLiveResponse,
    },
    ids::LeaseId,
};
use lease::RenewError;
use tokio::time::{Instant, sleep};

use crate::{
    handle::Handle, leadership::time_left, peer_client::lease::LeaseError, status::Failure,
};

/// Pause between two tries to reach the leader.
const RETRY: Duration = Duration::from_millis(50);
/// Pause between two looks at a lease that is being revoked.
const REVOCATION_POLL: Duration = Duration::from_millis(20);

/// Why this member did not renew a lease, or does not know what it has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// There is no such lease.
    NotFound,
    /// Another member must be asked.
    NotPrimary,
    /// It cannot be done now.
    Failed(Failure),
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Unanswered {
        Unanswered::Failed(failure)
    }
}

/// This member does not lead, or does not know that it does: the client has to ask again.
pub(crate) fn not_primary() -> Failure {
    Failure { code: Code::Unknown, message: "not a primary lessor".into() }
}

/// Renews a lease; returns its time to live, 0 for one that is not there. `permit` is asked before
/// each try.
pub(crate) async fn renew(
    handle: &Handle,
    id: LeaseId,
    permit: impl Fn() -> Result<(), Failure>,
) -> Result<i64, Failure> {
    if handle.leads() {
        if !handle.ensure_leadership().await {
            return Err(not_primary());
        }
        if handle.limits.slow_keep_alive || !handle.shared.lessor.lock().contains(id) {
            // Its grant may be committed and not applied yet.
            handle.catch_up().await?;
        }
        permit()?;
        match renew_here(handle, id).await {
            Ok(ttl) => return Ok(ttl),
            Err(Unanswered::NotFound) => return Ok(0),
            Err(Unanswered::Failed(failure)) => return Err(failure),
            Err(Unanswered::NotPrimary) => {}
        }
    }
    let deadline = Instant::now() + handle.limits.request_timeout;
    while Instant::now() < deadline {
        let leader = handle.wait_leader(deadline).await?;
        permit()?;
        if leader.id == handle.member {
            match renew_here(handle, id).await {
                Ok(ttl) => return Ok(ttl),
                Err(Unanswered::NotFound) => return Ok(0),
                Err(Unanswered::Failed(_) | Unanswered::NotPrimary) => {}
            }
        } else {
            for url in &leader.peer_urls {
                match handle.peers.renew(url, id.0, time_left(deadline)).await {
                    Ok(ttl) => return Ok(ttl),
                    Err(LeaseError::NotFound) => return Ok(0),
                    Err(LeaseError::Retry(error)) => {
                        tracing::debug!(%url, %error, "failed to renew a lease at the leader");
                    }
                }
            }
        }
        sleep(RETRY).await;
    }
    Err(Error::Timeout.into())
}

/// Renews a lease in this member's memory, if it is the primary.
pub(crate) async fn renew_here(handle: &Handle, id: LeaseId) -> Result<i64, Unanswered> {
    loop {
        let renewed = handle.shared.lessor.lock().renew(id, handle.clock.now_ms());
        match renewed {
            // The time counts from before the question whether this member still leads: should it
            // be replaced after the answer, the next leader starts the lease's time later.
            Ok(_) if handle.is_confirmed_leader().await => {
                // What leaders before this one decided has been applied by now, the end of this
                // lease perhaps; another one may have been granted under its id.
                let now = handle.clock.now_ms();
                let found = handle.shared.lessor.lock().time_to_live(id, now);
                let found = found.ok_or(Unanswered::NotFound)?;
                handle.metrics.leases.renewed.inc();
                return Ok(found.granted_ttl);
            }
            Ok(_) => return Err(Unanswered::NotPrimary),
            // A leader that was replaced, and does not know it, has not heard of newer leases.
            Err(RenewError::NotFound) if !handle.is_confirmed_leader().await => {
                return Err(Unanswered::NotPrimary);
            }
            Err(RenewError::NotFound) => {
                if !handle.shared.lessor.lock().contains(id) {
                    return Err(Unanswered::NotFound);
                }
            }
            Err(RenewError::NotPrimary) => return Err(Unanswered::NotPrimary),
            // Rare: it is not to make the futures of all renewals larger.
            Err(RenewError::Checkpointed) => Box::pin(clear_checkpoint(handle, id)).await?,
            // It is being revoked: the answer is what comes of that. A failed revocation is tried
            // again; after a change of leader somebody else has to be asked.
            Err(RenewError::Expired) => {
                tokio::select! {
                    () = sleep(REVOCATION_POLL) => {}
                    () = handle.progress.wait_stopping() => return Err(Unanswered::NotPrimary),
                }
            }
        }
    }
}

/// A recorded remaining time would count after a change of leader: takes it off the record first.
async fn clear_checkpoint(handle: &Handle, id: LeaseId) -> Result<(), Failure> {
    let checkpoint = LeaseCheckpoint { id: id.0, remaining_ttl: 0 };
    let lease_checkpoint = Some(LeaseCheckpointRequest { checkpoints: vec![checkpoint] });
    handle.propose(InternalRaftRequest { lease_checkpoint, ..Default::default() }).await?;
    Ok(())
}

/// What a lease has left, without a header; time to live -1 for one that is not there.
pub(crate) async fn time_to_live(
    handle: &Handle,
    request: LeaseTimeToLiveRequest,
) -> Result<LeaseTimeToLiveResponse, Failure> {
    let unknown = LeaseTimeToLiveResponse { id: request.id, ttl: -1, ..Default::default() };
    if handle.leads() {
        handle.catch_up().await?;
        return match time_to_live_here(handle, request).await {
            Ok(found) => Ok(found),
            Err(Unanswered::NotFound) => Ok(unknown),
            // Another member leads by now. That the client can act upon.
            Err(Unanswered::NotPrimary) => Err(Error::LeaderChanged.into()),
            Err(Unanswered::Failed(failure)) => Err(failure),
        };
    }
    let deadline = Instant::now() + handle.limits.request_timeout;
    while Instant::now() < deadline {
        let leader = handle.wait_leader(deadline).await?;
        if leader.id == handle.member {
            match time_to_live_here(handle, request).await {
                Ok(found) => return Ok(found),
                Err(Unanswered::NotFound) => return Ok(unknown),
                Err(Unanswered::NotPrimary | Unanswered::Failed(_)) => {}
            }
        } else {
            for url in &leader.peer_urls {
                match handle.peers.time_to_live(url, request, time_left(deadline)).await {
                    Ok(found) => return Ok(found),
                    Err(LeaseError::NotFound) => return Ok(unknown),
                    Err(LeaseError::Retry(error)) => {
                        tracing::debug!(%url, %error, "failed to ask the leader for a lease");
                    }
                }
            }
        }
        sleep(RETRY).await;
    }
    Err(Error::Timeout.into())
}

/// What a lease has left by this member's clock, if it is the primary. That there is no such lease is
/// said only by a member that a quorum takes for the leader.
pub(crate) async fn time_to_live_here(
    handle: &Handle,
    request: LeaseTimeToLiveRequest,
) -> Result<LeaseTimeToLiveResponse, Unanswered> {
    match time_left_of(handle, request) {
        Err(Unanswered::NotFound) if handle.is_confirmed_leader().await => {
            time_left_of(handle, request)
        }
        Err(Unanswered::NotFound) => Err(Unanswered::NotPrimary),
        known => known,
    }
}

fn time_left_of(
    handle: &Handle,
    request: LeaseTimeToLiveRequest,
) -> Result<LeaseTimeToLiveResponse, Unanswered> {
    let id = LeaseId(request.id);
    let now = handle.clock.now_ms();
    let lessor = handle.shared.lessor.lock();
    let found = lessor.time_to_live(id, now).ok_or(Unanswered::NotFound)?;
    let ttl = found.remaining_ttl.ok_or(Unanswered::NotPrimary)?;
    let keys = if request.keys { lessor.keys(id).unwrap_or_default() } else { Vec::new() };
    let granted_ttl = found.granted_ttl;
    Ok(LeaseTimeToLiveResponse { header: None, id: request.id, ttl, granted_ttl, keys })
}
