//! `/health`, `/livez` and `/readyz` (spec http.md sections 1.1 and 1.2).

use api::{
    etcdserverpb::{AlarmType, RangeRequest},
    ids::MemberId,
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use mvcc::RangeQuery;
use tonic::body::Body;

use super::plain::{go_error, method_not_allowed, reply};
use crate::{handle::Handle, status::Failure};

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
    let (checks, root) = match path {
        "/health" => (None, "/health"),
        _ if path == "/livez" || path.starts_with("/livez/") => (Some(LIVEZ), "/livez"),
        _ if path == "/readyz" || path.starts_with("/readyz/") => (Some(READYZ), "/readyz"),
        _ => return None,
    };
    if request.method() != Method::GET {
        return Some(method_not_allowed("GET"));
    }
    let query: Vec<(&str, &str)> = parameters(request.uri().query().unwrap_or_default());
    Some(match checks {
        None => health(handle, &query).await,
        Some(checks) => {
            let single = path[root.len()..].trim_start_matches('/');
            run_checks(handle, (root, checks), single, &query).await
        }
    })
}

fn parameters(query: &str) -> Vec<(&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect()
}

async fn run_checks(
    handle: &Handle,
    (root, checks): (&str, &[Check]),
    single: &str,
    query: &[(&str, &str)],
) -> Response<Body> {
    if !single.is_empty() && !checks.iter().any(|check| check.name() == single) {
        return go_error(StatusCode::NOT_FOUND, "404 page not found");
    }
    let excluded =
        |name: &str| single.is_empty() && query.iter().any(|(k, v)| *k == "exclude" && *v == name);
    let mut lines = String::new();
    let mut failed = false;
    for check in checks.iter().filter(|check| single.is_empty() || check.name() == single) {
        let name = check.name();
        if excluded(name) {
            continue;
        }
        let result = check.run(handle).await;
        handle.metrics.checks.record(&root[1..], name, result.is_ok());
        match result {
            Ok(()) => lines.push_str(&format!("[+]{name} ok\n")),
            Err(reason) => {
                failed = true;
                lines.push_str(&format!("[-]{name} failed: {reason}\n"));
            }
        }
    }
    if failed {
        return go_error(StatusCode::SERVICE_UNAVAILABLE, &lines);
    }
    let verbose = query.iter().any(|(key, _)| *key == "verbose");
    let body = if verbose { format!("{lines}ok\n") } else { "ok\n".to_owned() };
    let mut response = reply(StatusCode::OK, TEXT, body);
    let no_sniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, no_sniff);
    response
}

/// `/health`: alarms, then the leader, then a read.
async fn health(handle: &Handle, query: &[(&str, &str)]) -> Response<Body> {
    let serializable = query.contains(&("serializable", "true"));
    let reason = match sickness(handle, serializable, query).await {
        None => {
            handle.metrics.health_success.inc();
            return reply(StatusCode::OK, TEXT, r#"{"health":"true","reason":""}"#);
        }
        Some(reason) => reason,
    };
    handle.metrics.health_failures.inc();
    tracing::warn!(%reason, "serving /health false");
    let reason = reason.replace('\\', "\\\\").replace('"', "\\\"");
    let body = format!(r#"{{"health":"false","reason":"{reason}"}}"#);
    go_error(StatusCode::SERVICE_UNAVAILABLE, &body)
}

async fn sickness(handle: &Handle, serializable: bool, query: &[(&str, &str)]) -> Option<String> {
    for (alarm, name) in [(AlarmType::Nospace, "NOSPACE"), (AlarmType::Corrupt, "CORRUPT")] {
        if handle.shared.alarms.read().has(alarm) && !query.contains(&("exclude", name)) {
            return Some(format!("ALARM {name}"));
        }
    }
    if let Some(reason) = handle.damaged.reason()
        && !query.contains(&("exclude", "CORRUPT"))
    {
        return Some(reason);
    }
    if !serializable && handle.progress.leader() == MemberId(0) {
        return Some("RAFT NO LEADER".to_owned());
    }
    probe(handle, serializable).await.err().map(|error| format!("RANGE ERROR:{error}"))
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
    read.await.map_err(|failure: Failure| failure.message.into_owned())
}
