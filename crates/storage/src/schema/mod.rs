//! What each bucket holds: one file per bucket, with the encoding of its keys and values.
//!
//! Writers take values and return [`Op`]s; readers take a [`ReadTx`]. The formats are etcd's
//! (`server/storage/schema`), but for [`revision`].

pub mod alarm;
pub mod auth;
pub mod auth_roles;
pub mod auth_users;
pub mod cluster;
pub mod key;
pub mod lease;
pub mod members;
pub mod members_removed;
pub mod meta;
pub mod revision;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use bytes::Bytes;
use prost::Message;

use crate::{Bucket, Error, Op, ReadTx};

pub use meta::read_consistent;

/// A put of bytes that are at hand.
fn put(bucket: Bucket, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Op {
    Op::Put { bucket, key: key.into(), value: value.into() }
}

/// A delete.
fn delete(bucket: Bucket, key: impl Into<Bytes>) -> Op {
    Op::Delete { bucket, key: key.into() }
}

/// Everything in a bucket, each entry decoded by `entry`; the first failure ends it.
fn all<T>(
    tx: &dyn ReadTx,
    bucket: Bucket,
    mut entry: impl FnMut(&[u8], &[u8]) -> Option<T>,
) -> Result<Vec<T>, Error> {
    let mut found = Vec::new();
    let mut intact = true;
    tx.scan(bucket, b"", &mut |key, value| match entry(key, value) {
        Some(item) => {
            found.push(item);
            ControlFlow::Continue(())
        }
        None => {
            intact = false;
            ControlFlow::Break(())
        }
    })?;
    if intact { Ok(found) } else { Err(corrupt(bucket, "entry cannot be decoded")) }
}

/// Every value of a bucket as a message.
fn all_messages<M: Message + Default>(tx: &dyn ReadTx, bucket: Bucket) -> Result<Vec<M>, Error> {
    all(tx, bucket, |_, value| M::decode(value).ok())
}

/// Eight bytes, big-endian.
fn decode_u64(bucket: Bucket, value: &[u8]) -> Result<u64, Error> {
    let bytes = value.try_into().map_err(|_| corrupt(bucket, "number is not of 8 bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}

fn corrupt(bucket: Bucket, what: &'static str) -> Error {
    Error::Corrupt { bucket: bucket.name(), what }
}
