//! Reading the state from a backend: when the member starts, and when a snapshot of its leader has
//! replaced the backend under it.

use std::sync::Arc;

use api::ids::{LeaseId, RaftIndex};
use bytes::Bytes;
use membership::Membership;
use parking_lot::{Mutex, RwLock};
use storage::{Backend, ReadTx, schema};

use super::{Config, OpenError, StateMachine};
use crate::{Alarms, Shared, cluster};

/// Everything but the keys.
struct Loaded {
    membership: Membership,
    lessor: ::lease::Lessor,
    alarms: Alarms,
    auth: ::auth::AuthStore,
    v2: v2store::Store,
}

impl Loaded {
    fn read(
        view: &dyn ReadTx,
        config: &Config,
        attachments: Vec<(LeaseId, Bytes)>,
    ) -> Result<Loaded, OpenError> {
        let membership = Membership::load(view, config.cluster_id, config.max_learners)?;
        if let Some(version) = membership.cluster_version().filter(|v| cluster::is_older_than(*v)) {
            return Err(OpenError::OlderThanCluster(version));
        }
        let mut lessor = ::lease::Lessor::new(config.lease.clone());
        lessor.restore(schema::lease::all(view)?, attachments);
        let alarms = Alarms::restore(schema::alarm::all(view)?);
        let auth = ::auth::AuthStore::load(view)?;
        let v2 = v2store::Store::load(view)?;
        Ok(Loaded { membership, lessor, alarms, auth, v2 })
    }
}

/// Reads all of it for a member that starts.
pub(super) fn open(backend: &Arc<dyn Backend>, config: &Config) -> Result<Shared, OpenError> {
    let opened = mvcc::Store::open(backend.clone())?;
    let view = backend.read()?;
    let loaded = Loaded::read(&*view, config, opened.attachments)?;
    let mut tokens = ::auth::SimpleTokens::new(config.token_ttl_ms);
    if loaded.auth.is_enabled() {
        tokens.enable();
    }
    Ok(Shared {
        store: Arc::new(opened.store),
        lessor: Arc::new(Mutex::new(loaded.lessor)),
        alarms: Arc::new(RwLock::new(loaded.alarms)),
        membership: Arc::new(RwLock::new(loaded.membership)),
        auth: Arc::new(RwLock::new(loaded.auth)),
        tokens: Arc::new(Mutex::new(tokens)),
        v2: Arc::new(RwLock::new(loaded.v2)),
    })
}

impl StateMachine {
    /// Follows a backend that a snapshot of the leader has replaced, after
    /// [`mvcc::Store::replace`], which found `attachments`. From now on the entry after `at` is the
    /// next.
    pub fn restore(
        &mut self,
        backend: &dyn Backend,
        attachments: Vec<(LeaseId, Bytes)>,
        at: RaftIndex,
    ) -> Result<(), OpenError> {
        let view = backend.read()?;
        let mut loaded = Loaded::read(&*view, &self.config, attachments)?;
        *self.shared.membership.write() = loaded.membership;
        *self.shared.lessor.lock() = loaded.lessor;
        *self.shared.alarms.write() = loaded.alarms;
        if !mutants::is_on(mutants::Mutant::AuthNotReloaded) {
            self.shared.replace_auth(loaded.auth);
        }
        let mut v2 = self.shared.v2.write();
        loaded.v2.adopt_watchers(&mut v2);
        *v2 = loaded.v2;
        drop(v2);
        self.applied = at;
        self.auth_revision_saved = false;
        Ok(())
    }
}
