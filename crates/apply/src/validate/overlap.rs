//! No key may be changed twice by one transaction: not put twice, not put and deleted.
//!
//! Deletes may overlap deletes. The branches of an inner transaction exclude each other, so a key
//! may be put in both. Two holes are etcd's, and clients may lean on them: a delete "to the last
//! key" (`range_end` of one zero byte) overlaps nothing, and a put of an inner transaction is
//! compared with deletes of the level around it and of the inner transactions before it, but not of
//! those after it.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    error::Error,
    etcdserverpb::{DeleteRangeRequest, RequestOp, request_op::Request},
};

/// Checks one branch.
pub(super) fn check(ops: &[RequestOp]) -> Result<(), Error> {
    changes(ops).map(|_| ())
}

/// What a branch changes.
#[derive(Default)]
struct Changed<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Deletes,
}

fn changes(ops: &[RequestOp]) -> Result<Changed<'_>, Error> {
    let mut all = Changed::default();
    for op in ops {
        if let Some(Request::RequestDeleteRange(delete)) = &op.request {
            all.deletes.add_request(delete);
        }
    }
    for op in ops {
        let Some(Request::RequestTxn(txn)) = &op.request else { continue };
        let success = changes(&txn.success)?;
        let failure = changes(&txn.failure)?;
        for &key in &success.puts {
            all.add_put(key)?;
        }
        for &key in failure.puts.difference(&success.puts) {
            all.add_put(key)?;
        }
        all.deletes.add(success.deletes);
        all.deletes.add(failure.deletes);
    }
    for op in ops {
        if let Some(Request::RequestPut(put)) = &op.request {
            all.add_put(&put.key)?;
        }
    }
    Ok(all)
}

impl<'a> Changed<'a> {
    fn add_put(&mut self, key: &'a [u8]) -> Result<(), Error> {
        if !self.deletes.contains(key) && self.puts.insert(key) {
            return Ok(());
        }
        Err(Error::DuplicateKey)
    }
}

/// Deleted spans of keys: disjoint, from start to end (exclusive).
#[derive(Default)]
struct Deletes(BTreeMap<Vec<u8>, Vec<u8>>);

impl Deletes {
    fn add_request(&mut self, request: &DeleteRangeRequest) {
        let start = request.key.to_vec();
        let end = if request.range_end.is_empty() {
            // The first key after a single key.
            [&request.key[..], &[0]].concat()
        } else {
            request.range_end.to_vec()
        };
        self.add_span(start, end);
    }

    fn add(&mut self, other: Deletes) {
        for (start, end) in other.0 {
            self.add_span(start, end);
        }
    }

    /// Adds a span and joins it with those that it meets. An empty one is left out; a delete "to
    /// the last key" is written as one.
    fn add_span(&mut self, mut start: Vec<u8>, mut end: Vec<u8>) {
        if end <= start {
            return;
        }
        while let Some((met_start, met_end)) = self.last_before(&end) {
            if met_end < start {
                break;
            }
            self.0.remove(&met_start);
            start = start.min(met_start);
            end = end.max(met_end);
        }
        self.0.insert(start, end);
    }

    /// The span that starts last at or before `key`.
    fn last_before(&self, key: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let (start, end) = self.0.range(..=key.to_vec()).next_back()?;
        Some((start.clone(), end.clone()))
    }

    fn contains(&self, key: &[u8]) -> bool {
        self.last_before(key).is_some_and(|(_, end)| key < &end[..])
    }
}
