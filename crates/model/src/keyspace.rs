//! Keys, their versions and what reading them gives.
//!
//! A change belongs to a transaction; all changes of one transaction share its main revision. A
//! transaction that changes nothing has no revision of its own.

use std::{cmp::Ordering, collections::BTreeMap};

use api::{
    error::Error,
    etcdserverpb::{
        DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest,
        RangeResponse,
        range_request::{SortOrder, SortTarget},
    },
    kv::KeyValue,
    range::KeyRange,
};
use bytes::Bytes;

use crate::header;

/// One change of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The key-value that was put; of a delete only its key and `mod_revision`.
    pub kv: KeyValue,
    /// Whether the key was deleted.
    pub deleted: bool,
}

/// All keys with all their versions, and the changes in their order.
#[derive(Clone, Debug)]
pub struct Keyspace {
    /// The last transaction that changed something; 1 before the first.
    revision: i64,
    /// History before this revision is gone; -1 when none is.
    compacted: i64,
    /// The versions of each key, oldest first.
    versions: BTreeMap<Bytes, Vec<Change>>,
    /// The changes of each revision, from revision 2 on.
    log: Vec<Vec<Change>>,
}

impl Default for Keyspace {
    fn default() -> Keyspace {
        Keyspace { revision: 1, compacted: -1, versions: BTreeMap::new(), log: Vec::new() }
    }
}

impl Keyspace {
    /// The current revision.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The last compaction; -1 when there was none.
    pub fn compacted(&self) -> i64 {
        self.compacted
    }

    /// The changes of one revision, none if it has not happened.
    pub fn changes(&self, revision: i64) -> &[Change] {
        let at = usize::try_from(revision - 2).ok();
        at.and_then(|at| self.log.get(at)).map_or(&[], |changes| changes)
    }

    /// A key as it is.
    pub fn get(&self, key: &[u8]) -> Option<&KeyValue> {
        self.get_at(key, self.revision)
    }

    /// A key as it was at a revision.
    pub fn get_at(&self, key: &[u8], revision: i64) -> Option<&KeyValue> {
        let versions = self.versions.get(key)?;
        let last = versions.iter().rfind(|change| change.kv.mod_revision <= revision)?;
        if last.deleted { None } else { Some(&last.kv) }
    }

    /// The keys of a range as they were at a revision, in their order.
    pub fn existing(&self, range: &KeyRange, revision: i64) -> Vec<&KeyValue> {
        let keys = self.versions.keys().filter(|key| range.contains(key));
        keys.filter_map(|key| self.get_at(key, revision)).collect()
    }

    /// The keys that are attached to a lease, in their order.
    pub fn attached_to(&self, lease: i64) -> Vec<Bytes> {
        let all = KeyRange::From(Bytes::new());
        let keys = self.existing(&all, self.revision).into_iter();
        keys.filter(|kv| kv.lease == lease).map(|kv| kv.key.clone()).collect()
    }

    /// Whether a range on its own may read this revision; zero and less mean the current one.
    pub fn check_readable(&self, revision: i64) -> Result<(), Error> {
        if revision <= 0 { Ok(()) } else { self.check_readable_in_txn(revision) }
    }

    /// Whether a range of a transaction may read this revision; only zero means the current one.
    pub fn check_readable_in_txn(&self, revision: i64) -> Result<(), Error> {
        match revision {
            0 => Ok(()),
            _ if revision > self.revision => Err(Error::FutureRev),
            _ if revision < self.compacted => Err(Error::Compacted),
            _ => Ok(()),
        }
    }

    /// Reads a range at a revision that was checked.
    pub fn range(&self, request: &RangeRequest) -> RangeResponse {
        let at = if request.revision <= 0 { self.revision } else { request.revision };
        let range = KeyRange::new(request.key.clone(), request.range_end.clone());
        let mut kvs: Vec<KeyValue> = self.existing(&range, at).into_iter().cloned().collect();
        let mut response = RangeResponse {
            header: header(self.revision),
            count: kvs.len() as i64,
            ..RangeResponse::default()
        };
        if request.count_only {
            return response;
        }
        kvs.retain(|kv| passes(request, kv));
        if request.sort_order() == SortOrder::None && !has_filters(request) {
            // etcd's quirk: one key more than the limit is read before they are ordered.
            kvs.truncate(limit(request).saturating_add(1));
        }
        order(request, &mut kvs);
        response.more = kvs.len() > limit(request);
        kvs.truncate(limit(request));
        if request.keys_only {
            for kv in &mut kvs {
                kv.value = Bytes::new();
                if request.sort_target() != SortTarget::Value {
                    kv.lease = 0;
                }
            }
        }
        response.kvs = kvs.iter().map(KeyValue::to_raw).collect();
        response
    }

