//! Range reads: keys are chosen in the index, then values are fetched, and only those answered.

use std::ops::ControlFlow;

use api::{event::Event, ids::Revision, kv::RawKeyValue, range::KeyRange};
use storage::{Bucket, schema::key::RevisionKey};

use super::{PIECE_KEYS, Store};
use crate::{
    RangeAnswer, RangeQuery, ReadError, SortOrder, SortTarget,
    index::{Bounds, Entry, Version},
    raw::Parts,
};

/// Values that are taken out of the ring under one lock, which whoever writes waits for.
const RING_KEYS: usize = 8;

impl Store {
    /// Reads a range. Safe on any thread, beside writes and compactions.
    pub fn range(&self, query: &RangeQuery) -> Result<RangeAnswer, ReadError> {
        loop {
            let generation = self.generations.now();
            let view = View { store: self, current: self.revision(), own: &[] };
            match view.range(query) {
                // The current revision moved on and was compacted meanwhile: read the new one.
                Err(ReadError::Compacted) if query.revision <= 0 => {
                    self.generations.changed_since(generation);
                }
                Err(error) => {
                    if !self.generations.changed_since(generation) {
                        return Err(error);
                    }
                }
                answer => return answer,
            }
        }
    }

    /// The key-value that was put at `revision`; `None` when it is compacted away.
    pub fn value(&self, revision: Revision) -> Result<Option<RawKeyValue>, ReadError> {
        loop {
            let generation = self.generations.now();
            let view = View { store: self, current: self.revision(), own: &[] };
            let value = view.value(revision)?;
            if value.is_some() || !self.generations.changed_since(generation) {
                return Ok(value);
            }
        }
    }
}

/// The store as one reader sees it.
pub(super) struct View<'a> {
    pub(super) store: &'a Store,
    /// The newest main revision that it sees.
    pub(super) current: i64,
    /// Changes of revision `current` that are not published: those of the reader's own transaction.
    pub(super) own: &'a [Event],
}

/// A key that a range read has chosen.
struct Chosen {
    version: Version,
    /// The answer, once it is known.
    raw: RawKeyValue,
}

