//! Key ranges to values: which ranges hold a given key.
//!
//! An AVL tree ordered by (start, end); each node knows the largest end below it, so that a lookup
//! leaves out every subtree whose ranges all end at or before the key. A lookup that finds k of n
//! ranges visits O(log n + k log n) nodes.
//!
//! Invariants: heights of siblings differ by at most one; `max_end` is the largest end of the
//! subtree; no two nodes have the same range.

use std::cmp::Ordering;

use api::range::KeyRange;
use bytes::Bytes;

/// Where a range ends: before a key, or never. Ordered as written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Before(Bytes),
    Never,
}

impl End {
    fn is_after(&self, key: &[u8]) -> bool {
        match self {
            End::Before(end) => key < &end[..],
            End::Never => true,
        }
    }
}

/// A range as `[start, end)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Interval {
    start: Bytes,
    end: End,
}

impl Interval {
    fn new(range: &KeyRange) -> Interval {
        let (start, end) = match range {
            KeyRange::Single(key) => {
                let mut end = key.to_vec();
                end.push(0);
                (key, End::Before(end.into()))
            }
            KeyRange::Span(start, end) => (start, End::Before(end.clone())),
            KeyRange::From(start) => (start, End::Never),
        };
        Interval { start: start.clone(), end }
    }
}

type Link<V> = Option<Box<Node<V>>>;

#[derive(Debug)]
struct Node<V> {
    interval: Interval,
    value: V,
    max_end: End,
    height: u8,
    left: Link<V>,
    right: Link<V>,
}

/// A map from key ranges to values that can be asked for a key.
#[derive(Debug)]
pub(crate) struct IntervalMap<V> {
    root: Link<V>,
}

impl<V> IntervalMap<V> {
    /// An empty map.
    pub(crate) fn new() -> IntervalMap<V> {
        IntervalMap { root: None }
    }

    /// Whether there is no range at all.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The value of exactly this range, made first if it is not there.
    pub(crate) fn entry(&mut self, range: &KeyRange, make: impl FnOnce() -> V) -> &mut V {
        let interval = Interval::new(range);
        if find(&mut self.root, &interval).is_none() {
            self.root = Some(insert(self.root.take(), interval.clone(), make()));
        }
        find(&mut self.root, &interval).expect("the range was there or has just been put")
    }

    /// The value of exactly this range.
    pub(crate) fn get_mut(&mut self, range: &KeyRange) -> Option<&mut V> {
        find(&mut self.root, &Interval::new(range))
    }

    /// Takes exactly this range out.
    pub(crate) fn remove(&mut self, range: &KeyRange) -> Option<V> {
        let mut removed = None;
        self.root = remove(self.root.take(), &Interval::new(range), &mut removed);
        removed
    }

    /// Shows the value of every range that holds `key`.
    pub(crate) fn stab(&self, key: &[u8], visit: &mut impl FnMut(&V)) {
        stab(&self.root, key, visit);
    }
}

fn find<'a, V>(link: &'a mut Link<V>, interval: &Interval) -> Option<&'a mut V> {
    let node = link.as_mut()?;
    match interval.cmp(&node.interval) {
        Ordering::Less => find(&mut node.left, interval),
        Ordering::Greater => find(&mut node.right, interval),
        Ordering::Equal => Some(&mut node.value),
    }
}

fn stab<V>(link: &Link<V>, key: &[u8], visit: &mut impl FnMut(&V)) {
    let Some(node) = link else { return };
    if !node.max_end.is_after(key) {
        return;
    }
    stab(&node.left, key, visit);
    if node.interval.start <= key {
        if node.interval.end.is_after(key) {
            visit(&node.value);
        }
        stab(&node.right, key, visit);
    }
}

/// Puts a range that is not there yet.
fn insert<V>(link: Link<V>, interval: Interval, value: V) -> Box<Node<V>> {
    let Some(mut node) = link else {
        let max_end = interval.end.clone();
        return Box::new(Node { interval, value, max_end, height: 1, left: None, right: None });
    };
    match interval.cmp(&node.interval) {
        Ordering::Less => node.left = Some(insert(node.left.take(), interval, value)),
        Ordering::Greater => node.right = Some(insert(node.right.take(), interval, value)),
        Ordering::Equal => panic!("interval map: a range is put twice"),
    }
    balance(node)
}

fn remove<V>(link: Link<V>, interval: &Interval, removed: &mut Option<V>) -> Link<V> {
    let mut node = link?;
    match interval.cmp(&node.interval) {
        Ordering::Less => node.left = remove(node.left.take(), interval, removed),
        Ordering::Greater => node.right = remove(node.right.take(), interval, removed),
        Ordering::Equal => {
            let Node { value, left, right, .. } = *node;
            *removed = Some(value);
            return join(left, right);
        }
    }
    Some(balance(node))
}

/// One tree of two siblings whose parent is gone.
fn join<V>(left: Link<V>, right: Link<V>) -> Link<V> {
    let Some(right) = right else { return left };
    let (rest, mut first) = take_first(right);
    first.left = left;
    first.right = rest;
    Some(balance(first))
}

/// Splits the leftmost node off.
fn take_first<V>(mut node: Box<Node<V>>) -> (Link<V>, Box<Node<V>>) {
    match node.left.take() {
        None => (node.right.take(), node),
        Some(left) => {
            let (rest, first) = take_first(left);
            node.left = rest;
            (Some(balance(node)), first)
        }
    }
}

