//! Bucket `members`: member ID in hex, unpadded, to the member as JSON (opaque here).

use api::ids::MemberId;
use bytes::Bytes;

use crate::{Bucket, Error, Op, ReadTx};

/// Stores a member.
pub fn put(id: MemberId, json: Bytes) -> Op {
    super::put(Bucket::Members, id.to_string(), json)
}

/// Forgets a member.
pub fn delete(id: MemberId) -> Op {
    super::delete(Bucket::Members, id.to_string())
}

/// Every member with its JSON, ordered by the text of the ID.
pub fn all(tx: &dyn ReadTx) -> Result<Vec<(MemberId, Bytes)>, Error> {
    super::all(tx, Bucket::Members, |key, value| {
        Some((decode_id(key)?, Bytes::copy_from_slice(value)))
    })
}

/// Reads a key of this bucket, or of `members_removed`.
pub(super) fn decode_id(key: &[u8]) -> Option<MemberId> {
    u64::from_str_radix(std::str::from_utf8(key).ok()?, 16).ok().map(MemberId)
}
