//! Whether a request may run: alarms, then rights, then space.
//!
//! The order is etcd's: a corrupt cluster refuses first, then a full one, then the store of users
//! and roles; the quota comes last and only decides what the client is told.

use api::{
    error::Error,
    etcdserverpb::{AlarmType, InternalRaftRequest},
};

use auth::Identity;

use crate::{
    Alarms, ApplyError, Permit, Shared,
    quota::{self, Quota},
};

/// Refuses a request that the raised alarms or the rights of its sender do not let through.
pub(crate) fn admit(request: &InternalRaftRequest, shared: &Shared) -> Result<(), ApplyError> {
    check_alarms(request, &shared.alarms.read())?;
    let auth = shared.auth.read();
    if auth.is_enabled() {
        let header = request.header.as_ref();
        let who = header.map_or_else(Identity::nobody, |header| Identity {
            user: header.username.clone(),
            revision: header.auth_revision,
        });
        Permit { auth: &auth, lessor: &shared.lessor, who: &who }.check(request)?;
    }
    Ok(())
}

fn check_alarms(request: &InternalRaftRequest, alarms: &Alarms) -> Result<(), Error> {
    if alarms.has(AlarmType::Corrupt) && uses_keyspace(request) {
        return Err(Error::Corrupt);
    }
    if alarms.has(AlarmType::Nospace) && quota::cost(request) > 0 {
        return Err(Error::NoSpace);
    }
    Ok(())
}

/// Whether the store has room for a request. The answer differs between members, so the request
/// runs all the same.
pub(crate) fn has_room(request: &InternalRaftRequest, quota: Quota, size_in_use: u64) -> bool {
    quota.has_room(quota::cost(request), size_in_use)
}

/// Whether the request reads or changes keys or leases. Checkpoints, alarms and users go on in a
/// corrupt cluster, as they do in etcd.
fn uses_keyspace(request: &InternalRaftRequest) -> bool {
    request.range.is_some()
        || request.put.is_some()
        || request.delete_range.is_some()
        || request.txn.is_some()
        || request.compaction.is_some()
        || request.lease_grant.is_some()
        || request.lease_revoke.is_some()
}
