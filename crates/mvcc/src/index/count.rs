//! Counting the keys of a range at a revision without walking them.

use std::sync::Arc;

use bytes::Bytes;

use super::{Bounds, Chunk, Entry, Index, Position};

/// The most chunks that are looked at under one lock.
const CHUNKS_MAX: usize = 512;

/// How many keys a part of the bounds has, as far as that is known without walking it.
#[derive(Default)]
pub(crate) struct Count {
    known: usize,
    /// Chunks to walk, and from where to where.
    open: Vec<(Arc<Chunk>, usize, usize)>,
    /// What of the bounds is still to be counted.
    pub(crate) rest: Option<Bounds>,
}

impl Index {
    /// Counts keys of the bounds at main revision `main`, until about `walk_max` are to be walked.
    pub(crate) fn count(&self, bounds: &Bounds, main: i64, walk_max: usize) -> Count {
        let (from, to) = (self.seek(&bounds.start), self.seek_end(bounds));
        let mut count = Count::default();
        let mut to_walk = 0;
        let mut at = from;
        while at < to {
            if to_walk >= walk_max || at.chunk - from.chunk >= CHUNKS_MAX {
                let start = Bytes::copy_from_slice(&self.chunks[at.chunk].entries()[at.slot].key);
                count.rest = Some(Bounds { start, end: bounds.end.clone() });
                break;
            }
            let chunk = &self.chunks[at.chunk];
            let end = if at.chunk == to.chunk { to.slot } else { chunk.len() };
            let info = self.info[at.chunk];
            if at.slot == 0 && end == chunk.len() && info.changed <= main {
                count.known += info.live as usize;
            } else {
                count.open.push((chunk.clone(), at.slot, end));
                to_walk += end - at.slot;
            }
            at = Position { chunk: at.chunk + 1, slot: 0 };
        }
        count
    }
}

impl Count {
    /// The number at main revision `main`. No lock is needed.
    pub(crate) fn finish(&self, main: i64) -> usize {
        let walked =
            self.open.iter().map(|(chunk, from, to)| exist_at(&chunk.entries()[*from..*to], main));
        self.known + walked.sum::<usize>()
    }
}

fn exist_at(entries: &[Entry], main: i64) -> usize {
    entries.iter().filter(|entry| entry.at(main).is_some()).count()
}
