//! A file system as an argument: what the write-ahead log does to disks goes through here, so that
//! a simulation can take its place and lose power at any write.

mod mem;
pub mod os;

use std::{io, path::Path};

pub use mem::MemFs;

/// An open file. Positions are explicit; there is no cursor.
pub trait File: Send {
    /// Fills as much of `buf` as the file has from `offset`; the number of bytes read.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `data` at `offset`.
    fn write_at(&mut self, data: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts or extends the file to `len` bytes; new bytes are zero.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
    /// Allocates space for the first `len` bytes; new bytes are zero and count as written.
    fn preallocate(&mut self, len: u64) -> io::Result<()>;
    /// Makes data and size durable, not timestamps (`fdatasync`).
    fn sync_data(&mut self) -> io::Result<()>;
    /// The size in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Takes the exclusive lock of the file, held until it is closed; `WouldBlock` if another has it.
    fn try_lock(&mut self) -> io::Result<()>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A file system. Changes of directories are durable after [`Fs::sync_dir`].
pub trait Fs: Send + Sync {
    /// Creates a file that must not exist.
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Moves a file or directory, replacing a file of the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with everything in it; fine if there is none.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory and its parents, for the owner only.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Whether something of this name exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// The whole content of a file.
pub fn read_all(file: &dyn File) -> io::Result<Vec<u8>> {
    let mut data = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    let mut filled = 0;
    while filled < data.len() {
        match file.read_at(&mut data[filled..], filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    data.truncate(filled);
    Ok(data)
}
