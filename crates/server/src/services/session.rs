//! What the lock and election services are made of: calls of KV, Lease and Watch, made in the name of
//! the client that asked (spec grpc.md section 10).
//!
//! A session is a lease. Who competes for a name puts a key below it, made of the name and the
//! lease; the key that was created first wins. Everybody else waits until the one created just
//! before its own is gone, so that each release wakes one.

use api::{
    etcdserverpb::{
        Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RangeResponse,
        RequestOp, ResponseHeader, TxnRequest, TxnResponse,
        compare::{CompareResult, CompareTarget, TargetUnion},
        kv_server::Kv,
        lease_server::Lease,
        range_request::{SortOrder, SortTarget},
        request_op::Request as Op,
    },
    kv::KeyValue,
    mvccpb::event::EventType,
    range::{KeyRange, prefix_end},
};
use bytes::Bytes;
use http::Extensions;
use std::sync::Arc;
use tokio::sync::mpsc;
use tonic::{Request, Status, metadata::MetadataMap};
use watch::{
    delivery::{Delivery, StreamId, WatcherKey},
    watcher::{Start, WatcherSpec},
};

use super::{Services, watch::next_stream};
use crate::{
    auth::Caller,
    driver::{
        WatchCommand,
        watch_loop::{Item, Outlet},
    },
    handle::Handle,
};

/// The life of a session's lease when the client brings none.
const LEASE_TTL_S: i64 = 60;

/// One request of a client, with what it says of the client.
#[derive(Clone)]
pub(super) struct Session {
    services: Services,
    metadata: MetadataMap,
    extensions: Extensions,
}

impl Session {
    /// The session of a request, and what it asks.
    pub(super) fn split<T>(services: &Services, request: Request<T>) -> (Session, T) {
        let (metadata, extensions, message) = request.into_parts();
        (Session { services: services.clone(), metadata, extensions }, message)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        Request::from_parts(self.metadata.clone(), self.extensions.clone(), message)
    }

    /// The lease to work under: the client's, or a new one that nobody keeps alive.
    pub(super) async fn lease(&self, given: i64) -> Result<i64, Status> {
        if given != 0 {
            return Ok(given);
        }
        let grant = self.request(LeaseGrantRequest { ttl: LEASE_TTL_S, id: 0 });
        Ok(self.services.lease_grant(grant).await.map_err(inner)?.into_inner().id)
    }

    /// Runs a transaction.
    pub(super) async fn txn(&self, txn: TxnRequest) -> Result<TxnResponse, Status> {
        Ok(self.services.txn(self.request(txn)).await.map_err(inner)?.into_inner())
    }

    /// Reads keys.
    pub(super) async fn range(&self, range: RangeRequest) -> Result<RangeResponse, Status> {
        Ok(self.services.range(self.request(range)).await.map_err(inner)?.into_inner())
    }

    /// Deletes a key; returns the header.
    pub(super) async fn delete(&self, key: Bytes) -> Result<Option<ResponseHeader>, Status> {
        let delete = DeleteRangeRequest { key, ..Default::default() };
        let deleted = self.services.delete_range(self.request(delete)).await.map_err(inner)?;
        Ok(deleted.into_inner().header)
    }

    /// Waits until no key below `prefix` is left that was created at `until` or before.
    pub(super) async fn wait_deletes(&self, prefix: &Bytes, until: i64) -> Result<(), Status> {
        loop {
            let mut last = first_created(prefix);
            last.set_sort_order(SortOrder::Descend);
            last.max_create_revision = until;
            let answer = self.range(last).await?;
            let Some(kv) = first(&answer) else { return Ok(()) };
            let from = answer.header.map_or(0, |header| header.revision);
            self.wait_delete(kv.key, from).await?;
        }
    }

    async fn wait_delete(&self, key: Bytes, from: i64) -> Result<(), Status> {
        let mut watch = self.watch(KeyRange::Single(key), from).await?;
        loop {
            let (_, events) = watch.next().await?;
            if events.iter().any(|event| event.r#type == EventType::Delete as i32) {
                return Ok(());
            }
        }
    }

    /// Watches keys from a revision on.
    pub(super) async fn watch(&self, range: KeyRange, from: i64) -> Result<LocalWatch, Status> {
        let caller = Caller::new(&self.metadata, &self.extensions);
        let judged =
            self.services.0.permitted(&caller, |permit| permit.auth.check_read(permit.who, &range));
        judged.await.map_err(|failure| inner(failure.into()))?;
        Ok(LocalWatch::new(&self.services.0, range, from))
    }
}

/// The server is its own client here, and what its client says reaches the caller as it is, but for
/// the code.
fn inner(status: Status) -> Status {
    Status::unknown(status.message())
}

/// The key of a session below a name; a negative lease shows its sign.
pub(super) fn session_key(prefix: &Bytes, lease: i64) -> Bytes {
    let sign = if lease < 0 { "-" } else { "" };
    let mut key = prefix.to_vec();
    key.extend_from_slice(format!("{sign}{:x}", lease.unsigned_abs()).as_bytes());
    key.into()
}

/// What the keys of a name begin with.
pub(super) fn prefix_of(name: &Bytes) -> Bytes {
    let mut prefix = name.to_vec();
    prefix.push(b'/');
    prefix.into()
}

