//! What outlives a crash: the files of the log, the store, and databases that have arrived.
//!
//! The store is the twin in memory or the real engine. Of the engine a crash leaves a copy of its
//! file as it was after the last commit: commits are synced, and one under way is there or not.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use api::ids::{RaftIndex, Term};
use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng};
use storage::{
    Backend, Bucket, Damage, Error, Op, ReadTx, Size,
    engine::{LmdbBackend, LmdbOptions},
    image::{self, Image},
    mem::MemBackend,
    schema::meta,
};
use tempfile::TempDir;
use vfs::{Fs, OpenMode, mem::MemFs};

/// Address space of a simulated member's engine.
const MAP_BYTES: usize = 64 << 20;

/// Where the store is kept.
pub(super) enum Store {
    Memory(MemBackend),
    Engine(TempDir),
}

impl Store {
    fn new(real: bool) -> Store {
        if real { Store::Engine(folder()) } else { Store::Memory(MemBackend::new()) }
    }

    /// Opens it. One of the engine is open once at a time.
    pub(super) fn open(&self) -> Result<Arc<dyn Backend>, String> {
        match self {
            Store::Memory(backend) => Ok(Arc::new(backend.clone())),
            Store::Engine(dir) => {
                let options = LmdbOptions { map_size: MAP_BYTES, max_readers: 64 };
                let opened = LmdbBackend::open(dir.path(), options);
                Ok(Arc::new(opened.map_err(|error| error.to_string())?))
            }
        }
    }

    fn after_crash(&self) -> Store {
        match self {
            Store::Memory(backend) => Store::Memory(backend.fork()),
            Store::Engine(dir) => {
                let copy = folder();
                std::fs::copy(dir.path().join(FILE), copy.path().join(FILE))
                    .expect("the engine's file can be copied");
                Store::Engine(copy)
            }
        }
    }
}

/// What is damaged most often of a log: so much before its end.
const END_BYTES: usize = 1 << 10;

/// The engine's file.
const FILE: &str = "data.mdb";

/// A new directory, in memory where there is such a file system.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary directory can be made")
}

/// The disk of a member.
pub(super) struct Disk {
    /// The file system of the log.
    pub(super) fs: MemFs,
    /// The store: one commit is there as a whole or not at all.
    pub(super) store: Store,
    /// Databases of other members that arrived as snapshots, by their index, until installed.
    pub(super) received: BTreeMap<u64, Bytes>,
}

impl Disk {
    pub(super) fn new(real: bool) -> Disk {
        Disk { fs: MemFs::new(), store: Store::new(real), received: BTreeMap::new() }
    }

    /// What a power loss leaves or, without a seed, the end of a process.
    pub(super) fn after_crash(self, seed: Option<u64>) -> Disk {
        let Disk { fs, store, received } = self;
        let fs = seed.map_or_else(|| fs.clone(), |seed| fs.crash_clone(seed));
        Disk { fs, store: store.after_crash(), received }
    }

    /// Turns one bit of the log's files over; false when there is none.
    pub(super) fn damage_log(&self, dir: &Path, seed: u64) -> bool {
        let mut rng = StdRng::seed_from_u64(seed);
        let Ok(names) = self.fs.list(dir) else { return false };
        // Most often near its end: that is what a start reads and applies.
        let (any, last) = (rng.random_range(0..names.len().max(1)), names.len().saturating_sub(1));
        let near_end = rng.random_bool(0.7);
        let Some(name) = names.get(if near_end { last } else { any }) else { return false };
        let path = dir.join(name);
        let Ok(content) = self.fs.read(&path) else { return false };
        // Behind the last record are zeros.
        let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if used == 0 {
            return false;
        }
        let first = if near_end { used.saturating_sub(END_BYTES) } else { 0 };
        let at = rng.random_range(first..used);
        let turned = content[at] ^ (1 << rng.random_range(0..8));
        let file = self.fs.open(&path, OpenMode::Write).expect("it was just read");
        file.write_at(&[turned], at as u64).expect("memory can be written");
        file.sync_data().expect("memory can be synced");
        true
    }

    /// Turns one bit of a stored value over, in the engine's file; false when there is none.
    pub(super) fn damage_store(&self, seed: u64) -> bool {
        let mut rng = StdRng::seed_from_u64(seed);
        let Store::Engine(dir) = &self.store else { return false };
        let Ok(backend) = self.store.open() else { return false };
        let mut values: Vec<Vec<u8>> = Vec::new();
        {
            let view = backend.read().expect("a store that was written can be read");
            let scanned = view.scan(Bucket::Key, b"", &mut |_, value| {
                values.push(value.to_vec());
                ControlFlow::Continue(())
            });
            scanned.expect("a store that was written can be read");
        }
        drop(backend);
        values.retain(|value| !value.is_empty());
        if values.is_empty() {
            return false;
        }
        let value = &values[rng.random_range(0..values.len())];
        let path = dir.path().join(FILE);
        let mut file = std::fs::read(&path).expect("the engine has a file");
        let (at, bit) = (rng.random_range(0..value.len()), rng.random_range(0..8));
        let windows = file.windows(value.len()).enumerate();
        let same = windows.filter(|(_, window)| *window == &value[..]);
        let places: Vec<usize> = same.map(|(place, _)| place).collect();
        for place in &places {
            file[place + at] ^= 1 << bit;
        }
        std::fs::write(&path, file).expect("the engine's file can be written");
        !places.is_empty()
    }
}

/// The database of a view, as it is sent to a member.
pub(super) fn image_of(view: &dyn ReadTx) -> Bytes {
    let mut file = Vec::new();
    let image = Image::plan(view).expect("a store that was written can be read");
    let written = image.write(&mut |chunk| {
        file.extend_from_slice(&chunk);
        Ok(())
    });
    written.expect("a store that was written can be read");
    file.into()
}

/// Gives `take` the changes that make a store of a database.
pub(super) fn with_import<T>(
    database: &Bytes,
    at: (RaftIndex, Term),
    take: impl FnOnce(&mut dyn Iterator<Item = Result<Op, Error>>) -> Result<T, Error>,
) -> Result<T, String> {
    let db = bbolt::Db::open(&database[..]).map_err(|error| error.to_string())?;
    let mut ops = image::import(&db).chain(meta::put_consistent(at.0, at.1).map(Ok));
    take(&mut ops).map_err(|error| error.to_string())
}

/// A backend whose next commit can be made to fail.
pub(super) struct Failing {
    inner: Arc<dyn Backend>,
    fails: AtomicBool,
}

impl Failing {
    pub(super) fn new(inner: Arc<dyn Backend>) -> Failing {
        Failing { inner, fails: AtomicBool::new(false) }
    }

    /// There is no room for the next commit.
    pub(super) fn fill(&self) {
        self.fails.store(true, Ordering::Relaxed);
    }
}

impl Backend for Failing {
    fn read(&self) -> Result<Box<dyn ReadTx + '_>, Error> {
        self.inner.read()
    }

    fn commit(&self, ops: &[Op]) -> Result<(), Error> {
        if self.fails.swap(false, Ordering::Relaxed) {
            return Err(Error::Engine("No space left on device".into()));
        }
        self.inner.commit(ops)
    }

    fn replace(&self, ops: &mut dyn Iterator<Item = Result<Op, Error>>) -> Result<(), Error> {
        self.inner.replace(ops)
    }

    fn take_damage(&self) -> Vec<Damage> {
        self.inner.take_damage()
    }

    fn size(&self) -> Result<Size, Error> {
        self.inner.size()
    }
}
