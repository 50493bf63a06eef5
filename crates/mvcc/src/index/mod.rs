//! The key index: every key with its surviving versions, ordered by key, all of it in memory.
//!
//! A sorted array cut into chunks, found by their first keys. Beside each chunk stands how many of
//! its keys exist now and the last revision at which that number changed, so that a range is counted
//! by adding up chunks; a chunk is walked only if keys were created or deleted in it after the
//! revision that is asked for.
//!
//! Whoever walks many keys does so without a lock (`piece`): it shares the chunks, and a change of a
//! chunk that is shared is made in a copy.
//!
//! Invariants:
//! - No chunk is empty; keys ascend within and across chunks.
//! - Versions in the index may be newer than the current revision: the entry under way.

mod bounds;
mod chunk;
mod count;
mod entry;
mod piece;
mod restore;
#[cfg(test)]
mod tests;

use api::ids::Revision;
use bytes::Bytes;
use std::sync::Arc;

pub(crate) use bounds::Bounds;
use chunk::{Chunk, First};
pub use entry::KeyMeta;
pub(crate) use entry::{Entry, Version};
pub(crate) use restore::Loader;

/// The most keys in a chunk.
const CHUNK_KEYS_MAX: usize = 256;
/// Chunks are filled to this when they are built or merged, to leave room for inserts.
const CHUNK_KEYS_FILL: usize = 192;
/// How many chunks one step of a compaction looks at under one lock.
const COMPACT_CHUNKS: usize = 32;

/// What is known of a chunk without walking it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Info {
    /// Keys that exist now.
    live: u32,
    /// Keys with something for a compaction to look at.
    stale: u32,
    /// The last main revision, or a later one, at which `live` changed.
    changed: i64,
}

/// A place in the index: `slot` may be one past the last of its chunk only at the very end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    chunk: usize,
    slot: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Index {
    chunks: Vec<Arc<Chunk>>,
    /// Parallel to `chunks`, as is the next.
    firsts: Vec<First>,
    info: Vec<Info>,
    keys: usize,
}

impl Index {
    /// How many keys it holds, deleted ones that are not compacted yet included.
    pub(crate) fn keys(&self) -> usize {
        self.keys
    }

