//! Auth: logins, users, roles and permissions (spec grpc.md section 9).
//!
//! All but logins go through raft as they are, lists too, and are judged when they are applied.
//! Passwords become hashes before anything of them can reach the log.

use api::etcdserverpb::{self as pb, InternalRaftRequest, ResponseHeader, auth_server::Auth};
use apply::Response as Applied;
use tonic::{Request, Response, Status};

use super::Services;
use crate::{auth::Caller, status::Failure};

/// A request with this one field.
macro_rules! raft {
    ($field:ident: $value:expr) => {
        InternalRaftRequest { $field: Some($value), ..Default::default() }
    };
}

impl Services {
    /// Takes a change through raft; its answer is the header.
    async fn change(
        &self,
        caller: &Caller,
        request: InternalRaftRequest,
    ) -> Result<Option<ResponseHeader>, Failure> {
        match self.0.propose_as(caller, request).await? {
            Applied::AuthChange(mut header) => {
                self.0.complete(&mut header);
                Ok(header)
            }
            other => unreachable!("a change of the auth store was answered by {other:?}"),
        }
    }
}

#[tonic::async_trait]
impl Auth for Services {
    async fn auth_status(
        &self,
        request: Request<pb::AuthStatusRequest>,
    ) -> Result<Response<pb::AuthStatusResponse>, Status> {
        let (caller, request) = Caller::split(request);
        match self.0.propose_as(&caller, raft!(auth_status: request)).await? {
            Applied::AuthStatus(mut response) => {
                self.0.complete(&mut response.header);
                Ok(Response::new(response))
            }
            other => unreachable!("a status was answered by {other:?}"),
        }
    }

    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Result<Response<pb::AuthenticateResponse>, Status> {
        let mut response = self.0.authenticate(request.into_inner()).await?;
        self.0.complete(&mut response.header);
        Ok(Response::new(response))
    }

    async fn auth_enable(
        &self,
        request: Request<pb::AuthEnableRequest>,
    ) -> Result<Response<pb::AuthEnableResponse>, Status> {
        let (caller, request) = Caller::split(request);
        let header = self.change(&caller, raft!(auth_enable: request)).await?;
        tracing::info!("enabled authentication");
        Ok(Response::new(pb::AuthEnableResponse { header }))
    }

    async fn auth_disable(
        &self,
        request: Request<pb::AuthDisableRequest>,
    ) -> Result<Response<pb::AuthDisableResponse>, Status> {
        let (caller, request) = Caller::split(request);
        let header = self.change(&caller, raft!(auth_disable: request)).await?;
        tracing::info!("disabled authentication");
        Ok(Response::new(pb::AuthDisableResponse { header }))
    }

    async fn user_add(
        &self,
        request: Request<pb::AuthUserAddRequest>,
    ) -> Result<Response<pb::AuthUserAddResponse>, Status> {
        let (caller, mut request) = Caller::split(request);
        let password = std::mem::take(&mut request.password);
        request.hashed_password.clear();
        if request.options.is_none_or(|options| !options.no_password) {
            request.hashed_password = self.0.hash_password(&caller, password).await?;
        }
        let name = request.name.clone();
        let header = self.change(&caller, raft!(auth_user_add: request)).await?;
        tracing::info!("user-name" = name, "added a user");
        Ok(Response::new(pb::AuthUserAddResponse { header }))
    }

    async fn user_delete(
        &self,
        request: Request<pb::AuthUserDeleteRequest>,
    ) -> Result<Response<pb::AuthUserDeleteResponse>, Status> {
        let (caller, request) = Caller::split(request);
        let name = request.name.clone();
        let header = self.change(&caller, raft!(auth_user_delete: request)).await?;
        tracing::info!("user-name" = name, "deleted a user");
        Ok(Response::new(pb::AuthUserDeleteResponse { header }))
    }

    async fn user_change_password(
        &self,
        request: Request<pb::AuthUserChangePasswordRequest>,
    ) -> Result<Response<pb::AuthUserChangePasswordResponse>, Status> {
        let (caller, mut request) = Caller::split(request);
        let password = std::mem::take(&mut request.password);
        if !password.is_empty() {
            request.hashed_password = self.0.hash_password(&caller, password).await?;
        }
        let name = request.name.clone();
        let header = self.change(&caller, raft!(auth_user_change_password: request)).await?;
        tracing::info!("user-name" = name, "changed a password of a user");
        Ok(Response::new(pb::AuthUserChangePasswordResponse { header }))
    }

