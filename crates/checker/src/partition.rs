//! Groups of keys that no operation joins: each can be judged without the others.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    history::{Operation, Request, Step, in_range, show},
    linear::counts,
};

/// Keys that operations join, with those operations.
pub(crate) struct Group {
    /// In order.
    pub(crate) keys: Vec<Bytes>,
    /// Indexes into the history.
    pub(crate) operations: Vec<usize>,
}

impl Group {
    /// The place of a key in the group.
    pub(crate) fn position(&self, key: &[u8]) -> Option<usize> {
        self.keys.binary_search_by(|probe| probe[..].cmp(key)).ok()
    }

    /// The places of the keys in a range.
    pub(crate) fn range(&self, start: &[u8], end: &[u8]) -> std::ops::Range<usize> {
        let from = self.keys.partition_point(|key| key[..] < *start);
        let held = self.keys[from..].partition_point(|key| in_range(key, start, end));
        from..from + held
    }

    /// For messages.
    pub(crate) fn name(&self) -> String {
        let first: Vec<String> = self.keys.iter().take(3).map(|key| show(key)).collect();
        let more = self.keys.len().saturating_sub(3);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{rest}", first.join(", "))
    }
}

/// Splits the operations that [`counts`]; groups in the order of their first keys.
pub(crate) fn groups(operations: &[Operation]) -> Vec<Group> {
    let relevant: Vec<usize> = (0..operations.len()).filter(|&i| counts(&operations[i])).collect();
    let mut numbers: BTreeMap<Bytes, usize> = BTreeMap::new();
    for &i in &relevant {
        touched(&operations[i].request, |key, _| {
            numbers.entry(key.clone()).or_default();
        });
    }
    numbers.values_mut().enumerate().for_each(|(number, slot)| *slot = number);
    let mut sets = Sets::new(numbers.len());
    let members = |request: &Request, sets: &mut Sets| -> Option<usize> {
        let mut first = None;
        touched(request, |key, end| {
            let from = numbers.range::<[u8], _>((
                std::ops::Bound::Included(&key[..]),
                std::ops::Bound::Unbounded,
            ));
            for (_, &number) in from.take_while(|(probe, _)| in_range(probe, key, end)) {
                let joined = *first.get_or_insert(number);
                sets.join(joined, number);
            }
        });
        first
    };
    let homes: Vec<(usize, Option<usize>)> =
        relevant.iter().map(|&i| (i, members(&operations[i].request, &mut sets))).collect();
    let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
    for (key, &number) in &numbers {
        let group = groups.entry(sets.root(number));
        let group = group.or_insert_with(|| Group { keys: Vec::new(), operations: Vec::new() });
        group.keys.push(key.clone());
    }
    for (i, home) in homes {
        // A range over no key at all says nothing about any.
        let Some(home) = home else { continue };
        let group = groups.get_mut(&sets.root(home)).expect("every key is in a group");
        group.operations.push(i);
    }
    groups.into_values().collect()
}

/// Calls `f` with the start and end of everything that a request reads or writes.
fn touched(request: &Request, mut f: impl FnMut(&Bytes, &Bytes)) {
    let single = Bytes::new();
    for compare in &request.compares {
        f(&compare.key, &single);
    }
    for step in request.success.iter().chain(&request.failure) {
        match step {
            Step::Put { key, .. } => f(key, &single),
            Step::Range { key, end } | Step::Delete { key, end } => f(key, end),
        }
    }
}

/// Disjoint sets of numbers.
struct Sets(Vec<usize>);

impl Sets {
    fn new(count: usize) -> Sets {
        Sets((0..count).collect())
    }

    /// The least number of the set.
    fn root(&mut self, mut number: usize) -> usize {
        while self.0[number] != number {
            self.0[number] = self.0[self.0[number]];
            number = self.0[number];
        }
        number
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}
