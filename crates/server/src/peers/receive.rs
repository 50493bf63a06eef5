//! The file that a store of the leader arrives in: written under a temporary name, checked, synced,
//! and then named after its raft index, as etcd names it.
//!
//! The message that announces it is looked at only once the file is there, and a crash at any time
//! leaves either no file of that name or a whole one. Its checksum lies beside it until it is the store.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use api::ids::RaftIndex;
use bytes::Bytes;
use storage::engine::{DbSum, open_db};
use transport::SnapshotReceiver;

/// How temporary files begin; etcd removes the same at its start.
const TEMPORARY: &str = "tmp";
/// The disk is given so much at a time.
const WRITE_BACK_BYTES: u64 = 1 << 20;

/// The file of the store at `index`.
pub(crate) fn received_path(snap_dir: &Path, index: RaftIndex) -> PathBuf {
    snap_dir.join(format!("{:016x}.snap.db", index.0))
}

/// Removes what transfers that were cut off have left.
pub(crate) fn remove_temporary(snap_dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(snap_dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A store that is arriving.
pub(super) struct Receiver {
    file: File,
    temporary: PathBuf,
    index: RaftIndex,
    snap_dir: PathBuf,
    finished: bool,
    /// Bytes written, and those of them that are on their way to the disk.
    written: u64,
    handed: u64,
    sum: DbSum,
}

impl Receiver {
    /// Opens a file of its own for the store at `index`.
    pub(super) fn create(snap_dir: &Path, index: RaftIndex) -> io::Result<Receiver> {
        let (file, temporary) = create_unique(snap_dir)?;
        let snap_dir = snap_dir.to_owned();
        let (finished, written, handed, sum) = (false, 0, 0, DbSum::default());
        Ok(Receiver { file, temporary, index, snap_dir, finished, written, handed, sum })
    }

    /// Has the disk begin with what was written: one sync of it all at the end would keep everybody
    /// waiting who shares the disk.
    fn hand_over(&mut self) {
        let (from, bytes) = (self.handed, self.written - self.handed);
        let (Ok(from), Ok(bytes)) = (i64::try_from(from), i64::try_from(bytes)) else { return };
        // SAFETY: the descriptor is open for the whole call. This is a hint: a failure shows in the
        // sync at the end.
        unsafe {
            libc::sync_file_range(self.file.as_raw_fd(), from, bytes, libc::SYNC_FILE_RANGE_WRITE);
        }
        self.handed = self.written;
    }

    fn publish(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        check(&self.temporary, self.index)?;
        let place = received_path(&self.snap_dir, self.index);
        // A crash leaves the checksum of this database or none, not that of another one.
        DbSum::forget(&place)?;
        fs::rename(&self.temporary, &place)?;
        self.finished = true;
        self.sum.save(&place)?;
        File::open(&self.snap_dir)?.sync_all()
    }
}

fn create_unique(snap_dir: &Path) -> io::Result<(File, PathBuf)> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut open = fs::OpenOptions::new();
    open.write(true).create_new(true).mode(0o600);
    loop {
        let path = snap_dir.join(format!("{TEMPORARY}{}", rand::random::<u32>()));
        match open.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return Ok((opened?, path)),
        }
    }
}

/// A file that is no store, or one that has seen more than was announced, must not be promised to
/// raft. (Before 3.5 etcd's index in the file could stay behind: the announced one counts.)
fn check(path: &Path, index: RaftIndex) -> io::Result<()> {
    let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    let db = open_db(path).map_err(|error| invalid(error.to_string()))?;
    let meta = db.bucket(b"meta").map_err(|error| invalid(error.to_string()))?;
    let stored = meta.map(|meta| meta.get(b"consistent_index")).transpose();
    let stored = stored.map_err(|error| invalid(error.to_string()))?.flatten();
    let bytes = stored.and_then(|value| <[u8; 8]>::try_from(value).ok());
    let stored = bytes.map(u64::from_be_bytes);
    let Some(stored) = stored else { return Err(invalid("database without an index".into())) };
    if stored > index.0 {
        return Err(invalid(format!("database of index {stored} was announced as {index}")));
    }
    Ok(())
}

impl SnapshotReceiver for Receiver {
    fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        self.file.write_all(&chunk)?;
        self.sum.add(&chunk);
        self.written += chunk.len() as u64;
        if self.written - self.handed >= WRITE_BACK_BYTES {
            self.hand_over();
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.publish()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if !self.finished {
            // What stays is removed at the next start.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