    async fn user_grant_role(
        &self,
        request: Request<pb::AuthUserGrantRoleRequest>,
    ) -> Result<Response<pb::AuthUserGrantRoleResponse>, Status> {
        let (caller, request) = Caller::split(request);
        let (user, role) = (request.user.clone(), request.role.clone());
        let header = self.change(&caller, raft!(auth_user_grant_role: request)).await?;
        tracing::info!("user-name" = user, "added-role-name" = role, "granted a role to a user");
        Ok(Response::new(pb::AuthUserGrantRoleResponse { header }))
    }

    async fn user_revoke_role(
        &self,
        request: Request<pb::AuthUserRevokeRoleRequest>,
    ) -> Result<Response<pb::AuthUserRevokeRoleResponse>, Status> {
        let (caller, request) = Caller::split(request);
        let (name, role) = (request.name.clone(), request.role.clone());
        let header = self.change(&caller, raft!(auth_user_revoke_role: request)).await?;
        tracing::info!(
            "user-name" = name,
            "revoked-role-name" = role,
            "revoked a role from a user"
        );
        Ok(Response::new(pb::AuthUserRevokeRoleResponse { header }))
    }

    async fn role_add(
        &self,
        request: Request<pb::AuthRoleAddRequest>,
    ) -> Result<Response<pb::AuthRoleAddResponse>, Status> {
        let (caller, request) = Caller::split(request);
        let name = request.name.clone();
        let header = self.change(&caller, raft!(auth_role_add: request)).await?;
        tracing::info!("role-name" = name, "created a role");
        Ok(Response::new(pb::AuthRoleAddResponse { header }))
    }

    async fn role_delete(
        &self,
        request: Request<pb::AuthRoleDeleteRequest>,
    ) -> Result<Response<pb::AuthRoleDeleteResponse>, Status> {
        let (caller, request) = Caller::split(request);
        let role = request.role.clone();
        let header = self.change(&caller, raft!(auth_role_delete: request)).await?;
        tracing::info!("role-name" = role, "deleted a role");
        Ok(Response::new(pb::AuthRoleDeleteResponse { header }))
    }

    async fn role_grant_permission(
        &self,
        request: Request<pb::AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<pb::AuthRoleGrantPermissionResponse>, Status> {
        let (caller, request) = Caller::split(request);
        let name = request.name.clone();
        let header = self.change(&caller, raft!(auth_role_grant_permission: request)).await?;
        tracing::info!("role-name" = name, "granted/updated a permission to a role");
        Ok(Response::new(pb::AuthRoleGrantPermissionResponse { header }))
    }

    async fn role_revoke_permission(
        &self,
        request: Request<pb::AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<pb::AuthRoleRevokePermissionResponse>, Status> {
        let (caller, request) = Caller::split(request);
        let role = request.role.clone();
        let header = self.change(&caller, raft!(auth_role_revoke_permission: request)).await?;
        tracing::info!("role-name" = role, "revoked a permission on range");
        Ok(Response::new(pb::AuthRoleRevokePermissionResponse { header }))
    }

    async fn user_get(
        &self,
        request: Request<pb::AuthUserGetRequest>,
    ) -> Result<Response<pb::AuthUserGetResponse>, Status> {
        let (caller, request) = Caller::split(request);
        match self.0.propose_as(&caller, raft!(auth_user_get: request)).await? {
            Applied::UserGet(mut response) => {
                self.0.complete(&mut response.header);
                Ok(Response::new(response))
            }
            other => unreachable!("user_get was answered by {other:?}"),
        }
    }

    async fn user_list(
        &self,
        request: Request<pb::AuthUserListRequest>,
    ) -> Result<Response<pb::AuthUserListResponse>, Status> {
        let (caller, request) = Caller::split(request);
        match self.0.propose_as(&caller, raft!(auth_user_list: request)).await? {
            Applied::UserList(mut response) => {
                self.0.complete(&mut response.header);
                Ok(Response::new(response))
            }
            other => unreachable!("user_list was answered by {other:?}"),
        }
    }

    async fn role_get(
        &self,
        request: Request<pb::AuthRoleGetRequest>,
    ) -> Result<Response<pb::AuthRoleGetResponse>, Status> {
        let (caller, request) = Caller::split(request);
        match self.0.propose_as(&caller, raft!(auth_role_get: request)).await? {
            Applied::RoleGet(mut response) => {
                self.0.complete(&mut response.header);
                Ok(Response::new(response))
            }
            other => unreachable!("role_get was answered by {other:?}"),
        }
    }

    async fn role_list(
        &self,
        request: Request<pb::AuthRoleListRequest>,
    ) -> Result<Response<pb::AuthRoleListResponse>, Status> {
        let (caller, request) = Caller::split(request);
        match self.0.propose_as(&caller, raft!(auth_role_list: request)).await? {
            Applied::RoleList(mut response) => {
                self.0.complete(&mut response.header);
                Ok(Response::new(response))
            }
            other => unreachable!("role_list was answered by {other:?}"),
        }
    }
}