    /// The entry of a key, deleted or not.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Entry> {
        let position = self.find(key).ok()?;
        Some(&self.chunks[position.chunk].entries()[position.slot])
    }

    /// Records a put. Returns what the key was before, and what it is now.
    pub(crate) fn put(
        &mut self,
        key: &[u8],
        revision: Revision,
        lease: i64,
    ) -> (Option<KeyMeta>, Version) {
        let main = revision.main;
        match self.find(key) {
            Ok(Position { chunk, slot }) => {
                let entry = Arc::make_mut(&mut self.chunks[chunk]).entry_mut(slot);
                let info = &mut self.info[chunk];
                let before = entry.current();
                let version = match &before {
                    Some(meta) => Version::put(revision, meta.create_revision, meta.version + 1),
                    None => Version::put(revision, main, 1),
                };
                info.stale += u32::from(!entry.is_stale());
                if before.is_none() {
                    info.live += 1;
                    info.changed = main;
                }
                entry.push(version, lease);
                (before, version)
            }
            Err(position) => {
                let version = Version::put(revision, main, 1);
                self.insert(position, Entry::new(key.into(), version, lease));
                (None, version)
            }
        }
    }

    /// Records a delete. `None`, and no change, when the key does not exist.
    pub(crate) fn delete(&mut self, key: &[u8], revision: Revision) -> Option<KeyMeta> {
        let Position { chunk, slot } = self.find(key).ok()?;
        let before = self.chunks[chunk].entries()[slot].current()?;
        let entry = Arc::make_mut(&mut self.chunks[chunk]).entry_mut(slot);
        let info = &mut self.info[chunk];
        info.stale += u32::from(!entry.is_stale());
        info.live -= 1;
        info.changed = revision.main;
        entry.push(Version::delete(revision), 0);
        Some(before)
    }

    /// Compacts a few chunks, beginning with the one where `from` belongs, and calls `removed` for
    /// each version that goes. Returns where to go on.
    pub(crate) fn compact(
        &mut self,
        from: &[u8],
        main: i64,
        mut removed: impl FnMut(Version),
    ) -> Option<Bytes> {
        let begin = self.seek(from).chunk;
        let end = (begin + COMPACT_CHUNKS).min(self.chunks.len());
        let mut shrunk = false;
        for at in begin..end {
            if self.info[at].stale == 0 {
                continue;
            }
            let chunk = Arc::make_mut(&mut self.chunks[at]);
            let before = chunk.len();
            chunk.retain(|entry| entry.compact(main, &mut removed));
            self.keys -= before - chunk.len();
            shrunk |= chunk.len() < before;
            self.info[at] = describe(chunk.entries(), self.info[at].changed);
        }
        let next =
            self.chunks.get(end).map(|chunk| Bytes::copy_from_slice(&chunk.entries()[0].key));
        if shrunk {
            self.merge(begin, end);
        }
        next
    }

    /// Drops empty chunks of `begin..end` and joins small ones with their neighbours.
    fn merge(&mut self, begin: usize, end: usize) {
        let mut merged: Vec<(Arc<Chunk>, Info)> = Vec::with_capacity(end - begin);
        let old = self.chunks.drain(begin..end).zip(self.info.drain(begin..end));
        for (chunk, info) in old.filter(|(chunk, _)| chunk.len() > 0) {
            match merged.last_mut() {
                Some((last, sum)) if last.len() + chunk.len() <= CHUNK_KEYS_FILL => {
                    Arc::make_mut(last).append(Arc::unwrap_or_clone(chunk));
                    sum.live += info.live;
                    sum.stale += info.stale;
                    sum.changed = sum.changed.max(info.changed);
                }
                _ => merged.push((chunk, info)),
            }
        }
        let (mut chunks, info): (Vec<Arc<Chunk>>, Vec<Info>) = merged.into_iter().unzip();
        chunks.iter_mut().filter_map(Arc::get_mut).for_each(Chunk::shrink);
        self.firsts.splice(begin..end, chunks.iter().map(|chunk| First::of(chunk)));
        self.chunks.splice(begin..begin, chunks);
        self.info.splice(begin..begin, info);
    }

    /// Where a key is, or where it belongs.
    fn find(&self, key: &[u8]) -> Result<Position, Position> {
        let (mut low, mut high) = (0, self.firsts.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.firsts[middle].is_at_or_before(key, &self.chunks[middle]) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let Some(chunk) = low.checked_sub(1) else { return Err(Position { chunk: 0, slot: 0 }) };
        let slot = self.chunks[chunk].find(key);
        slot.map(|slot| Position { chunk, slot }).map_err(|slot| Position { chunk, slot })
    }

    /// The first entry at or after a key; past the last chunk when there is none.
    fn seek(&self, key: &[u8]) -> Position {
        let (Ok(position) | Err(position)) = self.find(key);
        match self.chunks.get(position.chunk) {
            Some(chunk) if position.slot == chunk.len() => {
                Position { chunk: position.chunk + 1, slot: 0 }
            }
            _ => position,
        }
    }

    /// The first entry after the bounds.
    fn seek_end(&self, bounds: &Bounds) -> Position {
        match &bounds.end {
            Some(end) => self.seek(end),
            None => Position { chunk: self.chunks.len(), slot: 0 },
        }
    }

    /// Adds a key that exists from now on.
    fn insert(&mut self, at: Position, entry: Entry) {
        self.keys += 1;
        let created = Info { live: 1, stale: 0, changed: entry.head.main };
        let Position { mut chunk, mut slot } = at;
        match self.chunks.get(chunk).map(|chunk| chunk.len()) {
            None => return self.insert_chunk(chunk, Chunk::new(vec![entry]), created),
            // Keys that come in ascending order leave full chunks behind.
            Some(CHUNK_KEYS_MAX) if slot == CHUNK_KEYS_MAX => {
                return self.insert_chunk(chunk + 1, Chunk::new(vec![entry]), created);
            }
            Some(CHUNK_KEYS_MAX) => {
                self.split(chunk);
                if slot > CHUNK_KEYS_MAX / 2 {
                    (chunk, slot) = (chunk + 1, slot - CHUNK_KEYS_MAX / 2);
                }
            }
            Some(_) => {}
        }
        Arc::make_mut(&mut self.chunks[chunk]).insert(slot, entry);
        if slot == 0 {
            self.firsts[chunk] = First::of(&self.chunks[chunk]);
        }
        let info = &mut self.info[chunk];
        info.live += 1;
        info.changed = created.changed;
    }

    /// Cuts a full chunk into halves.
    fn split(&mut self, at: usize) {
        let lower = Arc::make_mut(&mut self.chunks[at]);
        let upper = lower.split_off(CHUNK_KEYS_MAX / 2);
        let changed = self.info[at].changed;
        self.info[at] = describe(lower.entries(), changed);
        let info = describe(upper.entries(), changed);
        self.insert_chunk(at + 1, upper, info);
    }

    fn insert_chunk(&mut self, at: usize, chunk: Chunk, info: Info) {
        self.firsts.insert(at, First::of(&chunk));
        self.chunks.insert(at, Arc::new(chunk));
        self.info.insert(at, info);
    }
}

/// The information on a chunk, from its entries.
fn describe(chunk: &[Entry], changed: i64) -> Info {
    let live = chunk.iter().filter(|entry| !entry.head.deleted).count() as u32;
    let stale = chunk.iter().filter(|entry| entry.is_stale()).count() as u32;
    Info { live, stale, changed }
}
