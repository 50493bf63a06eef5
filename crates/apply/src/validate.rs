//! What services check of a request before it goes anywhere, in etcd's order, so that a request with
//! several faults is answered with the same one (spec `grpc.md` sections 4.2 to 4.4).

mod overlap;

use api::{
    error::{Code, Error},
    etcdserverpb::{
        DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
        range_request::{SortOrder, SortTarget},
        request_op::Request,
    },
};

use crate::ApplyError;

/// How deep transactions may be nested. Deeper ones could be decoded as requests but not as raft
/// entries, which wrap them once more: the decoder follows 100 levels.
const TXN_DEPTH_MAX: usize = 49;

/// Checks a range.
pub fn check_range(request: &RangeRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if SortOrder::try_from(request.sort_order).is_err()
        || SortTarget::try_from(request.sort_target).is_err()
    {
        return Err(Error::InvalidSortOption);
    }
    Ok(())
}

/// Checks a range that is answered as a stream.
pub fn check_range_stream(request: &RangeRequest) -> Result<(), ApplyError> {
    check_range(request)?;
    let unsupported = |what: &str| {
        let message = format!("RangeStream does not support {what}").into();
        Err(ApplyError { code: Code::Unimplemented, message })
    };
    let by_key = request.sort_target() == SortTarget::Key;
    let as_stored = match request.sort_order() {
        SortOrder::None => true,
        SortOrder::Ascend => by_key,
        SortOrder::Descend => false,
    };
    if !as_stored {
        return unsupported("custom sort orders");
    }
    let bounds = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    if bounds != [0; 4] {
        return unsupported("revision filters");
    }
    Ok(())
}

/// Checks a put.
pub fn check_put(request: &PutRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

/// Checks a delete.
pub fn check_delete_range(request: &DeleteRangeRequest) -> Result<(), Error> {
    if request.key.is_empty() { Err(Error::EmptyKey) } else { Ok(()) }
}

/// Checks a transaction: its size, each operation, then that no key is changed twice.
pub fn check_txn(request: &TxnRequest, max_ops: usize) -> Result<(), Error> {
    check_ops(request, max_ops, TXN_DEPTH_MAX)?;
    overlap::check(&request.success)?;
    overlap::check(&request.failure)
}

/// Each level may hold as many operations as the levels around it have left.
fn check_ops(request: &TxnRequest, budget: usize, depth: usize) -> Result<(), Error> {
    let widest = request.compare.len().max(request.success.len()).max(request.failure.len());
    let Some(left) = budget.checked_sub(widest) else { return Err(Error::TooManyOps) };
    if depth == 0 {
        return Err(Error::TooManyOps);
    }
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Error::EmptyKey);
    }
    for op in request.success.iter().chain(&request.failure) {
        check_op(op, left, depth)?;
    }
    Ok(())
}

fn check_op(op: &RequestOp, budget: usize, depth: usize) -> Result<(), Error> {
    match &op.request {
        Some(Request::RequestRange(range)) => check_range(range),
        Some(Request::RequestPut(put)) => check_put(put),
        Some(Request::RequestDeleteRange(delete)) => check_delete_range(delete),
        Some(Request::RequestTxn(txn)) => check_ops(txn, budget, depth - 1),
        None => Err(Error::KeyNotFound),
    }
}

#[cfg(test)]
mod tests;
