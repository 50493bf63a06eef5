//! A storm of writes whose every acknowledgement is written down, to be held against what the
//! server knows after it was killed.
//!
//! Each writer owns its object (one key, or two that change together) and writes one rising number
//! after the other. So after a crash an object must be as last acknowledged or as the one write
//! that was on its way would have made it; nothing older, nothing else, never half of it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use api::etcdserverpb::{self as pb, request_op::Request};
use bytes::Bytes;
use tonic::Status;

use crate::{
    client::{Client, decode_one, revision},
    watching::{WatchStream, watch_prefix},
};

/// The prefix of every key of the storm.
const PREFIX: &str = "storm/";

/// What a write makes of an object: a number in each of its keys, or nothing.
type Content = Option<u64>;

/// One writer with its object and what it knows of it.
pub struct Writer {
    keys: Vec<String>,
    counter: u64,
    /// The last write that surely happened, and its revision.
    settled: (Content, i64),
    /// The write that was sent and not answered.
    pending: Option<Content>,
    /// Everything acknowledged since the last [`verify`].
    acknowledged: Vec<(i64, Content)>,
}

impl Writer {
    /// A writer of an object that does not exist yet. Every third object has two keys.
    pub fn new(id: usize) -> Writer {
        let parts: &[&str] = if id.is_multiple_of(3) { &["a", "b"] } else { &["only"] };
        Writer {
            keys: parts.iter().map(|part| format!("{PREFIX}{id}/{part}")).collect(),
            counter: 0,
            settled: (None, 0),
            pending: None,
            acknowledged: Vec::new(),
        }
    }

    /// Writes until the server fails, which is expected of it.
    pub async fn storm(mut self, mut client: Client) -> Writer {
        while self.write_once(&mut client).await.is_ok() {}
        self
    }

    /// How many writes were acknowledged since the last [`verify`].
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    async fn write_once(&mut self, client: &mut Client) -> Result<(), Status> {
        self.counter += 1;
        // Deletes what is there now and then; a deletion of nothing would be no write.
        let delete = self.counter.is_multiple_of(11) && self.settled.0.is_some();
        let content = if delete { None } else { Some(self.counter) };
        self.pending = Some(content);
        let at = match (&self.keys[..], content) {
            ([key], Some(number)) => client.put(key.clone(), number.to_string()).await?,
            ([key], None) => client.delete(key.clone()).await?,
            (keys, content) => {
                let success = keys.iter().map(|key| operation(key, content)).collect();
                let request = pb::TxnRequest { success, ..Default::default() };
                revision(&client.txn(request).await?.header)
            }
        };
        self.pending = None;
        self.settled = (content, at);
        self.acknowledged.push((at, content));
        Ok(())
    }

    /// Compares the object with what it must be, and learns whether the open write happened.
    async fn check(&mut self, client: &mut Client) -> Result<()> {
        let mut found = Vec::new();
        for key in &self.keys {
            let kv = client.get(key.clone()).await?;
            found.push(match kv {
                Some(kv) => (Some(number(&kv.value)?), kv.mod_revision),
                None => (None, 0),
            });
        }
        let (content, at) = found[0];
        ensure!(found.iter().all(|other| *other == found[0]), "half a write: {:?}", self.keys);
        let (settled, settled_at) = self.settled;
        let as_settled = content == settled && (content.is_none() || at == settled_at);
        if self.pending == Some(content) && !as_settled {
            ensure!(content.is_none() || at > settled_at, "a later write at an older revision");
            self.settled = (content, at);
        } else {
            ensure!(
                as_settled,
                "{:?} is {content:?} at {at}; acknowledged was {settled:?} at {settled_at}, on its \
                 way was {:?}",
                self.keys,
                self.pending,
            );
        }
        Ok(())
    }
}

/// Compares the restarted server with what the writers were told. `since` is the revision at which
/// the storm began; answers the revision at which the next one does.
pub async fn verify(client: &mut Client, writers: &mut [Writer], since: i64) -> Result<i64> {
    let status = client.status().await?;
    let now = revision(&status.header);
    let told = writers.iter().flat_map(|writer| &writer.acknowledged);
    let newest = told.map(|(at, _)| *at).max().unwrap_or(since);
    ensure!(now >= newest, "revision went back from {newest} to {now}");
    for writer in writers.iter_mut() {
        writer.check(client).await?;
    }
    if now > since {
        let history = history(client, since, now).await.context("history")?;
        for writer in writers.iter() {
            for (at, content) in &writer.acknowledged {
                for key in &writer.keys {
                    let event = history.get(&(*at, key.clone()));
                    ensure!(
                        event == Some(content),
                        "{key} was {content:?} at {at}; the history has {event:?}"
                    );
                }
            }
        }
    }
    for writer in writers {
        writer.pending = None;
        writer.acknowledged.clear();
    }
    let at = client.put(format!("{PREFIX}round"), "0").await?;
    ensure!(at == now + 1, "the first write after a restart is at {at} after {now}");
    Ok(at)
}

/// Every change after `since` up to `now`, as a watcher is told it. Revisions have no gaps, as
/// nobody writes but the storm.
async fn history(
    client: &Client,
    since: i64,
    now: i64,
) -> Result<BTreeMap<(i64, String), Content>> {
    let request = pb::WatchCreateRequest { start_revision: since + 1, ..watch_prefix(PREFIX) };
    let (mut watch, created) = WatchStream::create(client, request).await?;
    ensure!(!created.canceled, "{created:?}");
    let mut history = BTreeMap::new();
    let mut last = since;
    while last < now {
        for event in watch.next().await?.events {
            let kv = decode_one(event.kv.as_ref().context("an event without its key-value")?);
            ensure!(
                kv.mod_revision == last || kv.mod_revision == last + 1,
                "{} follows {last}",
                kv.mod_revision
            );
            last = kv.mod_revision;
            let key = String::from_utf8(kv.key.to_vec())?;
            let content = if event.r#type == 0 { Some(number(&kv.value)?) } else { None };
            if history.insert((last, key), content).is_some() {
                bail!("two events of one key at {last}");
            }
        }
    }
    Ok(history)
}

fn operation(key: &str, content: Content) -> pb::RequestOp {
    let key = Bytes::from(key.to_owned());
    let request = match content {
        Some(number) => Request::RequestPut(pb::PutRequest {
            key,
            value: number.to_string().into(),
            ..Default::default()
        }),
        None => Request::RequestDeleteRange(pb::DeleteRangeRequest { key, ..Default::default() }),
    };
    pb::RequestOp { request: Some(request) }
}

fn number(value: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(value).context("a value that nobody wrote")?;
    text.parse().with_context(|| format!("a value that nobody wrote: {text:?}"))
}