impl View<'_> {
    /// Reads a range.
    pub(super) fn range(&self, query: &RangeQuery) -> Result<RangeAnswer, ReadError> {
        let at = self.store.resolve(query.revision, self.current)?;
        let mut answer = RangeAnswer { revision: self.current, ..RangeAnswer::default() };
        if query.count_only {
            answer.count = self.count(query, at);
        } else {
            let (mut chosen, count) = self.choose(query, at);
            answer.count = count;
            if query.target == SortTarget::Value {
                self.fetch(&mut chosen, at)?;
            }
            sort(query, &mut chosen)?;
            if let Ok(limit) = usize::try_from(query.limit)
                && limit > 0
                && chosen.len() > limit
            {
                chosen.truncate(limit);
                answer.more = true;
            }
            match (query.keys_only, query.target) {
                (true, SortTarget::Value) => clear_values(&mut chosen)?,
                (true, _) | (false, SortTarget::Value) => {}
                (false, _) => self.fetch(&mut chosen, at)?,
            }
            answer.kvs = chosen.into_iter().map(|chosen| chosen.raw).collect();
        }
        self.store.still_readable(at)?;
        Ok(answer)
    }

    /// How many keys of the range exist at main revision `at`.
    fn count(&self, query: &RangeQuery, at: i64) -> i64 {
        let (mut total, mut rest) = (0, Some(Bounds::from(&query.range)));
        while let Some(bounds) = rest {
            let count = self.store.index.read().count(&bounds, at, PIECE_KEYS);
            total += count.finish(at) as i64;
            rest = count.rest;
        }
        total
    }

    /// The keys that the answer is made of, in the order of keys (descending if that is asked), and
    /// how many there are before filters and limit. No more are looked at than the answer needs.
    fn choose(&self, query: &RangeQuery, at: i64) -> (Vec<Chosen>, i64) {
        // Without a direction etcd applies the limit to the order of keys, and then sorts.
        let cut_by_key = query.target == SortTarget::Key
            || (query.order == SortOrder::None && !query.has_filters());
        // One more than the limit tells whether there are more.
        let enough = match usize::try_from(query.limit) {
            Ok(limit) if limit > 0 && cut_by_key => limit.saturating_add(1),
            _ => usize::MAX,
        };
        let keys_from_index = query.keys_only && query.target != SortTarget::Value;
        let back = query.target == SortTarget::Key && query.order == SortOrder::Descend;
        let (mut chosen, mut exist) = (Vec::new(), 0);
        let mut visit = |entry: &Entry| {
            let Some(version) = entry.at(at) else { return ControlFlow::Continue(()) };
            exist += 1;
            if query.admits(version.main, version.create) {
                let raw = match keys_from_index {
                    true => key_only(&entry.key, version),
                    false => RawKeyValue::default(),
                };
                chosen.push(Chosen { version: *version, raw });
            }
            match chosen.len() < enough {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        };
        let mut rest = match &query.range {
            KeyRange::Single(key) => {
                let _only_one = self.store.index.read().get(key).map(&mut visit);
                None
            }
            _ => Some(Bounds::from(&query.range)),
        };
        // No lock is held while keys are walked.
        while let Some(bounds) = rest {
            let index = self.store.index.read();
            let piece = match back {
                true => index.piece_back(&bounds, PIECE_KEYS.min(enough)),
                false => index.piece(&bounds, PIECE_KEYS.min(enough)),
            };
            drop(index);
            rest = if back { piece.walk_back(&mut visit) } else { piece.walk(&mut visit) };
        }
        let count = match chosen.len() < enough {
            true => exist,
            false if query.uncounted => 0,
            false => self.count(query, at),
        };
        (chosen, count)
    }

    /// Fills in the values of what a read at main revision `at` has chosen.
    fn fetch(&self, chosen: &mut [Chosen], at: i64) -> Result<(), ReadError> {
        for piece in chosen.chunks_mut(PIECE_KEYS) {
            if !self.fetch_piece(piece)? {
                self.store.still_readable(at)?;
                let what = "a revision of the index has no value";
                return Err(storage::Error::Corrupt { bucket: Bucket::Key.name(), what }.into());
            }
        }
        Ok(())
    }

    /// Whether all were found. The ring is asked first: what it has let go of is in a view of the
    /// backend that is opened afterwards.
    fn fetch_piece(&self, piece: &mut [Chosen]) -> Result<bool, ReadError> {
        let mut missing = Vec::new();
        // What is older has been let go of for good.
        let mut oldest = i64::MIN;
        for few in piece.chunks_mut(RING_KEYS) {
            let is_gone = |chosen: &Chosen| chosen.version.main < oldest;
            if self.own.is_empty() && few.iter().all(is_gone) {
                missing.extend(few);
                continue;
            }
            let recent = self.store.recent.read();
            oldest = recent.first().unwrap_or(i64::MAX);
            for chosen in few {
                let revision = chosen.version.revision();
                match self.own_value(revision).or_else(|| recent.value(revision)) {
                    Some(raw) => chosen.raw = raw,
                    None => missing.push(chosen),
                }
            }
        }
        if missing.is_empty() {
            return Ok(true);
        }
        let tx = self.store.backend.read()?;
        for chosen in missing {
            let key = RevisionKey::new(chosen.version.revision(), false);
            let Some(value) = tx.get(Bucket::Key, &key)? else { return Ok(false) };
            chosen.raw = RawKeyValue(bytes::Bytes::copy_from_slice(value));
        }
        Ok(true)
    }

    /// The key-value that was put at `revision`.
    pub(super) fn value(&self, revision: Revision) -> Result<Option<RawKeyValue>, ReadError> {
        let in_memory =
            self.own_value(revision).or_else(|| self.store.recent.read().value(revision));
        if in_memory.is_some() || revision.main < 0 || revision.sub < 0 {
            return Ok(in_memory);
        }
        let tx = self.store.backend.read()?;
        let value = tx.get(Bucket::Key, &RevisionKey::new(revision, false))?;
        Ok(value.map(|value| RawKeyValue(bytes::Bytes::copy_from_slice(value))))
    }

    fn own_value(&self, revision: Revision) -> Option<RawKeyValue> {
        let event = self.own.get(usize::try_from(revision.sub).ok()?)?;
        (event.revision == revision).then(|| event.kv.clone())
    }
}

/// A key without its value, from the index alone. Its lease is left out, as in etcd 3.7.
fn key_only(key: &[u8], version: &Version) -> RawKeyValue {
    let parts = Parts {
        key,
        create_revision: version.create,
        mod_revision: version.main,
        version: version.version,
        ..Parts::default()
    };
    parts.encode()
}

/// Sorts what is in the order of keys. Equal ones stay in that order.
fn sort(query: &RangeQuery, chosen: &mut [Chosen]) -> Result<(), ReadError> {
    let descend = query.order == SortOrder::Descend;
    let number = |chosen: &Chosen| match query.target {
        SortTarget::Version => chosen.version.version,
        SortTarget::Create => chosen.version.create,
        _ => chosen.version.main,
    };
    match query.target {
        SortTarget::Key => {}
        SortTarget::Value => {
            let mut keyed = Vec::with_capacity(chosen.len());
            for chosen in &mut *chosen {
                keyed.push((decode(&chosen.raw)?.value, chosen.version, chosen.raw.clone()));
            }
            keyed.sort_by(|a, b| if descend { b.0.cmp(&a.0) } else { a.0.cmp(&b.0) });
            for (place, (_, version, raw)) in chosen.iter_mut().zip(keyed) {
                *place = Chosen { version, raw };
            }
        }
        _ if descend => chosen.sort_by_key(|chosen| std::cmp::Reverse(number(chosen))),
        _ => chosen.sort_by_key(number),
    }
    Ok(())
}

/// Takes the values out of what was fetched.
fn clear_values(chosen: &mut [Chosen]) -> Result<(), ReadError> {
    for chosen in chosen {
        let mut kv = decode(&chosen.raw)?;
        kv.value.clear();
        chosen.raw = kv.to_raw();
    }
    Ok(())
}

fn decode(raw: &RawKeyValue) -> Result<api::kv::KeyValue, ReadError> {
    raw.decode().map_err(|_| {
        let what = "a value is no key-value message";
        storage::Error::Corrupt { bucket: Bucket::Key.name(), what }.into()
    })
}
