//! Bucket `authRoles`: role name to `authpb.Role`.

use api::authpb::Role;
use bytes::Bytes;
use prost::Message;

use super::all_messages;
use crate::{Bucket, Error, Op, ReadTx};

/// Stores a role under its name.
pub fn put(role: &Role) -> Op {
    super::put(Bucket::AuthRoles, role.name.clone(), role.encode_to_vec())
}

/// Forgets a role.
pub fn delete(name: Bytes) -> Op {
    super::delete(Bucket::AuthRoles, name)
}

/// Every role, ordered by name.
pub fn all(tx: &dyn ReadTx) -> Result<Vec<Role>, Error> {
    all_messages(tx, Bucket::AuthRoles)
}
