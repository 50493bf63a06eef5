//! A file system in memory that can lose power.
//!
//! [`MemFs::crash_clone`] returns one of the states a power loss may leave, chosen by a seed:
//! - what was synced is there;
//! - of a file's unsynced writes each 512-byte sector is there or not on its own; a sector itself
//!   is never half written, as disks promise; the unsynced length is the old or the new one;
//! - of the unsynced changes of a directory (create, rename, remove) each is there or not on its
//!   own, but a rename is never half done.
//!
//! A file that was synced has its bytes, but no name, until its directory is synced too.
//! The root directory always exists; there are no links.

mod content;
mod tree;

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;

use crate::{File, Fs, OpenMode};
use content::Content;
use tree::Tree;

/// The size of a sector: what a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// The file system. Clones share the files.
#[derive(Clone, Default)]
pub struct MemFs {
    tree: Arc<Mutex<Tree>>,
}

struct MemFile {
    content: Arc<Mutex<Content>>,
    writable: bool,
    holds_lock: AtomicBool,
}

impl MemFs {
    /// A file system with an empty root directory.
    pub fn new() -> MemFs {
        MemFs::default()
    }

    /// What a power loss at this moment may leave. The same seed gives the same state. Locks are
    /// gone; this file system and its open files are not touched.
    pub fn crash_clone(&self, seed: u64) -> MemFs {
        let tree = self.tree.lock().after_crash(&mut Random(seed));
        MemFs { tree: Arc::new(Mutex::new(tree)) }
    }
}

impl Fs for MemFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn File>> {
        let mut tree = self.tree.lock();
        let found = tree.file(path);
        let content = match (mode, found) {
            (OpenMode::CreateNew, Ok(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::Read | OpenMode::Write | OpenMode::Create, Ok(content)) => content,
            (OpenMode::Truncate, Ok(content)) => {
                content.lock().truncate(0);
                content
            }
            (OpenMode::Create | OpenMode::Truncate | OpenMode::CreateNew, Err(error))
                if error.kind() == io::ErrorKind::NotFound =>
            {
                tree.create(path)?
            }
            (_, Err(error)) => return Err(error),
        };
        let writable = mode != OpenMode::Read;
        Ok(Box::new(MemFile { content, writable, holds_lock: AtomicBool::new(false) }))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.tree.lock().sync(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.tree.lock().rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.tree.lock().remove(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        match self.tree.lock().remove_dir_all(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.tree.lock().create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.tree.lock().list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.tree.lock().exists(path)
    }
}

impl MemFile {
    fn changed(&self, change: impl FnOnce(&mut Content)) -> io::Result<()> {
        if !self.writable {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        change(&mut self.content.lock());
        Ok(())
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

impl File for MemFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(self.content.lock().read(buf, place(offset)?))
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let at = place(offset)?;
        self.changed(|content| content.write(data, at))
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        let len = place(len)?;
        self.changed(|content| content.truncate(len.max(content.len())))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let len = place(len)?;
        self.changed(|content| content.truncate(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.content.lock().sync();
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.content.lock().len() as u64)
    }

    fn try_lock(&self) -> io::Result<bool> {
        if self.holds_lock.load(Ordering::Relaxed) {
            return Ok(true);
        }
        if !self.writable {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        let mut content = self.content.lock();
        let free = !std::mem::replace(&mut content.locked, true);
        self.holds_lock.store(free, Ordering::Relaxed);
        Ok(free)
    }
}

impl Drop for MemFile {
    fn drop(&mut self) {
        if *self.holds_lock.get_mut() {
            self.content.lock().locked = false;
        }
    }
}

/// A small generator (splitmix64), so that the crate needs no other and a seed stays a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    /// How often things are kept, of 8 times. The ends are as likely as all between: "nothing
    /// reached the disk" and "everything did" are the common crashes.
    fn odds(&mut self) -> u64 {
        [0, 1, 4, 7, 8][(self.next() % 5) as usize]
    }

    fn keeps(&mut self, odds: u64) -> bool {
        self.next() % 8 < odds
    }
}

#[cfg(test)]
mod tests;
