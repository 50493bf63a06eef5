//! Answers to reads, kept for serializable reads that ask the same again.
//!
//! The least recently used go first. What is written through this proxy takes the answers that it
//! touches with it; what others write does not: a serializable read may be old. An answer that was
//! under way during a write it touches is not kept. Answers are kept by token.

use std::collections::{BTreeMap, HashMap};

use api::etcdserverpb::{RangeRequest, RangeResponse};
use api::range::KeyRange;
use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;

/// Answers that are kept.
const ENTRIES_MAX: usize = 2048;
/// Bytes of answers that are kept.
const BYTES_MAX: usize = 256 << 20;

/// What an answer is found by.
type Key = (Bytes, RangeRequest);

/// The answers.
#[derive(Default)]
pub(crate) struct Cache(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    entries: HashMap<Key, Entry>,
    /// Keys by when they were used last.
    used: BTreeMap<u64, Key>,
    /// Reads of the present, hence changed by writes: of one key, and of ranges, by last use.
    single: BTreeMap<Bytes, Vec<u64>>,
    ranges: BTreeMap<u64, KeyRange>,
    clock: u64,
    bytes: usize,
    compacted: i64,
    /// Reads under way, and whether a write touched them.
    pending: BTreeMap<u64, (KeyRange, bool)>,
}

struct Entry {
    response: RangeResponse,
    bytes: usize,
    used: u64,
}

/// What the cache says about a read.
#[derive(Debug)]
pub(crate) enum Found {
    Answer(RangeResponse),
    Compacted,
    Nothing,
}

/// A read under way.
pub(crate) struct Pending<'a> {
    cache: &'a Cache,
    number: u64,
    key: Key,
}

fn range_of(request: &RangeRequest) -> KeyRange {
    KeyRange::new(request.key.clone(), request.range_end.clone())
}

/// Whether two ranges have a key in common.
fn overlap(a: &KeyRange, b: &KeyRange) -> bool {
    a.contains(b.start()) || b.contains(a.start())
}

impl Cache {
    /// The kept answer to a serializable read.
    pub(crate) fn get(&self, identity: &Bytes, request: &RangeRequest) -> Found {
        let mut inner = self.0.lock();
        let key = (identity.clone(), request.clone());
        if request.revision > 0 && request.revision < inner.compacted {
            inner.remove(&key);
            return Found::Compacted;
        }
        match inner.touch(&key) {
            Some(response) => Found::Answer(response),
            None => Found::Nothing,
        }
    }

    /// Begins a read, before it is sent.
    pub(crate) fn begin(&self, identity: Bytes, mut request: RangeRequest) -> Pending<'_> {
        request.serializable = true;
        let mut inner = self.0.lock();
        let number = inner.tick();
        inner.pending.insert(number, (range_of(&request), false));
        Pending { cache: self, number, key: (identity, request) }
    }

    /// Forgets answers with these keys.
    pub(crate) fn invalidate(&self, key: &Bytes, end: &Bytes) {
        self.0.lock().invalidate(&KeyRange::new(key.clone(), end.clone()));
    }

    /// Forgets answers from before a revision.
    pub(crate) fn compact(&self, revision: i64) {
        let mut inner = self.0.lock();
        inner.compacted = inner.compacted.max(revision);
    }

    /// How many answers are kept.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().entries.len()
    }
}

impl Pending<'_> {
    /// Keeps the answer, unless a write came between.
    pub(crate) fn finish(self, response: &RangeResponse) {
        let mut inner = self.cache.0.lock();
        let touched = inner.pending.get(&self.number).is_none_or(|(_, touched)| *touched);
        let revision = self.key.1.revision;
        let old = revision != 0 && revision <= inner.compacted;
        if !touched && !old {
            inner.insert(self.key.clone(), response.clone());
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.cache.0.lock().pending.remove(&self.number);
    }
}

