//! Whether the sender of a request has the right to it (spec `grpc.md` section 9).
//!
//! A request is judged as a whole before any of it runs, transactions with all that is nested in
//! them, in both branches, whichever is taken. Requests through raft are judged here when they are
//! applied; services judge with the same functions what never goes through raft.

use api::{
    etcdserverpb::{
        DeleteRangeRequest, InternalRaftRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
        request_op::Request,
    },
    ids::LeaseId,
    range::KeyRange,
};
use auth::{AuthStore, Error, Identity};
use lease::Lessor;
use parking_lot::Mutex;

/// Judges requests of one sender.
pub struct Permit<'a> {
    /// Users and roles.
    pub auth: &'a AuthStore,
    /// Leases, for the keys that a lease deletes when it ends.
    pub lessor: &'a Mutex<Lessor>,
    /// The sender.
    pub who: &'a Identity,
}

impl Permit<'_> {
    /// Judges what comes through raft.
    pub(crate) fn check(&self, request: &InternalRaftRequest) -> Result<(), Error> {
        if !self.auth.is_enabled() {
            return Ok(());
        }
        if needs_admin(request) {
            return self.auth.check_admin(self.who);
        }
        if let Some(range) = &request.range {
            self.range(range)
        } else if let Some(put) = &request.put {
            self.put(put)
        } else if let Some(delete) = &request.delete_range {
            self.delete(delete)
        } else if let Some(txn) = &request.txn {
            self.txn(txn)
        } else if let Some(revoke) = &request.lease_revoke {
            self.write_lease(LeaseId(revoke.id))
        } else if let Some(get) = &request.auth_user_get {
            self.auth.check_see_user(self.who, &get.name)
        } else if let Some(get) = &request.auth_role_get {
            self.auth.check_see_role(self.who, &get.role)
        } else {
            Ok(())
        }
    }

    /// Reading needs the right to read.
    pub fn range(&self, request: &RangeRequest) -> Result<(), Error> {
        self.read(&request.key, &request.range_end)
    }

    /// Guards read, in every nested transaction too; branches do what their operations do.
    pub fn txn(&self, request: &TxnRequest) -> Result<(), Error> {
        for compare in &request.compare {
            self.read(&compare.key, &compare.range_end)?;
        }
        let mut ops = request.success.iter().chain(&request.failure);
        ops.try_for_each(|op| self.op(op))
    }

    fn op(&self, op: &RequestOp) -> Result<(), Error> {
        match &op.request {
            Some(Request::RequestRange(range)) => self.range(range),
            Some(Request::RequestPut(put)) => self.put(put),
            Some(Request::RequestDeleteRange(delete)) => self.delete(delete),
            Some(Request::RequestTxn(txn)) => self.txn(txn),
            None => Ok(()),
        }
    }

    /// A key goes with its lease: who attaches one must be allowed to delete all of the lease's.
    /// Showing what was before is reading.
    fn put(&self, request: &PutRequest) -> Result<(), Error> {
        self.auth.check_write_key(self.who, &request.key)?;
        self.write_lease(LeaseId(request.lease))?;
        if request.prev_kv {
            self.auth.check_read_key(self.who, &request.key)?;
        }
        Ok(())
    }

    fn delete(&self, request: &DeleteRangeRequest) -> Result<(), Error> {
        let range = KeyRange::new(request.key.clone(), request.range_end.clone());
        self.auth.check_write(self.who, &range)?;
        if request.prev_kv {
            self.auth.check_read(self.who, &range)?;
        }
        Ok(())
    }

    fn read(&self, key: &bytes::Bytes, range_end: &bytes::Bytes) -> Result<(), Error> {
        self.auth.check_read(self.who, &KeyRange::new(key.clone(), range_end.clone()))
    }

    /// Revoking or renewing a lease needs the right to write each of its keys. A lease without keys,
    /// or that does not exist, needs none.
    pub fn write_lease(&self, id: LeaseId) -> Result<(), Error> {
        self.each_key(id, |key| self.auth.check_write_key(self.who, key))
    }

    /// Seeing the keys of a lease needs the right to read each of them.
    pub fn read_lease(&self, id: LeaseId) -> Result<(), Error> {
        self.each_key(id, |key| self.auth.check_read_key(self.who, key))
    }

    /// Administrators pass at once, whatever the revision of their identity.
    fn each_key(
        &self,
        id: LeaseId,
        check: impl Fn(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if id == LeaseId(0) || self.auth.check_admin(self.who).is_ok() {
            return Ok(());
        }
        let keys = self.lessor.lock().keys(id).unwrap_or_default();
        keys.iter().try_for_each(|key| check(key))
    }
}

/// Whether a request is an administrator's alone. Members propose other kinds in nobody's name.
fn needs_admin(request: &InternalRaftRequest) -> bool {
    request.auth_enable.is_some()
        || request.auth_disable.is_some()
        || request.auth_user_add.is_some()
        || request.auth_user_delete.is_some()
        || request.auth_user_change_password.is_some()
        || request.auth_user_grant_role.is_some()
        || request.auth_user_revoke_role.is_some()
        || request.auth_user_list.is_some()
        || request.auth_role_list.is_some()
        || request.auth_role_add.is_some()
        || request.auth_role_delete.is_some()
        || request.auth_role_grant_permission.is_some()
        || request.auth_role_revoke_permission.is_some()
}
