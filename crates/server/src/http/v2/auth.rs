//! Users and roles of the v2 API: their own rules, kept as JSON under `/2` of the v2 store.

use std::sync::atomic::Ordering::Relaxed;

use apply::V2Request;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tonic::body::Body;

use crate::http::body::Incoming;
use v2store::Code;

use super::{
    Requester, V2, internal_error, json, keys, message, roles::Role, users::User, with_cluster_id,
};
use crate::{http::plain::method_not_allowed, v2::V2Failure};

/// The role that may do everything.
pub(super) const ROOT: &str = "root";
/// The role of those who do not say who they are.
pub(super) const GUEST: &str = "guest";

/// Why users and roles stay as they are.
#[derive(Debug)]
pub(super) enum AuthFailure {
    /// By the rules.
    Refused(StatusCode, String),
    /// The store did not do it.
    Store(V2Failure),
}

impl AuthFailure {
    pub(super) fn new(status: StatusCode, text: impl std::fmt::Display) -> AuthFailure {
        AuthFailure::Refused(status, format!("auth: {text}"))
    }

    /// As an answer.
    pub(super) fn response(&self) -> Response<Body> {
        match self {
            AuthFailure::Refused(status, text) => message(*status, text),
            AuthFailure::Store(failure @ V2Failure::Store(_)) => keys::failure(failure),
            AuthFailure::Store(V2Failure::Member(failure)) => {
                tracing::warn!("internal-server-error" = %failure.message, "v2 response error");
                internal_error()
            }
        }
    }
}

impl From<V2Failure> for AuthFailure {
    fn from(failure: V2Failure) -> AuthFailure {
        AuthFailure::Store(failure)
    }
}

/// What is read from users and roles, or written to them.
pub(super) type Result<T> = std::result::Result<T, AuthFailure>;

/// JSON as Go's encoder writes it.
pub(super) fn go_json(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("names are strings");
    // None of these is part of JSON but within strings.
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// The first value of a text, as Go's decoder reads it; `None` when it is not of this form.
pub(super) fn first_value<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    serde_json::Deserializer::from_slice(text).into_iter::<T>().next()?.ok()
}

impl V2 {
    /// Whether users and roles count.
    pub(super) fn auth_enabled(&self) -> bool {
        let Ok(event) = self.handle.v2_get("/2/enabled", false) else { return false };
        event.node.value.as_deref() == Some("true")
    }

    /// Reads a resource under `/2`.
    pub(super) async fn resource<T: DeserializeOwned>(
        &self,
        name: &str,
        quorum: bool,
    ) -> std::result::Result<T, V2Failure> {
        let path = v2store::join("/2", name);
        let event = match quorum {
            false => self.handle.v2_get(&path, false)?,
            true => {
                let (method, path) = (Bytes::from_static(b"QGET"), Bytes::from(path));
                self.handle.v2_propose(V2Request { method, path, ..V2Request::default() }).await?
            }
        };
        let value = event.node.value.as_deref().unwrap_or_default();
        serde_json::from_str(value).map_err(|error| {
            let message = format!("a resource of v2 auth is no JSON: {error}").into();
            let code = api::error::Code::Internal;
            V2Failure::Member(crate::status::Failure { code, message })
        })
    }

    /// The names of all users or roles, sorted.
    pub(super) fn names(&self, of: &str) -> Result<Vec<String>> {
        match self.handle.v2_get(of, false) {
            Err(failure) if failure.code() == Some(Code::KeyNotFound) => Ok(Vec::new()),
            Err(failure) => Err(failure.into()),
            Ok(event) => {
                let last = |key: &str| key.rsplit('/').next().unwrap_or_default().to_owned();
                Ok(event.below.iter().map(|(_, node)| last(&node.key)).collect())
            }
        }
    }

    async fn put(
        &self,
        path: &str,
        dir: bool,
        val: String,
        prev_exist: bool,
    ) -> std::result::Result<(), V2Failure> {
        let request = V2Request {
            method: Bytes::from_static(b"PUT"),
            path: Bytes::from(v2store::clean(path)),
            val: Bytes::from(val),
            dir,
            prev_exist: Some(prev_exist),
            ..V2Request::default()
        };
        self.handle.v2_propose(request).await.map(drop)
    }

    /// Makes the directories of users and roles, once.
    async fn ensure_directories(&self) -> Result<()> {
        if self.ensured.load(Relaxed) {
            return Ok(());
        }
        let parts = [("/2", true), ("/2/users", true), ("/2/roles", true), ("/2/enabled", false)];
        for (path, dir) in parts {
            let val = if dir { "" } else { "false" };
            match self.put(path, dir, val.to_owned(), false).await {
                Err(failure) if failure.code() != Some(Code::NodeExist) => {
                    return Err(failure.into());
                }
                _ => {}
            }
        }
        self.ensured.store(true, Relaxed);
        Ok(())
    }

