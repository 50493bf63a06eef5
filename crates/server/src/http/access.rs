//! Who may use the HTTP paths of the client listener: names of this host, origins of scripts, and
//! certificates that the gateway would not pass on (spec http.md section 1).

use std::collections::BTreeSet;

use config::Config;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use tonic::body::Body;

use super::plain::go_error;
use crate::{auth::CommonName, handle::Handle};

/// Marks the requests of connections with TLS.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encrypted;

/// What flags say about HTTP requests.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// `--host-whitelist`; `None` for any host.
    hosts: Option<BTreeSet<String>>,
    /// `--cors`; `None` for any origin.
    origins: Option<BTreeSet<String>>,
    /// `--enable-grpc-gateway`.
    pub(super) gateway: bool,
    /// Whether `/debug/pprof/` is there: `--enable-pprof`, or a log of debug level.
    pub(super) pprof: bool,
    /// `--enable-v2`.
    pub(super) v2: bool,
    /// `--client-cert-auth`.
    pub(super) cert_auth: bool,
}

/// The words of a flag; `None` when it allows everything.
fn listed(words: impl Iterator<Item = String>) -> Option<BTreeSet<String>> {
    let words: BTreeSet<String> = words.collect();
    (!words.is_empty() && !words.contains("*")).then_some(words)
}

impl Access {
    /// The rules that flags make.
    pub(crate) fn new(config: &Config) -> Access {
        Access {
            hosts: listed(config.host_whitelist.iter().cloned()),
            origins: listed(
                config
                    .cors
                    .joined()
                    .split(',')
                    .filter(|origin| !origin.is_empty())
                    .map(str::to_owned),
            ),
            gateway: config.enable_grpc_gateway,
            pprof: config.enable_pprof || config.log.level == "debug",
            v2: config.enable_v2,
            cert_auth: config.client_tls.client_cert_auth,
        }
    }

    /// The answer to a request that is not let in.
    pub(super) fn refuse<B>(
        &self,
        handle: &Handle,
        request: &Request<B>,
    ) -> Option<Response<Body>> {
        if request.extensions().get::<Encrypted>().is_none() {
            let host = host_name(request);
            if self.hosts.as_ref().is_none_or(|hosts| hosts.contains(host)) {
                return None;
            }
            tracing::warn!(host, "rejecting HTTP request to prevent DNS rebinding attacks");
            return Some(go_error(StatusCode::MISDIRECTED_REQUEST, &unknown_host(host)));
        }
        let named = request.extensions().get::<CommonName>().is_some_and(|name| !name.0.is_empty());
        let through_gateway = self.gateway && request.uri().path().starts_with("/v3/");
        if named && self.cert_auth && through_gateway && handle.shared.auth.read().is_enabled() {
            let text = "CommonName of client sending a request against gateway will be ignored and \
                        not used as expected";
            return Some(go_error(StatusCode::BAD_REQUEST, text));
        }
        None
    }

    /// The headers that let a script of the request's origin see the answer.
    pub(super) fn cors_headers(&self, request: &HeaderMap) -> HeaderMap {
        let origin = match &self.origins {
            None => HeaderValue::from_static("*"),
            Some(origins) => {
                let origin = request.get(header::ORIGIN);
                let known = |origin: &&HeaderValue| {
                    origin.to_str().is_ok_and(|origin| origins.contains(origin))
                };
                let Some(origin) = origin.filter(known) else { return HeaderMap::new() };
                origin.clone()
            }
        };
        let mut headers = HeaderMap::new();
        let methods = HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE");
        let allowed = HeaderValue::from_static("accept, content-type, authorization");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        headers
    }
}

/// The host that a request names, without a port.
fn host_name<B>(request: &Request<B>) -> &str {
    let given = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let host = authority.or(given).unwrap_or_default();
    match host.rsplit_once(':') {
        Some((name, _)) if name.starts_with('[') && name.ends_with(']') => &name[1..name.len() - 1],
        Some((name, _)) if !name.contains(':') && !name.contains(']') => name,
        _ => host,
    }
}

fn unknown_host(host: &str) -> String {
    format!(
        "
etcd received your request, but the Host header was unrecognized.

To fix this, choose one of the following options:
- Enable TLS, then any HTTPS request will be allowed.
- Add the hostname you want to use to the whitelist in settings.
  - e.g. etcd --host-whitelist {host:?}

This requirement has been added to help prevent \"DNS Rebinding\" attacks (CVE-2018-5702).
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(cors: &[&str]) -> Access {
        let origins = listed(cors.iter().map(|origin| (*origin).to_owned()));
        Access { hosts: None, origins, gateway: true, pprof: false, v2: false, cert_auth: false }
    }

    #[test]
    fn the_host_is_named_without_its_port() {
        let host = |value: &str| {
            let request = Request::builder().header("host", value).body(()).unwrap();
            host_name(&request).to_owned()
        };
        assert_eq!(host("a:2379"), "a");
        assert_eq!(host("a"), "a");
        assert_eq!(host("[::1]:2379"), "::1");
        assert_eq!(host("::1"), "::1");
        assert_eq!(host(""), "");
        let request = Request::builder().uri("http://b:1/x").body(()).unwrap();
        assert_eq!(host_name(&request), "b");
    }

    #[test]
    fn an_origin_is_told_only_what_it_may() {
        let asked = |access: &Access, origin: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            let answer = access.cors_headers(&headers);
            let allowed = answer.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
            (allowed.map(|origin| origin.to_str().unwrap().to_owned()), answer.len())
        };
        assert_eq!(asked(&access(&["*"]), "http://a"), (Some("*".to_owned()), 3));
        assert_eq!(asked(&access(&[]), "http://a"), (Some("*".to_owned()), 3));
        let one = access(&["http://a:1"]);
        assert_eq!(asked(&one, "http://a:1"), (Some("http://a:1".to_owned()), 3));
        assert_eq!(asked(&one, "http://b:1"), (None, 0));
    }
}
