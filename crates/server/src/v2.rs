//! Requests of the v2 API as a member carries them out: reads from its own store, everything else
//! through raft; and the entries by which the leader has keys expire.

use std::{sync::Arc, time::Duration};

use api::{error::Error, ids::MemberId};
use apply::{Response, V2Request};
use bytes::Bytes;
use storage::Op;
use tokio::time::{MissedTickBehavior, interval};
use v2store::{Code, Event};

use crate::{clock, driver::NodeEvent, handle::Handle, status::Failure, waiters::Ended};

/// How often the leader looks for keys that expire.
const SYNC: Duration = Duration::from_millis(500);

/// Why a request failed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum V2Failure {
    /// By the rules of the store.
    Store(v2store::Error),
    /// It did not get so far.
    Member(Failure),
}

impl V2Failure {
    /// The number of the store's error.
    pub(crate) fn code(&self) -> Option<Code> {
        match self {
            V2Failure::Store(error) => Some(error.code),
            V2Failure::Member(_) => None,
        }
    }
}

impl From<Failure> for V2Failure {
    fn from(failure: Failure) -> V2Failure {
        V2Failure::Member(failure)
    }
}

impl Handle {
    /// Reads from this member's store.
    pub(crate) fn v2_get(&self, path: &str, recursive: bool) -> Result<Arc<Event>, V2Failure> {
        let found = self.shared.v2.read().get(path, recursive, clock::unix_ns());
        found.map_err(V2Failure::Store)
    }

    /// Takes a request through raft.
    pub(crate) async fn v2_propose(&self, request: V2Request) -> Result<Arc<Event>, V2Failure> {
        self.check_pressure()?;
        let grows = matches!(&request.method[..], b"PUT" | b"POST");
        let cost = if grows { request.path.len() + request.val.len() } else { 0 };
        self.check_quota(cost as u64).await?;
        match self.v2_through_raft(request).await? {
            Response::V2(answer) => answer.map_err(V2Failure::Store),
            other => panic!("a request of the v2 API is answered with an event: {other:?}"),
        }
    }

    async fn v2_through_raft(&self, mut request: V2Request) -> Result<Response, Failure> {
        let id = self.ids.next();
        request.id = id;
        if request.time == 0 {
            request.time = clock::unix_ns();
        }
        let data = Bytes::from(request.to_entry());
        let began_ms = self.clock.now_ms();
        let had_leader = self.progress.leader() != MemberId(0);
        let mut wait = self.wait_for(id);
        let size = data.len();
        self.progress.add_unsynced(size);
        let event = NodeEvent::Propose { id, data, as_leader_of: None };
        if self.node.push(event).is_err() {
            self.progress.remove_unsynced(size);
            return Err(Error::TooManyRequests.into());
        }
        match wait.result().await {
            Ended::Answered(outcome) => outcome,
            Ended::Dropped => Err(Error::Stopped.into()),
            Ended::Expired => {
                self.metrics.proposals_failed.inc();
                Err(self.timed_out(began_ms, had_leader))
            }
        }
    }
}

/// The rows of the v2 store that came with a snapshot. Data without one, as members of etcd from 3.6
/// on may send, means an empty store.
pub(crate) fn rows_of(data: &[u8]) -> Vec<Op> {
    let mut ops = Vec::new();
    match v2store::Store::recover(data) {
        Ok(mut store) => store.take_ops(&mut ops),
        Err(error) => tracing::warn!(%error, "a snapshot came without a v2 store"),
    }
    ops
}

/// As the leader, tells the cluster the time while there are keys that expire. Until the member stops.
pub(crate) async fn sync(handle: Handle) {
    let mut ticks = interval(SYNC);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = handle.progress.wait_stopping() => return,
        }
        handle.v2_stats.saw_leader(handle.progress.leader());
        let leads = handle.progress.leader() == handle.member;
        if leads && handle.shared.v2.read().has_ttl() {
            let method = Bytes::from_static(b"SYNC");
            let request = V2Request { method, ..V2Request::default() };
            if let Err(failure) = handle.v2_through_raft(request).await {
                tracing::debug!(error = %failure.message, "failed to have keys expire");
            }
        }
    }
}
