//! Segment files: `<sequence>-<index of the first entry>.wal`, both in 16 hex digits.

use std::path::Path;

use api::ids::RaftIndex;
use vfs::Fs;

use crate::{Error, error::During};

/// The name of a segment, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) sequence: u64,
    /// Entries of this segment have this index or a higher one.
    pub(crate) first: RaftIndex,
}

impl Name {
    pub(crate) fn parse(name: &str) -> Option<Name> {
        let (sequence, first) = name.strip_suffix(".wal")?.split_once('-')?;
        if sequence.len() != 16 || first.len() != 16 {
            return None;
        }
        let sequence = u64::from_str_radix(sequence, 16).ok()?;
        let first = RaftIndex(u64::from_str_radix(first, 16).ok()?);
        Some(Name { sequence, first })
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}-{:016x}.wal", self.sequence, self.first.0)
    }
}

/// The segments of a directory, in order; sequence numbers must follow each other.
pub(crate) fn list(fs: &dyn Fs, dir: &Path) -> Result<Vec<Name>, Error> {
    let names = fs.list(dir).during("list the log's directory")?;
    let mut segments: Vec<Name> = names.iter().filter_map(|name| Name::parse(name)).collect();
    segments.sort();
    let contiguous = segments.windows(2).all(|pair| pair[0].sequence + 1 == pair[1].sequence);
    if segments.is_empty() || !contiguous {
        return Err(Error::FileNotFound);
    }
    Ok(segments)
}

/// The segments from the last one that can hold the entry after `index` on.
pub(crate) fn from_index(segments: &[Name], index: RaftIndex) -> Result<&[Name], Error> {
    let first = segments.iter().rposition(|name| name.first <= index);
    first.map(|first| &segments[first..]).ok_or(Error::FileNotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        let name = Name { sequence: 0x1f, first: RaftIndex(0xabc) };
        assert_eq!(name.to_string(), "000000000000001f-0000000000000abc.wal");
        assert_eq!(Name::parse(&name.to_string()), Some(name));
        for other in ["0.tmp", "1-2.wal", "000000000000001f-0000000000000abc.wal.broken"] {
            assert_eq!(Name::parse(other), None);
        }
    }
}
