//! Bucket `authUsers`: user name to `authpb.User`.

use api::authpb::User;
use bytes::Bytes;
use prost::Message;

use super::all_messages;
use crate::{Bucket, Error, Op, ReadTx};

/// Stores a user under its name.
pub fn put(user: &User) -> Op {
    super::put(Bucket::AuthUsers, user.name.clone(), user.encode_to_vec())
}

/// Forgets a user.
pub fn delete(name: Bytes) -> Op {
    super::delete(Bucket::AuthUsers, name)
}

/// Every user, ordered by name.
pub fn all(tx: &dyn ReadTx) -> Result<Vec<User>, Error> {
    all_messages(tx, Bucket::AuthUsers)
}