impl Inner {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn insert(&mut self, key: Key, response: RangeResponse) {
        let bytes = response.encoded_len();
        if bytes > BYTES_MAX / 8 {
            return;
        }
        self.remove(&key);
        let used = self.tick();
        self.index(&key.1, used);
        self.used.insert(used, key.clone());
        self.entries.insert(key, Entry { response, bytes, used });
        self.bytes += bytes;
        while self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            let (_, oldest) = self.used.first_key_value().expect("there are entries");
            let oldest = oldest.clone();
            self.remove(&oldest);
        }
    }

    fn touch(&mut self, key: &Key) -> Option<RangeResponse> {
        let now = self.tick();
        let entry = self.entries.get_mut(key)?;
        let before = std::mem::replace(&mut entry.used, now);
        let response = entry.response.clone();
        self.unindex(&key.1, before);
        self.index(&key.1, now);
        self.used.remove(&before);
        self.used.insert(now, key.clone());
        Some(response)
    }

    fn index(&mut self, request: &RangeRequest, used: u64) {
        if request.revision != 0 {
            return;
        }
        if request.range_end.is_empty() {
            self.single.entry(request.key.clone()).or_default().push(used);
        } else {
            self.ranges.insert(used, range_of(request));
        }
    }

    fn unindex(&mut self, request: &RangeRequest, used: u64) {
        self.ranges.remove(&used);
        if let Some(of_key) = self.single.get_mut(&request.key) {
            of_key.retain(|other| *other != used);
            if of_key.is_empty() {
                self.single.remove(&request.key);
            }
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.bytes;
            self.used.remove(&entry.used);
            self.unindex(&key.1, entry.used);
        }
    }

    fn invalidate(&mut self, range: &KeyRange) {
        for (reading, touched) in self.pending.values_mut() {
            *touched |= overlap(reading, range);
        }
        let from = self.single.range(range.start().clone()..);
        let mut gone: Vec<u64> = from
            .take_while(|(key, _)| range.contains(key))
            .flat_map(|(_, used)| used.iter().copied())
            .collect();
        gone.extend(self.ranges.iter().filter(|(_, r)| overlap(r, range)).map(|(used, _)| *used));
        for used in gone {
            let key = self.used.get(&used).expect("what is indexed is kept").clone();
            self.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str, end: &str) -> RangeRequest {
        let (key, range_end) = (key.to_owned().into(), end.to_owned().into());
        RangeRequest { key, range_end, serializable: true, ..RangeRequest::default() }
    }

    fn answer(count: i64) -> RangeResponse {
        RangeResponse { count, ..RangeResponse::default() }
    }

    fn keep(cache: &Cache, request: RangeRequest, count: i64) {
        cache.begin(Bytes::new(), request).finish(&answer(count));
    }

    fn kept(cache: &Cache, request: &RangeRequest) -> Option<i64> {
        match cache.get(&Bytes::new(), request) {
            Found::Answer(response) => Some(response.count),
            Found::Compacted => Some(-1),
            Found::Nothing => None,
        }
    }

    #[test]
    fn a_write_takes_what_it_touches() {
        let cache = Cache::default();
        let all = [read("a", ""), read("b", ""), read("a", "c"), read("c", "e"), read("b", "\0")];
        for (count, request) in all.iter().enumerate() {
            keep(&cache, request.clone(), count as i64);
        }
        let old = RangeRequest { revision: 3, ..read("b", "") };
        keep(&cache, old.clone(), 9);
        cache.invalidate(&"b".into(), &Bytes::new());
        let left: Vec<_> = all.iter().map(|request| kept(&cache, request)).collect();
        assert_eq!(left, [Some(0), None, None, Some(3), None]);
        assert_eq!(kept(&cache, &old), Some(9));
        cache.invalidate(&"a".into(), &"d".into());
        assert_eq!((kept(&cache, &all[0]), kept(&cache, &all[3])), (None, None));
        assert_eq!(cache.len(), 1);
        assert!(cache.0.lock().single.is_empty() && cache.0.lock().ranges.is_empty());
    }

    #[test]
    fn a_linearizable_read_is_kept_for_serializable_ones_with_the_same_token() {
        let cache = Cache::default();
        let request = RangeRequest { serializable: false, ..read("a", "") };
        cache.begin("token".into(), request).finish(&answer(1));
        assert!(matches!(cache.get(&Bytes::new(), &read("a", "")), Found::Nothing));
        assert!(matches!(cache.get(&"token".into(), &read("a", "")), Found::Answer(_)));
    }

    #[test]
    fn an_answer_that_a_write_overtook_is_not_kept() {
        let cache = Cache::default();
        let (touched, other) =
            (cache.begin(Bytes::new(), read("a", "")), cache.begin(Bytes::new(), read("b", "")));
        cache.invalidate(&"a".into(), &Bytes::new());
        touched.finish(&answer(1));
        other.finish(&answer(2));
        assert_eq!(kept(&cache, &read("a", "")), None);
        assert_eq!(kept(&cache, &read("b", "")), Some(2));
        assert!(cache.0.lock().pending.is_empty());
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let cache = Cache::default();
        for at in 0..ENTRIES_MAX {
            keep(&cache, read(&format!("k{at}"), ""), 0);
        }
        assert!(kept(&cache, &read("k0", "")).is_some());
        keep(&cache, read("new", ""), 0);
        assert_eq!(cache.len(), ENTRIES_MAX);
        assert!(kept(&cache, &read("k0", "")).is_some());
        assert_eq!(kept(&cache, &read("k1", "")), None);
    }

    #[test]
    fn revisions_before_a_compaction_are_told_so() {
        let cache = Cache::default();
        let at = |revision| RangeRequest { revision, ..read("a", "") };
        keep(&cache, at(2), 2);
        keep(&cache, at(5), 5);
        cache.compact(5);
        assert_eq!(kept(&cache, &at(2)), Some(-1));
        assert_eq!(kept(&cache, &at(5)), Some(5));
        keep(&cache, at(4), 4);
        assert_eq!(cache.len(), 1);
    }
}
