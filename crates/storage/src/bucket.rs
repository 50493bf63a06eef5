//! The names of the buckets, and a change of one of them.

use bytes::Bytes;

use crate::{Error, KEY_BYTES_MAX};

/// A keyspace of its own within the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Bucket {
    /// Revision key to encoded `mvccpb.KeyValue`; exactly etcd's `key` bucket.
    Key,
    /// Revision key to [`crate::schema::revision::Record`], for every key of [`Bucket::Key`]. Ours.
    Revision,
    /// Consistent index, term, compaction marks, storage version.
    Meta,
    /// Lease ID to `leasepb.Lease`.
    Lease,
    /// Encoded `AlarmMember` to nothing.
    Alarm,
    /// `authEnabled` and `authRevision`.
    Auth,
    /// User name to `authpb.User`.
    AuthUsers,
    /// Role name to `authpb.Role`.
    AuthRoles,
    /// `clusterVersion` and `downgrade`.
    Cluster,
    /// Member ID in hex to member JSON.
    Members,
    /// Member ID in hex to `removed`.
    MembersRemoved,
    /// The rows of the v2 store. Ours: etcd keeps that store in its `.snap` files.
    V2,
}

impl Bucket {
    /// Every bucket, in the order of their numbers.
    pub const ALL: [Bucket; 12] = [
        Bucket::Key,
        Bucket::Revision,
        Bucket::Meta,
        Bucket::Lease,
        Bucket::Alarm,
        Bucket::Auth,
        Bucket::AuthUsers,
        Bucket::AuthRoles,
        Bucket::Cluster,
        Bucket::Members,
        Bucket::MembersRemoved,
        Bucket::V2,
    ];

    /// Whether etcd's file has the bucket, and hashes count it.
    pub fn is_of_etcd(self) -> bool {
        !matches!(self, Bucket::Revision | Bucket::V2)
    }

    /// The name of the bucket in etcd's file, or of one of ours.
    pub fn name(self) -> &'static str {
        match self {
            Bucket::Key => "key",
            Bucket::Revision => "revision",
            Bucket::Meta => "meta",
            Bucket::Lease => "lease",
            Bucket::Alarm => "alarm",
            Bucket::Auth => "auth",
            Bucket::AuthUsers => "authUsers",
            Bucket::AuthRoles => "authRoles",
            Bucket::Cluster => "cluster",
            Bucket::Members => "members",
            Bucket::MembersRemoved => "members_removed",
            Bucket::V2 => "v2",
        }
    }

    /// Whether keys come in ascending order, so that appending keeps pages full.
    pub(crate) fn is_append_only(self) -> bool {
        matches!(self, Bucket::Key | Bucket::Revision)
    }
}

/// One change of one bucket. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Sets the value of a key, present or not.
    Put {
        /// Where.
        bucket: Bucket,
        /// Which key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// Removes a key; nothing happens if it is not there.
    Delete {
        /// Where.
        bucket: Bucket,
        /// Which key.
        key: Bytes,
    },
}

impl Op {
    /// Bytes of key and value.
    pub fn bytes(&self) -> usize {
        match self {
            Op::Put { key, value, .. } => key.len() + value.len(),
            Op::Delete { key, .. } => key.len(),
        }
    }

    /// Whether a backend takes the key.
    pub(crate) fn check_key(&self) -> Result<(), Error> {
        let bytes = self.key().len();
        if bytes == 0 || bytes > KEY_BYTES_MAX {
            return Err(Error::KeySize { bucket: self.bucket().name(), bytes });
        }
        Ok(())
    }

    /// The bucket that changes.
    pub fn bucket(&self) -> Bucket {
        match self {
            Op::Put { bucket, .. } | Op::Delete { bucket, .. } => *bucket,
        }
    }

    /// The key that changes.
    pub fn key(&self) -> &Bytes {
        match self {
            Op::Put { key, .. } | Op::Delete { key, .. } => key,
        }
    }
}
