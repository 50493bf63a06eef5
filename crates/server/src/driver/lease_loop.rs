//! The lease ticker: twice a second asks the lessor what expired and proposes its revocation.

use std::{sync::Arc, time::Duration};

use api::{
    error::Error,
    etcdserverpb::{InternalRaftRequest, LeaseCheckpointRequest, LeaseRevokeRequest},
    ids::{LeaseId, Term},
};
use lease::LeaseAction;
use tokio::sync::Semaphore;

use crate::handle::Handle;

const INTERVAL: Duration = Duration::from_millis(500);

/// Runs until the member stops.
pub(crate) async fn run(handle: Handle) {
    let permits = Arc::new(Semaphore::new(handle.limits.lease_revokes_max));
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = handle.progress.wait_stopping() => return,
        }
        let mut actions = Vec::new();
        let now = handle.clock.now_ms();
        // What the lessor says holds in its own term: after a change of leaders it is dropped.
        let Some(term) = tick(&handle, now, &mut actions) else { continue };
        for action in actions {
            match action {
                LeaseAction::Revoke(ids) => {
                    tokio::spawn(revoke_all(handle.clone(), ids, term, permits.clone()));
                }
                LeaseAction::Checkpoint(checkpoints) => {
                    let lease_checkpoint = Some(LeaseCheckpointRequest { checkpoints });
                    let request = InternalRaftRequest { lease_checkpoint, ..Default::default() };
                    let handle = handle.clone();
                    tokio::spawn(async move {
                        if let Err(failure) = handle.propose_as_leader(request, term).await {
                            tracing::warn!(error = %failure.message, "failed to checkpoint leases");
                        }
                    });
                }
            }
        }
    }
}

/// What the lessor wants done, and the term in which it is the primary.
fn tick(handle: &Handle, now: u64, actions: &mut Vec<LeaseAction>) -> Option<Term> {
    let mut lessor = handle.shared.lessor.lock();
    let term = lessor.primary_term()?;
    lessor.handle_tick(now, actions);
    Some(term)
}

/// Revokes expired leases, a bounded number at a time. The ticker goes on meanwhile; the lessor does
/// not offer them again for a while.
async fn revoke_all(handle: Handle, ids: Vec<LeaseId>, term: Term, permits: Arc<Semaphore>) {
    if !handle.ensure_leadership().await {
        tracing::warn!("ignored expired leases: this member does not lead any more");
        return;
    }
    for id in ids {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        if handle.progress.stopping() {
            return;
        }
        let handle = handle.clone();
        tokio::spawn(async move {
            revoke(&handle, id, term).await;
            drop(permit);
        });
    }
}

/// Proposes the revocation of a lease that expired in `term`. Its next leader gives the lease its
/// whole time again: a proposal that came to it would end the lease early. A failed one is offered
/// again by the lessor.
async fn revoke(handle: &Handle, id: LeaseId, term: Term) {
    let lease_revoke = Some(LeaseRevokeRequest { id: id.0 });
    let request = InternalRaftRequest { lease_revoke, ..Default::default() };
    match handle.propose_as_leader(request, term).await {
        Ok(_) => handle.metrics.lease_expired.inc(),
        Err(failure) if failure.message == Error::LeaseNotFound.message() => {}
        Err(failure) => {
            tracing::warn!(lease = %id, error = %failure.message, "failed to revoke lease");
        }
    }
}
