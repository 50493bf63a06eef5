//! Watchers by what they watch: exact keys in a hash map, ranges in an interval map.

use std::collections::{BTreeSet, HashMap};

use api::range::KeyRange;
use bytes::Bytes;

use crate::{interval_map::IntervalMap, watcher::Slot};

/// The watchers that live changes are matched against.
#[derive(Debug)]
pub(crate) struct Group {
    /// Never iterated: its order shows nowhere.
    exact: HashMap<Bytes, BTreeSet<Slot>>,
    ranges: IntervalMap<BTreeSet<Slot>>,
}

impl Group {
    /// A group of none.
    pub(crate) fn new() -> Group {
        Group { exact: HashMap::new(), ranges: IntervalMap::new() }
    }

    /// Puts a watcher in.
    pub(crate) fn add(&mut self, range: &KeyRange, slot: Slot) {
        let slots = match range {
            KeyRange::Single(key) => self.exact.entry(key.clone()).or_default(),
            _ => self.ranges.entry(range, BTreeSet::new),
        };
        assert!(slots.insert(slot), "watch group: a watcher is put twice");
    }

    /// Takes a watcher out.
    pub(crate) fn remove(&mut self, range: &KeyRange, slot: Slot) {
        let slots = match range {
            KeyRange::Single(key) => self.exact.get_mut(key),
            _ => self.ranges.get_mut(range),
        };
        let slots = slots.expect("watch group: a synced watcher is in the group");
        assert!(slots.remove(&slot), "watch group: a synced watcher is in the group");
        if slots.is_empty() {
            match range {
                KeyRange::Single(key) => drop(self.exact.remove(key)),
                _ => drop(self.ranges.remove(range)),
            }
        }
    }

    /// Shows every watcher of `key`, each once.
    pub(crate) fn matching(&self, key: &[u8], mut visit: impl FnMut(Slot)) {
        if let Some(slots) = self.exact.get(key) {
            slots.iter().copied().for_each(&mut visit);
        }
        self.ranges.stab(key, &mut |slots: &BTreeSet<Slot>| {
            slots.iter().copied().for_each(&mut visit);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching(group: &Group, key: &[u8]) -> Vec<u32> {
        let mut slots = Vec::new();
        group.matching(key, |slot| slots.push(slot.0));
        slots.sort_unstable();
        slots
    }

    #[test]
    fn a_key_finds_its_watchers_and_those_of_ranges_around_it() {
        let range = |key: &'static str, end: &'static str| KeyRange::new(key.into(), end.into());
        let all =
            [range("a", ""), range("a", ""), range("a", "b"), range("a", "b"), range("", "\0")];
        let mut group = Group::new();
        for (slot, range) in all.iter().enumerate() {
            group.add(range, Slot(slot as u32));
        }
        assert_eq!(matching(&group, b"a"), [0, 1, 2, 3, 4]);
        assert_eq!(matching(&group, b"aa"), [2, 3, 4]);
        assert_eq!(matching(&group, b"b"), [4]);
        group.remove(&all[0], Slot(0));
        group.remove(&all[3], Slot(3));
        assert_eq!(matching(&group, b"a"), [1, 2, 4]);
        for slot in [1, 2, 4] {
            group.remove(&all[slot], Slot(slot as u32));
        }
        assert!(group.exact.is_empty() && group.ranges.is_empty());
    }
}
