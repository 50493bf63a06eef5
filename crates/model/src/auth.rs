//! Users, roles and permissions: who may do what, once authentication is on.
//!
//! A request is judged before it is carried out, as a whole, by the rights that its user has then. An
//! identity that was established before the last change of users or roles is refused.
//!
//! Source: spec `grpc.md` section 9.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    authpb::{Permission, permission::Type},
    error::Error,
    etcdserverpb::{
        AuthRoleRevokePermissionRequest, InternalRaftRequest, PutRequest, RequestOp, TxnRequest,
        request_op::Request,
    },
    range::KeyRange,
};
use bytes::Bytes;

use crate::keyspace::Keyspace;

const ROOT: &str = "root";

/// Who asks, and the auth revision as of which that is known; 0 for nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// The user's name.
    pub user: String,
    /// The auth revision.
    pub revision: u64,
}

/// All users and roles.
#[derive(Clone, Debug)]
pub struct Auth {
    enabled: bool,
    revision: u64,
    /// The roles of each user.
    users: BTreeMap<String, BTreeSet<String>>,
    /// The permissions of each role, in the order of their keys.
    roles: BTreeMap<String, Vec<Permission>>,
}

impl Default for Auth {
    fn default() -> Auth {
        Auth { enabled: false, revision: 1, users: BTreeMap::new(), roles: BTreeMap::new() }
    }
}

impl Auth {
    /// Whether requests need an identity.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Grows with every change of what somebody may do.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether `who` may read a range.
    pub fn check_read(&self, who: &Who, key: &Bytes, range_end: &Bytes) -> Result<(), Error> {
        self.check(who, Type::Read, &KeyRange::new(key.clone(), range_end.clone()))
    }

    /// Judges a request before anything of it happens.
    pub(crate) fn admit(
        &self,
        who: &Who,
        request: &InternalRaftRequest,
        keys: &Keyspace,
    ) -> Result<(), Error> {
        if is_change(request) {
            return self.check_admin(who);
        }
        if let Some(range) = &request.range {
            self.check_read(who, &range.key, &range.range_end)
        } else if let Some(put) = &request.put {
            self.check_put(who, put, keys)
        } else if let Some(delete) = &request.delete_range {
            self.check_delete(who, &delete.key, &delete.range_end, delete.prev_kv)
        } else if let Some(txn) = &request.txn {
            self.check_txn(who, txn, keys)
        } else if let Some(revoke) = &request.lease_revoke {
            self.check_lease(who, revoke.id, keys)
        } else {
            Ok(())
        }
    }

    fn check_txn(&self, who: &Who, txn: &TxnRequest, keys: &Keyspace) -> Result<(), Error> {
        for compare in &txn.compare {
            self.check_read(who, &compare.key, &compare.range_end)?;
        }
        for RequestOp { request } in txn.success.iter().chain(&txn.failure) {
            match request {
                Some(Request::RequestRange(range)) => {
                    self.check_read(who, &range.key, &range.range_end)?;
                }
                Some(Request::RequestPut(put)) => self.check_put(who, put, keys)?,
                Some(Request::RequestDeleteRange(delete)) => {
                    self.check_delete(who, &delete.key, &delete.range_end, delete.prev_kv)?;
                }
                Some(Request::RequestTxn(inner)) => self.check_txn(who, inner, keys)?,
                None => {}
            }
        }
        Ok(())
    }

    /// A key goes with its lease: to attach one is to be able to delete all of them.
    fn check_put(&self, who: &Who, put: &PutRequest, keys: &Keyspace) -> Result<(), Error> {
        let key = KeyRange::Single(put.key.clone());
        self.check(who, Type::Write, &key)?;
        self.check_lease(who, put.lease, keys)?;
        if put.prev_kv { self.check(who, Type::Read, &key) } else { Ok(()) }
    }

    fn check_delete(
        &self,
        who: &Who,
        key: &Bytes,
        range_end: &Bytes,
        shows: bool,
    ) -> Result<(), Error> {
        let range = KeyRange::new(key.clone(), range_end.clone());
        self.check(who, Type::Write, &range)?;
        if shows { self.check(who, Type::Read, &range) } else { Ok(()) }
    }