/// Asks for the key below a prefix that was created first.
pub(super) fn first_created(prefix: &Bytes) -> RangeRequest {
    RangeRequest {
        key: prefix.clone(),
        range_end: prefix_end(prefix),
        limit: 1,
        sort_order: SortOrder::Ascend as i32,
        sort_target: SortTarget::Create as i32,
        ..Default::default()
    }
}

/// Asks for one key.
pub(super) fn get(key: &Bytes) -> RangeRequest {
    RangeRequest { key: key.clone(), ..Default::default() }
}

/// The first key of an answer.
pub(super) fn first(answer: &RangeResponse) -> Option<KeyValue> {
    let raw = answer.kvs.first()?;
    Some(raw.decode().expect("the store holds encoded key-values only"))
}

/// A guard: the key was created at this revision; 0 for one that is not there.
pub(super) fn created_at(key: &Bytes, revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Create as i32,
        key: key.clone(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..Default::default()
    }
}

/// An operation: put a key under a lease.
pub(super) fn put_op(key: &Bytes, value: Bytes, lease: i64) -> RequestOp {
    let put = PutRequest { key: key.clone(), value, lease, ..Default::default() };
    RequestOp { request: Some(Op::RequestPut(put)) }
}

/// An operation: read.
pub(super) fn range_op(range: RangeRequest) -> RequestOp {
    RequestOp { request: Some(Op::RequestRange(range)) }
}

/// A transaction that deletes a key, if it still is the one that was created at this revision.
pub(super) fn release(key: &Bytes, created: i64) -> TxnRequest {
    let delete = DeleteRangeRequest { key: key.clone(), ..Default::default() };
    TxnRequest {
        compare: vec![created_at(key, created)],
        success: vec![RequestOp { request: Some(Op::RequestDeleteRange(delete)) }],
        failure: Vec::new(),
    }
}

/// Takes a client's key back when its request ends before it has what it asked for: whether it
/// failed, ran out of time, or the client is gone.
pub(super) struct Contender {
    session: Option<Session>,
    key: Bytes,
    created: i64,
}

impl Contender {
    /// Takes back `key`, created at this revision, unless told that it [`won`](Contender::won).
    pub(super) fn new(session: &Session, key: &Bytes, created: i64) -> Contender {
        Contender { session: Some(session.clone()), key: key.clone(), created }
    }

    /// The key stays.
    pub(super) fn won(mut self) {
        self.session = None;
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let release = release(&self.key, self.created);
        runtime.spawn(async move {
            if let Err(status) = session.txn(release).await {
                tracing::debug!(error = status.message(), "a contender's key is left to its lease");
            }
        });
    }
}

/// A watcher of the server's own, on a stream of its own.
pub(super) struct LocalWatch {
    handle: Handle,
    stream: StreamId,
    outlet: Arc<Outlet>,
    items: mpsc::Receiver<Item>,
}

impl LocalWatch {
    fn new(handle: &Handle, range: KeyRange, from: i64) -> LocalWatch {
        let stream = next_stream();
        let (outlet, items) = Outlet::new(handle.limits.watch_stream_max);
        handle.watch.push_always(WatchCommand::Open(stream, outlet.clone()));
        let spec = WatcherSpec {
            range,
            start: Start::At(from),
            prev_kv: false,
            filter_put: false,
            filter_delete: false,
            progress_notify: false,
            fragment: false,
        };
        let key = WatcherKey { stream, watch_id: 0 };
        handle.watch.push_always(WatchCommand::Create(key, Box::new(spec)));
        LocalWatch { handle: handle.clone(), stream, outlet, items }
    }

    /// The next events, with the revision of their header.
    pub(super) async fn next(&mut self) -> Result<(i64, Arc<[api::mvccpb::Event]>), Status> {
        let lost = || Status::unknown("lost watcher waiting for delete");
        loop {
            let item = tokio::select! {
                item = self.items.recv() => item.ok_or_else(lost)?,
                () = self.handle.progress.wait_stopping() => return Err(lost()),
            };
            if self.outlet.taken(&item, self.items.len()) {
                self.handle.watch.push_always(WatchCommand::Room(self.stream));
            }
            match item {
                Item::Delivery(Delivery::Events { header_revision, events, .. }) => {
                    return Ok((header_revision, events));
                }
                Item::Delivery(Delivery::Compacted { .. }) => {
                    return Err(Status::unknown(api::error::Error::Compacted.message()));
                }
                Item::Damaged => {
                    return Err(Status::data_loss(api::error::Error::Corrupt.message()));
                }
                Item::Delivery(Delivery::Progress { .. }) | Item::Reply(_) => {}
            }
        }
    }
}

impl Drop for LocalWatch {
    fn drop(&mut self) {
        self.handle.watch.push_always(WatchCommand::Close(self.stream));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_as_etcd_names_them() {
        let prefix = prefix_of(&"name".into());
        assert_eq!(session_key(&prefix, 0x3916_a1fd_4ca0_db03), "name/3916a1fd4ca0db03");
        assert_eq!(session_key(&prefix, -5), "name/-5");
        assert_eq!(session_key(&prefix, i64::MIN), "name/-8000000000000000");
        assert_eq!(session_key(&prefix_of(&Bytes::new()), 1), "/1");
    }
}
