//! Reading records, segment by segment, and telling a torn write from damage.
//!
//! The checksum of a record does not cover its length word. A bit that turns over there would be
//! taken for what a crash leaves: a word that becomes zero for the end of the log, one that points
//! into the zeros behind the log for a torn write. Both would drop acknowledged records without a
//! word. So where a record cannot be read under its length word, the words that differ from it by
//! one bit are tried, and the one under which the chain of checksums holds is the right one. After
//! a torn write that does no harm: a record whose checksum holds is there as a whole.

use api::walpb::Record;
use prost::Message;

use crate::{
    Error,
    error::Attempt,
    record::{FRAME_BYTES, Kind, length_word, parse_length_word},
    segment::{self, Segment},
};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;

/// The least that a record takes: its type and a checksum of one byte.
const RECORD_BYTES_MIN: u64 = 4;

/// How much is read from a file at a time, at least.
const WINDOW_BYTES: usize = 1 << 20;

/// Reads the records of consecutive segments. The checksum of every record is verified.
pub(crate) struct Reader<'a> {
    segments: &'a [Segment],
    /// The rolling checksum of all records read.
    crc: u32,
    /// Where the next record begins in the first of `segments`.
    offset: u64,
    /// The length of the file of the first of `segments`, once known.
    length: Option<u64>,
    window: Window,
    turned: Vec<TurnedBit>,
}

/// A length word that had one bit turned over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TurnedBit {
    pub(crate) segment: segment::Name,
    /// Where the word is in the segment.
    pub(crate) position: u64,
    /// What it should be.
    pub(crate) word: u64,
}

/// A record, and what reading it told.
struct Found {
    kind: Kind,
    record: Record,
    /// The rolling checksum after it.
    crc: u32,
    /// Where its frame ends.
    end: u64,
}

