//! The checksum of a stored row: the last four bytes of its value.
//!
//! CRC-32C over the name of the bucket, key and value, so a row that turns up under another key does
//! not pass either. It is computed when a row is written and compared each time one is read; nobody
//! above sees it, and it takes no part in hashes and images.
//!
//! A store has a format, in the engine's own records. Format 1 had no checksums. The first open by a
//! release that knows format 2 seals the small buckets, and notes the last revision that the two
//! buckets by revision hold: rows up to that one stay without a checksum until they are compacted or
//! the store is replaced. Revisions only grow, so the note alone says which rows are which.

use heed::{Database, PutFlags, RoTxn, RwTxn, WithoutTls, types::Bytes};

use super::{LmdbBackend, engine};
use crate::{Bucket, Error};

/// Length of the checksum.
const SEAL_BYTES: usize = 4;

/// What this release writes.
const FORMAT: u8 = 2;
/// The key of the format among the engine's records.
const FORMAT_KEY: &[u8] = b"format";
/// For each generation, the key of its last row without a checksum.
const PLAIN_KEYS: [&[u8]; 2] = [b"plain", b"plain'"];

/// The checksum of each bucket's name: what those of its rows begin with.
pub(super) struct Seals([u32; Bucket::ALL.len()]);

impl Seals {
    pub(super) fn new() -> Seals {
        Seals(Bucket::ALL.map(|bucket| crc32c::crc32c(bucket.name().as_bytes())))
    }

    fn checksum(&self, bucket: Bucket, key: &[u8], value: &[u8]) -> u32 {
        let key = crc32c::crc32c_append(self.0[bucket as usize], key);
        crc32c::crc32c_append(key, value)
    }

    /// Puts a value and its checksum into `out`.
    pub(super) fn seal(&self, bucket: Bucket, key: &[u8], value: &[u8], out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(value);
        out.extend_from_slice(&self.checksum(bucket, key, value).to_le_bytes());
    }

    /// The value of a sealed row; `None` when the row is not what was written.
    pub(super) fn open<'v>(&self, bucket: Bucket, key: &[u8], row: &'v [u8]) -> Option<&'v [u8]> {
        let (value, seal) = row.split_last_chunk::<SEAL_BYTES>()?;
        (u32::from_le_bytes(*seal) == self.checksum(bucket, key, value)).then_some(value)
    }
}

/// The rows of one generation that have no checksum: those by revision up to a key.
#[derive(Clone, Default)]
pub(super) struct Plain(Option<Vec<u8>>);

impl Plain {
    /// Reads the note for a generation.
    pub(super) fn read(
        state: Database<Bytes, Bytes>,
        txn: &RoTxn<'_, WithoutTls>,
        generation: usize,
    ) -> Result<Plain, heed::Error> {
        Ok(Plain(state.get(txn, PLAIN_KEYS[generation])?.map(<[u8]>::to_vec)))
    }

    /// Whether a row has no checksum.
    pub(super) fn has(&self, bucket: Bucket, key: &[u8]) -> bool {
        bucket.is_append_only() && self.0.as_deref().is_some_and(|last| key <= last)
    }

    /// Forgets the note: the generation is emptied.
    pub(super) fn forget(
        state: Database<Bytes, Bytes>,
        txn: &mut RwTxn<'_>,
        generation: usize,
    ) -> Result<(), heed::Error> {
        state.delete(txn, PLAIN_KEYS[generation]).map(drop)
    }
}

/// Brings a store to the format of this release, or refuses one of a later release.
pub(super) fn upgrade(backend: &LmdbBackend) -> Result<(), Error> {
    let format = {
        let txn = backend.env.read_txn().map_err(engine)?;
        backend.state.get(&txn, FORMAT_KEY).map_err(engine)?.map(<[u8]>::to_vec)
    };
    match format.as_deref() {
        Some([FORMAT]) => return Ok(()),
        None => {}
        Some(other) => {
            let text = format!(
                "the store has format {other:?}; this release knows format {FORMAT} and older ones"
            );
            return Err(Error::Engine(text));
        }
    }
    backend.write(|txn| {
        let mut row = Vec::new();
        for (generation, buckets) in backend.generations.iter().enumerate() {
            let mut last: Option<Vec<u8>> = None;
            for (bucket, database) in Bucket::ALL.into_iter().zip(buckets) {
                if bucket.is_append_only() {
                    let newest = database.last(txn)?.map(|(key, _)| key.to_vec());
                    last = last.max(newest);
                } else {
                    seal_all(&backend.seals, bucket, *database, txn, &mut row)?;
                }
            }
            if let Some(last) = last {
                backend.state.put(txn, PLAIN_KEYS[generation], &last)?;
            }
        }
        backend.state.put(txn, FORMAT_KEY, &[FORMAT])
    })
}

/// Gives each row of a small bucket its checksum.
fn seal_all(
    seals: &Seals,
    bucket: Bucket,
    database: Database<Bytes, Bytes>,
    txn: &mut RwTxn<'_>,
    row: &mut Vec<u8>,
) -> Result<(), heed::Error> {
    let mut rows = Vec::new();
    for entry in database.iter(txn)? {
        let (key, value) = entry?;
        seals.seal(bucket, key, value, row);
        rows.push((key.to_vec(), row.clone()));
    }
    for (key, sealed) in rows {
        database.put_with_flags(txn, PutFlags::empty(), &key, &sealed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
