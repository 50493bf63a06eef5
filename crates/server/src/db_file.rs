//! A bbolt file on disk as the `bbolt` crate reads it.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use bbolt::Source;

/// An open database file.
#[derive(Debug)]
pub(crate) struct DbFile {
    file: File,
    bytes: u64,
}

impl DbFile {
    /// Opens the file at `path`. Nobody may change it meanwhile.
    pub(crate) fn open(path: &Path) -> io::Result<DbFile> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(DbFile { file, bytes })
    }
}

impl Source for DbFile {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}
