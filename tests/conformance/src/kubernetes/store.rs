//! The storage layer of an API server: each operation is the request that Kubernetes sends.

use anyhow::{Result, bail};
use api::{
    etcdserverpb::{self as pb, compare, request_op::Request, response_op::Response},
    kv::{KeyValue, RawKeyValue},
    range::prefix_end,
};
use bytes::Bytes;
use tonic::Status;

use crate::client::{Client, decode, decode_one, revision};

/// The key that API servers share to agree on who compacts.
const COMPACT_KEY: &str = "compact_rev_key";

/// One stored object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The whole key.
    pub key: String,
    /// The serialised object.
    pub value: Bytes,
    /// Its resource version: the revision of its last change.
    pub revision: i64,
}

/// What came of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// It happened, at this revision.
    Done(i64),
    /// It did not: the object is another by now (or absent), as the failure branch read it.
    Conflict(Option<Object>),
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The objects of this page.
    pub objects: Vec<Object>,
    /// The revision that the whole list is at; further pages are read at it.
    pub revision: i64,
    /// How many objects there are from the start of this page on.
    pub count: i64,
    /// Whether a further page is needed.
    pub more: bool,
}

/// An API server's view of the store.
#[derive(Clone)]
pub struct Store {
    client: Client,
}

impl Store {
    /// A store over this connection.
    pub fn new(client: Client) -> Store {
        Store { client }
    }

    /// Creates an object when its key is free: a transaction on `mod_revision` 0.
    pub async fn create(&mut self, key: &str, value: Bytes, lease: i64) -> Result<Write> {
        self.put_if(key, value, lease, 0).await
    }

    /// Replaces an object that is still at `expected`; else answers what is there now.
    pub async fn update(&mut self, key: &str, value: Bytes, expected: i64) -> Result<Write> {
        self.put_if(key, value, 0, expected).await
    }

    /// Deletes an object that is still at `expected`; else answers what is there now.
    pub async fn delete(&mut self, key: &str, expected: i64) -> Result<Write> {
        let delete = pb::DeleteRangeRequest { key: key.to_owned().into(), ..Default::default() };
        self.conditional(key, Request::RequestDeleteRange(delete), expected).await
    }

    /// Reads one object and the revision that the store is at.
    pub async fn get(&mut self, key: &str) -> Result<(Option<Object>, i64)> {
        let request = pb::RangeRequest { key: key.to_owned().into(), ..Default::default() };
        let answer = self.client.range(request).await?;
        let at = revision(&answer.header);
        Ok((objects(&answer.kvs).pop(), at))
    }

    /// One page of the objects below `prefix`, from `start` on, at `at` (0: now).
    pub async fn page(
        &mut self,
        prefix: &str,
        start: &str,
        limit: i64,
        at: i64,
    ) -> Result<Page, Status> {
        let request = pb::RangeRequest {
            key: start.to_owned().into(),
            range_end: prefix_end(prefix.as_bytes()),
            limit,
            revision: at,
            ..Default::default()
        };
        let answer = self.client.range(request).await?;
        Ok(Page {
            objects: objects(&answer.kvs),
            revision: if at == 0 { revision(&answer.header) } else { at },
            count: answer.count,
            more: answer.more,
        })
    }

    /// The whole list, page by page, all at the revision of the first page.
    pub async fn list(&mut self, prefix: &str, limit: i64) -> Result<(Vec<Object>, i64)> {
        let mut page = self.page(prefix, prefix, limit, 0).await?;
        let at = page.revision;
        let mut all = Vec::new();
        loop {
            let left = page.count;
            let got = page.objects.len() as i64;
            if page.more != (got < left) || (page.more && got != limit) {
                bail!("a page of {got} of {left} objects with more={}", page.more);
            }
            all.append(&mut page.objects);
            if !page.more {
                return Ok((all, at));
            }
            let next = format!("{}\0", all.last().expect("a page with more is not empty").key);
            page = self.page(prefix, &next, limit, at).await?;
        }
    }