    /// Forbids looking at history before `revision`.
    pub(crate) fn compact(&mut self, revision: i64) -> Result<(), Error> {
        if revision <= self.compacted {
            return Err(Error::Compacted);
        }
        if revision > self.revision {
            return Err(Error::FutureRev);
        }
        self.compacted = revision;
        Ok(())
    }

    /// Begins a transaction.
    pub(crate) fn begin(self) -> Transaction {
        Transaction { keys: self, changes: Vec::new() }
    }
}

/// A keyspace with the changes of one transaction so far.
pub(crate) struct Transaction {
    keys: Keyspace,
    changes: Vec<Change>,
}

impl Transaction {
    /// The transaction's own revision once it has changed something.
    pub(crate) fn revision(&self) -> i64 {
        self.keys.revision
    }

    /// Ends the transaction: its changes become part of history.
    pub(crate) fn end(mut self) -> Keyspace {
        if !self.changes.is_empty() {
            self.keys.log.push(self.changes);
        }
        self.keys
    }

    /// Reads in the midst of the transaction: its own changes are seen.
    pub(crate) fn range(&self, request: &RangeRequest) -> RangeResponse {
        self.keys.range(request)
    }

    /// Sets a key. What it refers to exists.
    pub(crate) fn put(&mut self, request: &PutRequest) -> PutResponse {
        let before = self.keys.get(&request.key).cloned();
        let old = before.clone().unwrap_or_default();
        let revision = self.next_revision();
        let kv = KeyValue {
            key: request.key.clone(),
            create_revision: if before.is_some() { old.create_revision } else { revision },
            mod_revision: revision,
            version: old.version + 1,
            value: if request.ignore_value { old.value } else { request.value.clone() },
            lease: if request.ignore_lease { old.lease } else { request.lease },
        };
        self.change(Change { kv, deleted: false });
        let prev_kv = before.filter(|_| request.prev_kv).map(|kv| kv.to_raw());
        PutResponse { header: header(revision), prev_kv }
    }

    /// Deletes what exists of a range.
    pub(crate) fn delete_range(&mut self, request: &DeleteRangeRequest) -> DeleteRangeResponse {
        let range = KeyRange::new(request.key.clone(), request.range_end.clone());
        let existing = self.keys.existing(&range, self.keys.revision);
        let gone: Vec<KeyValue> = existing.into_iter().cloned().collect();
        for kv in &gone {
            let mod_revision = self.next_revision();
            let kv = KeyValue { key: kv.key.clone(), mod_revision, ..KeyValue::default() };
            self.change(Change { kv, deleted: true });
        }
        let prev_kvs = gone.iter().filter(|_| request.prev_kv).map(KeyValue::to_raw).collect();
        let deleted = gone.len() as i64;
        DeleteRangeResponse { header: header(self.keys.revision), deleted, prev_kvs }
    }

    fn next_revision(&self) -> i64 {
        self.keys.revision + i64::from(self.changes.is_empty())
    }

    fn change(&mut self, change: Change) {
        self.keys.revision = change.kv.mod_revision;
        self.keys.versions.entry(change.kv.key.clone()).or_default().push(change.clone());
        self.changes.push(change);
    }
}

fn has_filters(request: &RangeRequest) -> bool {
    let bounds = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    bounds != [0; 4]
}

/// Whether a key-value passes the filters: inclusive bounds, zero for none.
fn passes(request: &RangeRequest, kv: &KeyValue) -> bool {
    let least = |bound, value| bound == 0 || value >= bound;
    let most = |bound, value| bound == 0 || value <= bound;
    least(request.min_mod_revision, kv.mod_revision)
        && most(request.max_mod_revision, kv.mod_revision)
        && least(request.min_create_revision, kv.create_revision)
        && most(request.max_create_revision, kv.create_revision)
}

/// Sorts; equal ones stay in the order of keys.
fn order(request: &RangeRequest, kvs: &mut [KeyValue]) {
    let ascending = |a: &KeyValue, b: &KeyValue| match request.sort_target() {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    };
    let descend = request.sort_order() == SortOrder::Descend;
    let turned = |order: Ordering| if descend { order.reverse() } else { order };
    kvs.sort_by(|a, b| turned(ascending(a, b)));
}

/// The most keys that are asked for; zero and less are no limit.
fn limit(request: &RangeRequest) -> usize {
    if request.limit > 0 { request.limit as usize } else { usize::MAX }
}
