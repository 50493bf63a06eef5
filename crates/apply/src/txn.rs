//! Transactions: guards, the chosen branches, execution (spec `grpc.md` section 4.4).
//!
//! In three steps. All guards of the tree are evaluated on the state before, which fixes a [`Plan`];
//! so guards of an inner transaction do not see what came before them in the outer one. Then
//! everything that could refuse an operation of the plan is checked. Then the plan is executed; from
//! there on nothing fails.

mod read_only;
mod write;

use api::{
    error::Error,
    etcdserverpb::{PutRequest, RequestOp, TxnRequest, request_op::Request},
    range::KeyRange,
};
use mvcc::ReadError;

pub use read_only::read_only;
pub(crate) use write::write;

use crate::{
    ApplyError,
    compare::{Before, all_hold},
    kv::needs_previous,
};

/// Whether a transaction has ranges only. An inner transaction counts as a write, whatever it holds.
pub fn is_read_only(request: &TxnRequest) -> bool {
    let mut ops = request.success.iter().chain(&request.failure);
    ops.all(|op| matches!(op.request, Some(Request::RequestRange(_))))
}

/// Whether every operation is a serializable range, so that the transaction may be answered from
/// the local state. True for an empty one.
pub fn is_serializable(request: &TxnRequest) -> bool {
    let mut ops = request.success.iter().chain(&request.failure);
    ops.all(|op| match &op.request {
        Some(Request::RequestRange(range)) => range.serializable,
        _ => false,
    })
}

/// A transaction with its branch chosen.
pub(crate) struct Plan<'a> {
    pub(crate) succeeded: bool,
    /// The operations of the chosen branch.
    pub(crate) ops: &'a [RequestOp],
    /// The plans of the inner transactions among `ops`, in their order.
    pub(crate) inner: Vec<Plan<'a>>,
}

impl<'a> Plan<'a> {
    /// Evaluates the guards of a transaction and of the inner ones in its chosen branch.
    pub(crate) fn choose(
        request: &'a TxnRequest,
        before: &dyn Before,
    ) -> Result<Plan<'a>, ReadError> {
        let succeeded = all_hold(&request.compare, before)?;
        let ops = if succeeded { &request.success } else { &request.failure };
        let txns = ops.iter().filter_map(|op| match &op.request {
            Some(Request::RequestTxn(txn)) => Some(txn),
            _ => None,
        });
        let inner = txns.map(|txn| Plan::choose(txn, before)).collect::<Result<_, _>>()?;
        Ok(Plan { succeeded, ops, inner })
    }

    /// Checks whether every operation of the plan can be carried out. `check_lease` says whether
    /// the lease of a put exists.
    pub(crate) fn check(
        &self,
        before: &dyn Before,
        check_lease: &dyn Fn(&PutRequest) -> Result<(), Error>,
    ) -> Result<(), ApplyError> {
        Check { before, check_lease, deleted: Vec::new() }.plan(self)
    }
}

/// A walk over a plan in the order of its execution.
struct Check<'c> {
    before: &'c dyn Before,
    check_lease: &'c dyn Fn(&PutRequest) -> Result<(), Error>,
    /// What the operations so far delete. A put that keeps something of the version before finds
    /// nothing there; etcd lets it pass if the delete is open-ended, and then crashes on it.
    deleted: Vec<KeyRange>,
}

impl Check<'_> {
    fn plan(&mut self, plan: &Plan<'_>) -> Result<(), ApplyError> {
        let mut inner = plan.inner.iter();
        for op in plan.ops {
            match &op.request {
                Some(Request::RequestRange(range)) => self.before.check_revision(range.revision)?,
                Some(Request::RequestPut(put)) => self.put(put)?,
                Some(Request::RequestDeleteRange(delete)) => {
                    let (key, end) = (delete.key.clone(), delete.range_end.clone());
                    self.deleted.push(KeyRange::new(key, end));
                }
                Some(Request::RequestTxn(_)) => self.plan(next(&mut inner))?,
                None => {}
            }
        }
        Ok(())
    }

    fn put(&self, put: &PutRequest) -> Result<(), Error> {
        (self.check_lease)(put)?;
        if !needs_previous(put) {
            return Ok(());
        }
        let is_deleted = self.deleted.iter().any(|range| range.contains(&put.key));
        if is_deleted || !self.before.has_key(&put.key) {
            return Err(Error::KeyNotFound);
        }
        Ok(())
    }
}

/// The plan of the next inner transaction.
pub(crate) fn next<'p, 'a>(inner: &mut std::slice::Iter<'p, Plan<'a>>) -> &'p Plan<'a> {
    inner.next().expect("a plan holds one inner plan per inner transaction")
}

#[cfg(test)]
mod tests;