    /// How many objects there are below `prefix`.
    pub async fn count(&mut self, prefix: &str) -> Result<i64> {
        let request = pb::RangeRequest {
            key: prefix.to_owned().into(),
            range_end: prefix_end(prefix.as_bytes()),
            count_only: true,
            ..Default::default()
        };
        Ok(self.client.range(request).await?.count)
    }

    /// The watch that follows a list at `from`: previous values, progress, fragments allowed.
    pub fn watch_request(prefix: &str, from: i64) -> pb::WatchCreateRequest {
        pb::WatchCreateRequest {
            start_revision: from + 1,
            prev_kv: true,
            progress_notify: true,
            ..crate::watching::watch_prefix(prefix)
        }
    }

    /// One turn of the compactor: whoever finds the shared key at `turn` moves it on and compacts
    /// at `target`; the others learn where it stands. Answers the turn and revision after it.
    pub async fn compact(&mut self, turn: i64, target: i64) -> Result<(i64, i64)> {
        let put = pb::PutRequest {
            key: COMPACT_KEY.into(),
            value: target.to_string().into(),
            ..Default::default()
        };
        let get = pb::RangeRequest { key: COMPACT_KEY.into(), ..Default::default() };
        let request = pb::TxnRequest {
            compare: vec![pb::Compare {
                target: compare::CompareTarget::Version as i32,
                target_union: Some(compare::TargetUnion::Version(turn)),
                key: COMPACT_KEY.into(),
                ..Default::default()
            }],
            success: vec![op(Request::RequestPut(put))],
            failure: vec![op(Request::RequestRange(get))],
        };
        let answer = self.client.txn(request).await?;
        let now = revision(&answer.header);
        if !answer.succeeded {
            let Some(Response::ResponseRange(range)) = first(answer) else {
                bail!("the failure branch answers with a range")
            };
            let current = range.kvs.first().map(decode_one);
            return Ok((current.map_or(0, |kv| kv.version), now));
        }
        if target > 0 {
            let request = pb::CompactionRequest { revision: target, physical: false };
            self.client.kv.compact(request).await?;
        }
        Ok((turn + 1, now))
    }

    async fn put_if(&mut self, key: &str, value: Bytes, lease: i64, at: i64) -> Result<Write> {
        let key_bytes = Bytes::from(key.to_owned());
        let put = pb::PutRequest { key: key_bytes, value, lease, ..Default::default() };
        self.conditional(key, Request::RequestPut(put), at).await
    }

    async fn conditional(&mut self, key: &str, change: Request, expected: i64) -> Result<Write> {
        let key = Bytes::from(key.to_owned());
        let get = pb::RangeRequest { key: key.clone(), ..Default::default() };
        let request = pb::TxnRequest {
            compare: vec![pb::Compare {
                result: compare::CompareResult::Equal as i32,
                target: compare::CompareTarget::Mod as i32,
                target_union: Some(compare::TargetUnion::ModRevision(expected)),
                key,
                ..Default::default()
            }],
            success: vec![op(change)],
            failure: vec![op(Request::RequestRange(get))],
        };
        let answer = self.client.txn(request).await?;
        if answer.succeeded {
            return Ok(Write::Done(revision(&answer.header)));
        }
        match first(answer) {
            Some(Response::ResponseRange(range)) => Ok(Write::Conflict(objects(&range.kvs).pop())),
            other => bail!("the failure branch answers with a range, not {other:?}"),
        }
    }
}

fn op(request: Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

fn first(answer: pb::TxnResponse) -> Option<Response> {
    answer.responses.into_iter().next()?.response
}

fn objects(kvs: &[RawKeyValue]) -> Vec<Object> {
    let object = |kv: KeyValue| Object {
        key: String::from_utf8_lossy(&kv.key).into_owned(),
        value: kv.value,
        revision: kv.mod_revision,
    };
    decode(kvs).into_iter().map(object).collect()
}
