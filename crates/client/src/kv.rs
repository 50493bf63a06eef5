//! Short ways to write the requests that recipes and tools make.

use api::{
    etcdserverpb::{
        Compare, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp,
        ResponseOp, TxnRequest,
        compare::{CompareResult, CompareTarget, TargetUnion},
        range_request::{SortOrder, SortTarget},
        request_op::Request,
        response_op::Response,
    },
    range::prefix_end,
};
use bytes::Bytes;

/// Reads one key.
pub fn get(key: impl Into<Bytes>) -> RangeRequest {
    RangeRequest { key: key.into(), ..RangeRequest::default() }
}

/// The oldest key with this prefix, by creation.
pub fn first_created(prefix: &str) -> RangeRequest {
    by_creation(prefix, SortOrder::Ascend)
}

/// The newest key with this prefix that was created at `max` or before.
pub fn last_created(prefix: &str, max: i64) -> RangeRequest {
    RangeRequest { max_create_revision: max, ..by_creation(prefix, SortOrder::Descend) }
}

fn by_creation(prefix: &str, order: SortOrder) -> RangeRequest {
    RangeRequest {
        range_end: prefix_end(prefix.as_bytes()),
        limit: 1,
        sort_order: order.into(),
        sort_target: SortTarget::Create.into(),
        ..get(prefix.to_owned())
    }
}

/// True when a key was created at this revision; 0 when it does not exist.
pub fn created_at(key: impl Into<Bytes>, revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key: key.into(),
        range_end: Bytes::new(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
    }
}

/// A transaction: `then` if every comparison holds, `otherwise` if not.
pub fn txn(compare: Vec<Compare>, then: Vec<RequestOp>, otherwise: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { compare, success: then, failure: otherwise }
}

/// A read as part of a transaction.
pub fn range_op(request: RangeRequest) -> RequestOp {
    RequestOp { request: Some(Request::RequestRange(request)) }
}

/// A put as part of a transaction.
pub fn put_op(request: PutRequest) -> RequestOp {
    RequestOp { request: Some(Request::RequestPut(request)) }
}

/// A deletion as part of a transaction.
pub fn delete_op(request: DeleteRangeRequest) -> RequestOp {
    RequestOp { request: Some(Request::RequestDeleteRange(request)) }
}

/// The answer to the read at `index` of a transaction.
pub fn range_answer(responses: &[ResponseOp], index: usize) -> Option<&RangeResponse> {
    match responses.get(index)?.response.as_ref()? {
        Response::ResponseRange(range) => Some(range),
        _ => None,
    }
}