/// A part of a file in memory.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(segments: &'a [Segment]) -> Reader<'a> {
        Reader {
            segments,
            crc: 0,
            offset: 0,
            length: None,
            window: Window::default(),
            turned: vec![],
        }
    }

    /// The length words that were read as they should be and not as they are.
    pub(crate) fn take_turned(&mut self) -> Vec<TurnedBit> {
        std::mem::take(&mut self.turned)
    }

    /// The checksum of all records read.
    pub(crate) fn crc(&self) -> u32 {
        self.crc
    }

    /// Where the last segment read ends: after its last good record.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record; `None` at the end of the last segment. After an error it is the same one.
    pub(crate) fn next(&mut self) -> Result<Option<(Kind, Record)>, Error> {
        loop {
            if let Some(record) = self.next_in_segment()? {
                return Ok(Some(record));
            }
            // The end of a file or space that was not written yet. The last segment stays, for its
            // offset.
            if self.segments.len() <= 1 {
                return Ok(None);
            }
            self.segments = &self.segments[1..];
            (self.offset, self.length, self.window) = (0, None, Window::default());
        }
    }

    fn next_in_segment(&mut self) -> Result<Option<(Kind, Record)>, Error> {
        let Some(segment) = self.segments.first() else { return Ok(None) };
        let length = match self.length {
            Some(length) => length,
            None => *self.length.insert(segment.file.len().attempt("measure", &name(segment))?),
        };
        let rest = length.saturating_sub(self.offset);
        if rest == 0 {
            return Ok(None);
        }
        if rest < FRAME_BYTES {
            return Err(self.unexpected_eof());
        }
        let word = self.window.bytes(segment, self.offset, FRAME_BYTES, length)?;
        let word = u64::from_le_bytes(word.try_into().expect("a word has 8 bytes"));
        // A word of zeros ends a segment.
        let read = if word == 0 { Ok(None) } else { self.record(word, length).map(Some) };
        let found = match read {
            Ok(Some(found)) if is_canonical(word) => found,
            Err(error @ Error::Io { .. }) => return Err(error),
            other => match self.with_one_bit_turned(word, length)? {
                Some((right, found)) => {
                    let (segment, position) = (self.segments[0].name, self.offset);
                    self.turned.push(TurnedBit { segment, position, word: right });
                    found
                }
                None => match other? {
                    Some(found) => found,
                    None => return Ok(None),
                },
            },
        };
        self.crc = found.crc;
        self.offset = found.end;
        Ok(Some((found.kind, found.record)))
    }

    /// The next record, if its length word were `word`.
    fn record(&mut self, word: u64, length: u64) -> Result<Found, Error> {
        let (size, padding) = parse_length_word(word);
        let body = self.offset + FRAME_BYTES;
        if size + padding > length - body {
            return Err(self.unexpected_eof());
        }
        let bytes = self.window.bytes(&self.segments[0], body, size + padding, length)?;
        // Only the end of the log can be torn.
        let torn = || self.segments.len() == 1 && has_zero_sector(bytes, body);
        let record = match Record::decode(&bytes[..size as usize]) {
            Ok(record) => record,
            Err(_) if torn() => return Err(self.unexpected_eof()),
            Err(source) => return Err(self.invalid(source)),
        };
        let crc = match Kind::new(record.r#type) {
            // A reader that has read nothing takes the sum it is told.
            Some(Kind::Crc) if self.crc != 0 && self.crc != record.crc => {
                return Err(Error::SegmentCrcMismatch);
            }
            Some(Kind::Crc) => record.crc,
            _ if mutants::is_on(mutants::Mutant::ChecksumIgnored) => record.crc,
            _ => crc32c::crc32c_append(self.crc, &record.data),
        };
        if crc != record.crc {
            return Err(if torn() {
                self.unexpected_eof()
            } else {
                self.mismatch(record.crc, crc)
            });
        }
        let kind = Kind::new(record.r#type).ok_or(Error::UnexpectedBlockType(record.r#type))?;
        Ok(Found { kind, record, crc, end: body + size + padding })
    }

    /// The next record under a length word that differs from the one there by one bit, and that
    /// word; `None` when there is none.
    fn with_one_bit_turned(
        &mut self,
        word: u64,
        length: u64,
    ) -> Result<Option<(u64, Found)>, Error> {
        let body = self.offset + FRAME_BYTES;
        if length - body < RECORD_BYTES_MIN {
            return Ok(None);
        }
        // Space that was not written ends here, without reading it under each of the words.
        let start = self.window.bytes(&self.segments[0], body, RECORD_BYTES_MIN, length)?;
        if !(start[0] == 1 << 3 && Kind::new(i64::from(start[1])).is_some() && start[2] == 2 << 3) {
            return Ok(None);
        }
        for other in (0..u64::BITS).map(|bit| word ^ 1 << bit) {
            let size = parse_length_word(other).0;
            if !is_canonical(other) || size < RECORD_BYTES_MIN || size > length - body {
                continue;
            }
            match self.record(other, length) {
                Ok(found) => return Ok(Some((other, found))),
                Err(error @ Error::Io { .. }) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(None)
    }

    fn place(&self) -> (String, u64) {
        let file = self.segments.first().map(|segment| segment.name.to_string());
        (file.unwrap_or_default(), self.offset)
    }

    fn unexpected_eof(&self) -> Error {
        let (file, position) = self.place();
        Error::UnexpectedEof { file, position }
    }

    /// The error of a record that cannot be decoded.
    pub(crate) fn invalid(&self, source: prost::DecodeError) -> Error {
        let (file, position) = self.place();
        Error::InvalidRecord { file, position, source }
    }

    fn mismatch(&self, expected: u32, computed: u32) -> Error {
        let (file, position) = self.place();
        Error::CrcMismatch { expected, computed, file, position }
    }
}

impl Window {
    /// The bytes of a file from `at`, within `length`.
    fn bytes(
        &mut self,
        segment: &Segment,
        at: u64,
        count: u64,
        length: u64,
    ) -> Result<&[u8], Error> {
        let end = at + count;
        assert!(end <= length, "the window is not asked for bytes after the end of the file");
        if at < self.start || end > self.start + self.bytes.len() as u64 {
            let wanted = count.max(WINDOW_BYTES as u64).min(length - at);
            self.bytes.resize(wanted as usize, 0);
            self.start = at;
            let read = segment.file.read_full_at(&mut self.bytes, at);
            let read = read.attempt("read", &name(segment))?;
            if (read as u64) < count {
                // Cut by someone else since its length was taken.
                let file = segment.name.to_string();
                return Err(Error::UnexpectedEof { file, position: at });
            }
            self.bytes.truncate(read);
        }
        let from = (at - self.start) as usize;
        Ok(&self.bytes[from..from + count as usize])
    }
}

/// Whether a length word is one that is written: the padding is what the size wants. Logs of etcd 2
/// have others, without padding.
fn is_canonical(word: u64) -> bool {
    word == length_word(parse_length_word(word).0 as usize).0
}

/// Whether a sector of the record body, which begins at `offset` of its file, is all zeros: then
/// the sector was never written. The first and last sector count with the part that is body.
fn has_zero_sector(body: &[u8], offset: u64) -> bool {
    let first = (SECTOR_BYTES - offset % SECTOR_BYTES) as usize;
    let (first, rest) = body.split_at(first.min(body.len()));
    let zero = |sector: &[u8]| sector.iter().all(|byte| *byte == 0);
    (!first.is_empty() && zero(first)) || rest.chunks(SECTOR_BYTES as usize).any(zero)
}

fn name(segment: &Segment) -> std::path::PathBuf {
    segment.name.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_sectors() {
        let mut body = vec![1; 1500];
        assert!(!has_zero_sector(&body, 8));
        body[504..1016].fill(0);
        assert!(has_zero_sector(&body, 8), "a whole sector");
        assert!(!has_zero_sector(&body, 16), "as many zeros across two sectors");
        let mut body = vec![0; 20];
        assert!(has_zero_sector(&body, 500));
        body[5] = 1;
        assert!(has_zero_sector(&body, 500), "the part in the second sector is zero");
        body[12] = 1;
        assert!(!has_zero_sector(&body, 500));
        assert!(!has_zero_sector(&[], 8));
    }
}
