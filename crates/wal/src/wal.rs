//! The log: creating, opening, saving, releasing, purging. `tail.rs` writes the last segment.

mod tail;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use api::{
    ids::RaftIndex,
    raftpb::{Entry, HardState},
    walpb::{self, Metadata},
};
use bytes::Bytes;
use mutants::{Mutant, is_on};
use vfs::{Fs, OpenMode};

use crate::{
    Error, Recovered,
    error::Attempt,
    prepare::{self, Preparation, Prepared},
    reader::Reader,
    record::{self, Encoder},
    recover::{self, Collector},
    repair,
    segment::{self, Name, Segment},
};

/// Records that need no sync are written once there are this many bytes of them.
const UNSYNCED_BYTES_MAX: usize = 128 << 10;

/// From so many bytes a sync on, the next segment is not filled with zeros.
const ZERO_FILL_SYNC_BYTES_MAX: u64 = 4 << 10;

/// A buffer that one large save has blown up is not kept.
const BUFFER_BYTES_MAX: usize = 4 << 20;

/// How a log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The size of a segment: space is reserved for so many bytes, and a save that reaches it is
    /// followed by a new segment.
    pub segment_bytes: u64,
    /// Whether segments are synced. Without (`--unsafe-no-fsync`) a power loss takes back saves.
    pub sync: bool,
    /// Whether new segments are filled with zeros where that can be done ahead of their use, and
    /// syncs are small: see `prepare.rs`. Useless without `sync`.
    pub zero_fill: bool,
}

impl Default for Options {
    /// etcd's segments of 64,000,000 bytes, synced.
    fn default() -> Options {
        Options { segment_bytes: 64_000_000, sync: true, zero_fill: true }
    }
}

/// What a log did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Syncs of segments.
    pub syncs: u64,
    /// Entries saved.
    pub entries: u64,
    /// Bytes written to segments, headers included.
    pub bytes: u64,
    /// New segments begun because the last one was full.
    pub segments_cut: u64,
}

/// A log open for appending. All its segments from the snapshot it was opened at are locked.
pub struct Wal {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    options: Options,
    /// The metadata as the first segment has it.
    metadata: Bytes,
    /// The segments that are open and locked, oldest first. Never empty; the last is written to.
    segments: Vec<Segment>,
    /// Where the buffer of the encoder goes in the last segment.
    offset: u64,
    encoder: Encoder,
    /// The last state saved.
    hard_state: HardState,
    /// The index of the last entry saved, or of a snapshot saved after it and above it.
    last_index: u64,
    prepared: Option<Prepared>,
    /// Alive while a preparation is.
    in_work: Weak<()>,
    stats: Stats,
    /// What was done before the last segment was begun, or opened.
    stats_before: Stats,
    /// Why nothing may be written any more.
    poison: Option<String>,
}