fn height<V>(link: &Link<V>) -> u8 {
    link.as_ref().map_or(0, |node| node.height)
}

/// Makes `height` and `max_end` true again after a child changed.
fn refresh<V>(node: &mut Node<V>) {
    node.height = 1 + height(&node.left).max(height(&node.right));
    let children = node.left.iter().chain(&node.right).map(|child| &child.max_end);
    let max_end = children.fold(&node.interval.end, |a, b| a.max(b));
    node.max_end = max_end.clone();
}

/// Restores the invariants of a node whose children are valid and differ by at most two in height.
fn balance<V>(mut node: Box<Node<V>>) -> Box<Node<V>> {
    let (left, right) = (height(&node.left), height(&node.right));
    if left > right + 1 {
        let child = node.left.take().expect("a taller side is not empty");
        let inner_is_taller = height(&child.right) > height(&child.left);
        node.left = Some(if inner_is_taller { rotate_left(child) } else { child });
        return rotate_right(node);
    }
    if right > left + 1 {
        let child = node.right.take().expect("a taller side is not empty");
        let inner_is_taller = height(&child.left) > height(&child.right);
        node.right = Some(if inner_is_taller { rotate_right(child) } else { child });
        return rotate_left(node);
    }
    refresh(&mut node);
    node
}

fn rotate_left<V>(mut node: Box<Node<V>>) -> Box<Node<V>> {
    let mut top = node.right.take().expect("rotated towards a side that is not empty");
    node.right = top.left.take();
    refresh(&mut node);
    top.left = Some(node);
    refresh(&mut top);
    top
}

fn rotate_right<V>(mut node: Box<Node<V>>) -> Box<Node<V>> {
    let mut top = node.left.take().expect("rotated towards a side that is not empty");
    node.left = top.right.take();
    refresh(&mut node);
    top.right = Some(node);
    refresh(&mut top);
    top
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Checks every invariant of a subtree; returns its height and largest end.
    fn check<V>(link: &Link<V>) -> (u8, Option<End>) {
        let Some(node) = link else { return (0, None) };
        let (left, left_end) = check(&node.left);
        let (right, right_end) = check(&node.right);
        assert!(left.abs_diff(right) <= 1, "unbalanced: {left} against {right}");
        assert_eq!(node.height, 1 + left.max(right));
        assert!(node.left.iter().all(|child| child.interval < node.interval));
        assert!(node.right.iter().all(|child| child.interval > node.interval));
        let max_end = left_end.into_iter().chain(right_end).chain([node.interval.end.clone()]);
        let max_end = max_end.max();
        assert_eq!(Some(&node.max_end), max_end.as_ref());
        (node.height, max_end)
    }

    fn key() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(b'a'), Just(0xff)], 0..4)
            .prop_map(Bytes::from)
    }

    fn range() -> impl Strategy<Value = KeyRange> {
        prop_oneof![
            key().prop_map(KeyRange::Single),
            key().prop_map(KeyRange::From),
            (key(), key()).prop_map(|(start, end)| KeyRange::Span(start, end)),
            key().prop_map(|start| KeyRange::new(start.clone(), api::range::prefix_end(&start))),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn finds_what_a_scan_of_all_ranges_finds(
            steps in proptest::collection::vec((range(), any::<bool>()), 1..120),
            keys in proptest::collection::vec(key(), 1..20),
        ) {
            let mut map = IntervalMap::new();
            let mut model: Vec<(KeyRange, usize)> = Vec::new();
            for (number, (range, add)) in steps.into_iter().enumerate() {
                let at = model.iter().position(|(known, _)| *known == range
                    || Interval::new(known) == Interval::new(&range));
                match (add, at) {
                    (true, None) => {
                        prop_assert_eq!(*map.entry(&range, || number), number);
                        model.push((range, number));
                    }
                    (true, Some(at)) => {
                        prop_assert_eq!(*map.entry(&range, || number), model[at].1);
                    }
                    (false, at) => {
                        let known = at.map(|at| model.swap_remove(at).1);
                        prop_assert_eq!(map.remove(&range), known);
                    }
                }
                check(&map.root);
                prop_assert_eq!(map.is_empty(), model.is_empty());
            }
            for key in keys {
                let mut found = Vec::new();
                map.stab(&key, &mut |number| found.push(*number));
                found.sort_unstable();
                let mut expected: Vec<usize> = model.iter()
                    .filter(|(range, _)| range.contains(&key)).map(|(_, number)| *number).collect();
                expected.sort_unstable();
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn stays_shallow_when_ranges_come_in_order() {
        let mut map = IntervalMap::new();
        let key = |n: u32| Bytes::from(format!("{n:06}"));
        for n in 0..5000 {
            map.entry(&KeyRange::Span(key(n), key(n + 3)), || n);
        }
        assert!(height(&map.root) <= 14);
        let mut found = Vec::new();
        map.stab(b"002500", &mut |n| found.push(*n));
        assert_eq!(found, [2498, 2499, 2500]);
        for n in 0..4999 {
            assert_eq!(map.remove(&KeyRange::Span(key(n), key(n + 3))), Some(n));
        }
        check(&map.root);
        assert_eq!(height(&map.root), 1);
    }
}
