//! Rights to leases, for what never goes through raft: keep-alives, times to live, the list.
//!
//! Who holds a lease is not recorded; its keys decide. Administrators pass whatever the revision of
//! their identity; for all others users and roles must not have changed meanwhile.

use api::{error::Error, etcdserverpb::LeaseTimeToLiveRequest, ids::LeaseId};
use apply::Permit;
use auth::Identity;

use super::Caller;
use crate::{handle::Handle, status::Failure};

impl Handle {
    /// Whether a lease may be renewed: as one may be revoked, by who may write all its keys.
    pub(crate) fn may_renew(&self, who: Option<&Identity>, id: LeaseId) -> Result<(), Failure> {
        let auth = self.shared.auth.read();
        if !auth.is_enabled() {
            return Ok(());
        }
        let who = who.ok_or(Error::UserEmpty)?;
        Ok(Permit { auth: &auth, lessor: &self.shared.lessor, who }.write_lease(id)?)
    }

    /// Whether what a lease has left may be seen; its keys, by who may read all of them. Returns the
    /// auth revision of the judgement, for [`Handle::still_seen`], if keys are asked for.
    pub(crate) async fn may_see_lease(
        &self,
        caller: &Caller,
        request: &LeaseTimeToLiveRequest,
    ) -> Result<Option<u64>, Failure> {
        self.require_user(caller).await?;
        if !request.keys {
            return Ok(None);
        }
        let who = self.identify(caller).await?;
        let auth = self.shared.auth.read();
        if auth.is_enabled() {
            let who = &who.ok_or(Error::UserEmpty)?;
            let id = LeaseId(request.id);
            Permit { auth: &auth, lessor: &self.shared.lessor, who }.read_lease(id)?;
        }
        Ok(Some(auth.revision()))
    }

    /// Refuses the keys of a lease when users or roles changed since they were judged.
    pub(crate) fn still_seen(&self, revision: Option<u64>) -> Result<(), Failure> {
        let auth = self.shared.auth.read();
        if auth.is_enabled() && revision.is_some_and(|revision| revision != auth.revision()) {
            return Err(Error::AuthOldRevision.into());
        }
        Ok(())
    }

    /// Whether these leases may be listed: by who may read all keys of all of them.
    pub(crate) async fn may_list_leases(
        &self,
        caller: &Caller,
        ids: &[LeaseId],
    ) -> Result<(), Failure> {
        let who = self.identify(caller).await?;
        let auth = self.shared.auth.read();
        if !auth.is_enabled() {
            return Ok(());
        }
        let who = &who.ok_or(Error::UserEmpty)?;
        let permit = Permit { auth: &auth, lessor: &self.shared.lessor, who };
        Ok(ids.iter().try_for_each(|id| permit.read_lease(*id))?)
    }
}
