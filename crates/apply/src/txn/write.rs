//! Transactions that can write: run by apply, all at one revision.

use api::{
    etcdserverpb::{
        RangeRequest, RangeResponse, RequestOp, ResponseHeader, ResponseOp, TxnRequest,
        TxnResponse, compare::CompareTarget, request_op::Request, response_op,
    },
    kv::KeyValue,
    range::KeyRange,
};
use mutants::{Mutant, is_on};
use mvcc::{RangeQuery, ReadError, WriteTxn};
use parking_lot::Mutex;

use super::{Plan, next};
use crate::{
    ApplyError, Response, Shared,
    compare::Before,
    kv,
    outcome::{Traces, header},
};

/// Runs a transaction. Where nobody waits for the answer its ranges are left out: they change
/// nothing.
pub(crate) fn write(
    shared: &Shared,
    request: &TxnRequest,
    has_waiter: bool,
    traces: &mut Traces,
) -> Result<Response, ApplyError> {
    let mut txn = shared.store.write(&mut traces.ops);
    let unchecked = is_on(Mutant::TxnCheckedWhereAwaited) && !has_waiter;
    let before = Unchanged(&txn, unchecked);
    let plan = Plan::choose(request, &before)?;
    plan.check(&before, &|put| kv::check_lease(&shared.lessor, put))?;
    let mut run = Run { txn: &mut txn, lessor: &shared.lessor, has_waiter };
    let mut response = run.execute(&plan);
    response.header = header(txn.revision());
    traces.changes = txn.end();
    Ok(Response::Txn(response))
}

/// A write transaction in which nothing has been written yet; whether revisions go unchecked (a
/// mutant).
struct Unchanged<'t, 's>(&'t WriteTxn<'s>, bool);

impl Before for Unchanged<'_, '_> {
    fn keys(
        &self,
        range: &KeyRange,
        target: Option<CompareTarget>,
    ) -> Result<Vec<KeyValue>, ReadError> {
        let mut keys = Vec::new();
        for meta in self.0.metas(range) {
            let value = match target {
                Some(CompareTarget::Value) => kv::value_at(self.0, meta.modified),
                _ => bytes::Bytes::new(),
            };
            keys.push(KeyValue {
                create_revision: meta.create_revision,
                mod_revision: meta.modified.main,
                version: meta.version,
                value,
                lease: meta.lease.0,
                ..KeyValue::default()
            });
        }
        Ok(keys)
    }

    fn check_revision(&self, revision: i64) -> Result<(), ReadError> {
        if self.1 { Ok(()) } else { self.0.check_revision(revision) }
    }

    fn has_key(&self, key: &[u8]) -> bool {
        self.0.key_meta(key).is_some()
    }
}

/// The execution of a plan.
struct Run<'r, 's> {
    txn: &'r mut WriteTxn<'s>,
    lessor: &'r Mutex<::lease::Lessor>,
    has_waiter: bool,
}

impl Run<'_, '_> {
    /// Executes a plan. The answer's header is left empty: only the outermost has a revision.
    fn execute(&mut self, plan: &Plan<'_>) -> TxnResponse {
        let mut inner = plan.inner.iter();
        let responses = plan.ops.iter().map(|op| self.execute_op(op, &mut inner)).collect();
        let header = Some(ResponseHeader::default());
        TxnResponse { header, succeeded: plan.succeeded, responses }
    }

    fn execute_op<'p, 'a>(
        &mut self,
        op: &RequestOp,
        inner: &mut std::slice::Iter<'p, Plan<'a>>,
    ) -> ResponseOp {
        use response_op::Response as Answer;
        let response = op.request.as_ref().map(|request| match request {
            Request::RequestRange(range) => Answer::ResponseRange(self.range(range)),
            Request::RequestPut(put) => Answer::ResponsePut(kv::put_in(self.txn, self.lessor, put)),
            Request::RequestDeleteRange(delete) => {
                Answer::ResponseDeleteRange(kv::delete_in(self.txn, self.lessor, delete))
            }
            Request::RequestTxn(_) => Answer::ResponseTxn(self.execute(next(inner))),
        });
        ResponseOp { response }
    }

    /// # Panics
    /// When the range fails: its revision was checked, and writes must not end halfway.
    fn range(&mut self, request: &RangeRequest) -> RangeResponse {
        if !self.has_waiter {
            return RangeResponse { header: header(self.txn.revision()), ..Default::default() };
        }
        match self.txn.range(&RangeQuery::from(request)) {
            Ok(answer) => kv::range_response(answer),
            Err(error) => panic!("apply: a range failed within a transaction: {error}"),
        }
    }
}
