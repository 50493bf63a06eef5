//! The log as it is written: one buffer, one write, one sync per save.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use api::{
    ids::RaftIndex,
    raftpb::{Entry, HardState},
    walpb::{self, Metadata},
};
use prost::Message;
use vfs::{File, Fs};

use crate::{
    Error, Recovered,
    error::During,
    reader::{End, Scan},
    record::{self, Kind},
    segment::{self, Name},
};

/// How a log is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment that has grown to this size is followed by a new one.
    pub segment_bytes: u64,
    /// Whether saves are synced; without (`--unsafe-no-fsync`) a crash may lose acknowledged data.
    pub sync: bool,
}

impl Default for Options {
    /// etcd's segments of 64,000,000 bytes, synced.
    fn default() -> Options {
        Options { segment_bytes: 64_000_000, sync: true }
    }
}

/// What a log has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Syncs of segment data.
    pub syncs: u64,
    /// Entries appended.
    pub entries: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Segments begun because the one before was full.
    pub segments_cut: u64,
}

/// An open log, positioned after its last record. One process holds it at a time.
pub struct Wal {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    options: Options,
    metadata: Metadata,
    /// Every segment of the directory, oldest first; the last is being written.
    segments: Vec<Name>,
    tail: Box<dyn File>,
    /// Where the next record goes.
    offset: u64,
    crc: u32,
    hard_state: HardState,
    /// The index of the last entry saved.
    last: u64,
    /// Segments wholly at or before this index may go.
    released: u64,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
    poisoned: bool,
    stats: Stats,
}

impl Wal {
    /// Whether a log is there.
    pub fn exists(fs: &dyn Fs, dir: &Path) -> Result<bool, Error> {
        if !fs.exists(dir).during("look for the log")? {
            return Ok(false);
        }
        let names = fs.list(dir).during("list the log's directory")?;
        Ok(names.iter().any(|name| Name::parse(name).is_some()))
    }

    /// The snapshot records that the log's last state covers, oldest first.
    pub fn valid_snapshots(fs: &dyn Fs, dir: &Path) -> Result<Vec<walpb::Snapshot>, Error> {
        crate::reader::valid_snapshots(fs, dir)
    }

    /// Makes a log with its metadata and the snapshot before the first entry. It appears whole or
    /// not at all: it is made beside `dir` and renamed.
    pub fn create(
        fs: Arc<dyn Fs>,
        dir: &Path,
        metadata: &Metadata,
        options: Options,
    ) -> Result<Wal, Error> {
        let temporary = dir.with_extension("tmp");
        fs.remove_dir_all(&temporary).during("remove an unfinished log")?;
        fs.create_dir_all(&temporary).during("create the log's directory")?;
        let name = Name { sequence: 0, first: RaftIndex(0) };
        let tail = new_segment(&*fs, &temporary.join(name.to_string()), &options)?;
        let mut wal = Wal {
            fs,
            dir: dir.to_owned(),
            options,
            metadata: *metadata,
            segments: vec![name],
            tail,
            offset: 0,
            crc: 0,
            hard_state: HardState::default(),
            last: 0,
            released: 0,
            buffer: Vec::new(),
            scratch: Vec::new(),
            poisoned: false,
            stats: Stats::default(),
        };
        wal.begin_segment();
        wal.append(Kind::Snapshot, &walpb::Snapshot::default());
        wal.write()?;
        wal.sync()?;
        wal.fs.sync_dir(&temporary).during("sync the log's directory")?;
        if wal.fs.exists(dir).during("look for the log")? {
            wal.fs.remove_dir_all(dir).during("remove an empty log directory")?;
        }
        wal.fs.rename(&temporary, dir).during("name the new log")?;
        if let Some(parent) = dir.parent() {
            wal.fs.sync_dir(parent).during("sync the parent directory")?;
        }
        Ok(wal)
    }