    fn check_lease(&self, who: &Who, lease: i64, keys: &Keyspace) -> Result<(), Error> {
        if lease == 0 || self.check_admin(who).is_ok() {
            return Ok(());
        }
        let mut attached = keys.attached_to(lease).into_iter();
        attached.try_for_each(|key| self.check(who, Type::Write, &KeyRange::Single(key)))
    }

    fn check_admin(&self, who: &Who) -> Result<(), Error> {
        if !self.enabled {
            return Ok(());
        }
        if who.user.is_empty() {
            return Err(Error::UserEmpty);
        }
        match self.users.get(&who.user) {
            None => Err(Error::UserNotFound),
            Some(roles) if roles.contains(ROOT) => Ok(()),
            Some(_) => Err(Error::PermissionDenied),
        }
    }

    fn check(&self, who: &Who, kind: Type, range: &KeyRange) -> Result<(), Error> {
        if !self.enabled {
            return Ok(());
        }
        if who.revision == 0 {
            return Err(Error::UserEmpty);
        }
        if who.revision < self.revision {
            return Err(Error::AuthOldRevision);
        }
        let may = self.users.get(&who.user).is_some_and(|roles| self.may(roles, kind, range));
        if may { Ok(()) } else { Err(Error::PermissionDenied) }
    }

    /// Whether the permissions of these roles together cover a range, without a gap.
    fn may(&self, roles: &BTreeSet<String>, kind: Type, range: &KeyRange) -> bool {
        if roles.contains(ROOT) {
            return true;
        }
        let of_kind = |permission: &&Permission| {
            [kind as i32, Type::Readwrite as i32].contains(&permission.perm_type)
        };
        let held: Vec<KeyRange> = roles
            .iter()
            .filter_map(|role| self.roles.get(role))
            .flatten()
            .filter(of_kind)
            .map(|held| KeyRange::new(held.key.clone(), held.range_end.clone()))
            .collect();
        let mut at = range.start().clone();
        loop {
            // As far as one of those reaches that hold this point.
            let holding = held.iter().filter(|held| held.contains(&at));
            let mut reached = None;
            for held in holding {
                let end = match held {
                    KeyRange::From(_) => return true,
                    KeyRange::Single(key) => [&key[..], &[0]].concat().into(),
                    KeyRange::Span(_, end) => end.clone(),
                };
                reached = reached.max(Some(end));
            }
            let Some(end) = reached else { return false };
            match range {
                KeyRange::Single(_) => return true,
                KeyRange::Span(_, wanted) if *wanted <= end => return true,
                _ => at = end,
            }
        }
    }

    /// Carries out a change of users, roles or permissions that was let through.
    pub(crate) fn change(&mut self, request: &InternalRaftRequest) -> Result<(), Error> {
        if request.auth_enable.is_some() {
            return self.enable();
        }
        if request.auth_disable.is_some() {
            self.revision += u64::from(self.enabled);
            self.enabled = false;
            return Ok(());
        }
        let changed = if let Some(add) = &request.auth_user_add {
            self.add_user(&add.name)?
        } else if let Some(delete) = &request.auth_user_delete {
            self.delete_user(&delete.name)?
        } else if let Some(grant) = &request.auth_user_grant_role {
            self.grant_role(&grant.user, &grant.role)?
        } else if let Some(revoke) = &request.auth_user_revoke_role {
            self.revoke_role(&revoke.name, &revoke.role)?
        } else if let Some(add) = &request.auth_role_add {
            self.add_role(&add.name)?
        } else if let Some(delete) = &request.auth_role_delete {
            self.delete_role(&delete.role)?
        } else if let Some(grant) = &request.auth_role_grant_permission {
            self.grant_permission(&grant.name, grant.perm.as_ref())?
        } else if let Some(revoke) = &request.auth_role_revoke_permission {
            self.revoke_permission(revoke)?
        } else {
            false
        };
        self.revision += u64::from(changed);
        Ok(())
    }

