//! Requests about users, roles and authentication, and their answers.

use serde::Deserialize;
use serde_json::Value;

use super::{
    cluster::{Cluster, Place, Request},
    error::{Error, json_error},
    members::{expect, refusal},
    transport::Answer,
};
use crate::gotext::json;

/// A role. Lists that are not told differ from empty ones when roles are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    pub(super) role: String,
    permissions: Permissions,
    grant: Option<Permissions>,
    revoke: Option<Permissions>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Permissions {
    kv: ReadWrite,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct ReadWrite {
    read: Option<Vec<String>>,
    write: Option<Vec<String>>,
}

impl Role {
    /// What it may read.
    pub(super) fn reads(&self) -> &[String] {
        self.permissions.kv.read.as_deref().unwrap_or_default()
    }

    /// What it may write.
    pub(super) fn writes(&self) -> &[String] {
        self.permissions.kv.write.as_deref().unwrap_or_default()
    }
}

/// A user with its roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) roles: Vec<String>,
}

/// A kind of thing that has a name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Users,
    Roles,
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Kind::Users => "v2/auth/users",
            Kind::Roles => "v2/auth/roles",
        }
    }
}

fn request(method: &'static str, kind: Kind, name: &str) -> Request {
    let path = kind.path();
    let path = if name.is_empty() { path.to_owned() } else { format!("{path}/{name}") };
    Request::new(method, Place::Path(path.into_bytes()))
}

fn put(kind: Kind, name: &str, body: String) -> Request {
    let content_type = "application/json";
    Request { content_type, body: Some(body), ..request("PUT", kind, name) }
}

fn asked(cluster: &Cluster, request: &Request, wanted: &[u16]) -> Result<Answer, Error> {
    let answer = cluster.ask(request, cluster.deadline())?;
    match expect(&answer, wanted) {
        Ok(()) => Ok(answer),
        Err(_) => Err(refusal(&answer)),
    }
}

fn json_of(answer: &Answer) -> Result<Value, Error> {
    let read = serde_json::from_slice(&answer.body);
    read.map_err(|error| Error::Other(json_error(&answer.body, &error)))
}

/// Switches authentication on or off.
pub(super) fn switch(cluster: &Cluster, on: bool) -> Result<(), Error> {
    let method = if on { "PUT" } else { "DELETE" };
    let request = Request::new(method, Place::Path(b"v2/auth/enable".to_vec()));
    asked(cluster, &request, &[200, 201]).map(drop)
}

