//! Bucket `key`: revision keys, and entries by revision.
//!
//! A revision key has 17 bytes: main revision (u64, big-endian), `_`, sub revision (u64, big-endian);
//! that of a delete has a `t` more. So byte order is the order of revisions.

use api::ids::Revision;
use bytes::Bytes;

use crate::{Bucket, Op};

/// Length of the revision key of a put.
pub const KEY_BYTES: usize = 17;
/// Length of the revision key of a delete.
pub const TOMBSTONE_BYTES: usize = 18;

/// A revision key, on the stack.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RevisionKey {
    bytes: [u8; TOMBSTONE_BYTES],
    len: u8,
}

impl RevisionKey {
    /// The key of a put, or of a delete.
    pub fn new(revision: Revision, tombstone: bool) -> RevisionKey {
        debug_assert!(revision.main >= 0 && revision.sub >= 0, "revisions are not negative");
        let mut bytes = [0; TOMBSTONE_BYTES];
        bytes[..8].copy_from_slice(&revision.main.to_be_bytes());
        bytes[8] = b'_';
        bytes[9..17].copy_from_slice(&revision.sub.to_be_bytes());
        bytes[17] = b't';
        let len = if tombstone { TOMBSTONE_BYTES } else { KEY_BYTES };
        RevisionKey { bytes, len: len as u8 }
    }

    /// The bytes as a key to store.
    pub fn to_bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self)
    }
}

impl std::ops::Deref for RevisionKey {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The revision of a key and whether it is that of a delete; `None` for bytes that are no revision
/// key.
pub fn decode(key: &[u8]) -> Option<(Revision, bool)> {
    let tombstone = match key.len() {
        KEY_BYTES => false,
        TOMBSTONE_BYTES if key[17] == b't' => true,
        _ => return None,
    };
    let main = i64::from_be_bytes(key[..8].try_into().expect("a slice of 8 bytes"));
    let sub = i64::from_be_bytes(key[9..17].try_into().expect("a slice of 8 bytes"));
    (key[8] == b'_' && main >= 0 && sub >= 0).then_some((Revision { main, sub }, tombstone))
}

/// Stores an encoded `mvccpb.KeyValue`, or of a delete one with only the key.
pub fn put(revision: &Bytes, value: Bytes) -> Op {
    Op::Put { bucket: Bucket::Key, key: revision.clone(), value }
}

/// Forgets a revision, here and in [`Bucket::Revision`].
pub fn delete(revision: Revision, tombstone: bool) -> [Op; 2] {
    let key = RevisionKey::new(revision, tombstone).to_bytes();
    [
        Op::Delete { bucket: Bucket::Key, key: key.clone() },
        Op::Delete { bucket: Bucket::Revision, key },
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_have_etcds_bytes() {
        let key = RevisionKey::new(Revision { main: 2, sub: 1 }, true);
        assert_eq!(&key[..], b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\x01t");
        let bad: [&[u8]; 4] =
            [b"", &key[..16], b"\0\0\0\0\0\0\0\x02-\0\0\0\0\0\0\0\x01", b"\xff0000000_00000000"];
        for bytes in bad {
            assert_eq!(decode(bytes), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn order_and_round_trip(
            a in (0..i64::MAX, 0..i64::MAX, any::<bool>()),
            b in (0..i64::MAX, 0..i64::MAX, any::<bool>()),
        ) {
            let key = |(main, sub, tomb)| RevisionKey::new(Revision { main, sub }, tomb);
            prop_assert_eq!(decode(&key(a)), Some((Revision { main: a.0, sub: a.1 }, a.2)));
            prop_assert_eq!(a.cmp(&b), key(a).to_bytes().cmp(&key(b).to_bytes()));
        }
    }
}