    /// Opens a log at one of its snapshots and reads what follows. A torn tail is set aside in a
    /// file named `.broken` and cut off.
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        at: &walpb::Snapshot,
        options: Options,
    ) -> Result<(Wal, Recovered), Error> {
        let segments = segment::list(&*fs, dir)?;
        let last_name = *segments.last().expect("a list of segments is not empty");
        let mut tail = fs.open(&dir.join(last_name.to_string())).during("open a segment")?;
        tail.try_lock().map_err(|_| Error::Locked(last_name.to_string()))?;
        let mut scan = Scan::new(Some(RaftIndex(at.index)));
        let mut end = (End::Clean, 0);
        for name in segment::from_index(&segments, RaftIndex(at.index))? {
            end = scan.segment(&*fs, dir, *name, *name == last_name)?;
        }
        find_snapshot(&scan.snapshots, at)?;
        let (end, offset) = end;
        if end == End::Torn {
            set_aside(&*fs, dir, last_name, &*tail)?;
        }
        let (crc, metadata) = (scan.crc, scan.metadata.unwrap_or_default());
        let recovered = scan.finish(end == End::Torn);
        let mut wal = Wal {
            fs,
            dir: dir.to_owned(),
            options,
            metadata,
            segments,
            tail,
            offset,
            crc,
            hard_state: recovered.hard_state,
            last: recovered.entries.last().map_or(at.index, |entry| entry.index),
            released: 0,
            buffer: Vec::new(),
            scratch: Vec::new(),
            poisoned: false,
            stats: Stats::default(),
        };
        wal.clear_tail()?;
        Ok((wal, recovered))
    }

    /// Makes entries and, if given, the state durable. A change of the commit index alone is written
    /// but not synced: it can be found out again.
    pub fn save(&mut self, hard_state: Option<&HardState>, entries: &[Entry]) -> Result<(), Error> {
        let changed = hard_state.is_some_and(|new| {
            (new.term, new.vote) != (self.hard_state.term, self.hard_state.vote)
        });
        for entry in entries {
            self.append(Kind::Entry, entry);
            self.last = entry.index;
        }
        self.stats.entries += entries.len() as u64;
        if let Some(hard_state) = hard_state {
            self.hard_state = *hard_state;
            self.append(Kind::State, hard_state);
        }
        self.write()?;
        if self.offset >= self.options.segment_bytes {
            return self.cut();
        }
        if changed || !entries.is_empty() {
            self.sync()?;
        }
        Ok(())
    }

    /// Records that the state up to a snapshot is kept elsewhere. Always synced.
    pub fn save_snapshot(&mut self, snapshot: &walpb::Snapshot) -> Result<(), Error> {
        self.append(Kind::Snapshot, snapshot);
        self.last = self.last.max(snapshot.index);
        self.write()?;
        self.sync()
    }

    /// Everything at or before `index` is not needed any more.
    pub fn release_to(&mut self, index: RaftIndex) {
        self.released = self.released.max(index.0);
    }

    /// Removes released segments, oldest first, as long as more than `keep` remain; how many went.
    pub fn purge(&mut self, keep: usize) -> Result<usize, Error> {
        let mut purged = 0;
        // The oldest can go when the next begins early enough to hold the entry after the release.
        while self.segments.len() > keep.max(1) && self.segments[1].first.0 <= self.released {
            let path = self.dir.join(self.segments[0].to_string());
            self.fs.remove_file(&path).during("remove a released segment")?;
            self.segments.remove(0);
            purged += 1;
        }
        Ok(purged)
    }

    /// Counters since the log was opened.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Adds a record to the buffer.
    fn append(&mut self, kind: Kind, message: &impl Message) {
        self.scratch.clear();
        message.encode(&mut self.scratch).expect("a vector grows");
        self.crc = crc32c::crc32c_append(self.crc, &self.scratch);
        record::append(&mut self.buffer, kind, self.crc, Some(&self.scratch));
    }

    /// The records that every segment begins with.
    fn begin_segment(&mut self) {
        record::append(&mut self.buffer, Kind::Crc, self.crc, None);
        let metadata = self.metadata;
        self.append(Kind::Metadata, &metadata);
    }

    /// Writes the buffer behind what is there.
    fn write(&mut self) -> Result<(), Error> {
        self.check()?;
        let result = self.tail.write_at(&self.buffer, self.offset);
        self.poisoned = result.is_err();
        result.during("write to a segment")?;
        self.offset += self.buffer.len() as u64;
        self.stats.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        // One huge batch must not be held for ever.
        self.buffer.shrink_to(1 << 20);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.check()?;
        if !self.options.sync {
            return Ok(());
        }
        let result = self.tail.sync_data();
        self.poisoned = result.is_err();
        result.during("sync a segment")?;
        self.stats.syncs += 1;
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        if self.poisoned { Err(Error::Poisoned) } else { Ok(()) }
    }

    /// Ends the segment at its last record and begins the next. A crash on the way leaves the old
    /// segment as the last one, complete.
    fn cut(&mut self) -> Result<(), Error> {
        self.tail.set_len(self.offset).during("cut a full segment")?;
        self.sync()?;
        let sequence = self.segments.last().expect("a log has a segment").sequence + 1;
        let name = Name { sequence, first: RaftIndex(self.last + 1) };
        let temporary = self.dir.join("0.tmp");
        if self.fs.exists(&temporary).during("look for an unfinished segment")? {
            self.fs.remove_file(&temporary).during("remove an unfinished segment")?;
        }
        self.tail = new_segment(&*self.fs, &temporary, &self.options)?;
        self.offset = 0;
        self.begin_segment();
        let hard_state = self.hard_state;
        self.append(Kind::State, &hard_state);
        self.write()?;
        self.sync()?;
        let path = self.dir.join(name.to_string());
        self.fs.rename(&temporary, &path).during("name a new segment")?;
        self.fs.sync_dir(&self.dir).during("sync the log's directory")?;
        self.segments.push(name);
        self.stats.segments_cut += 1;
        Ok(())
    }

    /// Makes everything after the last record zero, so that no old bytes look like records.
    fn clear_tail(&mut self) -> Result<(), Error> {
        self.tail.set_len(self.offset).during("cut the tail of a segment")?;
        self.tail.preallocate(self.options.segment_bytes).during("preallocate a segment")?;
        if self.options.sync {
            self.tail.sync_data().during("sync a segment")?;
        }
        Ok(())
    }
}

