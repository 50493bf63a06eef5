//! Users, roles and tokens: not built yet, and answered alike by every member.

use api::{
    error::{Code, Error},
    etcdserverpb::{AuthStatusResponse, InternalRaftRequest},
};

use crate::{ApplyError, Response, Shared, outcome::header};

/// The revision of a store of users that never changed.
const FIRST_REVISION: u64 = 1;

/// Answers a request about authentication; `None` when the request is about something else.
pub(crate) fn auth(
    shared: &Shared,
    request: &InternalRaftRequest,
) -> Option<Result<Response, ApplyError>> {
    if request.auth_status.is_some() {
        return Some(Ok(Response::AuthStatus(AuthStatusResponse {
            header: header(shared.store.revision()),
            enabled: false,
            auth_revision: FIRST_REVISION,
        })));
    }
    if request.authenticate.is_some() {
        return Some(Err(Error::AuthNotEnabled.into()));
    }
    changes_or_lists(request).then(|| {
        let message = "oxetcd: authentication is not built yet".into();
        Err(ApplyError { code: Code::Unimplemented, message })
    })
}

fn changes_or_lists(request: &InternalRaftRequest) -> bool {
    request.auth_enable.is_some()
        || request.auth_disable.is_some()
        || request.auth_user_add.is_some()
        || request.auth_user_delete.is_some()
        || request.auth_user_get.is_some()
        || request.auth_user_change_password.is_some()
        || request.auth_user_grant_role.is_some()
        || request.auth_user_revoke_role.is_some()
        || request.auth_user_list.is_some()
        || request.auth_role_list.is_some()
        || request.auth_role_add.is_some()
        || request.auth_role_delete.is_some()
        || request.auth_role_get.is_some()
        || request.auth_role_grant_permission.is_some()
        || request.auth_role_revoke_permission.is_some()
}
