//! The last segment of a log: writing, syncing, ending it and beginning the next.

use std::{io, path::PathBuf};

use api::raftpb::HardState;
use mutants::{Mutant, is_on};
use vfs::File;

use super::{BUFFER_BYTES_MAX, Wal};
use crate::{
    Error,
    error::Attempt,
    prepare,
    record::Kind,
    segment::{Name, Segment},
};

impl Wal {
    fn tail(&self) -> &Segment {
        self.segments.last().expect("a log has a segment")
    }

    fn file(&self) -> &dyn File {
        &*self.tail().file
    }

    fn tail_path(&self) -> PathBuf {
        self.dir.join(self.tail().name.to_string())
    }

    /// Writes the buffer behind what is there.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        let bytes = self.encoder.buffer.len();
        if bytes == 0 {
            return Ok(());
        }
        let written = self.file().write_at(&self.encoder.buffer, self.offset);
        if written.is_err() {
            // A part of it may be there (no space left), and cut off anywhere it would look like
            // damage. Nobody was told it is safe, so it goes; failing that, so be it.
            let _ = self.file().truncate(self.offset);
        }
        written.attempt("write", &self.tail_path())?;
        self.offset += bytes as u64;
        self.stats.bytes += bytes as u64;
        self.encoder.buffer.clear();
        self.encoder.buffer.shrink_to(BUFFER_BYTES_MAX);
        Ok(())
    }

    pub(super) fn sync_tail(&mut self) -> Result<(), Error> {
        if self.options.sync {
            let synced = self.file().sync_data();
            if !is_on(Mutant::FailedSyncIgnored) {
                synced.attempt("sync", &self.tail_path())?;
            }
            self.stats.syncs += 1;
        }
        Ok(())
    }

    /// The records that a segment begins with.
    pub(super) fn write_header(&mut self) {
        self.encoder.crc();
        self.encoder.encoded(Kind::Metadata, &self.metadata);
        if self.hard_state != HardState::default() {
            self.encoder.state(&self.hard_state);
        }
    }

    /// Ends the last segment at its last record and begins a new one. Whatever a crash leaves of
    /// this, the log is whole: the new segment gets its name when its header is durable.
    pub(super) fn cut(&mut self) -> Result<(), Error> {
        self.flush()?;
        self.file().truncate(self.offset).attempt("truncate", &self.tail_path())?;
        self.sync_tail()?;
        let (temporary, file) = match self.prepared.take() {
            Some(prepared) => (prepared.path, prepared.file),
            None => prepare::on_demand(&*self.fs, &self.dir, &self.options)?,
        };
        let sequence = self.tail().name.sequence + 1;
        let name = Name { sequence, first_index: self.last_index + 1 };
        self.segments.push(Segment { name, file });
        self.offset = 0;
        self.stats_before = self.stats;
        self.write_header();
        self.flush()?;
        self.sync_tail()?;
        let path = self.tail_path();
        self.fs.rename(&temporary, &path).attempt("rename to", &path)?;
        self.fs.sync_dir(&self.dir).attempt("sync", &self.dir)?;
        self.stats.segments_cut += 1;
        Ok(())
    }

    /// Makes what was read durable, before anybody is told of it. The process before may have been
    /// killed between a write and its sync, or have ended because a sync failed: then the page cache
    /// shows records that the disk does not have, and that no later sync would write. So they are
    /// written again. The segments before were synced when they ended.
    pub(super) fn make_durable(&mut self) -> Result<(), Error> {
        if !self.options.sync || is_on(Mutant::FoundNotDurable) {
            return Ok(());
        }
        let path = self.tail_path();
        // Page by page, as `File::zero` does it, and for the same reason.
        let mut page = vec![0; 4 << 10];
        let mut at = 0;
        while at < self.offset {
            let some = (self.offset - at).min(page.len() as u64) as usize;
            let read = self.file().read_full_at(&mut page[..some], at).attempt("read", &path)?;
            if read == 0 {
                break;
            }
            self.file().write_at(&page[..read], at).attempt("write", &path)?;
            at += read as u64;
        }
        self.file().sync_data().attempt("sync", &path)?;
        // Its name, that of the log, and the end of the names that went.
        self.fs.sync_dir(&self.dir).attempt("sync", &self.dir)?;
        let parent = self.dir.parent().unwrap_or(std::path::Path::new(""));
        if is_on(Mutant::LogDirNotSynced) {
            return Ok(());
        }
        self.fs.sync_dir(parent).attempt("sync", parent)
    }

    /// Makes everything behind the last record zeros, and reserves the space of a whole segment.
    ///
    /// A crash can leave sectors of an unfinished save behind the end. Records written over some
    /// of them would run into the others; so they go first, durably.
    pub(super) fn clear_tail(&mut self) -> Result<(), Error> {
        let path = self.tail_path();
        let length = self.file().len().attempt("measure", &path)?;
        let dirty_end = self.nonzero_end(length).attempt("read", &path)?;
        if dirty_end > self.offset {
            self.file().zero(self.offset, dirty_end).attempt("zero", &path)?;
            self.sync_tail()?;
        }
        if length < self.options.segment_bytes {
            let reserved = self.file().preallocate(self.options.segment_bytes);
            reserved.attempt("preallocate", &path)?;
        }
        Ok(())
    }

    /// The end of the last part behind the records that is not zeros; 0 if all is.
    fn nonzero_end(&self, length: u64) -> io::Result<u64> {
        let mut part = vec![0; 256 << 10];
        let zeros = vec![0; part.len()];
        let (mut at, mut end) = (self.offset, 0);
        while at < length {
            let read = self.file().read_at(&mut part, at)?;
            if read == 0 {
                break;
            }
            at += read as u64;
            if part[..read] != zeros[..read] {
                end = at;
            }
        }
        Ok(end)
    }
}
