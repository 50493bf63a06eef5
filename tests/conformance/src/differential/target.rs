//! One of the two servers: sends steps, answers them in comparable form.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use api::etcdserverpb as pb;
use prost::Message;
use tonic::{Code, Status};

use super::{
    normalise::Identity,
    op::{Answer, Failure, Op, Watched, WatchedEvent},
};
use crate::{
    client::{Client, decode_one, revision},
    watching::WatchStream,
};

/// A connection to a server, with its standing watchers.
pub struct Target {
    url: String,
    client: Client,
    identity: Identity,
    followers: BTreeMap<usize, Follower>,
    /// `RangeStream` exists since 3.7.
    streams_ranges: bool,
}

/// A standing watcher.
struct Follower {
    stream: WatchStream,
    id: i64,
    /// From where on it watches; before that there is nothing to gather.
    start: i64,
}

impl Target {
    /// Connects to a server of this version.
    pub async fn connect(url: &str, version: (u32, u32)) -> Result<Target> {
        let mut client = Client::connect(url).await?;
        let header = client.status().await?.header.context("a status without a header")?;
        let identity = Identity {
            cluster_id: header.cluster_id,
            member_id: header.member_id,
            raft_term: header.raft_term,
        };
        let streams_ranges = version >= (3, 7);
        let (url, followers) = (url.to_owned(), BTreeMap::new());
        Ok(Target { url, client, identity, followers, streams_ranges })
    }

    /// Sends one step. An error is a server that does not answer, not an answer that is an error.
    pub async fn execute(&mut self, op: &Op) -> Result<Answer> {
        let mut answer = match op {
            Op::Replay(request) => Answer::Watched(self.replay(request.clone()).await?),
            Op::Follow { slot, request } => self.follow(*slot, request.clone()).await?,
            Op::Unfollow { slot } => self.unfollow(*slot).await?,
            Op::Gather => self.gather().await?,
            call => match self.call(call).await {
                Ok(answer) => answer,
                Err(status) => failure(status)?,
            },
        };
        self.identity.normalise(op, &mut answer);
        Ok(answer)
    }

    async fn call(&mut self, op: &Op) -> Result<Answer, Status> {
        let Client { kv, lease, cluster, maintenance, .. } = &mut self.client;
        Ok(match op.clone() {
            Op::Range(request) => Answer::Range(kv.range(request).await?.into_inner()),
            Op::RangeStream(request) if !self.streams_ranges => {
                Answer::Range(kv.range(request).await?.into_inner())
            }
            Op::RangeStream(request) => Answer::Range(self.range_stream(request).await?),
            Op::Put(request) => Answer::Put(kv.put(request).await?.into_inner()),
            Op::DeleteRange(request) => {
                Answer::DeleteRange(kv.delete_range(request).await?.into_inner())
            }
            Op::Txn(request) => Answer::Txn(kv.txn(request).await?.into_inner()),
            Op::Compact(request) => Answer::Compact(kv.compact(request).await?.into_inner()),
            Op::LeaseGrant(request) => {
                Answer::LeaseGrant(lease.lease_grant(request).await?.into_inner())
            }
            Op::LeaseGrantAnonymous { ttl } => {
                let mut granted = self.client.grant(0, ttl).await?;
                self.client.revoke(granted.id).await?;
                // Which id it is, is the server's choice; that it is positive is not.
                granted.id = granted.id.signum();
                Answer::LeaseGrant(granted)
            }
            Op::LeaseRevoke(request) => {
                Answer::LeaseRevoke(lease.lease_revoke(request).await?.into_inner())
            }
            Op::LeaseKeepAlive(request) => {
                Answer::LeaseKeepAlive(self.client.keep_alive(request.id).await?)
            }
            Op::LeaseTimeToLive(request) => {
                Answer::LeaseTimeToLive(lease.lease_time_to_live(request).await?.into_inner())
            }
            Op::LeaseLeases => {
                let request = pb::LeaseLeasesRequest {};
                Answer::LeaseLeases(lease.lease_leases(request).await?.into_inner())
            }
            Op::MemberList(request) => {
                Answer::MemberList(cluster.member_list(request).await?.into_inner())
            }
            Op::AlarmGet(request) => Answer::Alarm(maintenance.alarm(request).await?.into_inner()),
            Op::HashKv(request) => Answer::HashKv(maintenance.hash_kv(request).await?.into_inner()),
            Op::Replay(_) | Op::Follow { .. } | Op::Unfollow { .. } | Op::Gather => {
                unreachable!("watches are not calls; `execute` keeps them")
            }
        })
    }

