//! The meaning of `key` and `range_end`, the same in every request that names keys.

use bytes::Bytes;

/// A set of keys: one key, `[start, end)`, or all keys from `start` on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyRange {
    /// Just this key.
    Single(Bytes),
    /// Keys of `[start, end)`; empty when `end <= start`.
    Span(Bytes, Bytes),
    /// Every key at or after this one.
    From(Bytes),
}

impl KeyRange {
    /// etcd's reading of `range_end`: empty is a single key, one zero byte is "to the last key".
    pub fn new(key: Bytes, range_end: Bytes) -> KeyRange {
        match &range_end[..] {
            [] => KeyRange::Single(key),
            [0] => KeyRange::From(key),
            _ => KeyRange::Span(key, range_end),
        }
    }

    /// The first key that the range can hold.
    pub fn start(&self) -> &Bytes {
        match self {
            KeyRange::Single(key) | KeyRange::Span(key, _) | KeyRange::From(key) => key,
        }
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            KeyRange::Single(only) => only == key,
            KeyRange::Span(start, end) => &start[..] <= key && key < &end[..],
            KeyRange::From(start) => &start[..] <= key,
        }
    }

    /// Whether no key can lie in the range.
    pub fn is_empty(&self) -> bool {
        matches!(self, KeyRange::Span(start, end) if end <= start)
    }
}

/// The `range_end` that makes a range of every key with this prefix: the prefix with its last byte
/// that can grow raised by one; a single zero byte when none can.
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    let keep = prefix.iter().rposition(|byte| *byte < 0xff);
    let Some(last) = keep else { return Bytes::from_static(&[0]) };
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    end.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(key: &'static str, end: &'static [u8]) -> KeyRange {
        KeyRange::new(key.into(), Bytes::from_static(end))
    }

    #[test]
    fn range_end_decides_the_form() {
        assert!(range("a", b"").contains(b"a") && !range("a", b"").contains(b"aa"));
        assert!(range("b", b"\0").contains(b"zz") && !range("b", b"\0").contains(b"a"));
        assert!(range("a", b"c").contains(b"bb") && !range("a", b"c").contains(b"c"));
        assert!(range("c", b"a").is_empty() && !range("c", b"a").contains(b"b"));
    }

    #[test]
    fn prefix_end_carries_past_ff() {
        assert_eq!(&prefix_end(b"ab")[..], b"ac");
        assert_eq!(&prefix_end(b"a\xff\xff")[..], b"b");
        assert_eq!(&prefix_end(b"\xff")[..], b"\0");
        assert_eq!(&prefix_end(b"")[..], b"\0");
    }
}
