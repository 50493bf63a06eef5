//! Rows that are not what was written: found by a checksum when they are read.

use std::{collections::BTreeSet, fmt};

use api::ids::Revision;
use parking_lot::Mutex;

use crate::{Bucket, Error, schema};

/// Rows that are remembered; what is beyond is found, and not told again.
const ROWS_MAX: usize = 10_000;

/// A row, or what is in its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// The bucket.
    pub bucket: Bucket,
    /// The key as it was read.
    pub key: Vec<u8>,
}

impl Damage {
    /// The revision, of a row that has one.
    pub fn revision(&self) -> Option<Revision> {
        let by_revision = self.bucket.is_append_only();
        by_revision.then(|| schema::key::decode(&self.key)).flatten().map(|(revision, _)| revision)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bucket = self.bucket.name();
        match self.revision() {
            Some(Revision { main, sub }) => write!(f, "bucket {bucket}, revision {main}.{sub}"),
            None => write!(f, "bucket {bucket}, key \"{}\"", self.key.escape_ascii()),
        }
    }
}

/// What a backend has found so far.
#[derive(Default)]
pub(crate) struct DamageLog(Mutex<Found>);

#[derive(Default)]
struct Found {
    known: BTreeSet<Damage>,
    /// Of those, the ones that nobody asked for yet.
    fresh: Vec<Damage>,
}

impl DamageLog {
    /// Notes a row; returns the error for its reader.
    pub(crate) fn add(&self, bucket: Bucket, key: &[u8]) -> Error {
        let damage = Damage { bucket, key: key.to_vec() };
        let mut found = self.0.lock();
        if found.known.len() < ROWS_MAX && found.known.insert(damage.clone()) {
            found.fresh.push(damage.clone());
        }
        Error::Damaged(damage)
    }

    /// See [`crate::Backend::take_damage`].
    pub(crate) fn take(&self) -> Vec<Damage> {
        std::mem::take(&mut self.0.lock().fresh)
    }

    /// The store is another one.
    pub(crate) fn forget(&self) {
        *self.0.lock() = Found::default();
    }
}
