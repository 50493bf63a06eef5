//! The pages of the file kept in memory (`--memory-mlock`): as many as the file has.
//!
//! Invariants: what is locked is a prefix of the mapping, and after each commit it is as long as the
//! file; the mapping moves only while `writer` is held, as everything here is done.

use std::{fs, io};

use super::{LmdbBackend, io as io_error};
use crate::Error;

/// The prefix of the mapping that is locked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Locked {
    /// Where the file is mapped; `None` once that may have changed.
    start: Option<usize>,
    bytes: usize,
}

impl LmdbBackend {
    /// Keeps every page of the file in memory from now on, those to come included. Fails where the
    /// process may not lock that much; a later commit fails when the file outgrows what it may.
    pub fn lock_memory(&self) -> Result<(), Error> {
        let _one_writer = self.writer.lock();
        self.locked.lock().get_or_insert_default();
        self.extend_lock()
    }

    /// Locks what the file has grown by. The caller holds `writer`.
    pub(super) fn extend_lock(&self) -> Result<(), Error> {
        let mut locked = self.locked.lock();
        let Some(locked) = &mut *locked else { return Ok(()) };
        let file = fs::metadata(&self.data_file).map_err(io_error("stat", &self.data_file))?;
        let bytes = usize::try_from(file.len()).unwrap_or(usize::MAX);
        let bytes = bytes.min(self.env.info().map_size);
        let refused = |source| Error::MemoryLock { bytes, source };
        if bytes <= locked.bytes {
            return Ok(());
        }
        let start = locked.start.or_else(|| self.map_start());
        let start = start.ok_or_else(|| refused(io::ErrorKind::NotFound.into()))?;
        // SAFETY: the range is part of the mapping, which only the holder of `writer` moves, and of
        // the file, which never shrinks. Locking changes no byte.
        let code = unsafe {
            let from = (start + locked.bytes) as *const libc::c_void;
            libc::mlock(from, bytes - locked.bytes)
        };
        if code != 0 {
            return Err(refused(io::Error::last_os_error()));
        }
        *locked = Locked { start: Some(start), bytes };
        Ok(())
    }

    /// Notes that the mapping is a new one, of which nothing is locked.
    pub(super) fn forget_lock(&self) {
        if let Some(locked) = &mut *self.locked.lock() {
            *locked = Locked::default();
        }
    }
}
