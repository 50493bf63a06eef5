//! Sorting a great many items that come in pieces, without a pause: each piece is sorted when it is
//! complete, and the pieces are merged while they are consumed.

use std::{cmp::Reverse, collections::BinaryHeap, vec};

/// Items in a piece.
const RUN_ITEMS: usize = 1 << 16;

/// Collects items in any order.
pub(crate) struct Runs<T> {
    runs: Vec<Vec<T>>,
    /// Not sorted yet.
    open: Vec<T>,
}

impl<T: Ord> Runs<T> {
    /// Nothing so far.
    pub(crate) fn new() -> Runs<T> {
        Runs { runs: Vec::new(), open: Vec::new() }
    }

    /// Adds an item.
    pub(crate) fn push(&mut self, item: T) {
        self.open.push(item);
        if self.open.len() == RUN_ITEMS {
            self.close();
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.runs.len() * RUN_ITEMS + self.open.len()
    }

    /// The items, ascending.
    pub(crate) fn merge(mut self) -> Merge<T> {
        if !self.open.is_empty() {
            self.close();
        }
        let mut runs: Vec<vec::IntoIter<T>> = self.runs.into_iter().map(Vec::into_iter).collect();
        let firsts = runs.iter_mut().enumerate();
        let heads = firsts.filter_map(|(run, items)| Some(Reverse((items.next()?, run)))).collect();
        Merge { runs, heads }
    }

    fn close(&mut self) {
        let mut run = std::mem::take(&mut self.open);
        run.sort_unstable();
        self.runs.push(run);
    }
}

/// The items of [`Runs`], ascending.
pub(crate) struct Merge<T> {
    runs: Vec<vec::IntoIter<T>>,
    /// The smallest item of each run that is left, with its run.
    heads: BinaryHeap<Reverse<(T, usize)>>,
}

impl<T: Ord> Iterator for Merge<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let Reverse((item, run)) = self.heads.pop()?;
        if let Some(next) = self.runs[run].next() {
            self.heads.push(Reverse((next, run)));
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_what_was_sorted_in_pieces() {
        for count in [0, 1, RUN_ITEMS as u64, 3 * RUN_ITEMS as u64 + 5] {
            let mut runs = Runs::new();
            for number in 0..count {
                runs.push(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            }
            assert_eq!(runs.len() as u64, count);
            let merged: Vec<u64> = runs.merge().collect();
            assert!(merged.is_sorted() && merged.len() as u64 == count);
        }
    }
}
