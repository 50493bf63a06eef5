//! Bucket `auth`: whether authentication is on, and the revision of the auth store.

use bytes::Bytes;

use super::{corrupt, decode_u64, put};
use crate::{Bucket, Error, Op, ReadTx};

const ENABLED: &str = "authEnabled";
const REVISION: &str = "authRevision";

/// Turns authentication on or off.
pub fn put_enabled(enabled: bool) -> Op {
    put(Bucket::Auth, ENABLED, Bytes::copy_from_slice(&[u8::from(enabled)]))
}

/// Whether authentication is on; off when it never was set.
pub fn read_enabled(tx: &dyn ReadTx) -> Result<bool, Error> {
    match tx.get(Bucket::Auth, ENABLED.as_bytes())? {
        None | Some([0]) => Ok(false),
        Some([1]) => Ok(true),
        Some(_) => Err(corrupt(Bucket::Auth, "authEnabled is neither 0 nor 1")),
    }
}

/// Records the revision of the auth store.
pub fn put_revision(revision: u64) -> Op {
    put(Bucket::Auth, REVISION, Bytes::copy_from_slice(&revision.to_be_bytes()))
}

/// The revision of the auth store; 0 when it never was set.
pub fn read_revision(tx: &dyn ReadTx) -> Result<u64, Error> {
    match tx.get(Bucket::Auth, REVISION.as_bytes())? {
        None => Ok(0),
        Some(value) => decode_u64(Bucket::Auth, value),
    }
}