impl Wal {
    /// Whether there is a log in `dir`.
    pub fn exists(fs: &dyn Fs, dir: &Path) -> Result<bool, Error> {
        match segment::list(fs, dir) {
            Ok(_) => Ok(true),
            Err(Error::FileNotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a log with its metadata and the snapshot of index 0. It is made beside `dir`, as
    /// `dir` + `.tmp`, and renamed: a crash leaves either a whole log or none. The directory above
    /// `dir` is created when absent, but making it durable in its own parent is the caller's.
    pub fn create(
        fs: Arc<dyn Fs>,
        dir: &Path,
        metadata: &Metadata,
        options: Options,
    ) -> Result<Wal, Error> {
        if Wal::exists(&*fs, dir)? {
            return Err(Error::Exists);
        }
        let mut temporary = dir.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        fs.remove_dir_all(&temporary).attempt("remove", &temporary)?;
        fs.create_dir_all(&temporary).attempt("create", &temporary)?;
        let name = Name { sequence: 0, first_index: 0 };
        let path = temporary.join(name.to_string());
        let file = prepare::allocate(&*fs, &path, &options, options.zero_fill && options.sync)?;
        let mut raw = Vec::new();
        record::field(&mut raw, 1, metadata.node_id);
        record::field(&mut raw, 2, metadata.cluster_id);
        let segments = vec![Segment { name, file }];
        let mut wal = Wal::new(fs, dir, options, raw.into(), segments);
        wal.write_header();
        wal.encoder.snapshot(&walpb::Snapshot::default());
        wal.flush()?;
        wal.sync_tail()?;
        wal.fs.sync_dir(&temporary).attempt("sync", &temporary)?;
        // Without segments there is nothing in it to keep.
        wal.fs.remove_dir_all(dir).attempt("remove", dir)?;
        wal.fs.rename(&temporary, dir).attempt("rename to", dir)?;
        let parent = dir.parent().unwrap_or(Path::new(""));
        if !is_on(Mutant::LogDirNotSynced) {
            wal.fs.sync_dir(parent).attempt("sync", parent)?;
        }
        Ok(wal)
    }

    /// Opens a log at one of its snapshots and reads what follows it. A torn last record is cut
    /// off first, which is tried once.
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        at: &walpb::Snapshot,
        options: Options,
    ) -> Result<(Wal, Recovered), Error> {
        match Wal::open_whole(Arc::clone(&fs), dir, at, options.clone()) {
            Err(torn @ Error::UnexpectedEof { .. }) => {
                let Some(repaired) = repair::repair(&*fs, dir)? else { return Err(torn) };
                let (wal, mut recovered) = Wal::open_whole(fs, dir, at, options)?;
                recovered.repaired = Some(repaired);
                Ok((wal, recovered))
            }
            other => other,
        }
    }

    /// Opens a log that ends with a whole record.
    fn open_whole(
        fs: Arc<dyn Fs>,
        dir: &Path,
        at: &walpb::Snapshot,
        options: Options,
    ) -> Result<(Wal, Recovered), Error> {
        let names = segment::select(&*fs, dir, at.index)?;
        let segments = segment::open_for_write(&*fs, dir, &names)?;
        let mut collector = Collector::new(at);
        let mut reader = Reader::new(&segments);
        collector.read(&mut reader)?;
        let looked_back = collector.look_back(&*fs, dir)?;
        let (crc, offset) = (reader.crc(), reader.offset());
        let last_index = collector.last_index;
        repair::turn_back(&segments, dir, &collector.turned)?;
        let (recovered, metadata) = collector.finish()?;
        let mut wal = Wal::new(fs, dir, options, metadata, segments);
        wal.encoder.crc = crc;
        wal.offset = offset;
        wal.last_index = last_index;
        wal.hard_state = recovered.hard_state;
        wal.make_durable()?;
        wal.clear_tail()?;
        if offset == 0 {
            // A new segment whose first write was lost, which only a log without syncs can have.
            wal.write_header();
        }
        if looked_back {
            // So that the older segments can go.
            wal.encoder.snapshot(at);
        }
        if !wal.encoder.buffer.is_empty() {
            wal.flush()?;
            wal.sync_tail()?;
        }
        Ok((wal, recovered))
    }

    fn new(
        fs: Arc<dyn Fs>,
        dir: &Path,
        options: Options,
        metadata: Bytes,
        segments: Vec<Segment>,
    ) -> Wal {
        Wal {
            fs,
            dir: dir.to_owned(),
            options,
            metadata,
            segments,
            offset: 0,
            encoder: Encoder::new(0),
            hard_state: HardState::default(),
            last_index: 0,
            prepared: None,
            in_work: Weak::new(),
            stats: Stats::default(),
            stats_before: Stats::default(),
            poison: None,
        }
    }

    /// Reads a log at one of its snapshots without locking, repairing or changing it. A torn last
    /// record is left out.
    pub fn read_only(fs: &dyn Fs, dir: &Path, at: &walpb::Snapshot) -> Result<Recovered, Error> {
        recover::read_only(fs, dir, at)
    }

    /// The snapshot records with an index not above the commit index of the last state, in the
    /// order in which they were saved. Every record of the log is checked on the way.
    pub fn valid_snapshots(fs: &dyn Fs, dir: &Path) -> Result<Vec<walpb::Snapshot>, Error> {
        recover::valid_snapshots(fs, dir)
    }

    /// As [`Wal::valid_snapshots`], but of the newest segment that has such records alone: what a log
    /// is opened at. Where those before it are not read, they are not checked either.
    pub fn newest_snapshots(fs: &dyn Fs, dir: &Path) -> Result<Vec<walpb::Snapshot>, Error> {
        recover::newest_snapshots(fs, dir)
    }

    /// Whose log it is, as far as any segment still says: each begins with it. For a log whose
    /// records can no longer be read.
    pub fn owner(fs: &dyn Fs, dir: &Path) -> Result<walpb::Metadata, Error> {
        recover::owner(fs, dir)
    }

    /// Saves entries and then the state, with one write. With entries or a new term or vote it is
    /// synced before it returns; a new commit index alone is written later, with what comes next,
    /// because a raft node can always find it out again.
    pub fn save(&mut self, hard_state: Option<&HardState>, entries: &[Entry]) -> Result<(), Error> {
        let hard_state = hard_state.filter(|state| **state != HardState::default());
        if hard_state.is_none() && entries.is_empty() {
            return self.check();
        }
        self.guarded(|wal| {
            let mut must_sync = !entries.is_empty() && !is_on(Mutant::AckBeforeSync);
            must_sync |= hard_state.is_some_and(|state| {
                (state.term, state.vote) != (wal.hard_state.term, wal.hard_state.vote)
            }) && !is_on(Mutant::VoteForgotten);
            for entry in entries {
                assert!(
                    entry.index <= wal.last_index + 1,
                    "entry {} would leave a gap in the log after {}",
                    entry.index,
                    wal.last_index
                );
                wal.encoder.entry(entry);
                wal.last_index = entry.index;
            }
            wal.stats.entries += entries.len() as u64;
            if let Some(state) = hard_state {
                wal.encoder.state(state);
                wal.hard_state = *state;
            }
            let buffered = wal.encoder.buffer.len();
            if wal.offset + buffered as u64 >= wal.options.segment_bytes {
                wal.cut()
            } else if must_sync {
                wal.flush()?;
                wal.sync_tail()
            } else if buffered >= UNSYNCED_BYTES_MAX {
                wal.flush()
            } else {
                Ok(())
            }
        })
    }

    /// Saves that the log up to this snapshot can be had from elsewhere. Always synced.
    pub fn save_snapshot(&mut self, snapshot: &walpb::Snapshot) -> Result<(), Error> {
        if snapshot.index > 0 && snapshot.conf_state.is_none() {
            return Err(Error::MissingConfState { index: snapshot.index, term: snapshot.term });
        }
        self.guarded(|wal| {
            wal.encoder.snapshot(snapshot);
            wal.last_index = wal.last_index.max(snapshot.index);
            wal.flush()?;
            wal.sync_tail()
        })
    }

    /// Writes and syncs what a [`Wal::save`] without a sync has left.
    pub fn sync(&mut self) -> Result<(), Error> {
        self.guarded(|wal| {
            wal.flush()?;
            wal.sync_tail()
        })
    }

    /// Unlocks the segments that a log opened at a snapshot of this index does not read. They stay
    /// until [`Wal::purge`]. The snapshot and a state that covers it must have been synced: for a
    /// snapshot that came from another member, call [`Wal::sync`] first.
    pub fn release_to(&mut self, index: RaftIndex) {
        let above = self.segments.iter().position(|segment| segment.name.first_index >= index.0);
        let released = above.unwrap_or(self.segments.len()).saturating_sub(1);
        self.segments.drain(..released);
    }

    /// Removes segments that are not locked, oldest first, until `keep` remain; returns how many
    /// it removed. It stops at one that is locked, by this log or by anyone else.
    pub fn purge(&mut self, keep: usize) -> Result<usize, Error> {
        self.check()?;
        let oldest_held = self.segments[0].name;
        let names = segment::list(&*self.fs, &self.dir)?;
        let surplus = names.len().saturating_sub(keep);
        let mut purged = 0;
        for name in names.into_iter().take(surplus).filter(|name| *name < oldest_held) {
            let path = self.dir.join(name.to_string());
            let lock = self.fs.open(&path, OpenMode::Write).attempt("open", &path)?;
            if !lock.try_lock().attempt("lock", &path)? {
                break;
            }
            self.fs.remove(&path).attempt("remove", &path)?;
            // One by one: a crash must not bring back a segment older than one that stays gone.
            self.fs.sync_dir(&self.dir).attempt("sync", &self.dir)?;
            purged += 1;
        }
        Ok(purged)
    }

    /// The work of preparing the next segment, unless it is done or being done. Without it the
    /// save that fills a segment makes the next one itself, which takes longer.
    pub fn preparation(&mut self) -> Option<Preparation> {
        if self.prepared.is_some() || self.in_work.strong_count() > 0 || self.poison.is_some() {
            return None;
        }
        let token = Arc::new(());
        self.in_work = Arc::downgrade(&token);
        let zero_fill = self.options.zero_fill && !self.has_large_syncs();
        let options = Options { zero_fill, ..self.options.clone() };
        Some(Preparation::new(Arc::clone(&self.fs), &self.dir, options, token))
    }

    /// Whether so much was written with each sync of the last segment that zeros ahead of it, which
    /// are as many bytes again, would cost more than they save.
    fn has_large_syncs(&self) -> bool {
        let syncs = self.stats.syncs - self.stats_before.syncs;
        let bytes = self.stats.bytes - self.stats_before.bytes;
        syncs > 0 && bytes / syncs >= ZERO_FILL_SYNC_BYTES_MAX
    }

    /// Takes the next segment from a [`Preparation`] of this log.
    pub fn prepared(&mut self, prepared: Prepared) {
        let token = Arc::downgrade(&prepared.in_work);
        assert!(self.in_work.ptr_eq(&token), "a segment prepared for another log");
        self.prepared = Some(prepared);
    }

    /// What was done since the log was opened.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Writes and syncs what is left, removes a prepared segment, and unlocks all segments.
    pub fn close(mut self) -> Result<(), Error> {
        self.sync()?;
        if let Some(prepared) = self.prepared.take() {
            self.fs.remove(&prepared.path).attempt("remove", &prepared.path)?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        self.poison.as_ref().map_or(Ok(()), |first| Err(Error::Poisoned(first.clone())))
    }

    /// Does something that must not be followed by anything if it fails.
    fn guarded(&mut self, act: impl FnOnce(&mut Wal) -> Result<(), Error>) -> Result<(), Error> {
        self.check()?;
        let result = act(self);
        if let Err(error) = &result {
            self.poison = Some(error.to_string());
        }
        result
    }
}

#[cfg(test)]
mod tests;
