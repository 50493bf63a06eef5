//! `/v2/auth/users`.

use http::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tonic::body::Body;

use crate::http::body::Incoming;
use v2store::Code;

use super::{
    Requester, V2,
    auth::{AuthFailure, ROOT, Result, denied, first_value, go_json},
    form::read_body,
    json, message,
    roles::Role,
    with_cluster_id,
};
use crate::{http::plain::method_not_allowed, v2::V2Failure};

/// A user, as it is stored, asked for and answered. Lists that are not there are `null`, as in etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct User {
    pub(super) user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) password: String,
    pub(super) roles: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_empty")]
    grant: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_empty")]
    revoke: Option<Vec<String>>,
}

/// A user with what its roles allow.
#[derive(Serialize)]
struct UserWithRoles {
    user: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<Role>,
}

#[derive(Serialize)]
struct Users {
    users: Option<Vec<UserWithRoles>>,
}

pub(super) fn is_empty(list: &Option<Vec<String>>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}

impl User {
    /// The root user has the root role, said or not.
    fn with_root(mut self) -> User {
        if self.user == ROOT && !self.roles.iter().flatten().any(|role| role == ROOT) {
            self.roles.get_or_insert_default().push(ROOT.to_owned());
        }
        self
    }
}

fn conflict(text: impl std::fmt::Display) -> AuthFailure {
    AuthFailure::new(StatusCode::CONFLICT, text)
}

fn not_found(text: impl std::fmt::Display) -> AuthFailure {
    AuthFailure::new(StatusCode::NOT_FOUND, text)
}

impl V2 {
    /// A user.
    pub(super) async fn user(&self, name: &str, quorum: bool) -> Result<User> {
        match self.resource::<User>(&format!("users/{name}"), quorum).await {
            Ok(user) => Ok(user.with_root()),
            Err(failure) if failure.code() == Some(Code::KeyNotFound) => {
                Err(not_found(format!("User {name} does not exist.")))
            }
            Err(failure) => Err(failure.into()),
        }
    }

    async fn hash(&self, password: &str) -> Result<String> {
        let hash = self.handle.auth.v2_hash(password.to_owned()).await;
        hash.map_err(|failure| V2Failure::from(failure).into())
    }

    async fn create_user(&self, user: User) -> Result<User> {
        let mut user = user.with_root();
        if user.password.is_empty() {
            let text = format!("Cannot create user {} with an empty password", user.user);
            return Err(AuthFailure::new(StatusCode::BAD_REQUEST, text));
        }
        user.password = self.hash(&user.password).await?;
        match self.set_resource(&format!("users/{}", user.user), &user, false).await {
            Err(AuthFailure::Store(failure)) if failure.code() == Some(Code::NodeExist) => {
                Err(conflict(format!("User {} already exists.", user.user)))
            }
            done => done.map(|()| user),
        }
    }

    async fn update_user(&self, change: &User) -> Result<User> {
        let old = self.user(&change.user, true).await?;
        let new = self.merge_user(&old, change).await?;
        if old == new {
            let text = "User not updated. Use grant/revoke/password to update the user.";
            return Err(AuthFailure::new(StatusCode::BAD_REQUEST, text));
        }
        self.set_resource(&format!("users/{}", new.user), &new, true).await?;
        Ok(new)
    }

    /// The user after a change of password and roles.
    async fn merge_user(&self, old: &User, change: &User) -> Result<User> {
        if old.user != change.user {
            let text = "Merging user data with conflicting usernames:";
            return Err(conflict(format!("{text} {} {}", old.user, change.user)));
        }
        let password = match change.password.as_str() {
            "" => old.password.clone(),
            password => self.hash(password).await?,
        };
        let mut roles: std::collections::BTreeSet<_> =
            old.roles.iter().flatten().cloned().collect();
        let name = &change.user;
        for role in change.grant.iter().flatten() {
            if !roles.insert(role.clone()) {
                return Err(conflict(format!("Granting duplicate role {role} for user {name}")));
            }
        }
        for role in change.revoke.iter().flatten() {
            if !roles.remove(role) {
                return Err(conflict(format!("Revoking ungranted role {role} for user {name}")));
            }
        }
        let roles = Some(roles.into_iter().collect());
        Ok(User { user: old.user.clone(), password, roles, ..User::default() })
    }

