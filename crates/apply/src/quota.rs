//! The space quota: what a write costs, and whether there is room for it.
//!
//! Services ask before they propose. Apply asks again and only raises the alarm: sizes differ
//! between members, so they must not decide whether an entry takes effect.

use api::etcdserverpb::{InternalRaftRequest, PutRequest, RequestOp, TxnRequest, request_op};

/// What a lease costs.
pub const LEASE_COST: u64 = 64;
/// What a key costs beside its bytes.
const KEY_OVERHEAD: u64 = 256;
/// The quota when none is configured.
const DEFAULT_BYTES: u64 = 2 << 30;

/// How large the store may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota(Option<u64>);

impl Quota {
    /// The quota of `--quota-backend-bytes`: negative is none, 0 the default of 2 GiB.
    pub fn new(bytes: i64) -> Quota {
        match u64::try_from(bytes) {
            Ok(0) => Quota(Some(DEFAULT_BYTES)),
            Ok(bytes) => Quota(Some(bytes)),
            Err(_) => Quota(None),
        }
    }

    /// The number of bytes, if there is a limit.
    pub fn bytes(self) -> Option<u64> {
        self.0
    }

    /// Whether a write of this cost may go into a store of `size_in_use` bytes. What costs nothing
    /// always may.
    pub fn has_room(self, cost: u64, size_in_use: u64) -> bool {
        cost == 0 || self.0.is_none_or(|quota| size_in_use.saturating_add(cost) < quota)
    }
}

/// What a put costs.
pub fn put_cost(request: &PutRequest) -> u64 {
    KEY_OVERHEAD + request.key.len() as u64 + request.value.len() as u64
}

/// What a transaction costs: the puts of its dearer branch. Deletes are free.
pub fn txn_cost(request: &TxnRequest) -> u64 {
    let branch = |ops: &[RequestOp]| -> u64 { ops.iter().map(op_cost).sum() };
    branch(&request.success).max(branch(&request.failure))
}

/// What a raft request costs.
pub(crate) fn cost(request: &InternalRaftRequest) -> u64 {
    if let Some(put) = &request.put {
        put_cost(put)
    } else if let Some(txn) = &request.txn {
        txn_cost(txn)
    } else if request.lease_grant.is_some() {
        LEASE_COST
    } else {
        0
    }
}

fn op_cost(op: &RequestOp) -> u64 {
    match &op.request {
        Some(request_op::Request::RequestPut(put)) => put_cost(put),
        Some(request_op::Request::RequestTxn(txn)) => txn_cost(txn),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(value: &'static str) -> PutRequest {
        PutRequest { key: "key".into(), value: value.into(), ..PutRequest::default() }
    }

    fn op(request: request_op::Request) -> RequestOp {
        RequestOp { request: Some(request) }
    }

    #[test]
    fn a_transaction_costs_its_dearer_branch() {
        let put_op = |value| op(request_op::Request::RequestPut(put(value)));
        let inner = TxnRequest { failure: vec![put_op("12345")], ..TxnRequest::default() };
        let txn = TxnRequest {
            success: vec![put_op("1"), op(request_op::Request::RequestTxn(inner))],
            failure: vec![
                put_op("12"),
                op(request_op::Request::RequestDeleteRange(Default::default())),
            ],
            ..TxnRequest::default()
        };
        assert_eq!(put_cost(&put("12")), 261);
        assert_eq!(txn_cost(&txn), 260 + 264);
        assert_eq!(txn_cost(&TxnRequest::default()), 0);
    }

    #[test]
    fn the_quota_is_reached_at_equality() {
        let quota = Quota::new(1000);
        assert!(quota.has_room(100, 899) && !quota.has_room(100, 900));
        assert!(quota.has_room(0, u64::MAX) && !quota.has_room(1, u64::MAX));
        assert!(Quota::new(-1).has_room(1, u64::MAX));
        assert_eq!(Quota::new(0).bytes(), Some(2_147_483_648));
    }
}