    /// Writes a resource: one that is there with `prev_exist`, else one that is not.
    pub(super) async fn set_resource(
        &self,
        name: &str,
        value: &impl Serialize,
        prev_exist: bool,
    ) -> Result<()> {
        self.ensure_directories().await?;
        self.put(&format!("/2/{name}"), false, go_json(value), prev_exist).await?;
        Ok(())
    }

    /// Removes a resource.
    pub(super) async fn delete_resource(&self, name: &str) -> Result<()> {
        self.ensure_directories().await?;
        let request = V2Request {
            method: Bytes::from_static(b"DELETE"),
            path: Bytes::from(v2store::join("/2", name)),
            prev_exist: Some(true),
            ..V2Request::default()
        };
        self.handle.v2_propose(request).await?;
        Ok(())
    }

    /// The user that a request comes from, if it proves it.
    async fn user_of(&self, requester: &Requester) -> Option<User> {
        let Some((name, password)) = &requester.basic else {
            tracing::warn!("malformed basic auth encoding");
            return None;
        };
        let user = self.user(name, false).await.ok()?;
        let gate = &self.handle.auth;
        let matches = gate.v2_matches(name, user.password.clone(), password.clone()).await;
        if !matches.unwrap_or(false) {
            tracing::warn!("user-name" = %name, "incorrect password");
            return None;
        }
        Some(user)
    }

    async fn user_of_certificate(&self, requester: &Requester) -> Option<User> {
        let name = requester.common_name.as_ref().filter(|_| self.cert_auth)?;
        self.user(name, false).await.ok()
    }

    /// Whether a request may do everything.
    pub(super) async fn is_root(&self, requester: &Requester) -> bool {
        if !self.auth_enabled() {
            return true;
        }
        let user = if !requester.has_authorization && self.cert_auth {
            self.user_of_certificate(requester).await
        } else {
            self.user_of(requester).await
        };
        user.is_some_and(|user| user.roles.iter().flatten().any(|role| role == ROOT))
    }

    /// Whether a request may read or write a key.
    pub(super) async fn may_use_key(
        &self,
        requester: &Requester,
        key: &str,
        recursive: bool,
        writes: bool,
    ) -> bool {
        if !self.auth_enabled() {
            return true;
        }
        let user = match requester.has_authorization {
            true => match self.user_of(requester).await {
                Some(user) => Some(user),
                None => return false,
            },
            false => self.user_of_certificate(requester).await,
        };
        let Some(user) = user else {
            let guest = self.role(GUEST, false).await;
            return guest.is_ok_and(|role| role.may_use_key(key, false, writes));
        };
        for name in user.roles.iter().flatten() {
            if let Ok(role) = self.role(name, false).await
                && role.may_use_key(key, recursive, writes)
            {
                return true;
            }
        }
        tracing::warn!("user-name" = %user.user, key, "invalid access for user on key");
        false
    }

    async fn enable(&self) -> Result<()> {
        let conflict = |text: &str| AuthFailure::new(StatusCode::CONFLICT, text);
        if self.auth_enabled() {
            return Err(conflict("already enabled"));
        }
        if self.user(ROOT, true).await.is_err() {
            return Err(conflict("No root user available, please create one"));
        }
        if self.role(GUEST, true).await.is_err() {
            tracing::info!("no guest role access found; creating default");
            self.create_role(&Role::of_everything(GUEST)).await?;
        }
        self.set_resource("enabled", &true, true).await?;
        tracing::info!("enabled auth");
        Ok(())
    }

    async fn disable(&self) -> Result<()> {
        if !self.auth_enabled() {
            return Err(AuthFailure::new(StatusCode::CONFLICT, "already disabled"));
        }
        self.set_resource("enabled", &false, true).await?;
        tracing::info!("disabled auth");
        Ok(())
    }
}

/// What clients may not.
pub(super) fn denied() -> Response<Body> {
    message(StatusCode::UNAUTHORIZED, "Insufficient credentials")
}

#[derive(Serialize, Deserialize)]
struct Enabled {
    enabled: bool,
}

/// `/v2/auth/enable`.
pub(super) async fn serve(v2: &V2, request: Request<Incoming>) -> Response<Body> {
    let method = request.method().clone();
    if !matches!(method, Method::GET | Method::PUT | Method::DELETE) {
        return method_not_allowed("GET,PUT,DELETE");
    }
    let requester = Requester::of(&request);
    if method != Method::GET && !v2.is_root(&requester).await {
        return denied();
    }
    let done = match method {
        Method::PUT => v2.enable().await,
        Method::DELETE => v2.disable().await,
        _ => {
            let body = go_json(&Enabled { enabled: v2.auth_enabled() }) + "\n";
            return with_cluster_id(&v2.handle, json(StatusCode::OK, body));
        }
    };
    let response = match done {
        Ok(()) => json(StatusCode::OK, String::new()),
        Err(failure) => failure.response(),
    };
    with_cluster_id(&v2.handle, response)
}
