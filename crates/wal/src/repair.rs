//! Cutting off a torn last record, and turning back a bit of a length word.
//!
//! A crash in the middle of a save leaves some sectors of its records on the disk and others not.
//! Nobody was told that those records are safe, so the log is cut after its last good record.

use std::path::{Path, PathBuf};

use vfs::{File, Fs, OpenMode};

use crate::{
    Error,
    error::Attempt,
    reader::{Reader, TurnedBit},
    segment::{self, Segment},
};

/// What a repair did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The segment that was cut.
    pub file: PathBuf,
    /// The copy of it as it was found.
    pub broken: PathBuf,
    /// Where it ends now.
    pub length: u64,
    /// Where it ended.
    pub length_before: u64,
}

/// Repairs the last segment; `None` when there is nothing to repair in it.
pub(crate) fn repair(fs: &dyn Fs, dir: &Path) -> Result<Option<Repaired>, Error> {
    let name = *segment::list(fs, dir)?.last().expect("a list of segments is not empty");
    let path = dir.join(name.to_string());
    let file = segment::open_locked(fs, &path, OpenMode::Write)?;
    let segments = [Segment { name, file }];
    let mut reader = Reader::new(&segments);
    loop {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(Error::UnexpectedEof { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    let length = reader.offset();
    let [Segment { file, .. }] = segments;
    let broken = dir.join(format!("{name}.broken"));
    let length_before = file.len().attempt("measure", &path)?;
    copy(fs, &*file, length_before, &broken)?;
    fs.sync_dir(dir).attempt("sync", dir)?;
    file.truncate(length).attempt("truncate", &path)?;
    file.sync_all().attempt("sync", &path)?;
    Ok(Some(Repaired { file: path, broken, length, length_before }))
}

/// Writes length words as they should be, durably. A word lies within one sector, so a crash leaves
/// it as it was or as it should be.
pub(crate) fn turn_back(
    segments: &[Segment],
    dir: &Path,
    turned: &[TurnedBit],
) -> Result<(), Error> {
    for bit in turned {
        let segment = segments.iter().find(|segment| segment.name == bit.segment);
        let segment = segment.expect("a bit is of a segment that was read");
        let path = dir.join(segment.name.to_string());
        segment.file.write_at(&bit.word.to_le_bytes(), bit.position).attempt("write", &path)?;
        segment.file.sync_data().attempt("sync", &path)?;
    }
    Ok(())
}

/// Copies an open file to a new one, durably.
fn copy(fs: &dyn Fs, from: &dyn File, length: u64, to: &Path) -> Result<(), Error> {
    let copy = fs.open(to, OpenMode::Truncate).attempt("create", to)?;
    let mut part = vec![0; 1 << 20];
    let mut at = 0;
    while at < length {
        let read = from.read_at(&mut part, at).attempt("read for a copy to", to)?;
        if read == 0 {
            break;
        }
        copy.write_at(&part[..read], at).attempt("write", to)?;
        at += read as u64;
    }
    copy.sync_all().attempt("sync", to)
}
