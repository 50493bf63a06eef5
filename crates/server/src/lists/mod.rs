//! Long range reads: off the threads that serve connections, in steps, few at once.
//!
//! Whoever reads a hundred thousand keys takes a processor, and each of the store's locks for moments
//! again and again. So few threads read ranges, one for two cores, which give way to those that serve
//! everybody, and each reads a limited number of keys for one answer before it goes on with the next.
//! The first keys are read at once, by the thread of the connection: most ranges have no more.
//!
//! An answer is held until its client has read it. How many bytes of such answers there may be before
//! further ones are begun is limited (`gate`).
//!
//! Invariant: the steps together are what one read at the revision of the first would have answered.

mod gate;

use std::{io, sync::Arc, thread};

use api::{error::Error, kv::RawKeyValue, range::KeyRange};
use bytes::Bytes;
use mvcc::{RangeAnswer, RangeQuery, ReadError, SortOrder, SortTarget, Store};

use self::gate::Gate;
pub(crate) use self::gate::Share;
use crate::{limits::LONG_ANSWERS_BYTES, status::Failure, workers::Workers};

/// Keys of a range that are read at once.
const FIRST_KEYS: i64 = 256;
/// Keys that are read before other threads may have the processor.
const TURN_KEYS: i64 = 250;
/// Such turns for one answer before another has its own.
const STEP_TURNS: i64 = 40;

/// See the module.
pub(crate) struct Lists {
    gate: Arc<Gate>,
    /// The threads that read; they end with this.
    readers: Workers,
}

/// An answer that is being read in steps.
struct Reading {
    query: RangeQuery,
    answer: RangeAnswer,
    /// Bytes of its key-values.
    bytes: usize,
}

impl Lists {
    /// Reads on one thread for two cores.
    pub(crate) fn start() -> io::Result<Lists> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let readers = Workers::start("range", (cores / 2).max(1), priority::give_way)?;
        Ok(Lists { gate: Gate::new(LONG_ANSWERS_BYTES), readers })
    }

    /// Does work that reads much, when it is its turn.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        self.readers.run(work).await.ok_or_else(|| Error::Stopped.into())
    }

    /// Reads a range that may be long. The share is to be held while the answer is sent.
    pub(crate) async fn range(
        &self,
        store: &Arc<Store>,
        query: RangeQuery,
    ) -> Result<(RangeAnswer, Option<Share>), Failure> {
        if !is_divisible(&query) {
            let store = store.clone();
            return Ok((self.run(move || store.range(&query)).await??, None));
        }
        loop {
            match self.in_steps(store, &query).await {
                // A compaction overtook it: to its client it happened after that.
                Err(failure)
                    if query.revision <= 0 && failure.message == Error::Compacted.message() => {}
                answer => return answer,
            }
        }
    }

    async fn in_steps(
        &self,
        store: &Arc<Store>,
        query: &RangeQuery,
    ) -> Result<(RangeAnswer, Option<Share>), Failure> {
        let mut first = query.clone();
        first.limit = least(query.limit, FIRST_KEYS);
        let answer = store.range(&first)?;
        if !answer.more || first.limit == query.limit {
            return Ok((answer, None));
        }
        let bytes = bytes_of(&answer.kvs);
        let keys = least(query.limit, answer.count);
        let expected = bytes / answer.kvs.len().max(1) * usize::try_from(keys).unwrap_or(0);
        let mut share = self.gate.enter(expected).await;
        let rest = RangeQuery { uncounted: true, ..query.clone() };
        let mut reading = Reading { query: rest, answer, bytes };
        reading
            .answer
            .kvs
            .reserve_exact(usize::try_from(keys).unwrap_or(0) - reading.answer.kvs.len());
        if query.revision <= 0 {
            reading.query.revision = reading.answer.revision;
        }
        while reading.answer.more && reading.left() != Some(0) {
            let store = store.clone();
            reading = self.run(move || reading.step(&store)).await??;
        }
        share.set(reading.bytes);
        Ok((reading.answer, Some(share)))
    }
}

impl Reading {
    /// Keys that the limit leaves, if there is one.
    fn left(&self) -> Option<i64> {
        (self.query.limit > 0).then(|| self.query.limit - self.answer.kvs.len() as i64)
    }

    /// Reads the next keys.
    fn step(mut self, store: &Store) -> Result<Reading, ReadError> {
        for _ in 0..STEP_TURNS {
            let last = self.answer.kvs.last().expect("an answer with more to come has keys");
            let mut next = self.query.clone();
            next.range = after(&self.query.range, last);
            next.limit = self.left().map_or(TURN_KEYS, |left| left.min(TURN_KEYS));
            let read = store.range(&next)?;
            self.bytes += bytes_of(&read.kvs);
            self.answer.kvs.extend(read.kvs);
            self.answer.more = read.more;
            if !self.answer.more || self.left() == Some(0) {
                break;
            }
            priority::let_others();
        }
        Ok(self)
    }
}

/// Whether a range can be read key by key.
fn is_divisible(query: &RangeQuery) -> bool {
    let filters = [
        query.min_mod_revision,
        query.max_mod_revision,
        query.min_create_revision,
        query.max_create_revision,
    ];
    query.target == SortTarget::Key
        && query.order != SortOrder::Descend
        && filters == [0; 4]
        && !query.count_only
        && !matches!(query.range, KeyRange::Single(_))
}

/// The smaller of a limit, which may be none, and a number of keys.
fn least(limit: i64, keys: i64) -> i64 {
    if limit > 0 { limit.min(keys) } else { keys }
}

fn bytes_of(kvs: &[RawKeyValue]) -> usize {
    kvs.iter().map(|kv| kv.0.len() + size_of::<RawKeyValue>()).sum()
}

/// What of a range comes after a key.
fn after(range: &KeyRange, last: &RawKeyValue) -> KeyRange {
    let start = next_key(last);
    match range {
        KeyRange::Span(_, end) => KeyRange::Span(start, end.clone()),
        KeyRange::From(_) | KeyRange::Single(_) => KeyRange::From(start),
    }
}

/// The smallest key after that of a stored key-value.
pub(crate) fn next_key(last: &RawKeyValue) -> Bytes {
    let mut key = last.decode().expect("stored key-values decode").key.to_vec();
    key.push(0);
    key.into()
}

#[cfg(test)]
mod tests;
