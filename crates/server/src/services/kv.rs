//! KV: reads from the shared store, writes through raft (spec grpc.md section 4).

use std::{sync::Arc, time::Instant};

use api::{
    error::Error,
    etcdserverpb::{
        CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse,
        InternalRaftRequest, PutRequest, PutResponse, RangeRequest, RangeResponse, TxnRequest,
        TxnResponse, kv_server::Kv, response_op::Response as OpAnswer,
    },
    range::KeyRange,
};
use apply::{Response as Applied, quota, txn, validate};
use mvcc::RangeQuery;
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{Services, range_stream::RangeStream};
use crate::{
    auth::Caller,
    describe,
    handle::Handle,
    lists::Share,
    proposal::Proposal,
    slow::{self, Answered, Asked},
    status::Failure,
    telemetry,
};

/// Ranges with a limit up to this are read by the threads that serve connections.
const INLINE_KEYS_MAX: i64 = 1000;

/// The methods that are called without gRPC's general layers, too: their futures own the service.
impl Services {
    /// Reads a range.
    pub(crate) async fn range_now(
        self,
        request: Request<RangeRequest>,
    ) -> Result<Response<RangeResponse>, Status> {
        let began = Instant::now();
        let (caller, request) = Caller::split(request);
        if !request.serializable && self.0.is_learner() {
            return Err(Failure::from(Error::NotSupportedForLearner).into());
        }
        self.0.metrics.ranges.inc();
        validate::check_range(&request).map_err(Failure::from)?;
        slow::asks(|| Asked::Range(request.clone()));
        let span = telemetry::child("range", || telemetry::range(&request));
        let answer = telemetry::within(span, read(&self.0, &caller, &request, began)).await;
        let error = answer.as_ref().err().map(|failure| &*failure.message);
        slow::warn_of_apply(&self.0, "read-only range ", began.elapsed(), error, || {
            let answer = answer.as_ref().map_or(String::new(), |(answer, _)| {
                let (count, bytes) = (answer.kvs.len(), answer.encoded_len());
                format!("range_response_count:{count} size:{bytes}")
            });
            (describe::range(&request), answer)
        });
        let (answer, share) = answer?;
        slow::answers(|| Answered {
            count: answer.count,
            bytes: answer.encoded_len(),
            succeeded: true,
        });
        let mut response = Response::new(answer);
        if let Some(share) = share {
            response.extensions_mut().insert(Arc::new(share));
        }
        Ok(response)
    }

    /// Sets a key.
    pub(crate) async fn put_now(
        self,
        request: Request<PutRequest>,
    ) -> Result<Response<PutResponse>, Status> {
        let (caller, request) = Caller::split(request);
        self.0.check_quota(quota::put_cost(&request)).await?;
        validate::check_put(&request).map_err(Failure::from)?;
        let span = telemetry::child("put", || telemetry::key_only(&request.key));
        let proposal = self.0.propose_as(&caller, Proposal::Put(request));
        match telemetry::within(span, proposal).await? {
            Applied::Put(mut response) => {
                self.0.complete(&mut response.header);
                slow::answers(|| Answered {
                    count: 0,
                    bytes: response.encoded_len(),
                    succeeded: true,
                });
                Ok(Response::new(response))
            }
            other => unreachable!("a put was answered by {other:?}"),
        }
    }

    /// Deletes keys.
    pub(crate) async fn delete_now(
        self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let (caller, request) = Caller::split(request);
        validate::check_delete_range(&request).map_err(Failure::from)?;
        let span = telemetry::child("delete_range", || telemetry::deletion(&request));
        let proposal = self.0.propose_as(&caller, Proposal::DeleteRange(request));
        match telemetry::within(span, proposal).await? {
            Applied::DeleteRange(mut response) => {
                self.0.complete(&mut response.header);
                slow::answers(|| Answered {
                    count: response.deleted,
                    bytes: response.encoded_len(),
                    succeeded: true,
                });
                Ok(Response::new(response))
            }
            other => unreachable!("a delete was answered by {other:?}"),
        }
    }

    /// Does a transaction.
    pub(crate) async fn txn_now(
        self,
        request: Request<TxnRequest>,
    ) -> Result<Response<TxnResponse>, Status> {
        let (caller, request) = Caller::split(request);
        self.0.check_quota(quota::txn_cost(&request)).await?;
        validate::check_txn(&request, self.0.limits.txn_ops_max).map_err(Failure::from)?;
        let read_only = txn::is_read_only(&request);
        let span = telemetry::child("txn", || telemetry::transaction(&request, read_only));
        let mut response = if read_only {
            let began = Instant::now();
            slow::asks(|| Asked::Reads(request.clone()));
            let asked = request.clone();
            let read = telemetry::within(span, read_only_txn(&self.0, &caller, request)).await;
            self.0.metrics.observe_request("ReadonlyTxn", read.is_ok(), began.elapsed());
            let error = read.as_ref().err().map(|failure| &*failure.message);
            slow::warn_of_apply(&self.0, "read-only txn ", began.elapsed(), error, || {
                (describe::txn(&asked), read.as_ref().map_or(String::new(), sizes_of_reads))
            });
            read?
        } else {
            let proposal = self.0.propose_as(&caller, Proposal::Txn(request));
            match telemetry::within(span, proposal).await? {
                Applied::Txn(response) => response,
                other => unreachable!("a transaction was answered by {other:?}"),
            }
        };
        self.0.complete(&mut response.header);
        slow::answers(|| Answered {
            count: 0,
            bytes: response.encoded_len(),
            succeeded: response.succeeded,
        });
        Ok(Response::new(response))
    }
}

