//! Changes of users, roles and permissions, and what is shown of them.
//!
//! Every function checks first and writes last: a refusal changes nothing. Whether the caller may
//! ask for a change is [`check`](crate::AuthStore::check_admin)'s matter.

use api::{
    authpb::{self, Permission, Role, UserAddOptions, permission::Type},
    error::Error as Refusal,
    etcdserverpb as pb,
    ids::RaftIndex,
};
use bytes::Bytes;
use storage::{KEY_BYTES_MAX, Op, schema};

use crate::{AuthStore, Error, ROOT_ROLE, ROOT_USER, password};

impl AuthStore {
    /// Turns authentication on: there must be a user root with role root. No change when it is on.
    pub fn enable(&mut self, ops: &mut Vec<Op>) -> Result<(), Error> {
        if self.enabled {
            return Ok(());
        }
        match self.user(ROOT_USER) {
            None => Err(Refusal::RootUserNotExist.into()),
            Some(root) if !root.is_root() => Err(Refusal::RootRoleNotExist.into()),
            Some(_) => {
                ops.push(schema::auth::put_enabled(true));
                self.enabled = true;
                Ok(())
            }
        }
    }

    /// Turns authentication off. No change when it is off.
    pub fn disable(&mut self, ops: &mut Vec<Op>) {
        if self.enabled {
            ops.push(schema::auth::put_enabled(false));
            self.enabled = false;
            self.commit_revision(ops);
        }
    }

    /// Adds a user. `at` is the index of the entry, for the salt of a password that an old release
    /// left in clear text.
    pub fn user_add(
        &mut self,
        request: &pb::AuthUserAddRequest,
        at: RaftIndex,
        ops: &mut Vec<Op>,
    ) -> Result<(), Error> {
        check_name(&request.name, Refusal::UserEmpty)?;
        if self.user(&request.name).is_some() {
            return Err(Refusal::UserAlreadyExist.into());
        }
        let options = request.options.unwrap_or(UserAddOptions { no_password: false });
        let given = (&request.password[..], &request.hashed_password[..]);
        let password = match options.no_password {
            true => Bytes::new(),
            false => stored_password(given, &request.name, at)?,
        };
        let name = Bytes::copy_from_slice(request.name.as_bytes());
        let (roles, options) = (Vec::new(), Some(options));
        self.put_user(authpb::User { name, password, roles, options }, ops);
        self.commit_revision(ops);
        Ok(())
    }

    /// Removes a user; never root while authentication is on.
    pub fn user_delete(&mut self, name: &str, ops: &mut Vec<Op>) -> Result<(), Error> {
        if self.enabled && name == ROOT_USER {
            return Err(Refusal::InvalidAuthManagement.into());
        }
        let name = self.known_user(name)?.record.name.clone();
        self.users.remove(&name);
        ops.push(schema::auth_users::delete(name));
        self.commit_revision(ops);
        Ok(())
    }

    /// Gives a user another password; a user without one stays without.
    pub fn user_change_password(
        &mut self,
        request: &pb::AuthUserChangePasswordRequest,
        at: RaftIndex,
        ops: &mut Vec<Op>,
    ) -> Result<(), Error> {
        let user = self.known_user(&request.name)?;
        let given = (&request.password[..], &request.hashed_password[..]);
        let password = match user.has_no_password() {
            true => Bytes::new(),
            false => stored_password(given, &request.name, at)?,
        };
        let record = authpb::User { password, ..user.record.clone() };
        self.put_user(record, ops);
        self.commit_revision(ops);
        Ok(())
    }

    /// Gives a user a role. Role root may be given though no such role was ever made. A role that
    /// the user has already is no change.
    pub fn user_grant_role(
        &mut self,
        user: &str,
        role: &str,
        ops: &mut Vec<Op>,
    ) -> Result<(), Error> {
        let mut record = self.known_user(user)?.record.clone();
        if role != ROOT_ROLE {
            self.known_role(role)?;
        }
        let at = record.roles.partition_point(|held| &held[..] < role);
        if record.roles.get(at).is_some_and(|held| held == role) {
            return Ok(());
        }
        record.roles.insert(at, role.to_owned());
        self.put_user(record, ops);
        self.commit_revision(ops);
        Ok(())
    }

    /// Takes a role from a user; never root's from root while authentication is on.
    pub fn user_revoke_role(
        &mut self,
        user: &str,
        role: &str,
        ops: &mut Vec<Op>,
    ) -> Result<(), Error> {
        if self.enabled && user == ROOT_USER && role == ROOT_ROLE {
            return Err(Refusal::InvalidAuthManagement.into());
        }
        let record = self.known_user(user)?.record.clone();
        let record = without_role(&record, role).ok_or(Refusal::RoleNotGranted)?;
        self.put_user(record, ops);
        self.commit_revision(ops);
        Ok(())
    }

    /// The roles of a user.
    pub fn user_get(&self, name: &str) -> Result<Vec<String>, Error> {
        Ok(self.known_user(name)?.record.roles.clone())
    }

    /// The names of all users, in the order of their bytes.
    pub fn user_list(&self) -> Vec<String> {
        self.users.keys().map(text).collect()
    }

