//! What a user may read and write: the permissions of all its roles, merged into disjoint ranges.
//!
//! A requested range is allowed when the ranges of one or several permissions cover it without a
//! gap; they need not come from one role.

use api::{authpb::Permission, authpb::permission::Type, range::KeyRange};
use bytes::Bytes;

/// Sorted ranges that neither overlap nor touch. `None` as an end is "to the last key".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<(Bytes, Option<Bytes>)>);

impl Ranges {
    /// The union of ranges in any order. Empty ones are left out.
    pub(crate) fn union(ranges: impl IntoIterator<Item = KeyRange>) -> Ranges {
        let mut spans: Vec<_> = ranges.into_iter().filter_map(span).collect();
        spans.sort();
        let mut merged: Vec<(Bytes, Option<Bytes>)> = Vec::with_capacity(spans.len());
        for (start, end) in spans {
            match merged.last_mut() {
                Some((_, last)) if reaches(last, &start) => {
                    if ends_before(last, &end) {
                        *last = end;
                    }
                }
                _ => merged.push((start, end)),
            }
        }
        Ranges(merged)
    }

    /// Whether a key lies in one of the ranges.
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.around(key).is_some()
    }

    /// Whether all of a range is covered. A range that ends before it begins counts as its first
    /// key, as in etcd.
    pub(crate) fn covers(&self, range: &KeyRange) -> bool {
        match range {
            KeyRange::Single(key) => self.has(key),
            KeyRange::Span(start, end) if end <= start => self.has(start),
            KeyRange::Span(start, end) => self
                .around(start)
                .is_some_and(|last| last.as_ref().is_none_or(|last| end[..] <= last[..])),
            KeyRange::From(start) => self.around(start).is_some_and(Option::is_none),
        }
    }

    /// The end of the range that holds `key`.
    fn around(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        let after = self.0.partition_point(|(start, _)| &start[..] <= key);
        let (_, end) = self.0.get(after.checked_sub(1)?)?;
        end.as_ref().is_none_or(|end| key < &end[..]).then_some(end)
    }
}

/// A range as start and end; a single key ends before its successor. The empty key is no key:
/// permissions on it, which older releases let pass, give nothing.
fn span(range: KeyRange) -> Option<(Bytes, Option<Bytes>)> {
    if range.is_empty() || range.start().is_empty() {
        return None;
    }
    Some(match range {
        KeyRange::Single(key) => {
            let mut next = Vec::with_capacity(key.len() + 1);
            next.extend_from_slice(&key);
            next.push(0);
            (key, Some(next.into()))
        }
        KeyRange::Span(start, end) => (start, Some(end)),
        KeyRange::From(start) => (start, None),
    })
}

/// Whether a range that ends at `end` overlaps or touches one that begins at `start`.
fn reaches(end: &Option<Bytes>, start: &Bytes) -> bool {
    end.as_ref().is_none_or(|end| start <= end)
}

/// Whether `this` ends before `that`; no end is the last.
fn ends_before(this: &Option<Bytes>, that: &Option<Bytes>) -> bool {
    match (this, that) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(this), Some(that)) => this < that,
    }
}

/// The merged rights of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(crate) read: Ranges,
    pub(crate) write: Ranges,
}

impl Rights {
    /// The rights that these permissions give together. A type that this release does not know
    /// gives nothing.
    pub(crate) fn merge<'p>(permissions: impl Iterator<Item = &'p Permission> + Clone) -> Rights {
        let of = |kind: Type| {
            let granted = permissions.clone().filter(move |permission| {
                [kind as i32, Type::Readwrite as i32].contains(&permission.perm_type)
            });
            Ranges::union(granted.map(key_range))
        };
        Rights { read: of(Type::Read), write: of(Type::Write) }
    }
}

fn key_range(permission: &Permission) -> KeyRange {
    KeyRange::new(permission.key.clone(), permission.range_end.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn range(key: &'static str, end: &'static str) -> KeyRange {
        KeyRange::new(key.into(), end.into())
    }

    #[test]
    fn touching_ranges_are_one() {
        let ranges = Ranges::union([range("c", "e"), range("a", "c"), range("x", "")]);
        assert!(ranges.covers(&range("a", "e")) && ranges.covers(&range("b", "d")));
        assert!(!ranges.covers(&range("a", "f")) && !ranges.covers(&range("a", "\0")));
        assert!(ranges.has(b"x") && !ranges.has(b"xx") && !ranges.has(b"e"));
        assert!(ranges.covers(&range("x", "x\0")), "the range of a single key");
    }

    #[test]
    fn single_keys_touch_what_begins_after_them() {
        let ranges = Ranges::union([range("a", ""), range("a\0", "b")]);
        assert!(ranges.covers(&range("a", "b")));
    }

    #[test]
    fn an_open_range_swallows_what_lies_after_it() {
        let ranges = Ranges::union([range("m", "\0"), range("p", "q"), range("a", "b")]);
        assert!(ranges.covers(&range("n", "\0")) && ranges.covers(&range("z", "zz")));
        assert!(!ranges.covers(&range("a", "\0")) && !ranges.covers(&range("a", "n")));
        assert_eq!(ranges.0.len(), 2);
    }

    /// Real etcd's tree meets a reversed range where its first key is.
    #[test]
    fn a_reversed_request_counts_as_its_first_key() {
        let ranges = Ranges::union([range("b", "c")]);
        assert!(ranges.covers(&range("b", "a")) && ranges.covers(&range("b", "b")));
        assert!(!ranges.covers(&range("d", "a")));
    }

    /// GHSA-xg4h-6gfc-h4m8: an open-ended request is more than its first key.
    #[test]
    fn ghsa_xg4h_6gfc_h4m8_an_open_request_needs_an_open_grant() {
        let ranges = Ranges::union([range("k", "")]);
        assert!(ranges.covers(&range("k", "")));
        assert!(!ranges.covers(&range("k", "\0")));
    }

    #[test]
    fn permissions_without_keys_give_nothing() {
        let ranges = Ranges::union([range("", ""), range("", "z"), range("b", "a")]);
        assert_eq!(ranges, Ranges::default());
    }

    /// One-byte keys, so that every key of a range can be tried.
    fn small_range() -> impl Strategy<Value = KeyRange> {
        (1_u8..9, 0_u8..10).prop_map(|(key, end)| {
            let end = match end {
                0 => Vec::new(),
                9 => vec![0],
                end => vec![end],
            };
            KeyRange::new(vec![key].into(), end.into())
        })
    }

    proptest! {
        #[test]
        fn coverage_is_that_of_every_key(
            granted in prop::collection::vec(small_range(), 0..6),
            asked in small_range(),
        ) {
            // Single keys end before their successor of two bytes: try those too.
            let keys: BTreeSet<Vec<u8>> =
                (1..10_u8).flat_map(|key| [vec![key], vec![key, 0], vec![key, 1]]).collect();
            let allowed = |key: &[u8]| granted.iter().any(|range| range.contains(key));
            let ranges = Ranges::union(granted.clone());
            for key in &keys {
                prop_assert_eq!(ranges.has(key), allowed(key));
            }
            if !asked.is_empty() {
                let all = keys.iter().filter(|key| asked.contains(key)).all(|key| allowed(key));
                let open = matches!(asked, KeyRange::From(_));
                let end = granted.iter().any(|range| matches!(range, KeyRange::From(_)));
                prop_assert_eq!(ranges.covers(&asked), all && (!open || end));
            }
        }
    }
}
