//! Bucket `members_removed`: member ID in hex, unpadded, to `removed`. IDs in it never come back.

use api::ids::MemberId;

use super::members::decode_id;
use crate::{Bucket, Error, Op, ReadTx};

/// Records that a member was removed.
pub fn put(id: MemberId) -> Op {
    super::put(Bucket::MembersRemoved, id.to_string(), "removed")
}

/// Every removed member.
pub fn all(tx: &dyn ReadTx) -> Result<Vec<MemberId>, Error> {
    super::all(tx, Bucket::MembersRemoved, |key, _| decode_id(key))
}
