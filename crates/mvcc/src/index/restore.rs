//! Building the index from the records of every revision, in the order of revisions.
//!
//! Keys are collected as they come and sorted once: by their first eight bytes after what they all
//! have in common, and by the rest only where those are equal.

use api::ids::Revision;
use bytes::Bytes;
use storage::schema::revision::Record;

use super::{
    CHUNK_KEYS_FILL, Entry, Index, Version,
    chunk::{Chunk, hint},
    describe,
};

/// An index under construction.
#[derive(Default)]
pub(crate) struct Loader {
    /// One per revision, ascending.
    entries: Vec<Entry>,
    /// How many first bytes all keys have in common.
    common: usize,
}

impl Loader {
    /// Adds the record of a revision. Revisions come in ascending order.
    pub(crate) fn add(&mut self, revision: Revision, deleted: bool, record: &Record<'_>) {
        let version = if deleted {
            Version::delete(revision)
        } else {
            Version::put(revision, record.create_revision, record.version)
        };
        match self.entries.first() {
            None => self.common = record.key.len(),
            Some(first) => {
                let pairs = first.key.iter().zip(record.key).take(self.common);
                self.common = pairs.take_while(|(a, b)| a == b).count();
            }
        }
        self.entries.push(Entry::new(record.key.into(), version, record.lease));
    }

    /// The index, and the keys that exist with a lease, in the order of keys.
    pub(crate) fn finish(self) -> (Index, Vec<(i64, Bytes)>) {
        let order = self.sorted();
        let mut entries: Vec<Option<Entry>> = self.entries.into_iter().map(Some).collect();
        let mut index = Index::default();
        let mut attached = Vec::new();
        let mut chunk: Vec<Entry> = Vec::with_capacity(CHUNK_KEYS_FILL);
        for at in order {
            let entry = entries[at].take().expect("each record has one place in the order");
            match chunk.last_mut() {
                Some(last) if last.key == entry.key => last.push(entry.head, entry.lease),
                _ => {
                    if chunk.len() == CHUNK_KEYS_FILL {
                        let full = Vec::with_capacity(CHUNK_KEYS_FILL);
                        index.adopt(std::mem::replace(&mut chunk, full), &mut attached);
                    }
                    chunk.push(entry);
                }
            }
        }
        if !chunk.is_empty() {
            index.adopt(chunk, &mut attached);
        }
        (index, attached)
    }

    /// The positions of the records, by key and then by revision.
    fn sorted(&self) -> Vec<usize> {
        let prefix = |entry: &Entry| hint(&entry.key[self.common..]);
        let mut order: Vec<(u64, usize)> =
            self.entries.iter().enumerate().map(|(at, entry)| (prefix(entry), at)).collect();
        order.sort_unstable_by(|(a_prefix, a), (b_prefix, b)| {
            let keys = || self.entries[*a].key.cmp(&self.entries[*b].key);
            a_prefix.cmp(b_prefix).then_with(keys).then(a.cmp(b))
        });
        order.into_iter().map(|(_, at)| at).collect()
    }
}

impl Index {
    /// Adds a chunk after all others.
    fn adopt(&mut self, chunk: Vec<Entry>, attached: &mut Vec<(i64, Bytes)>) {
        let leased = chunk.iter().filter(|entry| entry.lease != 0 && !entry.head.deleted);
        attached.extend(leased.map(|entry| (entry.lease, Bytes::copy_from_slice(&entry.key))));
        // No key was created or deleted after the newest version of any.
        let changed = chunk.iter().map(|entry| entry.head.main).max().unwrap_or(0);
        self.keys += chunk.len();
        let info = describe(&chunk, changed);
        self.insert_chunk(self.chunks.len(), Chunk::new(chunk), info);
    }
}
