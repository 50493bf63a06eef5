//! `/health`, `/livez` and `/readyz` (spec http.md sections 1.1 and 1.2).

use std::collections::BTreeSet;

use api::{
    etcdserverpb::{AlarmType, RangeRequest},
    ids::MemberId,
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use mvcc::RangeQuery;
use tonic::body::Body;

use super::{
    plain::{go_error, method_not_allowed, reply},
    v2::form::Form,
};
use crate::{handle::Handle, status::Failure, telemetry};

const TEXT: &str = "text/plain; charset=utf-8";

/// A check of `/livez` or `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

const LIVEZ: &[Check] = &[Check::SerializableRead];
const READYZ: &[Check] =
    &[Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner];

impl Check {
    /// The check of this name.
    fn named(name: &str, checks: &[Check]) -> Option<Check> {
        checks.iter().copied().find(|check| check.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }

    /// Runs the check; the reason when it fails.
    async fn run(self, handle: &Handle) -> Result<(), String> {
        match self {
            Check::DataCorruption => {
                let corrupt = handle.shared.alarms.read().has(AlarmType::Corrupt);
                if corrupt {
                    return Err("alarm activated: CORRUPT".to_owned());
                }
                handle.damaged.reason().map_or(Ok(()), Err)
            }
            Check::SerializableRead => probe(handle, true).await,
            Check::LinearizableRead => probe(handle, false).await,
            Check::NonLearner if handle.is_learner() => Err("not supported for learner".to_owned()),
            Check::NonLearner => Ok(()),
        }
    }
}

/// Answers the health paths; `None` for every other path.
pub(crate) async fn route<B>(handle: &Handle, request: &Request<B>) -> Option<Response<Body>> {
    let path = request.uri().path();
    let query = Form::of_query(request.uri().query().unwrap_or_default());
    let refuse = request.method() != Method::GET;
    if path == "/health" {
        if refuse {
            tracing::warn!("status-code" = 405, "/health error");
            return Some(method_not_allowed("GET"));
        }
        return Some(health(handle, &query).await);
    }
    let (kind, checks) = checks_of(path)?;
    if refuse {
        tracing::warn!(path, "status-code" = 405, "Health request error");
        return Some(method_not_allowed("GET"));
    }
    let is_root = path.len() == kind.len() + 1;
    let checks = if is_root { without_excluded(checks, &query) } else { checks };
    let (lines, failed) = run_checks(handle, kind, &checks).await;
    if failed {
        tracing::error!(path, reason = lines, "status-code" = 503, "Health check error");
        return Some(go_error(StatusCode::SERVICE_UNAVAILABLE, &lines));
    }
    let verbose = query.get("verbose").is_some();
    let body = if verbose { format!("{lines}ok\n") } else { "ok\n".to_owned() };
    let mut response = reply(StatusCode::OK, TEXT, body);
    let no_sniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, no_sniff);
    Some(response)
}

/// The checks that a path stands for: all of a kind, or one.
fn checks_of(path: &str) -> Option<(&'static str, Vec<Check>)> {
    [("livez", LIVEZ), ("readyz", READYZ)].into_iter().find_map(|(kind, checks)| {
        match path.strip_prefix('/')?.strip_prefix(kind)? {
            "" => Some((kind, checks.to_vec())),
            rest => Some((kind, vec![Check::named(rest.strip_prefix('/')?, checks)?])),
        }
    })
}

fn without_excluded(mut checks: Vec<Check>, query: &Form) -> Vec<Check> {
    let mut unknown = Vec::new();
    let names: BTreeSet<&Vec<u8>> = query.all("exclude").iter().collect();
    for name in names.into_iter().filter(|name| !name.is_empty()) {
        let name = String::from_utf8_lossy(name);
        match Check::named(&name, READYZ).filter(|check| checks.contains(check)) {
            Some(excluded) => checks.retain(|check| *check != excluded),
            None => unknown.push(format!("{name:?}")),
        }
    }
    if !unknown.is_empty() {
        let unknown = unknown.join(",");
        tracing::warn!("missing-health-checks" = unknown, "some health checks cannot be excluded");
    }
    checks
}

/// A line for each check, and whether one failed.
async fn run_checks(handle: &Handle, kind: &str, checks: &[Check]) -> (String, bool) {
    let mut lines = String::new();
    let mut failed = false;
    for check in checks {
        let name = check.name();
        let result = check.run(handle).await;
        handle.metrics.checks.record(kind, name, result.is_ok());
        match result {
            Ok(()) => lines.push_str(&format!("[+]{name} ok\n")),
            Err(reason) => {
                failed = true;
                lines.push_str(&format!("[-]{name} failed: {reason}\n"));
            }
        }
    }
    (lines, failed)
}

/// `/health`: alarms, then the leader, then a read.
async fn health(handle: &Handle, query: &Form) -> Response<Body> {
    let Some(reason) = sickness(handle, query).await else {
        handle.metrics.health_success.inc();
        return reply(StatusCode::OK, TEXT, r#"{"health":"true","reason":""}"#);
    };
    handle.metrics.health_failures.inc();
    let reason = reason.replace('\\', "\\\\").replace('"', "\\\"");
    let body = format!(r#"{{"health":"false","reason":"{reason}"}}"#);
    tracing::warn!(output = body, "status-code" = 503, "/health error");
    go_error(StatusCode::SERVICE_UNAVAILABLE, &body)
}

async fn sickness(handle: &Handle, query: &Form) -> Option<String> {
    let serializable = query.get("serializable") == Some(b"true");
    let excluded = |name: &str| query.all("exclude").iter().any(|value| value == name.as_bytes());
    for (alarm, name) in [(AlarmType::Nospace, "NOSPACE"), (AlarmType::Corrupt, "CORRUPT")] {
        if handle.shared.alarms.read().has(alarm) && !excluded(name) {
            tracing::warn!(alarm = name, "serving /health false due to an alarm");
            return Some(format!("ALARM {name}"));
        }
    }
    if let Some(reason) = handle.damaged.reason()
        && !excluded("CORRUPT")
    {
        tracing::warn!(reason, "serving /health false; the store is damaged");
        return Some(reason);
    }
    if !serializable && handle.progress.leader() == MemberId(0) {
        tracing::warn!("serving /health false; no leader");
        return Some("RAFT NO LEADER".to_owned());
    }
    let error = probe(handle, serializable).await.err()?;
    tracing::warn!(error, "serving /health false; Range fails");
    Some(format!("RANGE ERROR:{error}"))
}

/// Reads one key, through the read gate unless `serializable`.
async fn probe(handle: &Handle, serializable: bool) -> Result<(), String> {
    let read = async {
        if !serializable {
            handle.linearizable().await?;
        }
        let request = RangeRequest {
            key: Bytes::from_static(b"\0"),
            limit: 1,
            keys_only: true,
            ..RangeRequest::default()
        };
        handle.shared.store.range(&RangeQuery::from(&request))?;
        Ok::<(), Failure>(())
    };
    let told = RangeRequest { limit: 1, keys_only: true, ..RangeRequest::default() };
    let span = handle.tracer.own("range", telemetry::range(&told));
    let read = telemetry::within(span, read).await;
    read.map_err(|failure: Failure| failure.message.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stands_for_all_checks_or_one() {
        let of = |path| checks_of(path).map(|(kind, checks)| (kind, checks.len()));
        assert_eq!(of("/livez"), Some(("livez", 1)));
        assert_eq!(of("/readyz"), Some(("readyz", 4)));
        assert_eq!(of("/readyz/non_learner"), Some(("readyz", 1)));
        assert_eq!(of("/livez/serializable_read"), Some(("livez", 1)));
        for none in ["/livez/", "/livez/non_learner", "/readyz/non_learner/", "/readyzz", "/x"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_excluded_is_not_checked() {
        let left = |query: &str| without_excluded(READYZ.to_vec(), &Form::of_query(query)).len();
        assert_eq!(left(""), 4);
        assert_eq!(left("exclude=&exclude=bogus&exclude=a,b&exclude=%zz"), 4);
        assert_eq!(left("exclude=non_learner&exclude=non_learner"), 3);
        assert_eq!(left("exclude=%6eon_learner&exclude=data_corruption&x;y"), 2);
        // A check of the other kind is unknown.
        let query = Form::of_query("exclude=non_learner");
        assert_eq!(without_excluded(LIVEZ.to_vec(), &query), LIVEZ);
    }
}