    async fn delete_user(&self, name: &str) -> Result<()> {
        if self.auth_enabled() && name == ROOT {
            let text = "Cannot delete root user while auth is enabled.";
            return Err(AuthFailure::new(StatusCode::FORBIDDEN, text));
        }
        match self.delete_resource(&format!("users/{name}")).await {
            Err(AuthFailure::Store(failure)) if failure.code() == Some(Code::KeyNotFound) => {
                Err(not_found(format!("User {name} does not exist")))
            }
            done => done,
        }
    }
}

/// All users.
pub(super) async fn serve_all(v2: &V2, request: Request<Incoming>) -> Response<Body> {
    if *request.method() != Method::GET {
        return method_not_allowed("GET");
    }
    let requester = Requester::of(&request);
    if !v2.is_root(&requester).await {
        return denied();
    }
    let response = match all(v2).await {
        Ok(users) => json(StatusCode::OK, go_json(&users) + "\n"),
        Err(failure) => failure.response(),
    };
    with_cluster_id(&v2.handle, response)
}

async fn all(v2: &V2) -> Result<Users> {
    let mut users = Vec::new();
    for name in v2.names("/2/users")? {
        let User { user, roles: names, .. } = v2.user(&name, false).await?;
        let mut roles = Vec::new();
        for name in names.iter().flatten() {
            roles.extend(v2.role(name, false).await.ok());
        }
        users.push(UserWithRoles { user, roles });
    }
    Ok(Users { users: Some(users).filter(|users| !users.is_empty()) })
}

/// One user.
pub(super) async fn serve(v2: &V2, request: Request<Incoming>, name: &str) -> Response<Body> {
    let method = request.method().clone();
    if !matches!(method, Method::GET | Method::PUT | Method::DELETE) {
        return method_not_allowed("GET,PUT,DELETE");
    }
    let requester = Requester::of(&request);
    if !v2.is_root(&requester).await {
        return denied();
    }
    let response = match method {
        Method::GET => get(v2, name).await,
        Method::PUT => put(v2, request, name).await,
        _ => v2.delete_user(name).await.map(|()| json(StatusCode::OK, String::new())),
    };
    with_cluster_id(&v2.handle, response.unwrap_or_else(|failure| failure.response()))
}

async fn get(v2: &V2, name: &str) -> Result<Response<Body>> {
    let User { user, roles: names, .. } = v2.user(name, false).await?;
    let mut roles = Vec::new();
    for name in names.iter().flatten() {
        roles.push(v2.role(name, false).await?);
    }
    Ok(json(StatusCode::OK, go_json(&UserWithRoles { user, roles }) + "\n"))
}

async fn put(v2: &V2, request: Request<Incoming>, name: &str) -> Result<Response<Body>> {
    let bad = |text: &str| Ok(message(StatusCode::BAD_REQUEST, text));
    let body = read_body(request.into_body()).await.unwrap_or_default();
    let Some(user) = first_value::<User>(&body) else {
        return bad("Invalid JSON in request body.");
    };
    if user.user != name {
        return bad("User JSON name does not match the name in the URL");
    }
    let mut status = StatusCode::OK;
    let changes = !is_empty(&user.grant) || !is_empty(&user.revoke);
    let has_roles = !is_empty(&user.roles);
    if changes && has_roles {
        return bad("User JSON contains both roles and grant/revoke");
    }
    let mut done = if changes {
        v2.update_user(&user).await?
    } else if has_roles {
        v2.create_user(user).await?
    } else if v2.user(name, true).await.is_ok() {
        v2.update_user(&user).await?
    } else {
        status = StatusCode::CREATED;
        v2.create_user(user).await?
    };
    done.password.clear();
    Ok(json(status, go_json(&done) + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_written_as_etcd_writes_them() {
        let user: User = first_value(br#"{"user":"a<","password":"p","roles":null,"x":1} rest"#)
            .expect("a user");
        assert_eq!(go_json(&user), r#"{"user":"a\u003c","password":"p","roles":null}"#);
        let root = User { user: ROOT.into(), roles: Some(vec!["r".into()]), ..User::default() };
        assert_eq!(go_json(&root.with_root()), r#"{"user":"root","roles":["r","root"]}"#);
        assert!(first_value::<User>(b"").is_none() && first_value::<User>(b"[1]").is_none());
    }
}
