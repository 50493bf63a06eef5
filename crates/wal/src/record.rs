//! Records and their frames.
//!
//! ```text
//! length word, 8 bytes little-endian     bits 0..56   size of the record
//!                                        bits 56..59  padding bytes, 1..7; bit 63 is set with them
//! record, walpb.Record                   08 <type> 10 <crc> [1a <size> <data>]
//! padding                                zeros, up to a multiple of 8
//! ```
//!
//! So a length word never lies across two sectors, and a word of zeros ends a segment. The crc of a
//! record is that of the data of all records so far, CRC-32C; a crc record has no data and tells
//! the sum that the segment starts from.
//!
//! Messages are written as etcd 3.5 writes them, with their zero fields (proto2), which is why they
//! are encoded here and not by prost.

use api::{
    raftpb::{ConfState, Entry, HardState},
    walpb,
};
use prost::encoding::encode_varint;

/// Bytes of the length word; frames are a multiple of it.
pub(crate) const FRAME_BYTES: u64 = 8;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Metadata = 1,
    Entry = 2,
    State = 3,
    Crc = 4,
    Snapshot = 5,
}

impl Kind {
    pub(crate) fn new(number: i64) -> Option<Kind> {
        [Kind::Metadata, Kind::Entry, Kind::State, Kind::Crc, Kind::Snapshot]
            .into_iter()
            .find(|kind| *kind as i64 == number)
    }
}

/// The length word of a record of `size` bytes, and its padding.
pub(crate) fn length_word(size: usize) -> (u64, usize) {
    let padding = size.next_multiple_of(FRAME_BYTES as usize) - size;
    let flags = if padding == 0 { 0 } else { (0x80 | padding as u64) << 56 };
    (size as u64 | flags, padding)
}

/// The sizes that a length word tells: record and padding.
pub(crate) fn parse_length_word(word: u64) -> (u64, u64) {
    let padding = if word >> 63 == 1 { (word >> 56) & 7 } else { 0 };
    (word & ((1 << 56) - 1), padding)
}

/// Encodes records behind each other into one buffer, and carries the rolling checksum.
#[derive(Default)]
pub(crate) struct Encoder {
    pub(crate) buffer: Vec<u8>,
    pub(crate) crc: u32,
    /// The start of a message, before its payload. Kept to be allocated once.
    head: Vec<u8>,
}

impl Encoder {
    /// An encoder that continues a log whose records have the checksum `crc`.
    pub(crate) fn new(crc: u32) -> Encoder {
        Encoder { crc, ..Encoder::default() }
    }

    /// The record every segment begins with.
    pub(crate) fn crc(&mut self) {
        self.frame(Kind::Crc, &[], None);
    }

    /// Data that is encoded already.
    pub(crate) fn encoded(&mut self, kind: Kind, data: &[u8]) {
        self.frame(kind, data, Some(&[]));
    }

    pub(crate) fn entry(&mut self, entry: &Entry) {
        self.message(Kind::Entry, &entry.data, |head| {
            field(head, 1, entry.r#type as u64);
            field(head, 2, entry.term);
            field(head, 3, entry.index);
            if !entry.data.is_empty() {
                head.push(4 << 3 | 2);
                encode_varint(entry.data.len() as u64, head);
            }
        });
    }

    pub(crate) fn state(&mut self, state: &HardState) {
        self.message(Kind::State, &[], |head| {
            field(head, 1, state.term);
            field(head, 2, state.vote);
            field(head, 3, state.commit);
        });
    }

    pub(crate) fn snapshot(&mut self, snapshot: &walpb::Snapshot) {
        let conf_state = snapshot.conf_state.as_ref().map(conf_state_bytes);
        self.message(Kind::Snapshot, conf_state.as_deref().unwrap_or(&[]), |head| {
            field(head, 1, snapshot.index);
            field(head, 2, snapshot.term);
            if let Some(bytes) = &conf_state {
                head.push(3 << 3 | 2);
                encode_varint(bytes.len() as u64, head);
            }
        });
    }

    /// A message that is written as its head and a payload.
    fn message(&mut self, kind: Kind, payload: &[u8], write_head: impl FnOnce(&mut Vec<u8>)) {
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        write_head(&mut head);
        self.frame(kind, &head, Some(payload));
        self.head = head;
    }

    /// A whole frame. The data is `head` and `payload`; `None` writes no data field at all. The
    /// payload is copied once, into the buffer.
    fn frame(&mut self, kind: Kind, head: &[u8], payload: Option<&[u8]>) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; FRAME_BYTES as usize]);
        self.crc = crc32c::crc32c_append(self.crc, head);
        self.crc = crc32c::crc32c_append(self.crc, payload.unwrap_or(&[]));
        field(&mut self.buffer, 1, kind as u64);
        field(&mut self.buffer, 2, u64::from(self.crc));
        if let Some(payload) = payload {
            self.buffer.push(3 << 3 | 2);
            encode_varint((head.len() + payload.len()) as u64, &mut self.buffer);
            self.buffer.extend_from_slice(head);
            self.buffer.extend_from_slice(payload);
        }
        let body = start + FRAME_BYTES as usize;
        let (word, padding) = length_word(self.buffer.len() - body);
        self.buffer[start..body].copy_from_slice(&word.to_le_bytes());
        self.buffer.resize(self.buffer.len() + padding, 0);
    }
}

