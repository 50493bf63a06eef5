//! The cluster as the proxy sees it: below the namespace, in the name of the caller, and, if that is
//! asked for, never back in time.

use std::sync::atomic::{AtomicI64, Ordering};

use api::{
    error::Error as Etcd,
    etcdserverpb::{
        CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
        PutResponse, RangeRequest, RangeResponse, ResponseHeader, TxnRequest, TxnResponse,
        WatchCreateRequest,
    },
};
use client::{client::Client, error::Error, watch::Watcher};
use tonic::{Code, Status};

use super::{caller::Caller, namespace::Namespace};

/// How often each member may be found behind before the read fails.
const ROUNDS: usize = 5;

/// The cluster.
pub(crate) struct Upstream {
    pub(crate) client: Client,
    pub(crate) namespace: Namespace,
    /// The newest revision that was seen; `None` if the order of answers does not matter.
    newest: Option<AtomicI64>,
}

impl Upstream {
    /// The keys of the cluster below a prefix.
    pub(crate) fn new(client: Client, namespace: &str, ordering: bool) -> Upstream {
        let newest = ordering.then(AtomicI64::default);
        Upstream { client, namespace: Namespace::new(namespace), newest }
    }

    /// Whether no answer seen before was newer; if so, this is the newest.
    fn saw(&self, header: Option<&ResponseHeader>) -> bool {
        let Some(newest) = &self.newest else { return true };
        let revision = header.map_or(0, |header| header.revision);
        newest.fetch_max(revision, Ordering::AcqRel) <= revision
    }

    /// An operation on the empty key would be one on the prefix itself.
    fn check_key(&self, key: &[u8]) -> Result<(), Error> {
        match key.is_empty() && self.namespace.is_set() {
            true => Err(known(Etcd::EmptyKey)),
            false => Ok(()),
        }
    }

    /// Reads keys.
    pub(crate) async fn range(
        &self,
        caller: &Caller,
        mut request: RangeRequest,
    ) -> Result<RangeResponse, Error> {
        self.check_key(&request.key)?;
        self.namespace.enter(&mut request.key, &mut request.range_end);
        let client = caller.client(&self.client);
        for _ in 0..=ROUNDS * client.endpoints().len() {
            let mut response = client.range(request.clone()).await?;
            if self.saw(response.header.as_ref()) || !request.serializable {
                self.namespace.leave_range(&mut response);
                return Ok(response);
            }
        }
        let text = "etcdclient: no cluster members have a revision higher than the previously received revision";
        Err(Error::Status { code: Code::Unknown, message: text.to_owned() })
    }

    /// Puts a key.
    pub(crate) async fn put(
        &self,
        caller: &Caller,
        mut request: PutRequest,
    ) -> Result<PutResponse, Error> {
        self.check_key(&request.key)?;
        self.namespace.enter(&mut request.key, &mut Default::default());
        let mut response = caller.client(&self.client).put(request).await?;
        self.saw(response.header.as_ref());
        self.namespace.leave_put(&mut response);
        Ok(response)
    }

    /// Deletes keys.
    pub(crate) async fn delete_range(
        &self,
        caller: &Caller,
        mut request: DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, Error> {
        self.check_key(&request.key)?;
        self.namespace.enter(&mut request.key, &mut request.range_end);
        let mut response = caller.client(&self.client).delete_range(request).await?;
        self.saw(response.header.as_ref());
        self.namespace.leave_delete(&mut response);
        Ok(response)
    }

    /// Runs a transaction.
    pub(crate) async fn txn(
        &self,
        caller: &Caller,
        mut request: TxnRequest,
    ) -> Result<TxnResponse, Error> {
        self.namespace.enter_txn(&mut request);
        let mut response = caller.client(&self.client).txn(request).await?;
        self.saw(response.header.as_ref());
        self.namespace.leave_txn(&mut response);
        Ok(response)
    }

    /// Forgets the history before a revision.
    pub(crate) async fn compact(
        &self,
        caller: &Caller,
        request: CompactionRequest,
    ) -> Result<CompactionResponse, Error> {
        caller.client(&self.client).compact(request).await
    }

    /// Watches keys; the namespace is still on the events.
    pub(crate) async fn watch(&self, caller: &Caller, mut request: WatchCreateRequest) -> Watcher {
        self.namespace.enter(&mut request.key, &mut request.range_end);
        caller.client(&self.client).watch(request).await
    }
}

/// An error of etcd's table.
pub(crate) fn known(error: Etcd) -> Error {
    Error::from(Status::new(Code::from_i32(error.code() as i32), error.message()))
}

/// A failed call of the cluster as the failure of a call of the proxy.
pub(crate) fn status(error: Error) -> Status {
    Status::new(error.code(), error.message())
}
