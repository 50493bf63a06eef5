//! Authentication: users to test with, and the matrix of every method by everyone who may call it.

pub mod matrix;

use anyhow::Result;
use api::{
    authpb::{Permission, UserAddOptions, permission::Type},
    etcdserverpb as pb,
};
use tonic::{Request, Status};

use crate::client::Client;

/// A request that carries a token.
pub fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("token", token.parse().expect("tokens are ASCII"));
    request
}

/// Logs a user in; its password is its name.
pub async fn login(client: &mut Client, name: &str) -> Result<String, Status> {
    login_with(client, name, name).await
}

/// Logs a user in.
pub async fn login_with(client: &mut Client, name: &str, password: &str) -> Result<String, Status> {
    let (name, password) = (name.to_owned(), password.to_owned());
    let request = pb::AuthenticateRequest { name, password };
    Ok(client.auth.authenticate(request).await?.into_inner().token)
}

/// Adds a user whose password is its name.
pub async fn add_user(client: &mut Client, name: &str) -> Result<(), Status> {
    let request = pb::AuthUserAddRequest {
        name: name.to_owned(),
        password: name.to_owned(),
        options: Some(UserAddOptions { no_password: false }),
        ..Default::default()
    };
    client.auth.user_add(request).await?;
    Ok(())
}

/// Adds a role with one permission, and gives it to a user.
pub async fn allow(
    client: &mut Client,
    user: &str,
    kind: Type,
    key: &str,
    range_end: &str,
) -> Result<(), Status> {
    let role = format!("{user}-{key}-{}", kind.as_str_name());
    client.auth.role_add(pb::AuthRoleAddRequest { name: role.clone() }).await?;
    let (key, range_end) = (key.to_owned().into(), range_end.to_owned().into());
    let perm = Some(Permission { perm_type: kind as i32, key, range_end });
    let grant = pb::AuthRoleGrantPermissionRequest { name: role.clone(), perm };
    client.auth.role_grant_permission(grant).await?;
    let grant = pb::AuthUserGrantRoleRequest { user: user.to_owned(), role };
    client.auth.user_grant_role(grant).await?;
    Ok(())
}

/// Adds user root with its role and turns authentication on.
pub async fn enable(client: &mut Client) -> Result<(), Status> {
    add_user(client, "root").await?;
    let grant = pb::AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() };
    client.auth.user_grant_role(grant).await?;
    client.auth.auth_enable(pb::AuthEnableRequest {}).await?;
    Ok(())
}
