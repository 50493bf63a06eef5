//! Reading records, segment by segment, and telling a torn write from damage.

use api::walpb::Record;
use prost::Message;

use crate::{
    Error,
    error::Attempt,
    record::{FRAME_BYTES, Kind, parse_length_word},
    segment::Segment,
};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;

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
}

/// A part of a file in memory.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(segments: &'a [Segment]) -> Reader<'a> {
        Reader { segments, crc: 0, offset: 0, length: None, window: Window::default() }
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
        if word == 0 {
            return Ok(None);
        }
        let (size, padding) = parse_length_word(word);
        if size + padding > rest - FRAME_BYTES {
            return Err(self.unexpected_eof());
        }
        let body = self.offset + FRAME_BYTES;
        let bytes = self.window.bytes(segment, body, size + padding, length)?;
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
        self.crc = crc;
        self.offset = body + size + padding;
        Ok(Some((kind, record)))
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
