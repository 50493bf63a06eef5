//! Counting the keys of a range at a revision without walking them.

use bytes::Bytes;

use super::{Bounds, Entry, Index, Position};

impl Index {
    /// How many keys of the bounds exist at main revision `main`. After walking about `walk_max`
    /// keys it stops, and returns the bounds that are still to be counted.
    pub(crate) fn count(
        &self,
        bounds: &Bounds,
        main: i64,
        walk_max: usize,
    ) -> (usize, Option<Bounds>) {
        let (from, to) = (self.seek(&bounds.start), self.seek_end(bounds));
        if from >= to {
            return (0, None);
        }
        let (mut count, mut walked) = (0, 0);
        let mut at = from;
        while at < to {
            if walked >= walk_max {
                let start = Bytes::copy_from_slice(&self.chunks[at.chunk].entries()[at.slot].key);
                return (count, Some(Bounds { start, end: bounds.end.clone() }));
            }
            let chunk = self.chunks[at.chunk].entries();
            let end = if at.chunk == to.chunk { to.slot } else { chunk.len() };
            let info = self.info[at.chunk];
            if at.slot == 0 && end == chunk.len() && info.changed <= main {
                count += info.live as usize;
            } else {
                count += exist_at(&chunk[at.slot..end], main);
                walked += end - at.slot;
            }
            at = Position { chunk: at.chunk + 1, slot: 0 };
        }
        (count, None)
    }
}

fn exist_at(entries: &[Entry], main: i64) -> usize {
    entries.iter().filter(|entry| entry.at(main).is_some()).count()
}