    /// Adds a role without permissions.
    pub fn role_add(&mut self, name: &str, ops: &mut Vec<Op>) -> Result<(), Error> {
        check_name(name, Refusal::RoleEmpty)?;
        if self.roles.contains_key(name.as_bytes()) {
            return Err(Refusal::RoleAlreadyExist.into());
        }
        let name = Bytes::copy_from_slice(name.as_bytes());
        self.put_role(Role { name, key_permission: Vec::new() }, ops);
        self.commit_revision(ops);
        Ok(())
    }

    /// Removes a role, also from its users; never root while authentication is on.
    pub fn role_delete(&mut self, name: &str, ops: &mut Vec<Op>) -> Result<(), Error> {
        if self.enabled && name == ROOT_ROLE {
            return Err(Refusal::InvalidAuthManagement.into());
        }
        let key = self.known_role(name)?.name.clone();
        self.roles.remove(&key);
        ops.push(schema::auth_roles::delete(key));
        let changed: Vec<authpb::User> =
            self.users.values().filter_map(|user| without_role(&user.record, name)).collect();
        for record in changed {
            self.put_user(record, ops);
        }
        self.commit_revision(ops);
        Ok(())
    }

    /// The permissions of a role. Role root has every one, whatever is stored for it.
    pub fn role_get(&self, name: &str) -> Result<Vec<Permission>, Error> {
        let role = self.known_role(name)?;
        if name == ROOT_ROLE {
            let (key, range_end) = (Bytes::new(), Bytes::from_static(&[0]));
            return Ok(vec![Permission { perm_type: Type::Readwrite as i32, key, range_end }]);
        }
        Ok(role.key_permission.clone())
    }

    /// The names of all roles, in the order of their bytes.
    pub fn role_list(&self) -> Vec<String> {
        self.roles.keys().map(text).collect()
    }

    /// Gives a role a permission, or changes the kind of the one on the same range.
    ///
    /// As in etcd only the first permission on a key is looked at: of two ranges with one start,
    /// granting the second again adds it again.
    pub fn role_grant_permission(
        &mut self,
        role: &str,
        permission: Option<&Permission>,
        ops: &mut Vec<Op>,
    ) -> Result<(), Error> {
        let permission = permission.ok_or(Refusal::PermissionNotGiven)?;
        if !is_valid(permission) {
            return Err(Refusal::InvalidAuthManagement.into());
        }
        let mut role = self.known_role(role)?.clone();
        let held = &mut role.key_permission;
        let first = held.partition_point(|held| held.key < permission.key);
        match held.get_mut(first) {
            Some(same) if is_on(same, &permission.key, &permission.range_end) => {
                same.perm_type = permission.perm_type;
            }
            _ => {
                let after = held.partition_point(|held| held.key <= permission.key);
                held.insert(after, permission.clone());
            }
        }
        self.put_role(role, ops);
        self.commit_revision(ops);
        Ok(())
    }

    /// Takes the permissions on exactly this range from a role.
    pub fn role_revoke_permission(
        &mut self,
        request: &pb::AuthRoleRevokePermissionRequest,
        ops: &mut Vec<Op>,
    ) -> Result<(), Error> {
        let mut role = self.known_role(&request.role)?.clone();
        let before = role.key_permission.len();
        role.key_permission.retain(|held| !is_on(held, &request.key, &request.range_end));
        if role.key_permission.len() == before {
            return Err(Refusal::PermissionNotGranted.into());
        }
        self.put_role(role, ops);
        self.commit_revision(ops);
        Ok(())
    }
}

/// A name must not be empty, and must fit the store's keys.
fn check_name(name: &str, empty: Refusal) -> Result<(), Error> {
    match name.len() {
        0 => Err(empty.into()),
        length if length > KEY_BYTES_MAX => Err(Refusal::RequestTooLarge.into()),
        _ => Ok(()),
    }
}

/// A permission is on one key, on a range that ends after its start, or on all keys from one on.
fn is_valid(permission: &Permission) -> bool {
    let (key, end) = (&permission.key, &permission.range_end);
    !key.is_empty() && (end.is_empty() || key < end || end[..] == [0])
}

fn is_on(permission: &Permission, key: &[u8], range_end: &[u8]) -> bool {
    permission.key == key && permission.range_end == range_end
}

/// The user without a role; `None` if it does not have it.
fn without_role(record: &authpb::User, role: &str) -> Option<authpb::User> {
    let mut changed = record.clone();
    changed.roles.retain(|held| held != role);
    (changed.roles.len() < record.roles.len()).then_some(changed)
}

/// What is stored as a user's password: the hash that the proposer made. Releases before 3.5 put
/// the password itself into the log; its hash is then made here, with a salt that every member
/// derives alike.
fn stored_password(
    (clear, hashed): (&str, &str),
    user: &str,
    at: RaftIndex,
) -> Result<Bytes, Error> {
    if !clear.is_empty() && hashed.is_empty() {
        return password::hash_logged(clear, user, at).ok_or(Error::NO_PASSWORD_USER);
    }
    password::decode(hashed).ok_or(Error::NO_PASSWORD_USER)
}

fn text(name: &Bytes) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests;
