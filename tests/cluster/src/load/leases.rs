//! Clients that grant leases, attach a key, renew for a while, and then revoke or let go.

use std::{sync::Arc, time::Duration};

use api::etcdserverpb as pb;
use checker::{
    history::{History, Request, Step},
    lease::{Action, Kind, Record},
};
use rand::Rng;

use super::{Shared, keys::Client};

/// Seconds to live; servers allow no less than two.
const TTL: std::ops::Range<i64> = 2..5;

/// Lives through one lease after the other until the load stops.
pub(super) async fn run(shared: Arc<Shared>, number: u32) -> History {
    let mut client = Client::new(shared.clone(), 3, number);
    let mut leases = Vec::new();
    let mut count = 0;
    while !shared.stopped() {
        count += 1;
        let id = (i64::from(number) + 1) << 32 | count;
        let mut life = Life { client: &mut client, shared: &shared, record: Record::default() };
        life.record.id = id;
        life.run().await;
        leases.push(life.record);
    }
    let mut history = client.into_history();
    history.leases = leases;
    history
}

struct Life<'a> {
    client: &'a mut Client,
    shared: &'a Shared,
    record: Record,
}

impl Life<'_> {
    async fn run(&mut self) {
        let ttl = self.client.rng().random_range(TTL);
        if !self.grant(ttl).await {
            return;
        }
        let key = format!("l/{:016x}", self.record.id);
        let step = Step::Put { key: key.into(), value: self.client.value(), lease: self.record.id };
        if self.client.send(Request::of(step), false).await.is_none() {
            self.client.move_on().await;
        }
        for _ in 0..self.client.rng().random_range(0..8) {
            let pause = self.client.rng().random_range(200..ttl as u64 * 500);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if self.shared.stopped() || !self.renew(ttl).await {
                break;
            }
        }
        if self.client.rng().random_bool(0.3) {
            self.revoke().await;
        }
    }

    async fn grant(&mut self, ttl: i64) -> bool {
        let mut lease = self.client.connection().lease;
        let invoked = self.shared.clock.now();
        let request = pb::LeaseGrantRequest { ttl, id: self.record.id };
        let kind = match lease.lease_grant(request).await {
            Ok(answer) => lives(answer.into_inner().ttl),
            Err(_) => Kind::MayLive { ttl: ttl as u64 * SECOND },
        };
        self.add(invoked, kind);
        let granted = matches!(kind, Kind::Lives { .. });
        if !granted {
            self.client.move_on().await;
        }
        granted
    }

    /// Renews once; false when the lease is gone.
    async fn renew(&mut self, ttl: i64) -> bool {
        let lease = self.client.connection().lease;
        let invoked = self.shared.clock.now();
        let answer = keep_alive(lease, self.record.id);
        let answer = tokio::time::timeout(self.shared.plan.patience, answer).await;
        let kind = match answer {
            Ok(Some(ttl)) if ttl > 0 => lives(ttl),
            Ok(Some(_)) => Kind::Gone,
            Ok(None) | Err(_) => Kind::MayLive { ttl: ttl as u64 * SECOND },
        };
        self.add(invoked, kind);
        if matches!(kind, Kind::MayLive { .. }) {
            self.client.move_on().await;
        }
        kind != Kind::Gone
    }

    async fn revoke(&mut self) {
        let mut lease = self.client.connection().lease;
        let invoked = self.shared.clock.now();
        let answer = lease.lease_revoke(pb::LeaseRevokeRequest { id: self.record.id }).await;
        // With or without an answer: it may have happened since it was sent.
        self.add(invoked, Kind::Revoked);
        if answer.is_err() {
            self.client.move_on().await;
        }
    }

    fn add(&mut self, invoked: u64, kind: Kind) {
        let returned = self.shared.clock.now();
        self.record.actions.push(Action { invoked, returned, kind });
    }
}

const SECOND: u64 = 1_000_000_000;

fn lives(seconds: i64) -> Kind {
    Kind::Lives { ttl: seconds.max(0) as u64 * SECOND }
}

/// One renewal on a stream of its own; the answered time to live.
async fn keep_alive(
    mut lease: pb::lease_client::LeaseClient<tonic::transport::Channel>,
    id: i64,
) -> Option<i64> {
    let requests = tokio_stream::once(pb::LeaseKeepAliveRequest { id });
    let mut answers = lease.lease_keep_alive(requests).await.ok()?.into_inner();
    Some(answers.message().await.ok()??.ttl)
}
