//! Rows whose keys LMDB does not take: names of users and roles may be longer than 511 bytes.
//!
//! They are in a database beside the buckets, under the number of the bucket and the SHA-256 of the
//! key; the value begins with the key. There are hardly ever any, so a scan reads those of its bucket
//! into memory and puts each where it belongs.

use heed::{Database, Env, RoTxn, RwTxn, WithoutTls, types::Bytes};
use sha2::{Digest, Sha256};

use super::{LmdbBackend, LmdbRead};
use crate::{Bucket, Error, Op};

/// The longest key that the engine itself takes.
pub(super) const SHORT_BYTES_MAX: usize = 511;
/// The names of the databases, one a generation.
const NAMES: [&str; 2] = ["long", "long'"];
/// The length of a key in front of it.
const LENGTH_BYTES: usize = 4;

/// Makes the databases, unless they are there.
pub(super) fn create(
    env: &Env<WithoutTls>,
    txn: &mut RwTxn<'_>,
) -> Result<[Database<Bytes, Bytes>; 2], heed::Error> {
    let [first, second] = NAMES.map(|name| env.create_database(txn, Some(name)));
    Ok([first?, second?])
}

/// Key and value.
type Row<'v> = (&'v [u8], &'v [u8]);

/// Whether a row belongs here.
pub(super) fn is_long(key: &[u8]) -> bool {
    key.len() > SHORT_BYTES_MAX
}

/// What a row is found by.
fn place(bucket: Bucket, key: &[u8]) -> Vec<u8> {
    let mut place = vec![bucket as u8];
    place.extend_from_slice(&Sha256::digest(key));
    place
}

/// The key that a stored value begins with, and the rest.
fn split(row: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = row.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

impl LmdbBackend {
    /// Applies a change of a row with a long key.
    pub(super) fn apply_long(
        &self,
        txn: &mut RwTxn<'_>,
        to: usize,
        op: &Op,
    ) -> Result<(), heed::Error> {
        let (bucket, key) = (op.bucket(), op.key());
        let place = place(bucket, key);
        let Op::Put { value, .. } = op else {
            return self.long[to].delete(txn, &place).map(drop);
        };
        let mut sealed = Vec::new();
        self.seals.seal(bucket, key, value, &mut sealed);
        let length = u32::try_from(key.len()).expect("the length of a key was checked");
        let row = [&length.to_be_bytes()[..], key, &sealed].concat();
        self.long[to].put(txn, &place, &row)
    }
}

impl LmdbRead<'_> {
    /// The value of a long key.
    pub(super) fn get_long(&self, bucket: Bucket, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        let row = self.long.get(&self.txn, &place(bucket, key));
        let row = row.map_err(|error| self.backend.read_error(bucket, key, error))?;
        row.map(|row| self.open_long(bucket, key, row).map(|(_, value)| value)).transpose()
    }

    /// The rows with long keys from `from` on, in the order of their keys.
    pub(super) fn scan_long(&self, bucket: Bucket, from: &[u8]) -> Result<Vec<Row<'_>>, Error> {
        let txn: &RoTxn<'_, WithoutTls> = &self.txn;
        let failed = |error| self.backend.read_error(bucket, from, error);
        let mut rows = Vec::new();
        for entry in self.long.prefix_iter(txn, &[bucket as u8]).map_err(failed)? {
            let (place, row) = entry.map_err(failed)?;
            let (key, value) = self.open_long(bucket, place, row)?;
            if key >= from {
                rows.push((key, value));
            }
        }
        rows.sort_unstable();
        Ok(rows)
    }

    /// Key and value of a row, if it is what was written; `shown` names it if not.
    fn open_long<'v>(&self, bucket: Bucket, shown: &[u8], row: &'v [u8]) -> Result<Row<'v>, Error> {
        let opened = split(row)
            .and_then(|(key, sealed)| Some((key, self.backend.seals.open(bucket, key, sealed)?)));
        opened.ok_or_else(|| self.backend.damage.add(bucket, shown))
    }
}
