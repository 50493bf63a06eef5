//! One connection to a server, with the stubs of every service and short forms of common calls.

use std::time::Duration;

use anyhow::{Context, Result};
use api::{
    etcdserverpb::{
        self as pb, auth_client::AuthClient, cluster_client::ClusterClient, kv_client::KvClient,
        lease_client::LeaseClient, maintenance_client::MaintenanceClient,
        watch_client::WatchClient,
    },
    kv::KeyValue,
    range::prefix_end,
};
use bytes::Bytes;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long an answer may take to begin: a hanging server shall fail a test, not hang it.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// All services over one HTTP/2 connection, but for watches, which have their own: a watch may
/// wait for its first answer without end. Clones share the connections.
#[derive(Clone)]
pub struct Client {
    /// `etcdserverpb.KV`.
    pub kv: KvClient<Channel>,
    /// `etcdserverpb.Watch`.
    pub watch: WatchClient<Channel>,
    /// `etcdserverpb.Lease`.
    pub lease: LeaseClient<Channel>,
    /// `etcdserverpb.Cluster`.
    pub cluster: ClusterClient<Channel>,
    /// `etcdserverpb.Maintenance`.
    pub maintenance: MaintenanceClient<Channel>,
    /// `etcdserverpb.Auth`.
    pub auth: AuthClient<Channel>,
    /// The connection of all but watches, for calls without a stub.
    pub channel: Channel,
}

impl Client {
    /// Connects to a server at a URL such as `http://127.0.0.1:2379`.
    pub async fn connect(url: &str) -> Result<Client> {
        let endpoint = Endpoint::from_shared(url.to_owned())?.connect_timeout(CONNECT_LIMIT);
        let watch_channel = endpoint.connect_lazy();
        let endpoint = endpoint.timeout(ANSWER_LIMIT);
        let channel = endpoint.connect().await.with_context(|| format!("connect to {url}"))?;
        let limit = usize::MAX;
        Ok(Client {
            kv: KvClient::new(channel.clone()).max_decoding_message_size(limit),
            watch: WatchClient::new(watch_channel).max_decoding_message_size(limit),
            lease: LeaseClient::new(channel.clone()).max_decoding_message_size(limit),
            cluster: ClusterClient::new(channel.clone()).max_decoding_message_size(limit),
            maintenance: MaintenanceClient::new(channel.clone()).max_decoding_message_size(limit),
            auth: AuthClient::new(channel.clone()).max_decoding_message_size(limit),
            channel,
        })
    }

    /// `Maintenance.Status`.
    pub async fn status(&mut self) -> Result<pb::StatusResponse, Status> {
        Ok(self.maintenance.status(pb::StatusRequest {}).await?.into_inner())
    }

    /// `KV.Put` of a key and a value, nothing else set. Answers the revision.
    pub async fn put(
        &mut self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<i64, Status> {
        self.put_with(pb::PutRequest { key: key.into(), value: value.into(), ..Default::default() })
            .await
    }

    /// `KV.Put`. Answers the revision.
    pub async fn put_with(&mut self, request: pb::PutRequest) -> Result<i64, Status> {
        Ok(revision(&self.kv.put(request).await?.into_inner().header))
    }

    /// The current value of one key.
    pub async fn get(&mut self, key: impl Into<Bytes>) -> Result<Option<KeyValue>, Status> {
        let request = pb::RangeRequest { key: key.into(), ..Default::default() };
        Ok(decode(&self.range(request).await?.kvs).pop())
    }

    /// `KV.Range`.
    pub async fn range(&mut self, request: pb::RangeRequest) -> Result<pb::RangeResponse, Status> {
        Ok(self.kv.range(request).await?.into_inner())
    }

    /// Every current key-value with this prefix; all there are for the empty one.
    pub async fn list(&mut self, prefix: &str) -> Result<Vec<KeyValue>, Status> {
        let start = if prefix.is_empty() { "\0" } else { prefix };
        let request = pb::RangeRequest {
            key: start.to_owned().into(),
            range_end: prefix_end(prefix.as_bytes()),
            ..Default::default()
        };
        Ok(decode(&self.range(request).await?.kvs))
    }

    /// `KV.DeleteRange` of one key. Answers the revision.
    pub async fn delete(&mut self, key: impl Into<Bytes>) -> Result<i64, Status> {
        let request = pb::DeleteRangeRequest { key: key.into(), ..Default::default() };
        Ok(revision(&self.kv.delete_range(request).await?.into_inner().header))
    }

    /// `KV.Txn`.
    pub async fn txn(&mut self, request: pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
        Ok(self.kv.txn(request).await?.into_inner())
    }

    /// `KV.Compact`, waiting until the old revisions are gone.
    pub async fn compact(&mut self, revision: i64) -> Result<(), Status> {
        self.kv.compact(pb::CompactionRequest { revision, physical: true }).await?;
        Ok(())
    }

    /// `Lease.LeaseGrant`.
    pub async fn grant(&mut self, id: i64, ttl: i64) -> Result<pb::LeaseGrantResponse, Status> {
        Ok(self.lease.lease_grant(pb::LeaseGrantRequest { id, ttl }).await?.into_inner())
    }

    /// `Lease.LeaseRevoke`.
    pub async fn revoke(&mut self, id: i64) -> Result<pb::LeaseRevokeResponse, Status> {
        Ok(self.lease.lease_revoke(pb::LeaseRevokeRequest { id }).await?.into_inner())
    }

    /// `Lease.LeaseTimeToLive` with the attached keys.
    pub async fn time_to_live(&mut self, id: i64) -> Result<pb::LeaseTimeToLiveResponse, Status> {
        let request = pb::LeaseTimeToLiveRequest { id, keys: true };
        Ok(self.lease.lease_time_to_live(request).await?.into_inner())
    }

    /// One message on a fresh `Lease.LeaseKeepAlive` stream, and its answer.
    pub async fn keep_alive(&mut self, id: i64) -> Result<pb::LeaseKeepAliveResponse, Status> {
        let request = tokio_stream::once(pb::LeaseKeepAliveRequest { id });
        let mut answers = self.lease.lease_keep_alive(request).await?.into_inner();
        let answer = answers.message().await?;
        answer.ok_or_else(|| Status::internal("the keepalive stream ended without an answer"))
    }
}

/// The revision of a header; 0 without one.
pub fn revision(header: &Option<pb::ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

/// Looks into received key-values. Panics on bytes that are none: that is the server's fault.
pub fn decode(kvs: &[api::kv::RawKeyValue]) -> Vec<KeyValue> {
    kvs.iter().map(decode_one).collect()
}

/// Looks into one received key-value.
pub fn decode_one(kv: &api::kv::RawKeyValue) -> KeyValue {
    kv.decode().expect("the server sends whole key-values")
}
