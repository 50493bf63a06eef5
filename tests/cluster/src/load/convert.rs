//! Requests and answers between the protocol and the checkers' terms.

use anyhow::{Context, Result, bail};
use api::{etcdserverpb as pb, kv::RawKeyValue, mvccpb};
use bytes::Bytes;
use checker::{
    history::{
        Compare, Consistency, Event, Kv, Relation, Request, Response, Step, StepResult, Target,
    },
    watch,
};
use pb::{request_op, response_op};

/// The message of a request. Every request can be a transaction; those of one step without
/// comparisons are sent as what they are.
pub(super) enum Message {
    Range(pb::RangeRequest),
    Put(pb::PutRequest),
    Delete(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
}

/// What to send. `prev` asks puts for the pair before.
pub(super) fn message(request: &Request, prev: bool) -> Message {
    let consistency = request.consistency;
    if let ([], [step]) = (&request.compares[..], &request.success[..]) {
        return match step {
            Step::Range { key, end } => Message::Range(range(key, end, consistency)),
            Step::Put { key, value, lease } => Message::Put(put(key, value, *lease, prev)),
            Step::Delete { key, end } => Message::Delete(delete(key, end)),
        };
    }
    let steps = |steps: &[Step]| {
        let ops = steps.iter().map(|step| match step {
            Step::Range { key, end } => {
                request_op::Request::RequestRange(range(key, end, consistency))
            }
            Step::Put { key, value, lease } => {
                request_op::Request::RequestPut(put(key, value, *lease, prev))
            }
            Step::Delete { key, end } => request_op::Request::RequestDeleteRange(delete(key, end)),
        });
        ops.map(|op| pb::RequestOp { request: Some(op) }).collect()
    };
    Message::Txn(pb::TxnRequest {
        compare: request.compares.iter().map(compare).collect(),
        success: steps(&request.success),
        failure: steps(&request.failure),
    })
}

fn range(key: &Bytes, end: &Bytes, consistency: Consistency) -> pb::RangeRequest {
    let revision = match consistency {
        Consistency::At(revision) => revision,
        Consistency::Linearizable | Consistency::Serializable => 0,
    };
    pb::RangeRequest {
        key: key.clone(),
        range_end: end.clone(),
        revision,
        serializable: consistency == Consistency::Serializable,
        ..Default::default()
    }
}

fn put(key: &Bytes, value: &Bytes, lease: i64, prev_kv: bool) -> pb::PutRequest {
    let (key, value) = (key.clone(), value.clone());
    pb::PutRequest { key, value, lease, prev_kv, ..Default::default() }
}

fn delete(key: &Bytes, end: &Bytes) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: key.clone(), range_end: end.clone(), prev_kv: false }
}

fn compare(compare: &Compare) -> pb::Compare {
    use pb::compare::{CompareResult, CompareTarget, TargetUnion};
    let (target, union) = match &compare.target {
        Target::Version(given) => (CompareTarget::Version, TargetUnion::Version(*given)),
        Target::Create(given) => (CompareTarget::Create, TargetUnion::CreateRevision(*given)),
        Target::Mod(given) => (CompareTarget::Mod, TargetUnion::ModRevision(*given)),
        Target::Value(given) => (CompareTarget::Value, TargetUnion::Value(given.clone())),
        Target::Lease(given) => (CompareTarget::Lease, TargetUnion::Lease(*given)),
    };
    let result = match compare.relation {
        Relation::Equal => CompareResult::Equal,
        Relation::Greater => CompareResult::Greater,
        Relation::Less => CompareResult::Less,
        Relation::NotEqual => CompareResult::NotEqual,
    };
    pb::Compare {
        result: result as i32,
        target: target as i32,
        key: compare.key.clone(),
        range_end: Bytes::new(),
        target_union: Some(union),
    }
}

/// The answer to a read.
pub(super) fn range_answer(response: pb::RangeResponse) -> Result<Response> {
    let results = vec![range_result(&response)?];
    Ok(Response { revision: revision(response.header), succeeded: true, results })
}

/// The answer to a put that did or did not ask for the pair before.
pub(super) fn put_answer(response: pb::PutResponse, prev: bool) -> Result<Response> {
    let results = vec![put_result(&response, prev)?];
    Ok(Response { revision: revision(response.header), succeeded: true, results })
}

/// The answer to a deletion.
pub(super) fn delete_answer(response: pb::DeleteRangeResponse) -> Response {
    let results = vec![StepResult::Delete { deleted: response.deleted }];
    Response { revision: revision(response.header), succeeded: true, results }
}

/// The answer to a transaction.
pub(super) fn txn_answer(response: pb::TxnResponse, prev: bool) -> Result<Response> {
    let mut results = Vec::new();
    for op in &response.responses {
        results.push(match op.response.as_ref().context("an empty result")? {
            response_op::Response::ResponseRange(range) => range_result(range)?,
            response_op::Response::ResponsePut(put) => put_result(put, prev)?,
            response_op::Response::ResponseDeleteRange(delete) => {
                StepResult::Delete { deleted: delete.deleted }
            }
            response_op::Response::ResponseTxn(_) => bail!("a nested result nobody asked for"),
        });
    }
    let succeeded = response.succeeded;
    Ok(Response { revision: revision(response.header), succeeded, results })
}

fn range_result(response: &pb::RangeResponse) -> Result<StepResult> {
    Ok(StepResult::Range(response.kvs.iter().map(pair).collect::<Result<_>>()?))
}

fn put_result(response: &pb::PutResponse, prev: bool) -> Result<StepResult> {
    let before = response.prev_kv.as_ref().map(pair).transpose()?;
    Ok(StepResult::Put { prev: prev.then_some(before) })
}

fn pair(raw: &RawKeyValue) -> Result<Kv> {
    let kv = raw.decode().context("a pair that cannot be decoded")?;
    Ok(Kv {
        key: kv.key,
        value: kv.value,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    })
}

fn revision(header: Option<pb::ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

/// A message of a watch stream.
pub(super) fn watch_message(at: u64, response: &pb::WatchResponse) -> Result<watch::Message> {
    let events = response.events.iter().map(watched).collect::<Result<Vec<_>>>()?;
    let kind = if response.canceled {
        watch::Kind::Canceled { compacted: response.compact_revision }
    } else if response.created {
        watch::Kind::Created
    } else if events.is_empty() {
        watch::Kind::Progress
    } else {
        watch::Kind::Events { more: response.fragment }
    };
    Ok(watch::Message { at, revision: revision(response.header), kind, events })
}

fn watched(event: &mvccpb::Event) -> Result<watch::Watched> {
    let kv = pair(event.kv.as_ref().context("an event without a pair")?)?;
    let deleted = event.r#type == mvccpb::event::EventType::Delete as i32;
    let event_of = if deleted { Event::delete(kv.key, kv.mod_revision) } else { Event::put(kv) };
    let prev = event.prev_kv.as_ref().map(pair).transpose()?;
    Ok(watch::Watched { event: event_of, prev })
}
