//! A lease that is kept alive in the background: what locks and elections hang on.

use std::time::Duration;

use api::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest};
use tokio::{sync::watch, task::AbortHandle};

use crate::{client::Client, error::Error};

/// The TTL of a session in seconds unless told otherwise.
pub const DEFAULT_TTL: i64 = 60;

/// A lease of this client, alive until the session is dropped or the cluster lets it expire.
pub struct Session {
    client: Client,
    lease: i64,
    ttl: i64,
    alive: watch::Receiver<()>,
    task: AbortHandle,
}

impl Session {
    /// Grants a lease of `ttl` seconds and keeps it alive.
    pub async fn new(client: &Client, ttl: i64) -> Result<Session, Error> {
        let grant = LeaseGrantRequest { ttl, id: 0 };
        let lease = client.lease_grant(grant).await?.id;
        let mut keep_alive = client.keep_alive(lease);
        let (ending, alive) = watch::channel(());
        let task = tokio::spawn(async move {
            while keep_alive.next().await.is_some() {}
            drop(ending);
        });
        let client = client.without_deadline();
        Ok(Session { client, lease, ttl, alive, task: task.abort_handle() })
    }

    /// The client of the session.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The session's lease.
    pub fn lease(&self) -> i64 {
        self.lease
    }

    /// Returns when the lease is kept alive no more: it expired or was revoked.
    pub async fn done(&self) {
        let mut alive = self.alive.clone();
        while alive.changed().await.is_ok() {}
    }

    /// Revokes the lease.
    pub async fn close(self) -> Result<(), Error> {
        self.task.abort();
        // After the TTL the lease is gone anyway.
        let limit = Duration::from_secs(self.ttl.unsigned_abs());
        let client = self.client.with_timeout(limit);
        client.lease_revoke(LeaseRevokeRequest { id: self.lease }).await?;
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}