    fn enable(&mut self) -> Result<(), Error> {
        if self.enabled {
            return Ok(());
        }
        match self.users.get(ROOT) {
            None => Err(Error::RootUserNotExist),
            Some(roles) if !roles.contains(ROOT) => Err(Error::RootRoleNotExist),
            Some(_) => {
                self.enabled = true;
                Ok(())
            }
        }
    }

    fn add_user(&mut self, name: &str) -> Result<bool, Error> {
        if self.users.contains_key(name) {
            return Err(Error::UserAlreadyExist);
        }
        self.users.insert(name.to_owned(), BTreeSet::new());
        Ok(true)
    }

    fn delete_user(&mut self, name: &str) -> Result<bool, Error> {
        if self.enabled && name == ROOT {
            return Err(Error::InvalidAuthManagement);
        }
        self.users.remove(name).map(|_| true).ok_or(Error::UserNotFound)
    }

    fn grant_role(&mut self, user: &str, role: &str) -> Result<bool, Error> {
        let held = self.users.get_mut(user).ok_or(Error::UserNotFound)?;
        if role != ROOT && !self.roles.contains_key(role) {
            return Err(Error::RoleNotFound);
        }
        Ok(held.insert(role.to_owned()))
    }

    fn revoke_role(&mut self, user: &str, role: &str) -> Result<bool, Error> {
        if self.enabled && user == ROOT && role == ROOT {
            return Err(Error::InvalidAuthManagement);
        }
        let held = self.users.get_mut(user).ok_or(Error::UserNotFound)?;
        if held.remove(role) { Ok(true) } else { Err(Error::RoleNotGranted) }
    }

    fn add_role(&mut self, name: &str) -> Result<bool, Error> {
        if self.roles.contains_key(name) {
            return Err(Error::RoleAlreadyExist);
        }
        self.roles.insert(name.to_owned(), Vec::new());
        Ok(true)
    }

    fn delete_role(&mut self, name: &str) -> Result<bool, Error> {
        if self.enabled && name == ROOT {
            return Err(Error::InvalidAuthManagement);
        }
        self.roles.remove(name).ok_or(Error::RoleNotFound)?;
        for held in self.users.values_mut() {
            held.remove(name);
        }
        Ok(true)
    }

    /// Only the first permission on a key is looked at, as in etcd.
    fn grant_permission(&mut self, role: &str, given: Option<&Permission>) -> Result<bool, Error> {
        let given = given.ok_or(Error::PermissionNotGiven)?;
        let (key, end) = (&given.key, &given.range_end);
        if key.is_empty() || !(end.is_empty() || key < end || end[..] == [0]) {
            return Err(Error::InvalidAuthManagement);
        }
        let held = self.roles.get_mut(role).ok_or(Error::RoleNotFound)?;
        match held.iter_mut().find(|held| held.key >= *key) {
            Some(same) if same.key == *key && same.range_end == *end => {
                same.perm_type = given.perm_type;
            }
            _ => {
                let at = held.iter().take_while(|held| held.key <= *key).count();
                held.insert(at, given.clone());
            }
        }
        Ok(true)
    }

    fn revoke_permission(
        &mut self,
        revoke: &AuthRoleRevokePermissionRequest,
    ) -> Result<bool, Error> {
        let held = self.roles.get_mut(&revoke.role).ok_or(Error::RoleNotFound)?;
        let before = held.len();
        held.retain(|held| held.key != revoke.key || held.range_end != revoke.range_end);
        if held.len() < before { Ok(true) } else { Err(Error::PermissionNotGranted) }
    }
}

/// Whether a request is about users, roles or permissions: an administrator's alone.
pub(crate) fn is_change(request: &InternalRaftRequest) -> bool {
    request.auth_enable.is_some()
        || request.auth_disable.is_some()
        || request.auth_user_add.is_some()
        || request.auth_user_delete.is_some()
        || request.auth_user_grant_role.is_some()
        || request.auth_user_revoke_role.is_some()
        || request.auth_role_add.is_some()
        || request.auth_role_delete.is_some()
        || request.auth_role_grant_permission.is_some()
        || request.auth_role_revoke_permission.is_some()
}
