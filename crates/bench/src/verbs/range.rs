//! `range`: reads of a key or of neighbouring keys.

use crate::{
    args::load::RangeArgs,
    grpc::{frame, method::Method},
    load::{
        payload::{KeyPicker, KeySpace},
        unary::{Call, Requests},
    },
};
use anyhow::{Result, ensure};
use api::etcdserverpb::RangeRequest;
use bytes::{Bytes, BytesMut};

/// Reads over a key space.
#[derive(Debug)]
pub(crate) struct Ranges {
    space: KeySpace,
    picker: KeyPicker,
    span: u64,
    method: Method,
    template: RangeRequest,
}

impl Ranges {
    /// The reads of a command line.
    pub(crate) fn new(args: &RangeArgs, method: Method) -> Result<Self> {
        ensure!(args.span > 0, "--span must be above zero");
        Ok(Self {
            space: args.keys.space()?,
            picker: args.keys.picker(args.load.seed),
            span: args.span,
            method,
            template: RangeRequest {
                limit: args.limit,
                serializable: args.is_serializable(),
                keys_only: args.keys_only,
                count_only: args.count_only,
                ..RangeRequest::default()
            },
        })
    }
}

/// Key and end of a read of `span` keys from key `number`; a single key has no end. The span is
/// moved back where it would pass the last key.
pub(crate) fn bounds(space: &KeySpace, number: u64, span: u64) -> (Bytes, Bytes) {
    if span == 1 {
        return (space.key(number), Bytes::new());
    }
    let span = span.min(space.len());
    let from = number.min(space.len() - span);
    (space.key(from), space.key(from + span))
}

impl Requests for Ranges {
    fn next(&mut self, message: &mut BytesMut) -> Call {
        let ticket = self.picker.pick();
        let (key, range_end) = bounds(&self.space, ticket, self.span);
        frame::encode(&RangeRequest { key, range_end, ..self.template.clone() }, message);
        Call { method: self.method, ticket }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_stay_within_the_key_space() {
        let space = KeySpace::new("", 4, 100).expect("fits");
        let text = |number, span| {
            let (key, end) = bounds(&space, number, span);
            format!("{}..{}", key.escape_ascii(), end.escape_ascii())
        };
        assert_eq!(text(99, 1), "0099..");
        assert_eq!(text(10, 5), "0010..0015");
        assert_eq!(text(98, 5), "0095..0100");
        assert_eq!(text(50, 1000), "0000..0100");
    }
}
