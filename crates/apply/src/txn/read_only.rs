//! Transactions without writes: run by services beside apply, at one revision.

use api::{
    etcdserverpb::{
        RangeRequest, RangeResponse, ResponseOp, TxnRequest, TxnResponse, compare::CompareTarget,
        request_op::Request, response_op,
    },
    kv::KeyValue,
    range::KeyRange,
};
use mvcc::{RangeQuery, ReadError, Store};

use super::Plan;
use crate::{ApplyError, compare::Before, kv::range_response, outcome::header};

/// Answers a transaction for which [`super::is_read_only`] holds: all of it from the state at one
/// revision, the current one when it begins. Should history be compacted past that revision
/// meanwhile, it begins again.
pub fn read_only(store: &Store, request: &TxnRequest) -> Result<TxnResponse, ApplyError> {
    loop {
        let pinned = Pinned { store, revision: store.revision() };
        let answer = pinned.answer(request);
        if answer.is_err() && store.compact_revision() > pinned.revision {
            continue;
        }
        return answer;
    }
}

/// The store at one revision.
struct Pinned<'s> {
    store: &'s Store,
    revision: i64,
}

impl Pinned<'_> {
    fn answer(&self, request: &TxnRequest) -> Result<TxnResponse, ApplyError> {
        let plan = Plan::choose(request, self)?;
        plan.check(self, &|_| Ok(()))?;
        let mut responses = Vec::with_capacity(plan.ops.len());
        for op in plan.ops {
            let Some(Request::RequestRange(range)) = &op.request else {
                panic!("apply: a read-only transaction holds something else than a range");
            };
            let response = response_op::Response::ResponseRange(self.range(range)?);
            responses.push(ResponseOp { response: Some(response) });
        }
        let header = header(self.revision);
        Ok(TxnResponse { header, succeeded: plan.succeeded, responses })
    }

    fn range(&self, request: &RangeRequest) -> Result<RangeResponse, ReadError> {
        let mut query = RangeQuery::from(request);
        if query.revision <= 0 {
            query.revision = self.revision;
        }
        let mut answer = self.store.range(&query)?;
        answer.revision = self.revision;
        Ok(range_response(answer))
    }
}

impl Before for Pinned<'_> {
    fn keys(
        &self,
        range: &KeyRange,
        target: Option<CompareTarget>,
    ) -> Result<Vec<KeyValue>, ReadError> {
        let mut query = RangeQuery::new(range.clone());
        query.revision = self.revision;
        // Answers without values are made from the index, which shows no leases.
        let whole = matches!(target, Some(CompareTarget::Value | CompareTarget::Lease));
        query.keys_only = !whole;
        let answer = self.store.range(&query)?;
        let decode = |raw: api::kv::RawKeyValue| {
            raw.decode().expect("the store holds encoded key-values only")
        };
        Ok(answer.kvs.into_iter().map(decode).collect())
    }

    fn check_revision(&self, revision: i64) -> Result<(), ReadError> {
        if revision == 0 {
            return Ok(());
        }
        if revision > self.revision {
            return Err(ReadError::Future);
        }
        if revision < self.store.compact_revision() {
            return Err(ReadError::Compacted);
        }
        Ok(())
    }

    fn has_key(&self, _key: &[u8]) -> bool {
        unreachable!("only puts ask for keys, and a read-only transaction has none")
    }
}
