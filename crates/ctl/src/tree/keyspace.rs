//! Reading the keyspace in pages of one revision.

use std::time::Duration;

use api::{
    etcdserverpb::{RangeRequest, RangeResponse},
    kv::KeyValue,
    range::prefix_end,
};
use bytes::Bytes;
use client::{client::Client, error::Error};

/// What answers reads: a cluster, or a test.
pub(crate) trait Read {
    /// Reads keys.
    fn range(
        &self,
        request: RangeRequest,
    ) -> impl Future<Output = Result<RangeResponse, Error>> + Send;
}

/// The keyspace of a cluster, as it is now or was at a revision.
#[derive(Clone)]
pub(crate) struct Keyspace {
    /// Where it is.
    pub(crate) client: Client,
    /// The bound on one call.
    pub(crate) timeout: Duration,
    /// When it was; 0 for now.
    pub(crate) revision: i64,
}

impl Keyspace {
    /// A client for one call.
    pub(crate) fn call(&self) -> Client {
        self.client.with_timeout(self.timeout)
    }
}

impl Read for Keyspace {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        let revision = if request.revision == 0 { self.revision } else { request.revision };
        self.call().range(RangeRequest { revision, ..request }).await
    }
}

/// How much of each key is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Everything but the values.
    Keys,
    /// Everything.
    Values,
}

/// The range of every key with a prefix; every key at all for the empty one.
pub(crate) fn range_of(prefix: &[u8]) -> (Bytes, Bytes) {
    match prefix {
        [] => (Bytes::from_static(&[0]), Bytes::from_static(&[0])),
        prefix => (Bytes::copy_from_slice(prefix), prefix_end(prefix)),
    }
}

/// Keys with a prefix in order, page by page, all as of one revision.
pub(crate) struct Pages<'a, R> {
    reader: &'a R,
    from: Bytes,
    end: Bytes,
    revision: i64,
    done: bool,
}

impl<'a, R: Read> Pages<'a, R> {
    /// From the first key with this prefix. Revision 0 means that of the first page.
    pub(crate) fn new(reader: &'a R, prefix: &[u8], revision: i64) -> Pages<'a, R> {
        let (from, end) = range_of(prefix);
        Pages { reader, from, end, revision, done: false }
    }

    /// The next keys, at most `limit`; none after the last.
    pub(crate) async fn next(&mut self, limit: i64, what: What) -> Result<Vec<KeyValue>, Error> {
        if self.done {
            return Ok(Vec::new());
        }
        let request = RangeRequest {
            key: self.from.clone(),
            range_end: self.end.clone(),
            limit,
            revision: self.revision,
            keys_only: what == What::Keys,
            ..RangeRequest::default()
        };
        let page = self.reader.range(request).await?;
        if self.revision == 0 {
            self.revision = page.header.unwrap_or_default().revision;
        }
        let kvs = decoded(&page)?;
        self.done = !page.more;
        if let Some(last) = kvs.last() {
            self.from = [&last.key[..], &[0]].concat().into();
        }
        Ok(kvs)
    }

    /// Goes on behind a key that was read before; there is nothing more if `done`.
    pub(crate) fn resume(&mut self, last: Option<&[u8]>, done: bool) {
        if let Some(last) = last {
            self.from = [last, &[0]].concat().into();
        }
        self.done = done;
    }

    /// Whether there is nothing more.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Passes over everything with this prefix; keys have been read up to it.
    pub(crate) fn skip(&mut self, prefix: &[u8]) {
        let after = prefix_end(prefix);
        // One zero byte: no key can follow.
        self.done |= after[..] == [0] || (self.end[..] != [0] && after >= self.end);
        self.from = self.from.clone().max(after);
    }

    /// The revision of the pages; 0 before the first.
    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }
}

/// The keys of an answer.
pub(crate) fn decoded(answer: &RangeResponse) -> Result<Vec<KeyValue>, Error> {
    let kvs = answer.kvs.iter().map(|kv| kv.decode());
    kvs.collect::<Result<_, _>>().map_err(|_| Error::Recipe("the server sent a malformed key"))
}

/// How many keys have this prefix.
pub(crate) async fn count(reader: &impl Read, prefix: &[u8], revision: i64) -> Result<i64, Error> {
    let (key, range_end) = range_of(prefix);
    let request =
        RangeRequest { key, range_end, revision, count_only: true, ..RangeRequest::default() };
    Ok(reader.range(request).await?.count)
}

/// One key, if it is there.
pub(crate) async fn get(
    reader: &impl Read,
    key: &[u8],
    revision: i64,
) -> Result<Option<KeyValue>, Error> {
    let answer = reader.range(RangeRequest { revision, ..client::kv::get(key.to_vec()) }).await?;
    Ok(decoded(&answer)?.pop())
}
