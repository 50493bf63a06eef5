//! The simplest store that could be right: every change ever made, in a list.

#![allow(unreachable_pub, reason = "a module of a test")]

use std::collections::BTreeMap;

use api::{event::EventKind, ids::Revision, kv::KeyValue, range::KeyRange};
use bytes::Bytes;
use mvcc::{RangeAnswer, RangeQuery, ReadError, SortOrder, SortTarget};

/// A change: a delete has a key-value with only the key.
#[derive(Clone, Debug)]
pub struct Change {
    pub revision: Revision,
    pub kind: EventKind,
    pub kv: KeyValue,
}

/// One entry of the log, to be applied again after a crash.
#[derive(Clone, Debug)]
pub enum Entry {
    Txn(Vec<Action>),
    Compact(i64),
}

#[derive(Clone, Debug)]
pub enum Action {
    Put(Bytes, Bytes, i64),
    Delete(KeyRange),
}

/// The naive store.
#[derive(Clone)]
pub struct Model {
    pub history: Vec<Change>,
    pub revision: i64,
    pub compacted: i64,
}

impl Model {
    pub fn new() -> Model {
        Model { history: Vec::new(), revision: 1, compacted: -1 }
    }

    /// The key-values at a main revision.
    pub fn state(&self, main: i64) -> BTreeMap<Bytes, KeyValue> {
        let mut state = BTreeMap::new();
        for change in self.history.iter().filter(|change| change.revision.main <= main) {
            match change.kind {
                EventKind::Put => state.insert(change.kv.key.clone(), change.kv.clone()),
                EventKind::Delete => state.remove(&change.kv.key),
            };
        }
        state
    }

    pub fn apply(&mut self, actions: &[Action]) {
        let main = self.revision + 1;
        let mut state = self.state(self.revision);
        let mut sub = 0;
        let mut record = |kind, kv| {
            self.history.push(Change { revision: Revision { main, sub }, kind, kv });
            sub += 1;
        };
        for action in actions {
            match action {
                Action::Put(key, value, lease) => {
                    let before = state.get(key);
                    let kv = KeyValue {
                        key: key.clone(),
                        create_revision: before.map_or(main, |kv| kv.create_revision),
                        mod_revision: main,
                        version: before.map_or(1, |kv| kv.version + 1),
                        value: value.clone(),
                        lease: *lease,
                    };
                    state.insert(key.clone(), kv.clone());
                    record(EventKind::Put, kv);
                }
                Action::Delete(range) => {
                    let keys: Vec<Bytes> =
                        state.keys().filter(|key| range.contains(key)).cloned().collect();
                    for key in keys {
                        state.remove(&key);
                        record(EventKind::Delete, KeyValue { key, ..KeyValue::default() });
                    }
                }
            }
        }
        if sub > 0 {
            self.revision = main;
        }
    }

    pub fn compact(&mut self, revision: i64) -> Result<(), Outcome> {
        if revision <= self.compacted {
            return Err(Outcome::Compacted);
        }
        if revision > self.revision {
            return Err(Outcome::Future);
        }
        self.compacted = revision;
        Ok(())
    }

    pub fn range(&self, q: &RangeQuery) -> Result<RangeAnswer, Outcome> {
        if q.revision > self.revision {
            return Err(Outcome::Future);
        }
        let at = if q.revision <= 0 { self.revision } else { q.revision };
        if at < self.compacted {
            return Err(Outcome::Compacted);
        }
        let mut kvs: Vec<KeyValue> =
            self.state(at).into_values().filter(|kv| q.range.contains(&kv.key)).collect();
        let mut answer =
            RangeAnswer { count: kvs.len() as i64, revision: self.revision, ..Default::default() };
        if q.count_only {
            return Ok(answer);
        }
        let filtered =
            [q.min_mod_revision, q.max_mod_revision, q.min_create_revision, q.max_create_revision]
                != [0; 4];
        let limit = usize::try_from(q.limit).ok().filter(|limit| *limit > 0);
        if let (Some(limit), SortOrder::None, false) = (limit, q.order, filtered) {
            kvs.truncate(limit.saturating_add(1));
        }
        kvs.retain(|kv| {
            (q.max_mod_revision == 0 || kv.mod_revision <= q.max_mod_revision)
                && (q.min_mod_revision == 0 || kv.mod_revision >= q.min_mod_revision)
                && (q.max_create_revision == 0 || kv.create_revision <= q.max_create_revision)
                && (q.min_create_revision == 0 || kv.create_revision >= q.min_create_revision)
        });
        kvs.sort_by(|a, b| {
            let order = match q.target {
                SortTarget::Key => a.key.cmp(&b.key),
                SortTarget::Version => a.version.cmp(&b.version),
                SortTarget::Create => a.create_revision.cmp(&b.create_revision),
                SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
                SortTarget::Value => a.value.cmp(&b.value),
            };
            if q.order == SortOrder::Descend { order.reverse() } else { order }
        });
        if let Some(limit) = limit {
            answer.more = kvs.len() > limit;
            kvs.truncate(limit);
        }
        for kv in kvs.iter_mut().filter(|_| q.keys_only) {
            kv.value.clear();
            if q.target != SortTarget::Value {
                kv.lease = 0;
            }
        }
        answer.kvs = kvs.iter().map(KeyValue::to_raw).collect();
        Ok(answer)
    }

    /// The change of the same key before this one, if it left the key existing and is not compacted.
    pub fn before(&self, change: &Change) -> Option<Revision> {
        let last_before = |revision: Revision| {
            let earlier = self
                .history
                .iter()
                .filter(|earlier| earlier.kv.key == change.kv.key && earlier.revision < revision);
            earlier.last().filter(|earlier| earlier.kind == EventKind::Put)
        };
        // A change of what its own transaction made is shown with what was before the transaction.
        let mut last = last_before(change.revision)?;
        if last.revision.main == change.revision.main {
            last = last_before(Revision { main: change.revision.main, sub: 0 })?;
        }
        let replaced_by = change.revision.main;
        (replaced_by > self.compacted).then_some(last.revision)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Compacted,
    Future,
}

pub fn outcome<T>(result: Result<T, ReadError>) -> Result<T, Outcome> {
    result.map_err(|error| match error {
        ReadError::Compacted => Outcome::Compacted,
        ReadError::Future => Outcome::Future,
        ReadError::Storage(error) => panic!("{error}"),
    })
}

/// What is expected of a query that need not count: 0, where the limit cuts its keys off in their own
/// order, else what it tells if that is right.
pub fn counted_as(
    got: &Result<RangeAnswer, Outcome>,
    query: &RangeQuery,
    mut wanted: Result<RangeAnswer, Outcome>,
) -> Result<RangeAnswer, Outcome> {
    if let (true, Ok(got), Ok(wanted)) = (query.uncounted, got, &mut wanted) {
        let is_cut = wanted.more && query.target == SortTarget::Key;
        if !query.count_only && (is_cut || got.count == 0) {
            wanted.count = 0;
        }
    }
    wanted
}
