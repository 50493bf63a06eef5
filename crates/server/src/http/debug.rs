//! `/debug/vars`, and what there is of `/debug/pprof/` (spec http.md section 1).
//!
//! Profiles of Go's format need Go's runtime: this server has none to give. Samplers from outside
//! (`perf`, eBPF) see it as any other program.

use std::os::unix::ffi::OsStrExt as _;

use api::ids::MemberId;
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};
use tonic::body::Body;

use super::plain::{go_error, reply};
use crate::{handle::Handle, metrics::open_files_max};

/// The profiles that etcd's index names.
const PROFILES: &[&str] = &[
    "allocs",
    "block",
    "goroutine",
    "heap",
    "mutex",
    "profile",
    "symbol",
    "threadcreate",
    "trace",
];

/// Answers a path below `/debug/`, profiles only with `pprof`; `None` for those that are not there.
pub(super) fn route(handle: &Handle, pprof: bool, path: &str) -> Option<Response<Body>> {
    if path == "/debug/vars" {
        return Some(reply(StatusCode::OK, "application/json; charset=utf-8", variables(handle)));
    }
    let name = path.strip_prefix("/debug/pprof/")?;
    pprof.then(|| profile(name))
}

fn profile(name: &str) -> Response<Body> {
    if name == "cmdline" {
        let line: Vec<Vec<u8>> =
            std::env::args_os().map(|arg| arg.as_os_str().as_bytes().to_vec()).collect();
        return reply(StatusCode::OK, "text/plain; charset=utf-8", line.join(&0));
    }
    if name.is_empty() || PROFILES.contains(&name) {
        let text = "profiles of the Go runtime do not exist here; use perf(1) on this process";
        return go_error(StatusCode::NOT_IMPLEMENTED, text);
    }
    let mut response = go_error(StatusCode::NOT_FOUND, "Unknown profile");
    response.headers_mut().insert("x-go-pprof", HeaderValue::from_static("1"));
    response
}

/// The variables as Go's expvar writes them: one a line, by name.
fn variables(handle: &Handle) -> String {
    let line: Vec<String> =
        std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let variables = [
        ("cmdline", json!(line)),
        ("file_descriptor_limit", json!(open_files_max().unwrap_or(0))),
        ("memstats", memory()),
        ("raft.status", raft_status(handle)),
    ];
    let lines: Vec<String> =
        variables.iter().map(|(name, value)| format!("{}: {value}", json!(name))).collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

/// The numbers of Go's memory statistics that mean something here.
fn memory() -> Value {
    let (in_use, free) = crate::metrics::heap().unwrap_or_default();
    let sum = in_use + free;
    json!({"Alloc": in_use, "HeapAlloc": in_use, "HeapInuse": in_use, "HeapIdle": free,
           "HeapSys": sum, "Sys": sum})
}

fn raft_status(handle: &Handle) -> Value {
    let progress = &handle.progress;
    let leader = progress.leader();
    let state = match leader {
        leader if leader == handle.member => "StateLeader",
        _ if handle.is_learner() => "StateFollower",
        MemberId(0) => "StateCandidate",
        _ => "StateFollower",
    };
    json!({
        "id": handle.member.to_string(),
        "term": progress.term().0,
        "commit": progress.committed().0,
        "lead": leader.to_string(),
        "raftState": state,
        "applied": progress.applied().0,
        "progress": Map::new(),
        "leadtransferee": "0",
    })
}
