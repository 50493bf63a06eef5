//! A bbolt file on the disk, read page by page, and the lock by which bbolt keeps others away.

use std::{fs::File, io, os::fd::AsRawFd, os::unix::fs::FileExt, path::Path};

use bbolt::{Db, Source};

use crate::Error;

use super::io as io_error;

/// A file that is read at offsets.
#[derive(Debug)]
pub struct DbFile {
    file: File,
    len: u64,
}

/// Who else may have a file open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Others who read.
    Readers,
    /// Nobody.
    Nobody,
}

impl DbFile {
    /// Opens a file without a look at its content.
    pub fn open(path: &Path) -> Result<DbFile, Error> {
        let file = File::open(path).map_err(io_error("open", path))?;
        let len = file.metadata().map_err(io_error("stat", path))?.len();
        Ok(DbFile { file, len })
    }

    /// The file without its last `bytes`: what is appended to a snapshot is not part of the database.
    pub fn without_last(self, bytes: u64) -> DbFile {
        DbFile { len: self.len.saturating_sub(bytes), ..self }
    }

    /// Takes bbolt's lock, held until the file is dropped; `false` when another process has it.
    pub fn try_lock(&self, share: Share) -> io::Result<bool> {
        let kind = match share {
            Share::Readers => libc::LOCK_SH,
            Share::Nobody => libc::LOCK_EX,
        };
        // SAFETY: the descriptor is open for the whole call.
        if unsafe { libc::flock(self.file.as_raw_fd(), kind | libc::LOCK_NB) } == 0 {
            return Ok(true);
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            error => Err(error),
        }
    }
}

impl Source for DbFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.read_exact_at(buf, offset)
    }
}

/// Opens a bbolt file, without its lock: for files that nobody writes.
pub fn open_db(path: &Path) -> Result<Db<DbFile>, Error> {
    Ok(Db::open(DbFile::open(path)?)?)
}