#[tonic::async_trait]
impl Kv for Services {
    type RangeStreamStream = RangeStream;

    async fn range(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<RangeResponse>, Status> {
        self.clone().range_now(request).await
    }

    async fn range_stream(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<RangeStream>, Status> {
        let (caller, request) = Caller::split(request);
        self.0.metrics.ranges.inc();
        validate::check_range(&request).map_err(Failure::from)?;
        validate::check_range_stream(&request).map_err(Failure::from)?;
        let span = telemetry::child("range_streaming", || telemetry::range_stream(&request));
        if !request.serializable {
            self.0.linearizable().await?;
        }
        let who = self.0.permitted(&caller, |permit| permit.range(&request)).await?;
        Ok(Response::new(RangeStream::new(self.0.clone(), request, who, span)))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        self.clone().put_now(request).await
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        self.clone().delete_now(request).await
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        self.clone().txn_now(request).await
    }

    async fn compact(
        &self,
        request: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        let (caller, request) = Caller::split(request);
        self.0.require_admin(&caller).await?;
        let physical = request.physical;
        let span = telemetry::child("compact", || telemetry::compaction(&request));
        let compaction = Some(request);
        let request = InternalRaftRequest { compaction, ..Default::default() };
        // The span goes on until the store is compacted, if the client waits for that.
        let proposal = self.0.propose_as(&caller, request);
        let outcome = telemetry::within(span.clone(), proposal).await;
        // A refused one waits too: for the compaction that made it superfluous.
        let compacted = |failure: &Failure| failure.message == Error::Compacted.message();
        if physical && outcome.as_ref().err().is_none_or(compacted) {
            let compacted = self.0.shared.store.compact_revision();
            tokio::select! {
                () = self.0.compactions.wait(compacted) => {}
                () = self.0.progress.wait_stopping() => {
                    return Err(Failure::from(Error::Stopped).into());
                }
            }
        }
        match outcome? {
            Applied::Compaction(mut response) => {
                response.header = Some(self.0.header(0));
                Ok(Response::new(response))
            }
            other => unreachable!("a compaction was answered by {other:?}"),
        }
    }
}

/// Reads a range for its caller, once a linearizable one may.
async fn read(
    handle: &Handle,
    caller: &Caller,
    request: &RangeRequest,
    began: Instant,
) -> Result<(RangeResponse, Option<Share>), Failure> {
    if !request.serializable {
        handle.linearizable().await?;
    }
    let who = handle.permitted(caller, |permit| permit.range(request)).await?;
    let reading = Instant::now();
    let answer = range(handle, request).await;
    let requests = &handle.metrics.requests;
    requests.observe_range(answer.is_ok(), reading.elapsed());
    handle.metrics.observe_request("Range", answer.is_ok(), began.elapsed());
    handle.still_permitted(&who)?;
    answer
}

/// The sizes of what a transaction read, in etcd's words.
fn sizes_of_reads(answer: &TxnResponse) -> String {
    let counts = answer.responses.iter().filter_map(|response| match &response.response {
        Some(OpAnswer::ResponseRange(range)) => {
            Some(format!("range_response_count:{}", range.kvs.len()))
        }
        _ => None,
    });
    let counts = counts.collect::<Vec<_>>().join(" ");
    format!("responses:<{counts}> size:{}", answer.encoded_len())
}

/// Reads a range at the store's present state. A read at the current revision that a compaction
/// overtakes is taken again: to its client it happened after the compaction.
async fn range(
    handle: &Handle,
    request: &RangeRequest,
) -> Result<(RangeResponse, Option<Share>), Failure> {
    let query = RangeQuery::from(request);
    let (answer, share) = if is_small(request) {
        (handle.shared.store.range(&query)?, None)
    } else {
        Box::pin(handle.lists.range(&handle.shared.store, query)).await?
    };
    let response = RangeResponse {
        header: Some(handle.header(answer.revision)),
        kvs: answer.kvs,
        more: answer.more,
        count: answer.count,
    };
    Ok((response, share))
}

/// Whether a range is surely answered in microseconds.
fn is_small(request: &RangeRequest) -> bool {
    let single = request.range_end.is_empty();
    single || request.count_only || (1..=INLINE_KEYS_MAX).contains(&request.limit)
}

async fn read_only_txn(
    handle: &Handle,
    caller: &Caller,
    request: TxnRequest,
) -> Result<TxnResponse, Failure> {
    if !txn::is_serializable(&request) {
        handle.linearizable().await?;
    }
    let who = handle.permitted(caller, |permit| permit.txn(&request)).await?;
    let store = handle.shared.store.clone();
    let read = tokio::task::spawn_blocking(move || txn::read_only(&store, &request)).await;
    handle.still_permitted(&who)?;
    let read = read.map_err(|_| Failure::from(Error::Stopped))??;
    handle.metrics.ranges.inc_by(read.responses.len() as u64);
    handle.metrics.txns.inc_by(u64::from(read.responses.len() > 1));
    Ok(read)
}

/// The keys that a range names.
pub(crate) fn key_range(request: &RangeRequest) -> KeyRange {
    KeyRange::new(request.key.clone(), request.range_end.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// They are made for every call, and what is large is moved about and allocated slowly.
    #[test]
    fn futures_of_busy_methods_are_small() {
        for (name, bytes) in [
            ("range", bytes_of(Services::range_now)),
            ("put", bytes_of(Services::put_now)),
            ("delete", bytes_of(Services::delete_now)),
            ("txn", bytes_of(Services::txn_now)),
        ] {
            assert!(bytes < 2048, "{name}: {bytes} bytes");
        }
    }
}
