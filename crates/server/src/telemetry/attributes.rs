//! The attributes of spans: names and values as etcd 3.7 and its gRPC library have them.

use std::net::SocketAddr;

use api::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, RangeRequest, RequestOp,
    TxnRequest, WatchCreateRequest, request_op::Request as Op,
};

use super::otlp::{AnyValue, KeyValue, Value};

/// The codes of gRPC by number, as attributes name them.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
/// The codes that say that the server failed: unknown, deadline exceeded, unimplemented, internal,
/// unavailable, data loss.
const FAULTS: [usize; 6] = [2, 4, 12, 13, 14, 15];

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

/// A text.
pub(super) fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Value::Text(value.to_owned()))
}

/// A key of the store, or part of one: what is no UTF-8 in it is replaced.
fn bytes(key: &str, value: &[u8]) -> KeyValue {
    pair(key, Value::Text(String::from_utf8_lossy(value).into_owned()))
}

fn int(key: &str, value: i64) -> KeyValue {
    pair(key, Value::Int(value))
}

fn count(key: &str, value: usize) -> KeyValue {
    int(key, i64::try_from(value).unwrap_or(i64::MAX))
}

fn flag(key: &str, value: bool) -> KeyValue {
    pair(key, Value::Bool(value))
}

/// Of a gRPC call.
pub(super) fn call(method: &str) -> Vec<KeyValue> {
    vec![text("rpc.method", method), text("rpc.system.name", "grpc")]
}

/// Where a call came in.
pub(super) fn server(address: SocketAddr) -> [KeyValue; 2] {
    let host = address.ip().to_canonical().to_string();
    [text("server.address", &host), int("server.port", i64::from(address.port()))]
}

/// How a call ended.
pub(super) fn status(code: usize) -> KeyValue {
    match CODES.get(code) {
        Some(name) => text("rpc.response.status_code", name),
        None => text("rpc.response.status_code", &format!("CODE({code})")),
    }
}

/// Whether a code is the server's fault.
pub(super) fn is_fault(code: usize) -> bool {
    FAULTS.contains(&code)
}

/// Of an error that a span met.
pub(super) fn error(message: &str) -> Vec<KeyValue> {
    vec![text("exception.type", "error"), text("exception.message", message)]
}

/// Of a range.
pub(crate) fn range(request: &RangeRequest) -> Vec<KeyValue> {
    let mut attributes = range_stream(request);
    attributes.push(flag("keys_only", request.keys_only));
    attributes
}

/// Of a range that is answered in parts.
pub(crate) fn range_stream(request: &RangeRequest) -> Vec<KeyValue> {
    vec![
        bytes("range_begin", &request.key),
        bytes("range_end", &request.range_end),
        int("rev", request.revision),
        int("limit", request.limit),
        flag("count_only", request.count_only),
    ]
}

/// Of a put.
pub(crate) fn key_only(key: &[u8]) -> Vec<KeyValue> {
    vec![bytes("key", key)]
}

/// Of a deletion.
pub(crate) fn deletion(request: &DeleteRangeRequest) -> Vec<KeyValue> {
    vec![bytes("range_begin", &request.key), bytes("range_end", &request.range_end)]
}

/// Of a transaction: its sizes, and its first operations.
pub(crate) fn transaction(request: &TxnRequest, read_only: bool) -> Vec<KeyValue> {
    let first_compared =
        request.compare.iter().map(|compare: &Compare| &compare.key).find(|key| !key.is_empty());
    let ops = || request.success.iter().filter_map(|op: &RequestOp| op.request.as_ref());
    let key = |op: &Op| match op {
        Op::RequestPut(put) => put.key.clone(),
        Op::RequestRange(range) => range.key.clone(),
        Op::RequestDeleteRange(delete) => delete.key.clone(),
        Op::RequestTxn(_) => Default::default(),
    };
    let kind = ops().next().map_or("", |op| match op {
        Op::RequestPut(_) => "put",
        Op::RequestRange(_) => "range",
        Op::RequestDeleteRange(_) => "delete_range",
        Op::RequestTxn(_) => "txn",
    });
    let lease = ops().find_map(|op| match op {
        Op::RequestPut(put) => Some(put.lease),
        _ => None,
    });
    vec![
        bytes("compare_first_key", first_compared.map_or(&[], |key| key)),
        bytes("success_first_key", &ops().map(key).find(|key| !key.is_empty()).unwrap_or_default()),
        text("success_first_type", kind),
        int("success_first_lease", lease.unwrap_or(-1)),
        count("compare_len", request.compare.len()),
        count("success_len", request.success.len()),
        count("failure_len", request.failure.len()),
        flag("read_only", read_only),
    ]
}

/// Of a compaction.
pub(crate) fn compaction(request: &CompactionRequest) -> Vec<KeyValue> {
    vec![flag("is_physical", request.physical), int("rev", request.revision)]
}

/// Of a grant.
pub(crate) fn grant(request: &LeaseGrantRequest) -> Vec<KeyValue> {
    vec![int("id", request.id), int("ttl", request.ttl)]
}

/// Of what is done to a lease.
pub(crate) fn id_only(id: i64) -> Vec<KeyValue> {
    vec![int("id", id)]
}

/// Of a watcher.
pub(crate) fn watcher(request: &WatchCreateRequest) -> Vec<KeyValue> {
    vec![
        bytes("key", &request.key),
        bytes("range_end", &request.range_end),
        int("start_rev", request.start_revision),
        flag("progress_notify", request.progress_notify),
        flag("prev_kv", request.prev_kv),
        flag("fragment", request.fragment),
    ]
}
