//! Leases as entries: grant, revoke with all attached keys, checkpoint.

use api::{
    etcdserverpb::{
        LeaseCheckpointRequest, LeaseCheckpointResponse, LeaseGrantRequest, LeaseGrantResponse,
        LeaseRevokeRequest, LeaseRevokeResponse,
    },
    ids::LeaseId,
    range::KeyRange,
};
use membership::Version;

use crate::{
    ApplyError, Response, Shared,
    outcome::{Traces, header},
};

/// From this cluster version on every member stores checkpoints.
const CHECKPOINTS_STORED_FROM: Version = Version { major: 3, minor: 6, patch: 0 };

/// Creates a lease.
pub(crate) fn grant(
    shared: &Shared,
    request: &LeaseGrantRequest,
    now_ms: u64,
    traces: &mut Traces,
) -> Result<Response, ApplyError> {
    let id = LeaseId(request.id);
    let ttl = shared.lessor.lock().grant(id, request.ttl, now_ms, &mut traces.ops)?;
    let header = header(shared.store.revision());
    let error = String::new();
    Ok(Response::LeaseGrant(LeaseGrantResponse { header, id: request.id, ttl, error }))
}

/// Removes a lease and deletes its keys in one revision, in the order of the keys. No keys, no
/// revision.
pub(crate) fn revoke(
    shared: &Shared,
    request: &LeaseRevokeRequest,
    traces: &mut Traces,
) -> Result<Response, ApplyError> {
    let keys = shared.lessor.lock().revoke(LeaseId(request.id), &mut traces.ops)?;
    if !keys.is_empty() {
        let mut txn = shared.store.write(&mut traces.ops);
        for key in keys {
            txn.delete_range(&KeyRange::Single(key));
        }
        traces.changes = txn.end();
    }
    let header = header(shared.store.revision());
    Ok(Response::LeaseRevoke(LeaseRevokeResponse { header }))
}

/// Records how long leases have left; unknown leases are passed over.
pub(crate) fn checkpoint(
    shared: &Shared,
    request: &LeaseCheckpointRequest,
    store_always: bool,
    traces: &mut Traces,
) -> Result<Response, ApplyError> {
    let version = shared.membership.read().cluster_version();
    let persist = store_always || version >= Some(CHECKPOINTS_STORED_FROM);
    let mut lessor = shared.lessor.lock();
    for checkpoint in &request.checkpoints {
        let (id, remaining) = (LeaseId(checkpoint.id), checkpoint.remaining_ttl);
        lessor.checkpoint(id, remaining, persist, &mut traces.ops);
    }
    let header = header(shared.store.revision());
    Ok(Response::LeaseCheckpoint(LeaseCheckpointResponse { header }))
}