/// A new file, locked, with its space allocated.
fn new_segment(fs: &dyn Fs, path: &Path, options: &Options) -> Result<Box<dyn File>, Error> {
    let mut file = fs.create(path).during("create a segment")?;
    file.try_lock().map_err(|_| Error::Locked(path.display().to_string()))?;
    file.preallocate(options.segment_bytes).during("preallocate a segment")?;
    Ok(file)
}

/// The log must have recorded the snapshot that it is opened at.
fn find_snapshot(known: &[walpb::Snapshot], at: &walpb::Snapshot) -> Result<(), Error> {
    let mut same_index = known.iter().filter(|snapshot| snapshot.index == at.index).peekable();
    if same_index.peek().is_none() {
        return Err(Error::SnapshotNotFound);
    }
    if same_index.any(|snapshot| snapshot.term == at.term) {
        return Ok(());
    }
    Err(Error::SnapshotMismatch)
}

/// Keeps a copy of a segment with a torn tail.
fn set_aside(fs: &dyn Fs, dir: &Path, name: Name, tail: &dyn File) -> Result<(), Error> {
    let path = dir.join(format!("{name}.broken"));
    if fs.exists(&path).during("look for a broken segment")? {
        fs.remove_file(&path).during("remove an older broken segment")?;
    }
    let bytes = vfs::read_all(tail).during("read a torn segment")?;
    let mut copy = fs.create(&path).during("keep a torn segment")?;
    copy.write_at(&bytes, 0).during("keep a torn segment")?;
    copy.sync_data().during("keep a torn segment")
}
