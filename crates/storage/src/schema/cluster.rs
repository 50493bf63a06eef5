//! Bucket `cluster`: the cluster's version, and the downgrade under way.

use bytes::Bytes;

use super::put;
use crate::{Bucket, Error, Op, ReadTx};

const VERSION: &str = "clusterVersion";
const DOWNGRADE: &str = "downgrade";

/// Records the cluster version, such as `3.7.0`.
pub fn put_version(version: &str) -> Op {
    put(Bucket::Cluster, VERSION, version.to_owned())
}

/// The cluster version as it was recorded.
pub fn read_version(tx: &dyn ReadTx) -> Result<Option<Bytes>, Error> {
    Ok(tx.get(Bucket::Cluster, VERSION.as_bytes())?.map(Bytes::copy_from_slice))
}

/// Records the downgrade, as JSON.
pub fn put_downgrade(json: Bytes) -> Op {
    put(Bucket::Cluster, DOWNGRADE, json)
}

/// The downgrade, as JSON.
pub fn read_downgrade(tx: &dyn ReadTx) -> Result<Option<Bytes>, Error> {
    Ok(tx.get(Bucket::Cluster, DOWNGRADE.as_bytes())?.map(Bytes::copy_from_slice))
}
