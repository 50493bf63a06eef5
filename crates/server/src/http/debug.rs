//! `/debug/vars` and `/debug/pprof/` (spec http.md section 1).
//!
//! Profiles have pprof's format, with what there is here in the place of what Go's runtime knows:
//! threads for goroutines, parts of the process for the heap. An execution trace of Go's there is not.

use std::{fmt::Write as _, os::unix::ffi::OsStrExt as _, time::Duration};

use api::ids::MemberId;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Map, Value, json};
use tonic::body::Body;

use super::{
    body::Incoming,
    plain::{go_error, reply},
};
use crate::{handle::Handle, metrics::open_files_max, profile};

/// The profiles, with what they show here.
const PROFILES: &[(&str, &str)] = &[
    ("allocs", "the same as heap"),
    ("block", "empty: waiting for locks is not recorded"),
    ("cmdline", "the command line of this process"),
    ("goroutine", "the threads of this process"),
    ("heap", "memory by the parts of this process"),
    ("mutex", "empty: holders of locks are not recorded"),
    ("profile", "processor time, for ?seconds=N"),
    ("symbol", "the names of addresses"),
    ("threadcreate", "the same as goroutine"),
    ("trace", "not there: an execution trace of Go's runtime"),
];
/// The length of a profile of processor time when none is asked for, and at most.
const PROFILE_SECONDS: u64 = 30;
const PROFILE_SECONDS_MAX: u64 = 3600;
/// Bytes of a request for names.
const SYMBOLS_BYTES_MAX: usize = 1 << 20;

const TEXT: &str = "text/plain; charset=utf-8";

/// Answers a path below `/debug/`, profiles only with `pprof`; gives back requests for anything else.
pub(super) async fn route(
    handle: &Handle,
    pprof: bool,
    request: Request<Incoming>,
) -> Result<Response<Body>, Request<Incoming>> {
    if request.uri().path() == "/debug/vars" {
        return Ok(reply(StatusCode::OK, "application/json; charset=utf-8", variables(handle)));
    }
    let name = request.uri().path().strip_prefix("/debug/pprof/").map(str::to_owned);
    match name {
        Some(name) if pprof => Ok(profile(handle, &name, request).await),
        _ => Err(request),
    }
}

/// A number that a query asks with.
fn asked(request: &Request<Incoming>, name: &str) -> Option<u64> {
    let pairs = request.uri().query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name)?.1.parse().ok()
}

async fn profile(handle: &Handle, name: &str, request: Request<Incoming>) -> Response<Body> {
    let as_text = asked(&request, "debug").is_some_and(|debug| debug > 0);
    match name {
        "" => reply(StatusCode::OK, "text/html; charset=utf-8", index()),
        "cmdline" => {
            let line: Vec<Vec<u8>> =
                std::env::args_os().map(|arg| arg.as_os_str().as_bytes().to_vec()).collect();
            reply(StatusCode::OK, TEXT, line.join(&0))
        }
        "profile" => {
            let seconds = asked(&request, "seconds").filter(|seconds| *seconds > 0);
            let seconds = seconds.unwrap_or(PROFILE_SECONDS).min(PROFILE_SECONDS_MAX);
            drop(request);
            tokio::select! {
                taken = profile::sample(Duration::from_secs(seconds)) => match taken {
                    Ok(bytes) => attachment(name, bytes),
                    Err(error) => {
                        let text = format!("Could not enable CPU profiling: {error}");
                        refused(StatusCode::INTERNAL_SERVER_ERROR, &text)
                    }
                },
                () = handle.progress.wait_stopping() => {
                    refused(StatusCode::SERVICE_UNAVAILABLE, "the member stops")
                }
            }
        }
        "heap" | "allocs" => attachment(name, profile::heap(handle)),
        "goroutine" | "threadcreate" if as_text => reply(StatusCode::OK, TEXT, profile::list(name)),
        "goroutine" | "threadcreate" => attachment(name, profile::threads(name)),
        "block" | "mutex" => attachment(name, profile::empty()),
        "symbol" => symbols(request).await,
        "trace" => {
            let text = "an execution trace of the Go runtime does not exist here";
            refused(StatusCode::NOT_IMPLEMENTED, text)
        }
        _ => refused(StatusCode::NOT_FOUND, "Unknown profile"),
    }
}

fn refused(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = go_error(status, text);
    response.headers_mut().insert("x-go-pprof", HeaderValue::from_static("1"));
    response
}

fn attachment(name: &str, bytes: Vec<u8>) -> Response<Body> {
    let mut response = reply(StatusCode::OK, "application/octet-stream", bytes);
    let file = format!("attachment; filename=\"{name}\"");
    let file = HeaderValue::from_str(&file).expect("names of profiles are plain");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_DISPOSITION, file);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn index() -> String {
    let mut page = String::from(
        "<html>\n<head>\n<title>/debug/pprof/</title>\n</head>\n<body>\n<p>Profiles:</p>\n<table>\n",
    );
    for (name, what) in PROFILES {
        writeln!(page, "<tr><td><a href='{name}'>{name}</a></td><td>{what}</td></tr>")
            .expect("a string takes everything");
    }
    page + "</table>\n</body>\n</html>\n"
}

/// Names of addresses, `0x1+0x2` in the query or the body.
async fn symbols(request: Request<Incoming>) -> Response<Body> {
    let addresses = if request.method() == Method::POST {
        match Limited::new(request.into_body(), SYMBOLS_BYTES_MAX).collect().await {
            Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            Err(error) => return refused(StatusCode::BAD_REQUEST, &error.to_string()),
        }
    } else {
        request.uri().query().unwrap_or_default().to_owned()
    };
    let names = tokio::task::spawn_blocking(move || {
        let mut text = String::from("num_symbols: 1\n");
        for address in addresses.split('+').filter_map(|word| word.trim().strip_prefix("0x")) {
            let found = u64::from_str_radix(address, 16).ok().filter(|address| *address != 0);
            if let Some((address, name)) =
                found.and_then(|address| Some((address, profile::name_of(address)?)))
            {
                writeln!(text, "{address:#x} {name}").expect("a string takes everything");
            }
        }
        text
    });
    reply(StatusCode::OK, TEXT, names.await.unwrap_or_default())
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
    let heap = crate::metrics::heap();
    let (in_use, private) = (heap.in_use, heap.private);
    json!({"Alloc": in_use, "HeapAlloc": in_use, "HeapInuse": in_use, "HeapIdle": heap.idle(),
           "HeapSys": private, "Sys": private})
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
