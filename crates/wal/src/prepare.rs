//! Preparing segments ahead of their use.
//!
//! A new segment gets its disk space, and is written full of zeros, before it is needed: a later
//! write then changes bytes of the file but nothing in the file system's own records, which makes
//! each sync cheaper. But it doubles the bytes that are written. A sync of one small entry writes a
//! page of 4 KiB anyway, and the zeros add less than a tenth to that; where entries share syncs, the
//! zeros are left out (measured on ext4, 5 KB and 24 KB a sync: a server under load is no slower). The
//! file waits under the name `0.tmp`; a log that is cut before it is ready makes its next segment
//! itself, as `1.tmp`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use vfs::{File, Fs, OpenMode};

use crate::{Error, Options, error::Attempt, segment};

/// The name of a segment that is prepared ahead.
const AHEAD: &str = "0.tmp";

/// So much of a segment is filled with zeros, and synced, at a time: saves of the log wait for the
/// same disk.
const PIECE_BYTES: u64 = 1 << 20;

/// The name of a segment that is made at the moment of its use.
const ON_DEMAND: &str = "1.tmp";

/// The work of preparing a segment, to be done wherever it disturbs nobody: it takes as long as
/// writing a segment does. See [`crate::Wal::preparation`].
pub struct Preparation {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    options: Options,
    in_work: Arc<()>,
}

/// A segment ready for use: give it to [`crate::Wal::prepared`].
pub struct Prepared {
    pub(crate) path: PathBuf,
    pub(crate) file: Box<dyn File>,
    /// Told apart from preparations of another log, and kept alive while in work.
    pub(crate) in_work: Arc<()>,
}

impl Preparation {
    pub(crate) fn new(
        fs: Arc<dyn Fs>,
        dir: &Path,
        options: Options,
        in_work: Arc<()>,
    ) -> Preparation {
        Preparation { fs, dir: dir.to_owned(), options, in_work }
    }

    /// Does the work.
    pub fn run(self) -> Result<Prepared, Error> {
        self.run_in_pieces(&mut |_| {})
    }

    /// Does the work; `pause` is called with the bytes of each piece that is on the disk.
    pub fn run_in_pieces(self, pause: &mut dyn FnMut(u64)) -> Result<Prepared, Error> {
        let path = self.dir.join(AHEAD);
        let file = allocate(&*self.fs, &path, &self.options, false)?;
        let mut from = 0;
        while self.options.zero_fill && from < self.options.segment_bytes {
            let to = self.options.segment_bytes.min(from + PIECE_BYTES);
            file.zero(from, to).attempt("zero", &path)?;
            if self.options.sync {
                file.sync_data().attempt("sync", &path)?;
            }
            pause(to - from);
            from = to;
        }
        Ok(Prepared { path, file, in_work: self.in_work })
    }
}

/// A segment made now, without the zeros.
pub(crate) fn on_demand(
    fs: &dyn Fs,
    dir: &Path,
    options: &Options,
) -> Result<(PathBuf, Box<dyn File>), Error> {
    let path = dir.join(ON_DEMAND);
    let file = allocate(fs, &path, options, false)?;
    Ok((path, file))
}

/// Makes an empty, locked file of the size of a segment; a leftover of that name is emptied.
pub(crate) fn allocate(
    fs: &dyn Fs,
    path: &Path,
    options: &Options,
    zero_fill: bool,
) -> Result<Box<dyn File>, Error> {
    let file = segment::open_locked(fs, path, OpenMode::Create)?;
    file.truncate(0).attempt("truncate", path)?;
    file.preallocate(options.segment_bytes).attempt("preallocate", path)?;
    if zero_fill {
        file.zero(0, options.segment_bytes).attempt("zero", path)?;
    }
    Ok(file)
}
