//! Leader election, compatible with that of etcd's clients: candidates are keys under `NAME/`,
//! the oldest leads, and its value is what it proclaims.

use api::{
    etcdserverpb::{
        DeleteRangeRequest, PutRequest, RangeResponse, ResponseHeader, WatchCreateRequest,
    },
    kv::KeyValue,
    mvccpb::{Event, event::EventType},
    range::prefix_end,
};
use tokio::sync::mpsc;

use crate::{client::Client, error::Error, kv, queue, session::Session};

/// A candidate of an election.
pub struct Election<'a> {
    session: &'a Session,
    prefix: String,
    key: String,
    revision: i64,
    standing: bool,
}

impl<'a> Election<'a> {
    /// A handle on the election `name`; no candidate yet.
    pub fn new(session: &'a Session, name: &str) -> Election<'a> {
        let prefix = format!("{name}/");
        let key = format!("{prefix}{:x}", session.lease());
        Election { session, prefix, key, revision: 0, standing: false }
    }

    /// Stands for election with `value` and waits to be elected. A caller that stops waiting must
    /// [`resign`](Election::resign).
    pub async fn campaign(&mut self, value: &str) -> Result<(), Error> {
        let client = self.session.client();
        let compare = vec![kv::created_at(self.key.clone(), 0)];
        let mine = kv::range_op(kv::get(self.key.clone()));
        let answer = client.txn(kv::txn(compare, vec![self.put(value)], vec![mine])).await?;
        self.standing = true;
        self.revision = answer.header.unwrap_or_default().revision;
        if !answer.succeeded {
            let found = kv::range_answer(&answer.responses, 0).and_then(|range| range.kvs.first());
            let found = found.and_then(|kv| kv.decode().ok());
            let found = found.ok_or(Error::Recipe("election: malformed candidate"))?;
            self.revision = found.create_revision;
            if found.value != value.as_bytes()
                && let Err(error) = self.proclaim(value).await
            {
                // The error tells more than a failure to resign would.
                drop(self.resign().await);
                return Err(error);
            }
        }
        queue::wait_for_front(client, &self.prefix, self.revision - 1).await
    }

    /// Changes what this candidate proclaims, if it still stands.
    pub async fn proclaim(&mut self, value: &str) -> Result<(), Error> {
        if !self.standing {
            return Err(Error::Recipe("election: not leader"));
        }
        let compare = vec![kv::created_at(self.key.clone(), self.revision)];
        let put = vec![self.put(value)];
        let answer = self.session.client().txn(kv::txn(compare, put, Vec::new())).await?;
        if !answer.succeeded {
            self.standing = false;
            return Err(Error::Recipe("election: not leader"));
        }
        Ok(())
    }

    /// Stands no more.
    pub async fn resign(&mut self) -> Result<(), Error> {
        if !self.standing {
            return Ok(());
        }
        self.standing = false;
        let compare = vec![kv::created_at(self.key.clone(), self.revision)];
        let delete = kv::delete_op(DeleteRangeRequest {
            key: self.key.clone().into(),
            ..DeleteRangeRequest::default()
        });
        self.session.client().txn(kv::txn(compare, vec![delete], Vec::new())).await?;
        Ok(())
    }

    /// The key that stands for this candidate.
    pub fn key(&self) -> &str {
        &self.key
    }

    fn put(&self, value: &str) -> api::etcdserverpb::RequestOp {
        kv::put_op(PutRequest {
            key: self.key.clone().into(),
            value: value.to_owned().into(),
            lease: self.session.lease(),
            ..PutRequest::default()
        })
    }
}

/// Sends every leader of the election `name`, and everything a leader proclaims, to `leaders`.
/// Ends when nobody receives, or when the cluster cannot be watched any more.
pub async fn observe(client: &Client, name: &str, leaders: mpsc::Sender<RangeResponse>) {
    let prefix = format!("{name}/");
    while let Some((header, leader)) = next_leader(client, &prefix).await {
        let key = leader.key.clone();
        if leaders.send(answer(header, &leader)).await.is_err() {
            return;
        }
        if !follow(client, key, header.revision + 1, &leaders).await {
            return;
        }
    }
}

/// The leader, or the first candidate that comes when there is none.
async fn next_leader(client: &Client, prefix: &str) -> Option<(ResponseHeader, KeyValue)> {
    let found = client.range(kv::first_created(prefix)).await.ok()?;
    let header = found.header.unwrap_or_default();
    if let Some(leader) = found.kvs.first() {
        return Some((header, leader.decode().ok()?));
    }
    let mut watcher = client
        .watch(WatchCreateRequest {
            key: prefix.to_owned().into(),
            range_end: prefix_end(prefix.as_bytes()),
            start_revision: header.revision,
            ..WatchCreateRequest::default()
        })
        .await;
    while let Some(response) = watcher.next().await {
        if response.error().is_some() {
            return None;
        }
        let put = response.events.iter().find(|event| event.r#type() == EventType::Put);
        if let Some(kv) = put.and_then(decode) {
            return Some((ResponseHeader { revision: kv.mod_revision, ..response.header }, kv));
        }
    }
    None
}

/// Sends what one leader proclaims until its key goes; whether to look for the next.
async fn follow(
    client: &Client,
    key: bytes::Bytes,
    from: i64,
    leaders: &mpsc::Sender<RangeResponse>,
) -> bool {
    let request = WatchCreateRequest { key, start_revision: from, ..WatchCreateRequest::default() };
    let mut watcher = client.watch(request).await;
    while let Some(response) = watcher.next().await {
        for event in &response.events {
            if event.r#type() == EventType::Delete {
                return true;
            }
            let Some(kv) = decode(event) else { return false };
            if leaders.send(answer(response.header, &kv)).await.is_err() {
                return false;
            }
        }
    }
    false
}

fn decode(event: &Event) -> Option<KeyValue> {
    event.kv.as_ref()?.decode().ok()
}

fn answer(header: ResponseHeader, leader: &KeyValue) -> RangeResponse {
    RangeResponse { header: Some(header), kvs: vec![leader.to_raw()], ..RangeResponse::default() }
}
