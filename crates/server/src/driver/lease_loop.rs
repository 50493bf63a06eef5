//! The lease ticker: twice a second asks the lessor what expired and proposes its revocation.

use std::{sync::Arc, time::Duration};

use api::{
    error::Error,
    etcdserverpb::{InternalRaftRequest, LeaseCheckpointRequest, LeaseRevokeRequest},
    ids::LeaseId,
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
        handle.shared.lessor.lock().handle_tick(now, &mut actions);
        for action in actions {
            match action {
                LeaseAction::Revoke(ids) => {
                    tokio::spawn(revoke_all(handle.clone(), ids, permits.clone()));
                }
                LeaseAction::Checkpoint(checkpoints) => {
                    let lease_checkpoint = Some(LeaseCheckpointRequest { checkpoints });
                    let request = InternalRaftRequest { lease_checkpoint, ..Default::default() };
                    let handle = handle.clone();
                    tokio::spawn(async move {
                        if let Err(failure) = handle.propose(request).await {
                            tracing::warn!(error = %failure.message, "failed to checkpoint leases");
                        }
                    });
                }
            }
        }
    }
}

/// Revokes expired leases, a bounded number at a time. The ticker goes on meanwhile; the lessor does
/// not offer them again for a while.
async fn revoke_all(handle: Handle, ids: Vec<LeaseId>, permits: Arc<Semaphore>) {
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
            revoke(&handle, id).await;
            drop(permit);
        });
    }
}

/// Proposes the revocation of an expired lease. A failed one is offered again by the lessor.
async fn revoke(handle: &Handle, id: LeaseId) {
    let lease_revoke = Some(LeaseRevokeRequest { id: id.0 });
    match handle.propose_as_root(InternalRaftRequest { lease_revoke, ..Default::default() }).await {
        Ok(_) => handle.metrics.lease_expired.inc(),
        Err(failure) if failure.message == Error::LeaseNotFound.message() => {}
        Err(failure) => {
            tracing::warn!(lease = %id, error = %failure.message, "failed to revoke lease");
        }
    }
}