    /// Joins the chunks of a streamed range: only the last one says more than key-values.
    async fn range_stream(
        &mut self,
        request: pb::RangeRequest,
    ) -> Result<pb::RangeResponse, Status> {
        let mut chunks = self.client.kv.range_stream(request).await?.into_inner();
        let mut joined = pb::RangeResponse::default();
        while let Some(chunk) = chunks.message().await? {
            let Some(chunk) = chunk.range_response else {
                return Err(Status::internal("a chunk without a range"));
            };
            if joined.header.is_some() {
                return Err(Status::internal("a chunk after the one with the header"));
            }
            joined.merge(&chunk.encode_to_vec()[..]).map_err(|error| {
                Status::internal(format!("a chunk that does not join the others: {error}"))
            })?;
        }
        Ok(joined)
    }

    async fn replay(&mut self, request: pb::WatchCreateRequest) -> Result<Watched> {
        let mut now = revision(&self.client.status().await?.header);
        if request.start_revision > now {
            // It cannot say that it saw everything before there is anything to see.
            now = 0;
        }
        let (mut stream, created) = WatchStream::create(&self.client, request).await?;
        let mut watched = Watched { created: Some(created.clone()), ..Watched::default() };
        if !created.canceled && now > 0 {
            collect(&mut stream, created.watch_id, now, &mut watched).await?;
        }
        Ok(watched)
    }

    async fn follow(&mut self, slot: usize, request: pb::WatchCreateRequest) -> Result<Answer> {
        self.followers.remove(&slot);
        // Its own connection: what it does not read between two gatherings may fill the window.
        let client = Client::connect(&self.url).await?;
        let (stream, created) = WatchStream::create(&client, request.clone()).await?;
        if !created.canceled {
            let (id, start) = (created.watch_id, request.start_revision);
            self.followers.insert(slot, Follower { stream, id, start });
        }
        Ok(Answer::Watched(Watched { created: Some(created), ..Watched::default() }))
    }

    async fn unfollow(&mut self, slot: usize) -> Result<Answer> {
        let Some(mut follower) = self.followers.remove(&slot) else { return Ok(Answer::Nothing) };
        follower.stream.send_cancel(follower.id)?;
        loop {
            let response = follower.stream.next().await?;
            if response.canceled {
                let watched = Watched { cancelled: Some(response), ..Watched::default() };
                return Ok(Answer::Watched(watched));
            }
        }
    }

    async fn gather(&mut self) -> Result<Answer> {
        let now = revision(&self.client.status().await?.header);
        let mut gathered = Vec::new();
        for (slot, follower) in &mut self.followers {
            if follower.start > now {
                continue;
            }
            let mut watched = Watched::default();
            collect(&mut follower.stream, follower.id, now, &mut watched)
                .await
                .with_context(|| format!("standing watcher {slot}"))?;
            gathered.push((*slot, watched));
        }
        let ended = gathered.iter().filter(|(_, watched)| watched.cancelled.is_some());
        for (slot, _) in ended {
            self.followers.remove(slot);
        }
        Ok(Answer::Gathered(gathered))
    }
}

/// Reads all that the only watcher of a stream is told up to revision `now`.
async fn collect(stream: &mut WatchStream, id: i64, now: i64, watched: &mut Watched) -> Result<()> {
    for mut response in stream.until_progress(now, 1).await? {
        ensure!(response.watch_id == id, "a message for watcher {}", response.watch_id);
        let at = revision(&response.header);
        for event in std::mem::take(&mut response.events) {
            let kv = event.kv.as_ref().map(decode_one);
            let newest = kv.as_ref().map_or(0, |kv| kv.mod_revision);
            ensure!(newest <= at, "an event of {newest} in a message of {at}");
            let prev_kv = event.prev_kv.as_ref().map(decode_one);
            watched.events.push(WatchedEvent { kind: event.r#type, kv, prev_kv });
        }
        if response.canceled {
            watched.cancelled = Some(response);
        }
    }
    Ok(())
}

/// An error is an answer, unless it says that the server is gone.
fn failure(status: Status) -> Result<Answer> {
    let gone = matches!(status.code(), Code::Unavailable | Code::Cancelled);
    if gone || status.message().contains("transport error") {
        bail!("the server does not answer: {status}");
    }
    Ok(Answer::Error(Failure { code: status.code(), message: status.message().to_owned() }))
}
