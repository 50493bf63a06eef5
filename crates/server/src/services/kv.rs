//! KV: reads from the shared store, writes through raft (spec grpc.md section 4).

use std::time::Instant;

use api::{
    error::Error,
    etcdserverpb::{
        CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse,
        InternalRaftRequest, PutRequest, PutResponse, RangeRequest, RangeResponse, TxnRequest,
        TxnResponse, kv_server::Kv,
    },
    range::KeyRange,
};
use apply::{Response as Applied, quota, txn, validate};
use mvcc::RangeQuery;
use tonic::{Request, Response, Status};

use super::{Services, range_stream::RangeStream};
use crate::{auth::Caller, handle::Handle, status::Failure};

/// Answers with more keys than this are assembled off the threads that serve connections.
const INLINE_KEYS_MAX: i64 = 1000;

#[tonic::async_trait]
impl Kv for Services {
    type RangeStreamStream = RangeStream;

    async fn range(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<RangeResponse>, Status> {
        let began = Instant::now();
        let (caller, request) = Caller::split(request);
        if !request.serializable && self.0.is_learner() {
            return Err(Failure::from(Error::NotSupportedForLearner).into());
        }
        self.0.metrics.ranges.inc();
        validate::check_range(&request).map_err(Failure::from)?;
        if !request.serializable {
            self.0.linearizable().await?;
        }
        let who = self.0.permitted(&caller, |permit| permit.range(&request)).await?;
        let reading = Instant::now();
        let answer = range(&self.0, request).await;
        let requests = &self.0.metrics.requests;
        requests.observe_range(answer.is_ok(), reading.elapsed());
        requests.observe("Range", answer.is_ok(), began.elapsed());
        self.0.still_permitted(&who)?;
        Ok(Response::new(answer?))
    }

    async fn range_stream(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<RangeStream>, Status> {
        let (caller, request) = Caller::split(request);
        self.0.metrics.ranges.inc();
        validate::check_range(&request).map_err(Failure::from)?;
        validate::check_range_stream(&request).map_err(Failure::from)?;
        if !request.serializable {
            self.0.linearizable().await?;
        }
        let who = self.0.permitted(&caller, |permit| permit.range(&request)).await?;
        Ok(Response::new(RangeStream::new(self.0.clone(), request, who)))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let (caller, request) = Caller::split(request);
        self.0.check_quota(quota::put_cost(&request)).await?;
        validate::check_put(&request).map_err(Failure::from)?;
        let put = Some(request);
        match self.0.propose_as(&caller, InternalRaftRequest { put, ..Default::default() }).await? {
            Applied::Put(mut response) => {
                self.0.complete(&mut response.header);
                Ok(Response::new(response))
            }
            other => unreachable!("a put was answered by {other:?}"),
        }
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let (caller, request) = Caller::split(request);
        validate::check_delete_range(&request).map_err(Failure::from)?;
        let delete_range = Some(request);
        let request = InternalRaftRequest { delete_range, ..Default::default() };
        match self.0.propose_as(&caller, request).await? {
            Applied::DeleteRange(mut response) => {
                self.0.complete(&mut response.header);
                Ok(Response::new(response))
            }
            other => unreachable!("a delete was answered by {other:?}"),
        }
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let (caller, request) = Caller::split(request);
        self.0.check_quota(quota::txn_cost(&request)).await?;
        validate::check_txn(&request, self.0.limits.txn_ops_max).map_err(Failure::from)?;
        let mut response = if txn::is_read_only(&request) {
            let began = Instant::now();
            let read = read_only_txn(&self.0, &caller, request).await;
            self.0.metrics.requests.observe("ReadonlyTxn", read.is_ok(), began.elapsed());
            read?
        } else {
            let txn = Some(request);
            match self
                .0
                .propose_as(&caller, InternalRaftRequest { txn, ..Default::default() })
                .await?
            {
                Applied::Txn(response) => response,
                other => unreachable!("a transaction was answered by {other:?}"),
            }
        };
        self.0.complete(&mut response.header);
        Ok(Response::new(response))
    }

    async fn compact(
        &self,
        request: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        let (caller, request) = Caller::split(request);
        self.0.require_admin(&caller).await?;
        let physical = request.physical;
        let compaction = Some(request);
        let request = InternalRaftRequest { compaction, ..Default::default() };
        let outcome = self.0.propose_as(&caller, request).await;
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

/// Reads a range at the store's present state. A read at the current revision that a compaction
/// overtakes is taken again: to its client it happened after the compaction.
async fn range(handle: &Handle, request: RangeRequest) -> Result<RangeResponse, Failure> {
    let query = RangeQuery::from(&request);
    let answer = if is_small(&request) {
        handle.shared.store.range(&query)
    } else {
        let store = handle.shared.store.clone();
        tokio::task::spawn_blocking(move || store.range(&query))
            .await
            .map_err(|_| Failure::from(Error::Stopped))?
    }?;
    Ok(RangeResponse {
        header: Some(handle.header(answer.revision)),
        kvs: answer.kvs,
        more: answer.more,
        count: answer.count,
    })
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
