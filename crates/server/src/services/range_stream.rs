//! RangeStream (3.7): a range answered in chunks at one revision (spec grpc.md section 4.3).
//!
//! Chunks grow and shrink so that each stays near the request size limit; a client that does not
//! read holds one chunk of memory, no more.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use api::etcdserverpb::{RangeRequest, RangeResponse, RangeStreamResponse};
use auth::Identity;
use futures_core::Stream;
use mvcc::{RangeAnswer, RangeQuery};
use prost::Message;
use tonic::Status;

use super::kv::key_range;
use crate::{handle::Handle, lists::next_key, status::Failure, telemetry::Span};

const FIRST_CHUNK_KEYS: i64 = 10;

type Reading = Pin<Box<dyn Future<Output = Result<Step, Failure>> + Send>>;

/// The chunks of one request.
pub(crate) struct RangeStream {
    reading: Option<Reading>,
    handle: Handle,
    /// Who asked; `None` once the stream has ended.
    who: Option<Identity>,
    /// Lasts as long as the stream.
    _span: Option<Span>,
}

/// One chunk, and the cursor for the rest if there is one.
struct Step {
    response: RangeResponse,
    rest: Option<Cursor>,
}

/// Where the next chunk begins and what has been sent before it.
struct Cursor {
    handle: Handle,
    request: RangeRequest,
    /// The revision that all chunks are read at; 0 before the first.
    pinned: i64,
    /// The store's revision when the stream began, for the header.
    header: i64,
    /// Total keys of the range, known from the first chunk.
    count: i64,
    sent: i64,
    chunk_keys: i64,
}

impl RangeStream {
    /// The stream of a checked request.
    pub(crate) fn new(
        handle: Handle,
        mut request: RangeRequest,
        who: Identity,
        span: Option<Span>,
    ) -> RangeStream {
        // Every negative limit means none.
        request.limit = request.limit.max(0);
        let cursor = Cursor {
            handle: handle.clone(),
            request,
            pinned: 0,
            header: 0,
            count: 0,
            sent: 0,
            chunk_keys: FIRST_CHUNK_KEYS,
        };
        RangeStream { reading: Some(cursor.start()), handle, who: Some(who), _span: span }
    }
}

impl Stream for RangeStream {
    type Item = Result<RangeStreamResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(reading) = &mut self.reading else {
            // All is sent: the client learns whether it still was allowed to see it, as in etcd.
            let who = self.who.take();
            let refused = who.and_then(|who| self.handle.still_permitted(&who).err());
            return Poll::Ready(refused.map(|failure| Err(failure.into())));
        };
        let Poll::Ready(step) = reading.as_mut().poll(cx) else { return Poll::Pending };
        match step {
            Ok(step) => {
                self.reading = step.rest.map(Cursor::start);
                let range_response = Some(step.response);
                Poll::Ready(Some(Ok(RangeStreamResponse { range_response })))
            }
            Err(failure) => {
                (self.reading, self.who) = (None, None);
                Poll::Ready(Some(Err(failure.into())))
            }
        }
    }
}

impl Cursor {
    fn start(self) -> Reading {
        Box::pin(async move {
            let handle = self.handle.clone();
            handle.lists.run(move || self.step()).await?
        })
    }

    /// Reads the next chunk.
    fn step(mut self) -> Result<Step, Failure> {
        let first = self.pinned == 0;
        let answer = self.read()?;
        if first {
            self.pinned =
                if self.request.revision > 0 { self.request.revision } else { answer.revision };
            self.header = answer.revision;
            self.count = answer.count;
        }
        self.sent += answer.kvs.len() as i64;
        let limit_reached = self.request.limit > 0 && self.sent >= self.request.limit;
        if self.request.count_only || limit_reached || !answer.more {
            let more = answer.more && !self.request.count_only;
            return Ok(Step { response: self.last(answer, more), rest: None });
        }
        let response = RangeResponse { kvs: answer.kvs, ..RangeResponse::default() };
        self.adapt(response.encoded_len());
        let last = response.kvs.last().expect("a chunk with more to come has keys");
        self.request.key = next_key(last);
        Ok(Step { response, rest: Some(self) })
    }

    fn read(&self) -> Result<RangeAnswer, Failure> {
        let mut query = RangeQuery::from(&self.request);
        query.range = key_range(&self.request);
        if self.pinned > 0 {
            query.revision = self.pinned;
            query.uncounted = true;
        }
        let left = self.request.limit - self.sent;
        query.limit =
            if self.request.limit > 0 { left.min(self.chunk_keys) } else { self.chunk_keys };
        Ok(self.handle.shared.store.range(&query)?)
    }

    fn last(&self, answer: RangeAnswer, more: bool) -> RangeResponse {
        RangeResponse {
            header: Some(self.handle.header(self.header)),
            kvs: answer.kvs,
            more,
            count: self.count,
        }
    }

    /// Doubles a chunk that came out small, halves one that came out large.
    fn adapt(&mut self, bytes: usize) {
        let target = self.handle.limits.request_bytes_max;
        if bytes < target / 2 {
            self.chunk_keys = self.chunk_keys.saturating_mul(2);
        } else if bytes > 2 * target {
            self.chunk_keys = (self.chunk_keys / 2).max(1);
        }
    }
}