/// A number, zero or not.
pub(crate) fn field(out: &mut Vec<u8>, tag: u8, value: u64) {
    out.push(tag << 3);
    encode_varint(value, out);
}

/// `raftpb.ConfState` with its zero fields.
pub(crate) fn conf_state_bytes(state: &ConfState) -> Vec<u8> {
    let mut out = Vec::new();
    let lists = [&state.voters, &state.learners, &state.voters_outgoing, &state.learners_next];
    for (tag, ids) in (1..).zip(lists) {
        for id in ids {
            field(&mut out, tag, *id);
        }
    }
    field(&mut out, 5, u64::from(state.auto_leave));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::walpb::Record;
    use proptest::prelude::*;
    use prost::Message;

    #[test]
    fn length_words() {
        assert_eq!(length_word(16), (16, 0));
        assert_eq!(length_word(4), (0x8400_0000_0000_0004, 4));
        for size in 1..40 {
            let (word, padding) = length_word(size);
            assert_eq!(parse_length_word(word), (size as u64, padding as u64));
            assert_eq!((size + padding) % 8, 0);
        }
    }

    /// A frame taken apart by prost.
    fn only_record(encoder: &Encoder) -> Record {
        let word = u64::from_le_bytes(encoder.buffer[..8].try_into().unwrap());
        let (size, padding) = parse_length_word(word);
        assert_eq!(encoder.buffer.len() as u64, FRAME_BYTES + size + padding);
        Record::decode(&encoder.buffer[8..8 + size as usize]).unwrap()
    }

    proptest! {
        #[test]
        fn prost_reads_what_is_encoded(
            (term, index, kind) in (any::<u64>(), any::<u64>(), 0..3i32),
            data in proptest::collection::vec(any::<u8>(), 0..300),
            ids in proptest::collection::vec(any::<u64>(), 0..5),
            crc in any::<u32>(),
        ) {
            let entry = Entry { term, index, r#type: kind, data: data.into() };
            let mut encoder = Encoder::new(crc);
            encoder.entry(&entry);
            let record = only_record(&encoder);
            prop_assert_eq!(record.r#type, Kind::Entry as i64);
            prop_assert_eq!(record.crc, crc32c::crc32c_append(crc, &record.data));
            prop_assert_eq!(Entry::decode(record.data).unwrap(), entry);

            let state = HardState { term, vote: index, commit: u64::from(crc) };
            let mut encoder = Encoder::new(crc);
            encoder.state(&state);
            prop_assert_eq!(HardState::decode(only_record(&encoder).data).unwrap(), state);

            let conf_state = Some(ConfState {
                learners: ids.iter().rev().copied().collect(),
                voters: ids,
                auto_leave: kind == 1,
                ..ConfState::default()
            });
            let snapshot = walpb::Snapshot { index, term, conf_state };
            let mut encoder = Encoder::new(crc);
            encoder.snapshot(&snapshot);
            let record = only_record(&encoder);
            prop_assert_eq!(walpb::Snapshot::decode(record.data).unwrap(), snapshot);
        }
    }
}
