//! Reading segments: frames, checksums, and telling a torn tail from damage.

use std::path::Path;

use api::{
    ids::RaftIndex,
    raftpb::{Entry, HardState},
    walpb::{self, Metadata, Record},
};
use prost::Message;
use vfs::{Fs, read_all};

use crate::{
    Error,
    error::During,
    record::{Kind, WORD, parse_length},
    segment::{self, Name},
};

const SECTOR: usize = 512;

/// What a log holds after the snapshot it was opened at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// Whose log it is.
    pub metadata: Metadata,
    /// The last saved state.
    pub hard_state: HardState,
    /// The entries after the snapshot, without gaps.
    pub entries: Vec<Entry>,
    /// Whether a torn tail was cut off.
    pub repaired: bool,
}

/// One record as it was found.
struct Found {
    kind: Kind,
    crc: u32,
    data: Vec<u8>,
    /// Where the next record begins.
    end: usize,
}

/// How a segment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// At zeros or the end of the file.
    Clean,
    /// In a record that a crash left half written.
    Torn,
}

/// A scan over segments: the rolling checksum and what was learnt so far.
#[derive(Default)]
pub(crate) struct Scan {
    pub(crate) crc: u32,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) hard_state: HardState,
    pub(crate) snapshots: Vec<walpb::Snapshot>,
    entries: Vec<Entry>,
    /// Entries up to here are covered by the snapshot; `None` keeps no entries.
    after: Option<u64>,
}

impl Scan {
    /// A scan that keeps the entries after an index, or none.
    pub(crate) fn new(after: Option<RaftIndex>) -> Scan {
        Scan { after: after.map(|index| index.0), ..Scan::default() }
    }

    /// Reads one segment; returns how and where its records end. Only the last segment may be torn.
    pub(crate) fn segment(
        &mut self,
        fs: &dyn Fs,
        dir: &Path,
        name: Name,
        is_last: bool,
    ) -> Result<(End, u64), Error> {
        let file = fs.open(&dir.join(name.to_string())).during("open a segment")?;
        let bytes = read_all(&*file).during("read a segment")?;
        let mut at = 0;
        loop {
            match self.next(&bytes, at) {
                Ok(None) => return Ok((End::Clean, at as u64)),
                Ok(Some(found)) => {
                    let end = found.end;
                    self.take(found).map_err(|what| what.at(name, at))?;
                    at = end;
                }
                Err(problem) if is_last && torn(&bytes, at) => {
                    let _explained = problem;
                    return Ok((End::Torn, at as u64));
                }
                Err(problem) => return Err(problem.at(name, at)),
            }
        }
    }

