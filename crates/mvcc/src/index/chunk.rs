//! A run of entries in the order of keys, laid out so that a search touches little memory.
//!
//! Keys lie on the heap, each in a place of its own. Beside the entries stands a hint for each: the
//! eight bytes of its key after what all keys of the chunk have in common. A search goes through the
//! hints, and looks at keys only where these are equal.
//!
//! Invariants:
//! - Every key begins with the same `common` bytes; `hints` is parallel to `entries`.
//! - Hints ascend with keys, though not strictly: they are padded with zeros.

use super::{CHUNK_KEYS_MAX, Entry};

/// See the module. Never empty between operations of the index.
#[derive(Debug)]
pub(super) struct Chunk {
    entries: Vec<Entry>,
    hints: Vec<u64>,
    common: usize,
}

/// A copy with as much room as there was.
impl Clone for Chunk {
    fn clone(&self) -> Chunk {
        #[cfg(test)]
        COPIES.set(COPIES.get() + 1);
        let mut entries = Vec::with_capacity(self.entries.capacity());
        entries.extend_from_slice(&self.entries);
        let mut hints = Vec::with_capacity(self.hints.capacity());
        hints.extend_from_slice(&self.hints);
        Chunk { entries, hints, common: self.common }
    }
}

#[cfg(test)]
thread_local! {
    /// How many chunks this thread has copied.
    pub(super) static COPIES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl Chunk {
    /// A chunk of entries that are in order.
    pub(super) fn new(entries: Vec<Entry>) -> Chunk {
        let mut chunk = Chunk { entries, hints: Vec::new(), common: 0 };
        chunk.hint();
        chunk
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn entry_mut(&mut self, slot: usize) -> &mut Entry {
        &mut self.entries[slot]
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The slot of a key, or that where it belongs.
    pub(super) fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let Some(first) = self.entries.first() else { return Err(0) };
        let common = &first.key[..self.common];
        let Some(rest) = key.strip_prefix(common) else {
            return Err(if key < common { 0 } else { self.entries.len() });
        };
        let hint = hint(rest);
        let begin = self.hints.partition_point(|other| *other < hint);
        // One at most, as a rule: no search.
        let equal = self.hints[begin..].iter().take_while(|other| **other == hint).count();
        let candidates = &self.entries[begin..begin + equal];
        match candidates.binary_search_by(|entry| (*entry.key).cmp(key)) {
            Ok(at) => Ok(begin + at),
            Err(at) => Err(begin + at),
        }
    }

    /// Adds an entry at the slot where it belongs.
    pub(super) fn insert(&mut self, slot: usize, entry: Entry) {
        let common = self.entries.first().map_or(&[][..], |first| &first.key[..self.common]);
        if let Some(rest) = entry.key.strip_prefix(common) {
            self.hints.insert(slot, hint(rest));
            self.entries.insert(slot, entry);
        } else {
            self.entries.insert(slot, entry);
            self.hint();
        }
    }

    /// Cuts off the entries from a slot on, as a chunk of their own.
    pub(super) fn split_off(&mut self, slot: usize) -> Chunk {
        let mut upper = Vec::with_capacity(CHUNK_KEYS_MAX);
        upper.extend(self.entries.drain(slot..));
        self.hint();
        Chunk::new(upper)
    }

    /// Drops the entries that `keep` says false of.
    pub(super) fn retain(&mut self, keep: impl FnMut(&mut Entry) -> bool) {
        let before = self.entries.len();
        self.entries.retain_mut(keep);
        if self.entries.len() < before {
            self.hint();
        }
    }

    /// Takes the entries of the chunk that follows.
    pub(super) fn append(&mut self, next: Chunk) {
        self.entries.extend(next.entries);
        self.hint();
    }

    /// Gives back memory beyond what the entries need.
    pub(super) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
        self.hints.shrink_to_fit();
    }

    /// Computes what the keys have in common, and the hints.
    fn hint(&mut self) {
        let [first, .., last] = &self.entries[..] else {
            self.common = 0;
            self.hints.clear();
            self.hints.extend(self.entries.iter().map(|entry| hint(&entry.key)));
            return;
        };
        self.common = first.key.iter().zip(&last.key).take_while(|(a, b)| a == b).count();
        self.hints.clear();
        self.hints.extend(self.entries.iter().map(|entry| hint(&entry.key[self.common..])));
    }
}

/// The first eight bytes as a number that is ordered as they are.
pub(super) fn hint(key: &[u8]) -> u64 {
    if let Some(bytes) = key.first_chunk() {
        return u64::from_be_bytes(*bytes);
    }
    let mut bytes = [0; 8];
    bytes[..key.len()].copy_from_slice(key);
    u64::from_be_bytes(bytes)
}

/// The first key of a chunk, as much as fits into one line of the processor's cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct First {
    bytes: [u8; First::BYTES],
    len: u8,
}

impl First {
    const BYTES: usize = 63;

    /// The first key of a chunk, which has one.
    pub(super) fn of(chunk: &Chunk) -> First {
        let key = &chunk.entries()[0].key;
        let len = key.len().min(First::BYTES);
        let mut bytes = [0; First::BYTES];
        bytes[..len].copy_from_slice(&key[..len]);
        First { bytes, len: len as u8 }
    }

    /// Whether the first key of `chunk`, which this is of, is at or before `key`.
    pub(super) fn is_at_or_before(&self, key: &[u8], chunk: &Chunk) -> bool {
        let own = &self.bytes[..usize::from(self.len)];
        if own.len() == First::BYTES && key.starts_with(own) {
            return *chunk.entries()[0].key <= *key;
        }
        own <= key
    }
}
