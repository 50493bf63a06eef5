//! KV: reads from the cache, writes that take away what they change.

use std::{pin::Pin, sync::Arc};

use api::{
    error::Error as Etcd,
    etcdserverpb::{
        CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
        PutResponse, RangeRequest, RangeResponse, RangeStreamResponse, RequestOp, TxnRequest,
        TxnResponse, kv_server::Kv, request_op,
    },
};
use bytes::Bytes;
use futures_core::Stream;
use tonic::{Request, Response, Status};

use super::{
    cache::{Cache, Found},
    caller::Caller,
    metrics::Metrics,
    upstream::{Upstream, known, status},
};

/// The service.
#[derive(Clone)]
pub(crate) struct KvProxy {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) metrics: Arc<Metrics>,
}

impl KvProxy {
    /// Forgets what a transaction may change, and what it compares: a client that compares with an
    /// old answer must not be given it again.
    fn invalidate_txn(&self, txn: &TxnRequest) {
        for compare in &txn.compare {
            self.cache.invalidate(&compare.key, &compare.range_end);
        }
        for op in txn.success.iter().chain(&txn.failure) {
            self.invalidate_op(op);
        }
    }

    fn invalidate_op(&self, op: &RequestOp) {
        match &op.request {
            Some(request_op::Request::RequestPut(put)) => {
                self.cache.invalidate(&put.key, &Bytes::new());
            }
            Some(request_op::Request::RequestDeleteRange(delete)) => {
                self.cache.invalidate(&delete.key, &delete.range_end);
            }
            Some(request_op::Request::RequestTxn(txn)) => self.invalidate_txn(txn),
            Some(request_op::Request::RequestRange(_)) | None => {}
        }
    }
}

#[tonic::async_trait]
impl Kv for KvProxy {
    type RangeStreamStream =
        Pin<Box<dyn Stream<Item = Result<RangeStreamResponse, Status>> + Send>>;

    async fn range(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<RangeResponse>, Status> {
        let caller = Caller::of(request.metadata());
        let request = request.into_inner();
        if request.serializable {
            match self.cache.get(&caller.identity(), &request) {
                Found::Answer(response) => {
                    self.metrics.cache_hits.inc();
                    return Ok(Response::new(response));
                }
                Found::Compacted => {
                    self.metrics.cache_hits.inc();
                    return Err(status(known(Etcd::Compacted)));
                }
                Found::Nothing => self.metrics.cache_misses.inc(),
            }
        }
        let pending = self.cache.begin(caller.identity(), request.clone());
        let response = self.upstream.range(&caller, request).await.map_err(status)?;
        pending.finish(&response);
        Ok(Response::new(response))
    }

    async fn range_stream(
        &self,
        _: Request<RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(Status::unimplemented("RangeStream is not supported by the gRPC proxy"))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let caller = Caller::of(request.metadata());
        let request = request.into_inner();
        // Dropped with the call, too: what was sent may have been done.
        let _after = After(|| self.cache.invalidate(&request.key, &Bytes::new()));
        let response = self.upstream.put(&caller, request.clone()).await.map_err(status)?;
        Ok(Response::new(response))
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let caller = Caller::of(request.metadata());
        let request = request.into_inner();
        let _after = After(|| self.cache.invalidate(&request.key, &request.range_end));
        let response = self.upstream.delete_range(&caller, request.clone()).await;
        Ok(Response::new(response.map_err(status)?))
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let caller = Caller::of(request.metadata());
        let request = request.into_inner();
        let _after = After(|| self.invalidate_txn(&request));
        let response = self.upstream.txn(&caller, request.clone()).await.map_err(status)?;
        Ok(Response::new(response))
    }

    async fn compact(
        &self,
        request: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        let caller = Caller::of(request.metadata());
        let request = request.into_inner();
        let response = self.upstream.compact(&caller, request).await.map_err(status)?;
        self.cache.compact(request.revision);
        Ok(Response::new(response))
    }
}

/// Does something when a call is over, however it ends.
struct After<F: Fn()>(F);

impl<F: Fn()> Drop for After<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
