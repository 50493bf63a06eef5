//! Segment files: their names, their order, and which of them a snapshot needs.

use std::{fmt, io::ErrorKind, path::Path};

use vfs::{File, Fs, OpenMode};

use crate::{Error, error::Attempt};

/// The name of a segment, `%016x-%016x.wal`. The order of names is the order of segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    /// Counts the segments of a log from 0.
    pub(crate) sequence: u64,
    /// The index of the first entry the segment was made for: one more than the last entry (or
    /// snapshot) saved before it. After an overwritten tail of the log it can be lower than that
    /// of the segment before.
    pub(crate) first_index: u64,
}

impl Name {
    /// Takes a file name apart; `None` for anything but a segment.
    pub(crate) fn parse(name: &str) -> Option<Name> {
        let (sequence, first_index) = name.strip_suffix(".wal")?.split_once('-')?;
        Some(Name { sequence: hex(sequence)?, first_index: hex(first_index)? })
    }
}

/// 16 lower-case hex digits, as names have them; `from_str_radix` alone would take signs and more.
fn hex(digits: &str) -> Option<u64> {
    let plain = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 16 || !digits.as_bytes().iter().all(plain) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}.wal", self.sequence, self.first_index)
    }
}

/// A segment that is open.
pub(crate) struct Segment {
    pub(crate) name: Name,
    pub(crate) file: Box<dyn File>,
}

/// The segments of a directory in order. Other files there are nobody's business.
pub(crate) fn list(fs: &dyn Fs, dir: &Path) -> Result<Vec<Name>, Error> {
    let names = match fs.list(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::FileNotFound),
        other => other.attempt("list", dir)?,
    };
    let mut segments: Vec<Name> = names.iter().filter_map(|name| Name::parse(name)).collect();
    segments.sort_unstable();
    if segments.is_empty() { Err(Error::FileNotFound) } else { Ok(segments) }
}

/// The segments that hold what follows a snapshot: from the last one made for an index not above
/// the snapshot's.
pub(crate) fn select(fs: &dyn Fs, dir: &Path, index: u64) -> Result<Vec<Name>, Error> {
    let mut names = list(fs, dir)?;
    let Some(start) = names.iter().rposition(|name| name.first_index <= index) else {
        return Err(Error::NoFileForSnapshot(index));
    };
    names.drain(..start);
    let follows = |pair: &[Name]| pair[0].sequence.checked_add(1) == Some(pair[1].sequence);
    if names.windows(2).all(follows) { Ok(names) } else { Err(Error::SequenceGap(start)) }
}

/// Opens segments for reading, which bothers no one who has them open for writing.
pub(crate) fn open_for_read(
    fs: &dyn Fs,
    dir: &Path,
    names: &[Name],
) -> Result<Vec<Segment>, Error> {
    let open = |name: &Name| {
        let path = dir.join(name.to_string());
        let file = fs.open(&path, OpenMode::Read).attempt("open", &path)?;
        Ok(Segment { name: *name, file })
    };
    names.iter().map(open).collect()
}

/// Opens and locks segments.
pub(crate) fn open_for_write(
    fs: &dyn Fs,
    dir: &Path,
    names: &[Name],
) -> Result<Vec<Segment>, Error> {
    let open = |name: &Name| {
        let file = open_locked(fs, &dir.join(name.to_string()), OpenMode::Write)?;
        Ok(Segment { name: *name, file })
    };
    names.iter().map(open).collect()
}

/// Opens a file and takes its lock, which is held until the file is closed.
pub(crate) fn open_locked(
    fs: &dyn Fs,
    path: &Path,
    mode: OpenMode,
) -> Result<Box<dyn File>, Error> {
    let file = fs.open(path, mode).attempt("open", path)?;
    if file.try_lock().attempt("lock", path)? {
        Ok(file)
    } else {
        Err(Error::Locked(path.display().to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vfs::mem::MemFs;

    #[test]
    fn names() {
        let name = Name { sequence: 0x1f, first_index: 0xabc };
        assert_eq!(name.to_string(), "000000000000001f-0000000000000abc.wal");
        assert_eq!(Name::parse(&name.to_string()), Some(name));
        for other in [
            "0.tmp",
            "1-2.wal",
            "000000000000001f-0000000000000abc.wal.broken",
            "000000000000001f-0000000000000ABC.wal",
            "+00000000000001f-0000000000000abc.wal",
            "000000000000001f-0000000000000abc",
        ] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }

    #[test]
    fn selection() {
        let fs = MemFs::new();
        let dir = Path::new("/wal");
        assert!(matches!(list(&fs, dir), Err(Error::FileNotFound)));
        fs.create_dir_all(dir).unwrap();
        assert!(matches!(list(&fs, dir), Err(Error::FileNotFound)));
        let names = [(3, 10), (4, 20), (5, 15), (6, 30)]
            .map(|(sequence, first_index)| Name { sequence, first_index });
        for name in names {
            fs.open(&dir.join(name.to_string()), OpenMode::CreateNew).unwrap();
        }
        fs.open(&dir.join("0.tmp"), OpenMode::CreateNew).unwrap();
        assert_eq!(list(&fs, dir).unwrap(), names);
        assert_eq!(select(&fs, dir, 29).unwrap(), names[2..]);
        assert_eq!(select(&fs, dir, 30).unwrap(), names[3..]);
        assert_eq!(select(&fs, dir, 14).unwrap(), names);
        let error = select(&fs, dir, 9).unwrap_err().to_string();
        assert_eq!(error, "wal: file not found which matches the snapshot index '9'");
        fs.remove(&dir.join(names[2].to_string())).unwrap();
        assert_eq!(select(&fs, dir, 30).unwrap(), names[3..]);
        let error = select(&fs, dir, 25).unwrap_err().to_string();
        let text = "wal: file sequence numbers (starting from 1) do not increase continuously";
        assert_eq!(error, text);
    }
}
