//! The traits [`Fs`] and [`File`].
//!
//! Errors are `std::io::Error` with the kinds the operating system gives (`NotFound`,
//! `AlreadyExists`, ...), in every implementation alike.

use std::{io, path::Path};

/// How [`Fs::open`] treats a file that is there or is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// The file must exist; only reading is allowed.
    Read,
    /// The file must exist; reading and writing.
    Write,
    /// Created when absent, kept as it is when present; reading and writing.
    Create,
    /// Created when absent, emptied when present; reading and writing.
    Truncate,
    /// Must not exist yet; reading and writing.
    CreateNew,
}

/// A file system. Paths are used as given; implementations know no working directory of their own.
pub trait Fs: Send + Sync {
    /// Opens a file. New files are readable and writable by their owner alone (0600).
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn File>>;

    /// Makes the names in `dir` durable: files created, renamed and removed in it.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Renames a file or a directory. A file at `to` is replaced, and so is an empty directory by
    /// a directory. Open files and their locks stay as they are.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Whoever has it open keeps it.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and all in it; no error when it does not exist.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Creates a directory and its parents where absent, for their owner alone (0700).
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// The names in a directory, sorted. Names that are not UTF-8 are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Whether a file or directory is there.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// The length of a file in bytes.
    fn len(&self, path: &Path) -> io::Result<u64> {
        self.open(path, OpenMode::Read)?.len()
    }

    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.open(path, OpenMode::Read)?.read_all()
    }
}

/// An open file. There is no position: every read and write names its offset.
pub trait File: Send {
    /// Reads at `offset` into `buf`; returns the bytes read, fewer than asked or 0 at the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `data` at `offset`, extending the file as needed.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;

    /// Reserves space up to `len` and extends the file to it with zeros; never shortens it.
    fn preallocate(&self, len: u64) -> io::Result<()>;

    /// Cuts or extends the file to `len`; new bytes are zeros.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes content and length durable.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes content, length and all other attributes durable.
    fn sync_all(&self) -> io::Result<()>;

    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Takes the exclusive lock of the file, held until this handle is dropped; `false` when
    /// another handle holds it, in this process or another. The handle must be open for writing.
    fn try_lock(&self) -> io::Result<bool>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads at `offset` until `buf` is full or the file ends; returns the bytes read.
    fn read_full_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.read_at(&mut buf[done..], offset + done as u64)? {
                0 => break,
                some => done += some,
            }
        }
        Ok(done)
    }

    /// The whole content.
    fn read_all(&self) -> io::Result<Vec<u8>> {
        let mut content = vec![0; usize::try_from(self.len()?).map_err(io::Error::other)?];
        let read = self.read_full_at(&mut content, 0)?;
        content.truncate(read);
        Ok(content)
    }

    /// Writes `data` at the end.
    fn append(&self, data: &[u8]) -> io::Result<()> {
        self.write_at(data, self.len()?)
    }

    /// Writes zeros from `from` to `to`, as real writes: the blocks are in use afterwards, so that
    /// later writes into them change no metadata of the file system.
    fn zero(&self, from: u64, to: u64) -> io::Result<()> {
        // Page by page: the page cache keeps what one large write filled as one piece, and then
        // writes all of the piece back for every small record that is put into it.
        static ZEROS: [u8; 4 << 10] = [0; 4 << 10];
        let mut at = from;
        while at < to {
            let some = (to - at).min(ZEROS.len() as u64);
            self.write_at(&ZEROS[..some as usize], at)?;
            at += some;
        }
        Ok(())
    }
}
