//! Range, Put and DeleteRange: on their own, and as operations of a transaction.
//!
//! This is where keys and leases meet: a put moves its key to the lease it names, a delete takes
//! the key off its lease.

use api::{
    error::Error,
    etcdserverpb::{
        DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest,
        RangeResponse,
    },
    ids::{LeaseId, Revision},
    kv::RawKeyValue,
    range::KeyRange,
};
use bytes::Bytes;
use mvcc::{RangeAnswer, RangeQuery, WriteTxn};
use parking_lot::Mutex;

use crate::{
    ApplyError, Response, Shared,
    outcome::{Traces, header},
};

/// No lease.
const NO_LEASE: LeaseId = LeaseId(0);

/// Answers a range that came through raft.
pub(crate) fn range(shared: &Shared, request: &RangeRequest) -> Result<Response, ApplyError> {
    let answer = shared.store.range(&RangeQuery::from(request))?;
    Ok(Response::Range(range_response(answer)))
}

/// Sets a key.
pub(crate) fn put(
    shared: &Shared,
    request: &PutRequest,
    traces: &mut Traces,
) -> Result<Response, ApplyError> {
    check_lease(&shared.lessor, request)?;
    let mut txn = shared.store.write(&mut traces.ops);
    if needs_previous(request) && txn.key_meta(&request.key).is_none() {
        return Err(Error::KeyNotFound.into());
    }
    let response = put_in(&mut txn, &shared.lessor, request);
    traces.changes = txn.end();
    Ok(Response::Put(response))
}

/// Deletes keys.
pub(crate) fn delete_range(
    shared: &Shared,
    request: &DeleteRangeRequest,
    traces: &mut Traces,
) -> Result<Response, ApplyError> {
    let mut txn = shared.store.write(&mut traces.ops);
    let response = delete_in(&mut txn, &shared.lessor, request);
    traces.changes = txn.end();
    Ok(Response::DeleteRange(response))
}

/// Whether a put keeps something of the version before, which must exist then.
pub(crate) fn needs_previous(request: &PutRequest) -> bool {
    request.ignore_value || request.ignore_lease
}

/// Checks that the lease that a put names exists.
pub(crate) fn check_lease(
    lessor: &Mutex<::lease::Lessor>,
    request: &PutRequest,
) -> Result<(), Error> {
    let id = LeaseId(request.lease);
    if id == NO_LEASE || lessor.lock().contains(id) {
        return Ok(());
    }
    Err(Error::LeaseNotFound)
}

/// Sets a key within a transaction. Everything that can refuse it was checked before.
pub(crate) fn put_in(
    txn: &mut WriteTxn<'_>,
    lessor: &Mutex<::lease::Lessor>,
    request: &PutRequest,
) -> PutResponse {
    let looks_back = needs_previous(request) || request.prev_kv;
    let before = if looks_back { txn.key_meta(&request.key) } else { None };
    assert!(
        before.is_some() || !needs_previous(request),
        "apply: a put that keeps what was before is checked before the first write"
    );
    let previous = match &before {
        Some(meta) if request.ignore_value || request.prev_kv => Some(stored(txn, meta.modified)),
        _ => None,
    };
    let value = match &previous {
        Some(previous) if request.ignore_value => value_of(previous),
        _ => request.value.clone(),
    };
    let lease = match &before {
        Some(meta) if request.ignore_lease => meta.lease,
        _ => LeaseId(request.lease),
    };
    let replaced = txn.put(request.key.clone(), value, lease);
    move_lease(lessor, &request.key, replaced.map_or(NO_LEASE, |meta| meta.lease), lease);
    let prev_kv = if request.prev_kv { previous } else { None };
    PutResponse { header: header(txn.revision()), prev_kv }
}

/// Deletes keys within a transaction.
pub(crate) fn delete_in(
    txn: &mut WriteTxn<'_>,
    lessor: &Mutex<::lease::Lessor>,
    request: &DeleteRangeRequest,
) -> DeleteRangeResponse {
    let range = KeyRange::new(request.key.clone(), request.range_end.clone());
    let deleted = txn.delete_range(&range);
    for gone in &deleted {
        move_lease(lessor, &gone.key, gone.meta.lease, NO_LEASE);
    }
    let prev_kvs = match request.prev_kv {
        true => deleted.iter().map(|gone| stored(txn, gone.meta.modified)).collect(),
        false => Vec::new(),
    };
    let deleted = deleted.len() as i64;
    DeleteRangeResponse { header: header(txn.revision()), deleted, prev_kvs }
}

/// The wire form of a range's answer.
pub(crate) fn range_response(answer: RangeAnswer) -> RangeResponse {
    RangeResponse {
        header: header(answer.revision),
        kvs: answer.kvs,
        more: answer.more,
        count: answer.count,
    }
}

/// Takes a key from one lease to another; most keys have none, and then the lessor is not locked.
fn move_lease(lessor: &Mutex<::lease::Lessor>, key: &[u8], from: LeaseId, to: LeaseId) {
    if from == to {
        return;
    }
    let mut lessor = lessor.lock();
    if from != NO_LEASE {
        lessor.detach(from, key);
    }
    if to != NO_LEASE {
        lessor.attach(to, key);
    }
}

/// A version that the index names.
///
/// # Panics
/// When the store cannot be read, or does not have it: index and store have parted.
fn stored(txn: &WriteTxn<'_>, revision: Revision) -> RawKeyValue {
    match txn.value(revision) {
        Ok(Some(kv)) => kv,
        Ok(None) => panic!("apply: revision {revision:?} is in the index but not in the store"),
        Err(error) => panic!("apply: the store cannot be read: {error}"),
    }
}

/// The value of a version that the index names.
pub(crate) fn value_at(txn: &WriteTxn<'_>, revision: Revision) -> Bytes {
    value_of(&stored(txn, revision))
}

/// The value within a stored version.
fn value_of(kv: &RawKeyValue) -> Bytes {
    kv.decode().expect("the store holds encoded key-values only").value
}
