//! Bucket `revision`, which etcd does not have: what the key index needs of each revision, so that
//! it is rebuilt without reading values.
//!
//! The key is the revision key of bucket `key`. The value, varints as in protobuf:
//! `create_revision`, `version`, `lease`, then the user key to the end. Of a delete the three
//! numbers are 0.

use bytes::{Bytes, BytesMut};
use prost::encoding::{decode_varint, encode_varint};

use crate::{Bucket, Op};

/// The index's view of one revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The user key.
    pub key: &'a [u8],
    /// Main revision of the put that began the generation; 0 of a delete.
    pub create_revision: i64,
    /// Count of puts in the generation; 0 of a delete.
    pub version: i64,
    /// The lease that this version attached the key to; 0 for none.
    pub lease: i64,
}

impl Record<'_> {
    /// The stored form.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(24 + self.key.len());
        encode_varint(self.create_revision as u64, &mut out);
        encode_varint(self.version as u64, &mut out);
        encode_varint(self.lease as u64, &mut out);
        out.extend_from_slice(self.key);
        out.freeze()
    }
}

/// Reads a stored record.
pub fn decode(mut value: &[u8]) -> Option<Record<'_>> {
    let create_revision = decode_varint(&mut value).ok()? as i64;
    let version = decode_varint(&mut value).ok()? as i64;
    let lease = decode_varint(&mut value).ok()? as i64;
    Some(Record { key: value, create_revision, version, lease })
}

/// Stores the record of a revision.
pub fn put(revision: &Bytes, record: &Record<'_>) -> Op {
    Op::Put { bucket: Bucket::Revision, key: revision.clone(), value: record.encode() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_records_are_refused() {
        let bytes: [&[u8]; 3] = [b"", b"\x01\x01", b"\xff\xff"];
        for bytes in bytes {
            assert_eq!(decode(bytes), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn round_trip(
            key in prop::collection::vec(any::<u8>(), 0..40),
            create_revision: i64, version: i64, lease: i64,
        ) {
            let record = Record { key: &key, create_revision, version, lease };
            let bytes = record.encode();
            prop_assert_eq!(decode(&bytes), Some(record));
        }
    }
}