    /// The record at `at`; `None` where the segment ends.
    fn next(&self, bytes: &[u8], at: usize) -> Result<Option<Found>, Problem> {
        let Some(word) = bytes.get(at..at + WORD) else { return Ok(None) };
        let word = u64::from_le_bytes(word.try_into().expect("a word has eight bytes"));
        if word == 0 {
            return Ok(None);
        }
        let (size, padding) = parse_length(word).ok_or(Problem::Invalid("length"))?;
        let body = at + WORD;
        let end = body.checked_add(size).and_then(|end| end.checked_add(padding));
        let end = end.filter(|end| *end <= bytes.len()).ok_or(Problem::Invalid("length"))?;
        let record = Record::decode(&bytes[body..body + size])
            .map_err(|_| Problem::Invalid("record cannot be decoded"))?;
        let kind = Kind::new(record.r#type).ok_or(Problem::Invalid("unknown kind"))?;
        let expected = match kind {
            Kind::Crc => self.crc,
            _ => crc32c::crc32c_append(self.crc, &record.data),
        };
        // The first record of all seeds the checksum.
        let seeds = kind == Kind::Crc && self.crc == 0;
        if record.crc != expected && !seeds {
            return Err(Problem::Crc);
        }
        Ok(Some(Found { kind, crc: record.crc, data: record.data.into(), end }))
    }

    /// Learns from a record whose checksum is right.
    fn take(&mut self, found: Found) -> Result<(), Problem> {
        let undecodable = |_| Problem::Invalid("data cannot be decoded");
        // The checksum of a record is that of everything up to it; a crc record's seeds it.
        self.crc = found.crc;
        match found.kind {
            Kind::Crc => {}
            Kind::Metadata => {
                let metadata = Metadata::decode(&found.data[..]).map_err(undecodable)?;
                if self.metadata.is_some_and(|known| known != metadata) {
                    return Err(Problem::Whole(Error::MetadataConflict));
                }
                self.metadata = Some(metadata);
            }
            Kind::State => {
                self.hard_state = HardState::decode(&found.data[..]).map_err(undecodable)?;
            }
            Kind::Snapshot => {
                let snapshot = walpb::Snapshot::decode(&found.data[..]).map_err(undecodable)?;
                self.snapshots.push(snapshot);
            }
            Kind::Entry => {
                let entry = Entry::decode(&found.data[..]).map_err(undecodable)?;
                self.entry(entry)?;
            }
        }
        Ok(())
    }

    /// An entry replaces those of its index and after.
    fn entry(&mut self, entry: Entry) -> Result<(), Problem> {
        let Some(after) = self.after else { return Ok(()) };
        if entry.index <= after {
            return Ok(());
        }
        let place = usize::try_from(entry.index - after - 1).unwrap_or(usize::MAX);
        if place > self.entries.len() {
            return Err(Problem::Whole(Error::Gap { snapshot: after, index: entry.index }));
        }
        self.entries.truncate(place);
        self.entries.push(entry);
        Ok(())
    }

    /// Everything that was kept.
    pub(crate) fn finish(self, repaired: bool) -> Recovered {
        Recovered {
            metadata: self.metadata.unwrap_or_default(),
            hard_state: self.hard_state,
            entries: self.entries,
            repaired,
        }
    }
}

/// What is wrong with a record.
enum Problem {
    Crc,
    Invalid(&'static str),
    Whole(Error),
}

impl Problem {
    fn at(self, name: Name, offset: usize) -> Error {
        let (file, offset) = (name.to_string(), offset as u64);
        match self {
            Problem::Crc => Error::Crc { file, offset },
            Problem::Invalid(what) => Error::Record { file, offset, what },
            Problem::Whole(error) => error,
        }
    }
}

/// Whether the bad record at `at` can be a torn write: a sector that it covers is all zero (disks
/// write whole sectors), or the file ends inside it.
fn torn(bytes: &[u8], at: usize) -> bool {
    let word = bytes.get(at..at + WORD).and_then(|word| word.try_into().ok());
    let Some((size, padding)) = word.map(u64::from_le_bytes).and_then(parse_length) else {
        return true;
    };
    let end = at.saturating_add(WORD).saturating_add(size).saturating_add(padding);
    if end > bytes.len() {
        return true;
    }
    let mut start = at;
    while start < end {
        let sector_end = (start / SECTOR + 1) * SECTOR;
        let piece = &bytes[start..sector_end.min(end)];
        if piece.iter().all(|byte| *byte == 0) {
            return true;
        }
        start = sector_end;
    }
    false
}

/// The snapshot records of a log that its last state covers, oldest first.
pub(crate) fn valid_snapshots(fs: &dyn Fs, dir: &Path) -> Result<Vec<walpb::Snapshot>, Error> {
    let segments = segment::list(fs, dir)?;
    let mut scan = Scan::new(None);
    for (place, name) in segments.iter().enumerate() {
        scan.segment(fs, dir, *name, place + 1 == segments.len())?;
    }
    let commit = scan.hard_state.commit;
    let mut snapshots = scan.snapshots;
    snapshots.retain(|snapshot| snapshot.index <= commit);
    snapshots.sort_by_key(|snapshot| snapshot.index);
    Ok(snapshots)
}
