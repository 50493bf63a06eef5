//! `/v2/auth/roles`.

use std::collections::BTreeSet;

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
    users::is_empty,
    with_cluster_id,
};
use crate::http::plain::method_not_allowed;

/// A role, as it is stored, asked for and answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    role: String,
    permissions: Permissions,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<Permissions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoke: Option<Permissions>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Permissions {
    kv: ReadWrite,
}

/// Keys, or beginnings of keys with a `*` behind them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct ReadWrite {
    read: Option<Vec<String>>,
    write: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Roles {
    roles: Vec<Role>,
}

impl Permissions {
    fn is_empty(&self) -> bool {
        is_empty(&self.kv.read) && is_empty(&self.kv.write)
    }
}

impl ReadWrite {
    fn grant(&self, more: &ReadWrite) -> Result<ReadWrite> {
        let add = |old: &Option<Vec<String>>, new: &Option<Vec<String>>, what: &str| {
            let mut all: BTreeSet<String> = old.iter().flatten().cloned().collect();
            for one in new.iter().flatten() {
                if !all.insert(one.clone()) {
                    let text = format!("Granting duplicate {what} permission {one}");
                    return Err(AuthFailure::new(StatusCode::CONFLICT, text));
                }
            }
            Ok(Some(all.into_iter().collect()))
        };
        let (read, write) =
            (add(&self.read, &more.read, "read")?, add(&self.write, &more.write, "write")?);
        Ok(ReadWrite { read, write })
    }

    fn revoke(&self, less: &ReadWrite) -> ReadWrite {
        let take = |old: &Option<Vec<String>>, gone: &Option<Vec<String>>| {
            let mut all: BTreeSet<String> = old.iter().flatten().cloned().collect();
            for one in gone.iter().flatten() {
                if !all.remove(one) {
                    tracing::info!(permission = %one, "revoking ungranted permission");
                }
            }
            Some(all.into_iter().collect())
        };
        ReadWrite { read: take(&self.read, &less.read), write: take(&self.write, &less.write) }
    }
}

impl Role {
    /// A role of this name for every key.
    pub(super) fn of_everything(name: &str) -> Role {
        let all = Some(vec!["/*".to_owned()]);
        let permissions = Permissions { kv: ReadWrite { read: all.clone(), write: all } };
        Role { role: name.to_owned(), permissions, ..Role::default() }
    }

    /// Whether the role lets a key, or with `recursive` all below it, be read or written.
    pub(super) fn may_use_key(&self, key: &str, recursive: bool, writes: bool) -> bool {
        if self.role == ROOT {
            return true;
        }
        let kv = &self.permissions.kv;
        let patterns = if writes { &kv.write } else { &kv.read };
        patterns.iter().flatten().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => key.starts_with(beginning),
            None => !recursive && key == pattern,
        })
    }

    /// The role after permissions are granted and revoked.
    fn merge(&self, change: &Role) -> Result<Role> {
        let mut kv = self.permissions.kv.clone();
        if let Some(grant) = &change.grant {
            kv = kv.grant(&grant.kv)?;
        }
        if let Some(revoke) = &change.revoke {
            kv = kv.revoke(&revoke.kv);
        }
        Ok(Role { role: self.role.clone(), permissions: Permissions { kv }, ..Role::default() })
    }
}

fn not_found(name: &str, text: &str) -> AuthFailure {
    AuthFailure::new(StatusCode::NOT_FOUND, format!("Role {name} {text}"))
}

fn check_not_root(name: &str) -> Result<()> {
    match name {
        ROOT => {
            let text = format!("Cannot modify role {name}: is root role.");
            Err(AuthFailure::new(StatusCode::FORBIDDEN, text))
        }
        _ => Ok(()),
    }
}

impl V2 {
    /// A role.
    pub(super) async fn role(&self, name: &str, quorum: bool) -> Result<Role> {
        if name == ROOT {
            return Ok(Role::of_everything(ROOT));
        }
        match self.resource::<Role>(&format!("roles/{name}"), quorum).await {
            Err(failure) if failure.code() == Some(Code::KeyNotFound) => {
                Err(not_found(name, "does not exist."))
            }
            read => Ok(read?),
        }
    }

    /// Stores a new role.
    pub(super) async fn create_role(&self, role: &Role) -> Result<()> {
        check_not_root(&role.role)?;
        match self.set_resource(&format!("roles/{}", role.role), role, false).await {
            Err(AuthFailure::Store(failure)) if failure.code() == Some(Code::NodeExist) => {
                let text = format!("Role {} already exists.", role.role);
                Err(AuthFailure::new(StatusCode::CONFLICT, text))
            }
            done => done,
        }
    }