/// The names of all users or roles.
pub(super) fn list(cluster: &Cluster, kind: Kind) -> Result<Vec<String>, Error> {
    let mut request = request("GET", kind, "");
    request.content_type = "application/json";
    let answer = match kind {
        Kind::Users => asked(cluster, &request, &[200])?,
        // Of these, only the status is looked at.
        Kind::Roles => {
            let answer = cluster.ask(&request, cluster.deadline())?;
            expect(&answer, &[200])?;
            answer
        }
    };
    let (list, name) = match kind {
        Kind::Users => ("users", "user"),
        Kind::Roles => ("roles", "role"),
    };
    let found = json_of(&answer)?;
    let items = found.get(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    Ok(items.iter().map(|item| text(item.get(name))).collect())
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Adds a user.
pub(super) fn add_user(cluster: &Cluster, name: &str, password: &str) -> Result<(), Error> {
    let body = user_body(name, |object| {
        object.text("password", password);
        object.null("roles");
    });
    asked(cluster, &put(Kind::Users, name, body), &[200, 201]).map(drop)
}

/// Adds a role.
pub(super) fn add_role(cluster: &Cluster, name: &str) -> Result<(), Error> {
    let body = role_body(name, |_| {});
    asked(cluster, &put(Kind::Roles, name, body), &[200, 201]).map(drop)
}

/// Removes a user or a role.
pub(super) fn remove(cluster: &Cluster, kind: Kind, name: &str) -> Result<(), Error> {
    asked(cluster, &request("DELETE", kind, name), &[200, 201]).map(drop)
}

/// A user.
pub(super) fn user(cluster: &Cluster, name: &str) -> Result<User, Error> {
    read_user(&asked(cluster, &request("GET", Kind::Users, name), &[200])?)
}

/// Gives a user roles, or takes them.
pub(super) fn change_user(
    cluster: &Cluster,
    name: &str,
    grant: bool,
    roles: &[String],
) -> Result<User, Error> {
    let body = user_body(name, |object| {
        object.null("roles");
        let change = if grant { "grant" } else { "revoke" };
        object.list(change, roles, |out, role| json::text(out, role));
    });
    read_user(&asked(cluster, &put(Kind::Users, name, body), &[200])?)
}

/// Changes a user's password.
pub(super) fn change_password(
    cluster: &Cluster,
    name: &str,
    password: &str,
) -> Result<User, Error> {
    let body = user_body(name, |object| {
        object.text("password", password);
        object.null("roles");
    });
    read_user(&asked(cluster, &put(Kind::Users, name, body), &[200])?)
}

fn user_body(name: &str, fill: impl FnOnce(&mut json::Object<'_>)) -> String {
    let mut body = String::new();
    json::object(&mut body, |object| {
        object.text_always("user", name);
        fill(object);
    });
    body
}

/// A user's roles are names, or whole roles; of those the old client first read an empty name each.
fn read_user(answer: &Answer) -> Result<User, Error> {
    let found = json_of(answer)?;
    let roles = found.get("roles").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let whole: Vec<&Value> = roles.iter().filter(|role| role.is_object()).collect();
    let mut names: Vec<String> = roles.iter().map(|role| text(Some(role))).collect();
    names.extend(whole.iter().map(|role| text(role.get("role"))));
    Ok(User { name: text(found.get("user")), roles: names })
}

/// A role.
pub(super) fn role(cluster: &Cluster, name: &str) -> Result<Role, Error> {
    read_role(&asked(cluster, &request("GET", Kind::Roles, name), &[200])?)
}

/// Allows a role something, or forbids it: a path to read, to write, or both.
pub(super) fn change_role(
    cluster: &Cluster,
    name: &str,
    grant: bool,
    path: &str,
    [read, write]: [bool; 2],
) -> Result<Role, Error> {
    let body = role_body(name, |object| {
        object.object(if grant { "grant" } else { "revoke" }, |object| {
            object.object("kv", |object| {
                for (name, wanted) in [("read", read), ("write", write)] {
                    match wanted {
                        true => object.list(name, &[path], |out, path| json::text(out, path)),
                        false => object.null(name),
                    }
                }
            });
        });
    });
    read_role(&asked(cluster, &put(Kind::Roles, name, body), &[200])?)
}

fn role_body(name: &str, fill: impl FnOnce(&mut json::Object<'_>)) -> String {
    let mut body = String::new();
    json::object(&mut body, |object| {
        object.text_always("role", name);
        object.object("permissions", |object| {
            object.object("kv", |object| {
                object.null("read");
                object.null("write");
            });
        });
        fill(object);
    });
    body
}

fn read_role(answer: &Answer) -> Result<Role, Error> {
    let read = serde_json::from_slice(&answer.body);
    read.map_err(|error| Error::Other(json_error(&answer.body, &error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Answer {
        let headers = hyper::HeaderMap::new();
        Answer { status: 200, headers, body: body.to_owned().into() }
    }

    #[test]
    fn users_with_names_of_roles_and_with_roles() {
        let user = read_user(&answer(r#"{"user":"u","roles":["a","b"]}"#)).unwrap();
        assert_eq!((user.name.as_str(), user.roles.join(" ").as_str()), ("u", "a b"));
        let body = r#"{"user":"u","roles":[{"role":"a","permissions":{"kv":{}}}]}"#;
        assert_eq!(read_user(&answer(body)).unwrap().roles.join(" "), " a");
        assert_eq!(read_user(&answer(r#"{"user":"u","roles":null}"#)).unwrap().roles.len(), 0);
    }

    #[test]
    fn lists_that_are_not_told_are_not_empty() {
        let role = |kv: &str| {
            read_role(&answer(&format!(r#"{{"role":"r","permissions":{{"kv":{kv}}}}}"#))).unwrap()
        };
        assert_ne!(role(r#"{"read":[]}"#), role("{}"));
        assert_eq!(role(r#"{"read":["/a"],"write":null}"#).reads(), ["/a"]);
        assert!(role("{}").writes().is_empty());
    }
}
