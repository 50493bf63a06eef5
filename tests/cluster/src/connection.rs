//! gRPC stubs of one endpoint. One call is one attempt: nothing here repeats anything.

use std::time::Duration;

use anyhow::{Context, Result};
use api::etcdserverpb::{
    self as pb, cluster_client::ClusterClient, kv_client::KvClient, lease_client::LeaseClient,
    maintenance_client::MaintenanceClient, watch_client::WatchClient,
};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Where a member serves clients, and how to connect.
#[derive(Clone)]
pub struct Server {
    /// Host and port.
    pub address: String,
    /// TLS with these certificates; plain text without.
    pub tls: Option<tls::Connector>,
}

impl Server {
    /// The connection to the member; nothing is connected yet.
    fn channel(&self, endpoint: &Endpoint) -> Channel {
        let Some(connector) = self.tls.clone() else { return endpoint.connect_lazy() };
        let address = self.address.clone();
        let connect = move |_| {
            let (connector, address) = (connector.clone(), address.clone());
            async move {
                let (host, port) = address.rsplit_once(':').expect("host and port");
                let port = port.parse().map_err(std::io::Error::other)?;
                let stream = connector.connect(tls::Scheme::Tls, host, port);
                let stream = stream.await.map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
            }
        };
        endpoint.connect_with_connector_lazy(tower::service_fn(connect))
    }
}

/// All services of one endpoint over one HTTP/2 connection, which is made when first needed and
/// again after it broke. Watches have a connection of their own: they have no time limit.
#[derive(Clone)]
pub struct Connection {
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
}

impl Connection {
    /// A connection whose calls take at most `limit`.
    pub fn to(server: &Server, limit: Duration) -> Result<Connection> {
        let address = &server.address;
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .with_context(|| format!("endpoint {address}"))?
            .connect_timeout(CONNECT_LIMIT)
            .http2_keep_alive_interval(Duration::from_secs(2))
            .keep_alive_timeout(Duration::from_secs(3))
            .keep_alive_while_idle(false);
        let watching = server.channel(&endpoint);
        let channel = server.channel(&endpoint.timeout(limit));
        let size = usize::MAX;
        Ok(Connection {
            kv: KvClient::new(channel.clone()).max_decoding_message_size(size),
            watch: WatchClient::new(watching).max_decoding_message_size(size),
            lease: LeaseClient::new(channel.clone()).max_decoding_message_size(size),
            cluster: ClusterClient::new(channel.clone()).max_decoding_message_size(size),
            maintenance: MaintenanceClient::new(channel).max_decoding_message_size(size),
        })
    }

    /// `Maintenance.Status`.
    pub async fn status(&self) -> Result<pb::StatusResponse, Status> {
        Ok(self.maintenance.clone().status(pb::StatusRequest {}).await?.into_inner())
    }

    /// Puts a key; answers the revision.
    pub async fn put(&self, key: &str, value: &str) -> Result<i64, Status> {
        let request = pb::PutRequest {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
            ..Default::default()
        };
        let response = self.kv.clone().put(request).await?.into_inner();
        Ok(response.header.map_or(0, |header| header.revision))
    }

    /// The value of a key, read linearizably unless `serializable`.
    pub async fn get(&self, key: &str, serializable: bool) -> Result<Option<String>, Status> {
        let request =
            pb::RangeRequest { key: key.to_owned().into(), serializable, ..Default::default() };
        let response = self.kv.clone().range(request).await?.into_inner();
        let kv = response.kvs.first().map(|kv| kv.decode().expect("the server sends whole pairs"));
        Ok(kv.map(|kv| String::from_utf8_lossy(&kv.value).into_owned()))
    }

    /// `Maintenance.HashKV` at a revision, 0 for the newest.
    pub async fn hash_kv(&self, revision: i64) -> Result<pb::HashKvResponse, Status> {
        let request = pb::HashKvRequest { revision };
        Ok(self.maintenance.clone().hash_kv(request).await?.into_inner())
    }

    /// The members, as a quorum knows them.
    pub async fn members(&self) -> Result<Vec<pb::Member>, Status> {
        let request = pb::MemberListRequest { linearizable: true };
        Ok(self.cluster.clone().member_list(request).await?.into_inner().members)
    }
}
