//! Bucket `lease`: lease ID (int64, big-endian) to `leasepb.Lease`.

use api::{ids::LeaseId, leasepb::Lease};
use bytes::Bytes;
use prost::Message;

use super::all_messages;
use crate::{Bucket, Error, Op, ReadTx};

fn key(id: LeaseId) -> Bytes {
    Bytes::copy_from_slice(&id.0.to_be_bytes())
}

/// Stores a lease under its ID.
pub fn put(lease: &Lease) -> Op {
    super::put(Bucket::Lease, key(LeaseId(lease.id)), lease.encode_to_vec())
}

/// Forgets a lease.
pub fn delete(id: LeaseId) -> Op {
    super::delete(Bucket::Lease, key(id))
}

/// Every lease, ordered by the unsigned reading of the ID.
pub fn all(tx: &dyn ReadTx) -> Result<Vec<Lease>, Error> {
    all_messages(tx, Bucket::Lease)
}
