//! Entries about authentication: users, roles, permissions, logins, on and off.
//!
//! Who may send which was checked by `permit`. Passwords are compared by the member that serves a
//! login, before it proposes it; here every member only learns the token.

use api::{
    error::Error,
    etcdserverpb::{
        AuthRoleGetResponse, AuthRoleListResponse, AuthStatusResponse, AuthUserGetResponse,
        AuthUserListResponse, AuthenticateResponse, InternalAuthenticateRequest,
        InternalRaftRequest,
    },
    ids::RaftIndex,
};
use auth::{AuthStore, User};

use crate::{
    ApplyError, Response, Shared,
    outcome::{Traces, header},
};

/// When and where an entry about authentication is applied.
#[derive(Clone, Copy)]
pub(crate) struct At {
    pub(crate) index: RaftIndex,
    pub(crate) now_ms: u64,
}

/// Carries out a request about authentication; `None` when it is about something else. Of several in
/// one entry the first counts, in etcd's order.
pub(crate) fn auth(
    shared: &Shared,
    request: &InternalRaftRequest,
    at: At,
    traces: &mut Traces,
) -> Option<Result<Response, ApplyError>> {
    if let Some(login) = &request.authenticate {
        return Some(authenticate(shared, login, at));
    }
    let changed = change(shared, request, at, traces);
    let header = header(shared.store.revision());
    if let Some(changed) = changed {
        return Some(changed.map(|()| Response::AuthChange(header)).map_err(Into::into));
    }
    let auth = shared.auth.read();
    let answer = if request.auth_status.is_some() {
        let (enabled, auth_revision) = (auth.is_enabled(), auth.revision());
        Ok(Response::AuthStatus(AuthStatusResponse { header, enabled, auth_revision }))
    } else if let Some(get) = &request.auth_user_get {
        let roles = auth.user_get(&get.name);
        roles.map(|roles| Response::UserGet(AuthUserGetResponse { header, roles }))
    } else if let Some(get) = &request.auth_role_get {
        let perm = auth.role_get(&get.role);
        perm.map(|perm| Response::RoleGet(AuthRoleGetResponse { header, perm }))
    } else if request.auth_user_list.is_some() {
        Ok(Response::UserList(AuthUserListResponse { header, users: auth.user_list() }))
    } else if request.auth_role_list.is_some() {
        Ok(Response::RoleList(AuthRoleListResponse { header, roles: auth.role_list() }))
    } else {
        return None;
    };
    Some(answer.map_err(Into::into))
}

/// Gives a user the token that the proposer chose, with an index behind it: it says how far a member
/// must have come to know the token. As in etcd, and so on all members of a mixed cluster, it is
/// that of the entry before this one. Signed tokens leave nothing to remember; the proposer makes
/// them of what it is answered.
fn authenticate(
    shared: &Shared,
    login: &InternalAuthenticateRequest,
    at: At,
) -> Result<Response, ApplyError> {
    let auth = shared.auth.read();
    if !auth.is_enabled() {
        return Err(Error::AuthNotEnabled.into());
    }
    if auth.user(&login.name).is_none_or(|user| user.has_no_password()) {
        return Err(Error::AuthFailed.into());
    }
    let mut token = String::new();
    if !login.simple_token.is_empty() {
        token = format!("{}.{}", login.simple_token, at.index.0.saturating_sub(1));
        shared.tokens.lock().assign(&login.name, token.clone(), at.now_ms);
    }
    let header = header(shared.store.revision());
    let revision = auth.revision();
    Ok(Response::Authenticate { response: AuthenticateResponse { header, token }, revision })
}

/// Changes the store of users; `None` when the request changes nothing there.
fn change(
    shared: &Shared,
    request: &InternalRaftRequest,
    at: At,
    traces: &mut Traces,
) -> Option<Result<(), auth::Error>> {
    if !is_change(request) {
        return None;
    }
    // Tokens follow while nobody can look at either: no request sees a token of a user that is gone.
    let mut store = shared.auth.write();
    let (auth, ops) = (&mut *store, &mut traces.ops);
    Some(if request.auth_enable.is_some() {
        auth.enable(ops).inspect(|()| shared.tokens.lock().enable())
    } else if request.auth_disable.is_some() {
        auth.disable(ops);
        shared.tokens.lock().disable();
        Ok(())
    } else if let Some(add) = &request.auth_user_add {
        auth.user_add(add, at.index, ops)
    } else if let Some(delete) = &request.auth_user_delete {
        let deleted = auth.user_delete(&delete.name, ops);
        deleted.inspect(|()| shared.tokens.lock().invalidate_user(&delete.name))
    } else if let Some(password) = &request.auth_user_change_password {
        let changed = auth.user_change_password(password, at.index, ops);
        changed.inspect(|()| shared.tokens.lock().invalidate_user(&password.name))
    } else if let Some(grant) = &request.auth_user_grant_role {
        auth.user_grant_role(&grant.user, &grant.role, ops)
    } else if let Some(revoke) = &request.auth_user_revoke_role {
        auth.user_revoke_role(&revoke.name, &revoke.role, ops)
    } else if let Some(add) = &request.auth_role_add {
        auth.role_add(&add.name, ops)
    } else if let Some(grant) = &request.auth_role_grant_permission {
        auth.role_grant_permission(&grant.name, grant.perm.as_ref(), ops)
    } else if let Some(revoke) = &request.auth_role_revoke_permission {
        auth.role_revoke_permission(revoke, ops)
    } else if let Some(delete) = &request.auth_role_delete {
        auth.role_delete(&delete.role, ops)
    } else {
        unreachable!("one of the fields is set: `is_change` names the same ones")
    })
}

fn is_change(request: &InternalRaftRequest) -> bool {
    request.auth_enable.is_some()
        || request.auth_disable.is_some()
        || request.auth_user_add.is_some()
        || request.auth_user_delete.is_some()
        || request.auth_user_change_password.is_some()
        || request.auth_user_grant_role.is_some()
        || request.auth_user_revoke_role.is_some()
        || request.auth_role_add.is_some()
        || request.auth_role_grant_permission.is_some()
        || request.auth_role_revoke_permission.is_some()
        || request.auth_role_delete.is_some()
}

impl Shared {
    /// Takes users and roles from a snapshot. Tokens that were given meanwhile are not in it. Those
    /// that this member knows stay good, but for users that are gone or have another password: the
    /// entries that would have said so are skipped.
    pub(crate) fn replace_auth(&self, loaded: AuthStore) {
        let mut auth = self.auth.write();
        let mut tokens = self.tokens.lock();
        match loaded.is_enabled() {
            true => tokens.enable(),
            false => tokens.disable(),
        }
        let password = |store: &AuthStore, name: &str| store.user(name).map(User::password_hash);
        tokens.retain_users(|name| {
            let now = password(&loaded, name);
            now.is_some() && now == password(&auth, name)
        });
        *auth = loaded;
    }
}

#[cfg(test)]
mod tests;
