//! The store: what it holds, how it is read back, and how an entry in it is replaced.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    authpb::{self, Role},
    range::KeyRange,
};
use bytes::Bytes;
use storage::{Op, ReadTx, schema};

use crate::{Error, ROOT_ROLE, rights::Rights};

/// A user and what its roles add up to.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// As stored.
    pub(crate) record: authpb::User,
    pub(crate) rights: Rights,
}

impl User {
    /// Whether the user logs in with a certificate only.
    pub fn has_no_password(&self) -> bool {
        self.record.options.is_some_and(|options| options.no_password)
    }

    /// The bcrypt hash of the password, as text.
    pub fn password_hash(&self) -> Bytes {
        self.record.password.clone()
    }

    /// The names of the user's roles, sorted.
    pub fn roles(&self) -> &[String] {
        &self.record.roles
    }

    /// Whether the user may do everything.
    pub(crate) fn is_root(&self) -> bool {
        self.record.roles.iter().any(|role| role == ROOT_ROLE)
    }

    pub(crate) fn may_read(&self, range: &KeyRange) -> bool {
        self.is_root() || self.rights.read.covers(range)
    }

    pub(crate) fn may_read_key(&self, key: &[u8]) -> bool {
        self.is_root() || self.rights.read.has(key)
    }

    pub(crate) fn may_write(&self, range: &KeyRange) -> bool {
        self.is_root() || self.rights.write.covers(range)
    }

    pub(crate) fn may_write_key(&self, key: &[u8]) -> bool {
        self.is_root() || self.rights.write.has(key)
    }
}

/// Users, roles, whether authentication is on, and the revision of all that.
#[derive(Clone, Debug, PartialEq)]
pub struct AuthStore {
    pub(crate) enabled: bool,
    pub(crate) revision: u64,
    pub(crate) users: BTreeMap<Bytes, User>,
    pub(crate) roles: BTreeMap<Bytes, Role>,
    /// The revision is the first one and is not in the store yet.
    unsaved: bool,
}

/// The revision of a store that never changed.
const FIRST_REVISION: u64 = 1;

impl AuthStore {
    /// What a store holds. Used at start and again after the store was replaced by a snapshot.
    pub fn load(view: &dyn ReadTx) -> Result<AuthStore, storage::Error> {
        let enabled = schema::auth::read_enabled(view)?;
        let stored = schema::auth::read_revision(view)?;
        let roles = schema::auth_roles::all(view)?;
        let mut store = AuthStore {
            enabled,
            revision: stored.max(FIRST_REVISION),
            users: BTreeMap::new(),
            roles: roles.into_iter().map(|role| (role.name.clone(), role)).collect(),
            unsaved: stored == 0,
        };
        for record in schema::auth_users::all(view)? {
            let name = record.name.clone();
            let rights = store.rights_of(&record);
            store.users.insert(name, User { record, rights });
        }
        Ok(store)
    }

    /// Records the first revision, once: etcd writes it when it makes a store, and it counts in the
    /// hash of the store.
    pub fn save_first_revision(&mut self, ops: &mut Vec<Op>) {
        if std::mem::take(&mut self.unsaved) {
            ops.push(schema::auth::put_revision(self.revision));
        }
    }

    /// Whether requests need an identity.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Grows with every change that can change what a user may do.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// A user, if there is one of this name.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name.as_bytes())
    }

    /// How many users there are, and roles.
    pub fn counts(&self) -> (usize, usize) {
        (self.users.len(), self.roles.len())
    }

    /// A user to be changed, or the refusal.
    pub(crate) fn known_user(&self, name: &str) -> Result<&User, Error> {
        self.user(name).ok_or_else(|| api::error::Error::UserNotFound.into())
    }

    /// A role, or the refusal.
    pub(crate) fn known_role(&self, name: &str) -> Result<&Role, Error> {
        self.roles.get(name.as_bytes()).ok_or_else(|| api::error::Error::RoleNotFound.into())
    }

    /// Stores a user, new or changed.
    pub(crate) fn put_user(&mut self, record: authpb::User, ops: &mut Vec<Op>) {
        ops.push(schema::auth_users::put(&record));
        let rights = self.rights_of(&record);
        self.users.insert(record.name.clone(), User { record, rights });
    }

    /// Stores a role, new or changed, and what that means for its users.
    pub(crate) fn put_role(&mut self, role: Role, ops: &mut Vec<Op>) {
        ops.push(schema::auth_roles::put(&role));
        let name = role.name.clone();
        self.roles.insert(name.clone(), role);
        self.refresh_users_of(&name);
    }

    /// Raises the revision: the last step of every change.
    pub(crate) fn commit_revision(&mut self, ops: &mut Vec<Op>) {
        self.revision += 1;
        self.unsaved = false;
        ops.push(schema::auth::put_revision(self.revision));
    }

    fn refresh_users_of(&mut self, role: &[u8]) {
        let holds = |user: &User| user.record.roles.iter().any(|name| name.as_bytes() == role);
        let names: Vec<Bytes> = self
            .users
            .iter()
            .filter(|(_, user)| holds(user))
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            let rights = self.rights_of(&self.users[&name].record);
            let user = self.users.get_mut(&name).expect("its name was just found");
            user.rights = rights;
        }
    }

    /// The rights that a user's roles give; a role that does not exist gives none.
    fn rights_of(&self, record: &authpb::User) -> Rights {
        let names: BTreeSet<&str> = record.roles.iter().map(String::as_str).collect();
        let roles: Vec<&Role> =
            names.into_iter().filter_map(|name| self.roles.get(name.as_bytes())).collect();
        Rights::merge(roles.iter().flat_map(|role| &role.key_permission))
    }
}
