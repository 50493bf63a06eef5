//! Transactions: all guards on the state before, then all that could refuse it, then everything.

use std::cmp::Ordering;

use api::{
    error::Error,
    etcdserverpb::{
        Compare, RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
        compare::{CompareResult, CompareTarget, TargetUnion},
        request_op::Request,
        response_op::Response,
    },
    kv::KeyValue,
    range::KeyRange,
};
use bytes::Bytes;

use crate::{
    Model,
    keyspace::{Keyspace, Transaction},
};

/// A transaction whose guards have been judged.
pub(crate) struct Plan<'a> {
    succeeded: bool,
    steps: Vec<Step<'a>>,
}

enum Step<'a> {
    Op(&'a RequestOp),
    Txn(Plan<'a>),
}

/// Judges the guards of a transaction and of those within its chosen branch, all on the state
/// before it.
pub(crate) fn plan<'a>(request: &'a TxnRequest, before: &Keyspace) -> Plan<'a> {
    let succeeded = request.compare.iter().all(|compare| holds(compare, before));
    let branch = if succeeded { &request.success } else { &request.failure };
    let step = |op: &'a RequestOp| match &op.request {
        Some(Request::RequestTxn(inner)) => Step::Txn(plan(inner, before)),
        _ => Step::Op(op),
    };
    Plan { succeeded, steps: branch.iter().map(step).collect() }
}

/// Whether every operation of a plan can be carried out.
pub(crate) fn check(plan: &Plan<'_>, model: &Model) -> Result<(), Error> {
    check_after(plan, model, &mut Vec::new())
}

/// `deleted` are the ranges that the operations before delete: a put that keeps something of the
/// version before finds nothing there.
fn check_after(plan: &Plan<'_>, model: &Model, deleted: &mut Vec<KeyRange>) -> Result<(), Error> {
    for step in &plan.steps {
        let op = match step {
            Step::Txn(inner) => {
                check_after(inner, model, deleted)?;
                continue;
            }
            Step::Op(op) => op,
        };
        match &op.request {
            Some(Request::RequestRange(range)) => {
                model.keys().check_readable_in_txn(range.revision)?;
            }
            Some(Request::RequestPut(put)) => {
                model.check_put(put, model.keys())?;
                let keeps = put.ignore_value || put.ignore_lease;
                if keeps && deleted.iter().any(|range| range.contains(&put.key)) {
                    return Err(Error::KeyNotFound);
                }
            }
            Some(Request::RequestDeleteRange(delete)) => {
                deleted.push(KeyRange::new(delete.key.clone(), delete.range_end.clone()));
            }
            Some(Request::RequestTxn(_)) | None => {}
        }
    }
    Ok(())
}

/// Carries out a plan, operation by operation; each sees what those before it did.
pub(crate) fn run(plan: &Plan<'_>, keys: &mut Transaction) -> TxnResponse {
    let mut responses = Vec::new();
    for step in &plan.steps {
        let response = match step {
            Step::Txn(inner) => Some(Response::ResponseTxn(run(inner, keys))),
            Step::Op(op) => op.request.as_ref().and_then(|request| run_op(request, keys)),
        };
        responses.push(ResponseOp { response });
    }
    // Only the outermost answer has a revision in its header.
    let header = Some(ResponseHeader::default());
    TxnResponse { header, succeeded: plan.succeeded, responses }
}

fn run_op(request: &Request, keys: &mut Transaction) -> Option<Response> {
    match request {
        Request::RequestRange(range) => Some(Response::ResponseRange(keys.range(range))),
        Request::RequestPut(put) => Some(Response::ResponsePut(keys.put(put))),
        Request::RequestDeleteRange(delete) => {
            Some(Response::ResponseDeleteRange(keys.delete_range(delete)))
        }
        Request::RequestTxn(_) => None,
    }
}

/// A guard holds when it holds for every key of its range. Where there is none, its numbers are
/// zero, and a guard of its value fails.
fn holds(compare: &Compare, before: &Keyspace) -> bool {
    let range = KeyRange::new(compare.key.clone(), compare.range_end.clone());
    let keys = before.existing(&range, before.revision());
    if keys.is_empty() {
        let of_value = compare.target == CompareTarget::Value as i32;
        return !of_value && holds_for(compare, &KeyValue::default());
    }
    keys.into_iter().all(|kv| holds_for(compare, kv))
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let order = order_of(compare, kv);
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order == Ordering::Equal,
        Ok(CompareResult::NotEqual) => order != Ordering::Equal,
        Ok(CompareResult::Greater) => order == Ordering::Greater,
        Ok(CompareResult::Less) => order == Ordering::Less,
        Err(_) => true,
    }
}

/// How what is stored compares with what is given; nothing given is zero, or empty.
fn order_of(compare: &Compare, kv: &KeyValue) -> Ordering {
    let union = compare.target_union.clone();
    let number = |stored: i64, given: Option<i64>| stored.cmp(&given.unwrap_or(0));
    match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Version) => number(
            kv.version,
            if let Some(TargetUnion::Version(n)) = union { Some(n) } else { None },
        ),
        Ok(CompareTarget::Create) => number(
            kv.create_revision,
            if let Some(TargetUnion::CreateRevision(n)) = union { Some(n) } else { None },
        ),
        Ok(CompareTarget::Mod) => number(
            kv.mod_revision,
            if let Some(TargetUnion::ModRevision(n)) = union { Some(n) } else { None },
        ),
        Ok(CompareTarget::Lease) => {
            number(kv.lease, if let Some(TargetUnion::Lease(n)) = union { Some(n) } else { None })
        }
        Ok(CompareTarget::Value) => {
            let given = if let Some(TargetUnion::Value(v)) = union { v } else { Bytes::new() };
            kv.value.cmp(&given)
        }
        Err(_) => Ordering::Equal,
    }
}
