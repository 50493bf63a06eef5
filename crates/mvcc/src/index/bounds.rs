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
