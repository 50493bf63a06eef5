//! A range of keys as an interval that can be walked piece by piece.

use api::range::KeyRange;
use bytes::Bytes;

/// `[start, end)`, or everything from `start` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) start: Bytes,
    pub(crate) end: Option<Bytes>,
}

impl Bounds {
    /// Every key.
    pub(crate) fn all() -> Bounds {
        Bounds { start: Bytes::new(), end: None }
    }

    /// Whether `key` lies before the end.
    pub(crate) fn is_before_end(&self, key: &[u8]) -> bool {
        self.end.as_ref().is_none_or(|end| key < end)
    }
}

impl From<&KeyRange> for Bounds {
    fn from(range: &KeyRange) -> Bounds {
        let end = match range {
            KeyRange::Single(key) => Some([key, &b"\0"[..]].concat().into()),
            KeyRange::Span(_, end) => Some(end.clone()),
            KeyRange::From(_) => None,
        };
        Bounds { start: range.start().clone(), end }
    }
}