    async fn update_role(&self, change: &Role) -> Result<Role> {
        check_not_root(&change.role)?;
        let old = self.role(&change.role, true).await?;
        let new = old.merge(change)?;
        if old == new {
            let text = "Role not updated. Use grant/revoke to update the role.";
            return Err(AuthFailure::new(StatusCode::BAD_REQUEST, text));
        }
        self.set_resource(&format!("roles/{}", new.role), &new, true).await?;
        Ok(new)
    }

    async fn delete_role(&self, name: &str) -> Result<()> {
        check_not_root(name)?;
        match self.delete_resource(&format!("roles/{name}")).await {
            Err(AuthFailure::Store(failure)) if failure.code() == Some(Code::KeyNotFound) => {
                Err(not_found(name, "doesn't exist."))
            }
            done => done,
        }
    }
}

/// All roles.
pub(super) async fn serve_all(v2: &V2, request: Request<Incoming>) -> Response<Body> {
    if *request.method() != Method::GET {
        return method_not_allowed("GET");
    }
    let requester = Requester::of(&request);
    if !v2.is_root(&requester).await {
        return denied();
    }
    let response = match all(v2).await {
        Ok(roles) => json(StatusCode::OK, go_json(&roles) + "\n"),
        Err(failure) => failure.response(),
    };
    with_cluster_id(&v2.handle, response)
}

async fn all(v2: &V2) -> Result<Roles> {
    let mut names = v2.names("/2/roles")?;
    names.push(ROOT.to_owned());
    names.sort_unstable();
    let mut roles = Vec::new();
    for name in names {
        roles.push(v2.role(&name, false).await?);
    }
    Ok(Roles { roles })
}

/// One role.
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
        Method::GET => {
            let role = v2.role(name, false).await;
            role.map(|role| json(StatusCode::OK, go_json(&role) + "\n"))
        }
        Method::PUT => put(v2, request, name).await,
        _ => v2.delete_role(name).await.map(|()| json(StatusCode::OK, String::new())),
    };
    with_cluster_id(&v2.handle, response.unwrap_or_else(|failure| failure.response()))
}

async fn put(v2: &V2, request: Request<Incoming>, name: &str) -> Result<Response<Body>> {
    let bad = |text: &str| Ok(message(StatusCode::BAD_REQUEST, text));
    let body = read_body(request.into_body()).await.unwrap_or_default();
    let Some(role) = first_value::<Role>(&body) else {
        return bad("Invalid JSON in request body.");
    };
    if role.role != name {
        return bad("Role JSON name does not match the name in the URL");
    }
    let none =
        |permissions: &Option<Permissions>| permissions.as_ref().is_none_or(Permissions::is_empty);
    if none(&role.grant) && none(&role.revoke) {
        v2.create_role(&role).await?;
        return Ok(json(StatusCode::CREATED, go_json(&role) + "\n"));
    }
    if !role.permissions.is_empty() {
        return bad("Role JSON contains both permissions and grant/revoke");
    }
    let role = v2.update_role(&role).await?;
    Ok(json(StatusCode::OK, go_json(&role) + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(json: &str) -> Role {
        first_value(json.as_bytes()).expect("a role")
    }

    #[test]
    fn patterns_are_keys_or_beginnings() {
        let role =
            role(r#"{"role":"r","permissions":{"kv":{"read":["/a","/b/*"],"write":["*"]}}}"#);
        assert!(role.may_use_key("/a", false, false));
        assert!(!role.may_use_key("/a", true, false));
        assert!(!role.may_use_key("/a/x", false, false));
        assert!(role.may_use_key("/b/x", true, false));
        assert!(!role.may_use_key("/b", false, false));
        assert!(role.may_use_key("/z", true, true));
        assert!(Role::of_everything(ROOT).may_use_key("", true, true));
        assert!(!Role::default().may_use_key("/a", false, true));
    }

    #[test]
    fn permissions_are_granted_and_revoked() {
        let old = role(r#"{"role":"r","permissions":{"kv":{"read":["/b"],"write":null}}}"#);
        let change =
            r#"{"role":"r","grant":{"kv":{"read":["/a"]}},"revoke":{"kv":{"read":["/b","/x"]}}}"#;
        let new = old.merge(&role(change)).unwrap();
        assert_eq!(
            go_json(&new),
            r#"{"role":"r","permissions":{"kv":{"read":["/a"],"write":[]}}}"#
        );
        let again = old.merge(&role(r#"{"role":"r","grant":{"kv":{"read":["/b"]}}}"#)).unwrap_err();
        let AuthFailure::Refused(status, text) = again else { panic!("refused by the rules") };
        assert_eq!((status.as_u16(), &*text), (409, "auth: Granting duplicate read permission /b"));
    }
}
