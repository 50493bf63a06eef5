//! The meta record: which tree is the root bucket, and up to where pages are in use.

use crate::{
    Error,
    page::{HEADER_BYTES, Header, META, u32_at, u64_at},
};

/// Length of a meta record.
pub const META_BYTES: usize = 64;
/// The freelist's page number when it is not in the file; how etcd always writes.
pub const NO_FREELIST: u64 = u64::MAX;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
const CHECKSUM_AT: usize = 56;

/// What a meta record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Bytes of a page.
    pub page_size: u32,
    /// First page of the root bucket's tree.
    pub root: u64,
    /// Sequence of the root bucket; unused.
    pub sequence: u64,
    /// First page of the freelist, or [`NO_FREELIST`].
    pub freelist: u64,
    /// The number of pages: all ids are below it.
    pub high_water: u64,
    /// The transaction that wrote the record.
    pub txid: u64,
}

impl Meta {
    /// Reads a record of [`META_BYTES`] bytes; errors are told in the order in which bbolt looks.
    pub(crate) fn decode(bytes: &[u8; META_BYTES]) -> Result<Meta, Error> {
        if u32_at(bytes, 0) != MAGIC {
            return Err(Error::Invalid);
        }
        if u32_at(bytes, 4) != VERSION {
            return Err(Error::VersionMismatch);
        }
        if u64_at(bytes, CHECKSUM_AT) != fnv1a(&bytes[..CHECKSUM_AT]) {
            return Err(Error::Checksum);
        }
        Ok(Meta {
            page_size: u32_at(bytes, 8),
            root: u64_at(bytes, 16),
            sequence: u64_at(bytes, 24),
            freelist: u64_at(bytes, 32),
            high_water: u64_at(bytes, 40),
            txid: u64_at(bytes, 48),
        })
    }

    /// The record with its checksum.
    pub(crate) fn encode(&self) -> [u8; META_BYTES] {
        let mut bytes = [0; META_BYTES];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.page_size.to_le_bytes());
        let numbers = [self.root, self.sequence, self.freelist, self.high_water, self.txid];
        for (number, at) in numbers.into_iter().zip((16..).step_by(8)) {
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        let checksum = fnv1a(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The record as page `id`.
    pub(crate) fn encode_page(&self, id: u64) -> Vec<u8> {
        let header = Header { id, flags: META, count: 0, overflow: 0 };
        let mut page = vec![0; self.page_size as usize];
        page[..HEADER_BYTES].copy_from_slice(&header.encode());
        page[HEADER_BYTES..HEADER_BYTES + META_BYTES].copy_from_slice(&self.encode());
        page
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
