//! The frame of a record: a little-endian length word, the encoded `walpb.Record`, zeros up to a
//! multiple of eight bytes.
//!
//! ```text
//! length word   bits 0..56 size of the record, bits 56..59 count of padding bytes, bit 63 set if any
//! record        field 1 type (varint), field 2 crc (varint), field 3 data (bytes)
//! ```

use prost::encoding::{encode_varint, encoded_len_varint};

/// The kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Metadata = 1,
    Entry = 2,
    State = 3,
    Crc = 4,
    Snapshot = 5,
}

impl Kind {
    /// The kind of a number found in a log.
    pub(crate) fn new(number: i64) -> Option<Kind> {
        Some(match number {
            1 => Kind::Metadata,
            2 => Kind::Entry,
            3 => Kind::State,
            4 => Kind::Crc,
            5 => Kind::Snapshot,
            _ => return None,
        })
    }
}

/// Bytes of the length word; frames are a multiple of it.
pub(crate) const WORD: usize = 8;

/// Appends a frame to `out`; `crc` goes into the record as it is. A crc record has no data field.
pub(crate) fn append(out: &mut Vec<u8>, kind: Kind, crc: u32, data: Option<&[u8]>) {
    let crc_len = 1 + encoded_len_varint(u64::from(crc));
    let data_len = data.map_or(0, |data| 1 + encoded_len_varint(data.len() as u64) + data.len());
    let size = 2 + crc_len + data_len;
    let padding = size.next_multiple_of(WORD) - size;
    out.extend_from_slice(&length_word(size, padding).to_le_bytes());
    out.extend_from_slice(&[0x08, kind as u8, 0x10]);
    encode_varint(u64::from(crc), out);
    if let Some(data) = data {
        out.push(0x1a);
        encode_varint(data.len() as u64, out);
        out.extend_from_slice(data);
    }
    out.resize(out.len() + padding, 0);
}

fn length_word(size: usize, padding: usize) -> u64 {
    let word = size as u64;
    if padding == 0 { word } else { word | (0x80 | padding as u64) << 56 }
}

/// The sizes in a length word: record, padding. `None` for a word that no writer writes.
pub(crate) fn parse_length(word: u64) -> Option<(usize, usize)> {
    let size = usize::try_from(word & ((1 << 56) - 1)).ok()?;
    let padding = if word >> 63 == 1 { (word >> 56 & 0x7) as usize } else { 0 };
    Some((size, padding))
}
