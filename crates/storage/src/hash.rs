//! The hash over the whole store (`Maintenance.Hash`), equal to what etcd computes over its file.
//!
//! CRC-32C over name, keys and values of each bucket in the order of names, without what differs
//! between members: `term`, `consistent_index` and `storageVersion`, and our own buckets.

use std::ops::ControlFlow;

use crate::{Bucket, Error, ReadTx, schema::meta};

/// Hashes every bucket that etcd has.
pub fn hash_all(tx: &dyn ReadTx) -> Result<u32, Error> {
    let mut buckets = Bucket::ALL;
    buckets.sort_by_key(|bucket| bucket.name());
    let mut crc = 0;
    for bucket in buckets {
        if !bucket.is_of_etcd() {
            continue;
        }
        crc = crc32c::crc32c_append(crc, bucket.name().as_bytes());
        tx.scan(bucket, b"", &mut |key, value| {
            if !(bucket == Bucket::Meta && meta::differs_between_members(key)) {
                crc = crc32c::crc32c_append(crc, key);
                crc = crc32c::crc32c_append(crc, value);
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(crc)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Backend, Op, mem::MemBackend};

    fn put(bucket: Bucket, key: &'static str, value: &'static str) -> Op {
        Op::Put { bucket, key: Bytes::from(key), value: Bytes::from(value) }
    }

    #[test]
    fn skips_what_differs_and_our_own_buckets() {
        let backend = MemBackend::new();
        let empty = hash_all(&*backend.read().unwrap()).unwrap();
        let names = "alarmauthauthRolesauthUsersclusterkeyleasemembersmembers_removedmeta";
        assert_eq!(empty, crc32c::crc32c(names.as_bytes()));

        let skipped = [
            put(Bucket::Revision, "r", "1"),
            put(Bucket::V2, "s", "1"),
            put(Bucket::Meta, "term", "1"),
            put(Bucket::Meta, "consistent_index", "1"),
            put(Bucket::Meta, "storageVersion", "1"),
        ];
        backend.commit(&skipped).unwrap();
        assert_eq!(hash_all(&*backend.read().unwrap()).unwrap(), empty);

        backend.commit(&[put(Bucket::Cluster, "term", "x")]).unwrap();
        let names = "alarmauthauthRolesauthUsersclustertermxkeyleasemembersmembers_removedmeta";
        let hash = hash_all(&*backend.read().unwrap()).unwrap();
        assert_eq!(hash, crc32c::crc32c(names.as_bytes()));
    }
}
