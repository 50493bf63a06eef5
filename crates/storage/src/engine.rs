//! LMDB as the backend: a memory-mapped, copy-on-write B+tree. The only file that names heed.
//!
//! Invariants:
//! - Every commit is synced: neither `NO_SYNC` nor `NO_META_SYNC` is ever set. Without, two commits
//!   can leave both meta pages of LMDB pointing at pages that are not on the disk.
//! - One backend per directory, among all processes: an exclusive `flock` on `LOCK` says so, and the
//!   kernel drops it when a process dies. So LMDB's own lock file never meets a stale owner.
//! - The map is a reservation of address space and takes no memory; it grows when it is full, which
//!   no transaction may overlap: readers hold `gate` shared, growing takes it alone.
//! - Revision buckets are filled by appending, so that pages are full and not half full.
//! - Every row has a checksum, which each read compares (`seal`). What does not match is an error for
//!   its reader and is noted for whoever asks.
//! - Keys that LMDB does not take, longer than 511 bytes, have a database beside the buckets (`long`).
//! - Each bucket is there twice, as two generations. One is the store, which a record of its own
//!   says; the other is empty, or being filled by [`Backend::replace`].

mod adopt;
mod compact;
mod db_file;
mod db_sum;
mod fetch;
mod lock;
mod long;
mod map;
mod replace;
mod seal;

use std::{
    fs::{self, File},
    ops::Bound,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use heed::{
    Database, Env, EnvOpenOptions, MdbError, PutFlags, RoTxn, RwTxn, WithoutTls, types::Bytes,
};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use crate::{
    Backend, Bucket, Damage, Error, KEY_BYTES_MAX, Op, ReadTx, Size, Visit, damage::DamageLog,
};
use seal::{Plain, Seals};

pub use adopt::{ADOPTED_NAME, Adopted, DB_NAME, STORE_NAME, adopt};
pub use compact::compact;
pub use db_file::{DbFile, Share, open_db};
pub use db_sum::{DbSum, SUM_SUFFIX};

/// Address space is reserved in multiples of this.
const MAP_UNIT: usize = 1 << 30;

/// The key, in a database of its own, of the number of the generation that is the store.
const ACTIVE: &[u8] = b"active";
/// The name of that database.
const STATE: &str = "engine";

/// How to open the engine.
#[derive(Clone, Copy, Debug)]
pub struct LmdbOptions {
    /// Address space to reserve, in bytes. It is raised when the file needs more.
    pub map_size: usize,
    /// How many views may be open at once.
    pub max_readers: u32,
}

impl Default for LmdbOptions {
    fn default() -> LmdbOptions {
        LmdbOptions { map_size: 256 * MAP_UNIT, max_readers: 4096 }
    }
}

/// A directory with an LMDB file, open for this process alone.
pub struct LmdbBackend {
    env: Env<WithoutTls>,
    /// The buckets of both generations.
    generations: [Vec<Database<Bytes, Bytes>>; 2],
    /// The rows with long keys of both generations.
    long: [Database<Bytes, Bytes>; 2],
    /// Holds [`ACTIVE`], absent for generation 0.
    state: Database<Bytes, Bytes>,
    /// Shared by transactions, exclusive while the map grows.
    gate: RwLock<()>,
    writer: Mutex<()>,
    /// What is kept in memory; `None` for nothing.
    locked: Mutex<Option<lock::Locked>>,
    seals: Seals,
    damage: DamageLog,
    data_file: PathBuf,
    /// Dropped after `env`: the directory is free once the file is closed.
    _lock: File,
}

impl LmdbBackend {
    /// Opens the store in `dir`, which is created if it is missing. Fails with [`Error::Locked`] when
    /// it is open already.
    pub fn open(dir: &Path, options: LmdbOptions) -> Result<LmdbBackend, Error> {
        fs::create_dir_all(dir).map_err(io("create directory", dir))?;
        let lock = lock(dir)?;
        let data_file = dir.join("data.mdb");
        let used = fs::metadata(&data_file).map_or(0, |file| file.len() as usize);
        let env = open_env(dir, options, used)?;
        let mut txn = env.write_txn().map_err(engine)?;
        let state = env.create_database(&mut txn, Some(STATE)).map_err(engine)?;
        let mut generations = [Vec::new(), Vec::new()];
        for bucket in Bucket::ALL {
            for (buckets, suffix) in generations.iter_mut().zip(["", "'"]) {
                let name = format!("{}{suffix}", bucket.name());
                buckets.push(env.create_database(&mut txn, Some(&name)).map_err(engine)?);
            }
        }
        let long = long::create(&env, &mut txn).map_err(engine)?;
        txn.commit().map_err(engine)?;
        // A process that was killed may have left a commit that is in the page cache alone.
        env.force_sync().map_err(engine)?;
        sync_directories(dir)?;
        let (gate, writer, locked) = (RwLock::new(()), Mutex::new(()), Mutex::new(None));
        let (seals, damage) = (Seals::new(), DamageLog::default());
        let backend = LmdbBackend {
            env,
            generations,
            long,
            state,
            gate,
            writer,
            locked,
            seals,
            damage,
            data_file,
            _lock: lock,
        };
        backend.clear_unfinished()?;
        seal::upgrade(&backend)?;
        Ok(backend)
    }

    /// The generation that is the store, in the eyes of a transaction.
    fn active(&self, txn: &RoTxn<'_, WithoutTls>) -> Result<usize, heed::Error> {
        Ok(usize::from(self.state.get(txn, ACTIVE)? == Some(&[1])))
    }

    /// One write transaction, again in a larger map as long as that is full. The caller holds
    /// `writer`.
    fn write(
        &self,
        mut work: impl FnMut(&mut RwTxn<'_>) -> Result<(), heed::Error>,
    ) -> Result<(), Error> {
        let mut attempt = || {
            let _shared = self.gate.read();
            let mut txn = self.env.write_txn()?;
            work(&mut txn)?;
            txn.commit()
        };
        loop {
            match attempt() {
                Err(heed::Error::Mdb(MdbError::MapFull)) => self.grow()?,
                result => {
                    result.map_err(engine)?;
                    return self.extend_lock();
                }
            }
        }
    }

    /// Applies changes to a generation.
    fn apply<'o>(
        &self,
        txn: &mut RwTxn<'_>,
        to: usize,
        ops: impl IntoIterator<Item = &'o Op>,
    ) -> Result<(), heed::Error> {
        let plain = Plain::read(self.state, txn, to)?;
        let mut row = Vec::new();
        for op in ops {
            if long::is_long(op.key()) {
                self.apply_long(txn, to, op)?;
                continue;
            }
            let database = self.generations[to][op.bucket() as usize];
            let (bucket, key, value) = match op {
                Op::Put { bucket, key, value } => (*bucket, key, value),
                Op::Delete { key, .. } => {
                    database.delete(txn, key)?;
                    continue;
                }
            };
            let row = if plain.has(bucket, key) {
                &value[..]
            } else {
                self.seals.seal(bucket, key, value, &mut row);
                &row[..]
            };
            if bucket.is_append_only() {
                match database.put_with_flags(txn, PutFlags::APPEND, key, row) {
                    // Not above the last key: an ordinary put will do.
                    Err(heed::Error::Mdb(MdbError::KeyExist)) => {}
                    result => {
                        result?;
                        continue;
                    }
                }
            }
            database.put(txn, key, row)?;
        }
        Ok(())
    }

    /// Everything that a generation is made of.
    fn databases(&self, generation: usize) -> impl Iterator<Item = &Database<Bytes, Bytes>> {
        self.generations[generation].iter().chain([&self.long[generation]])
    }

    /// An error of a read: what the engine says of pages that cannot be is damage.
    fn read_error(&self, bucket: Bucket, key: &[u8], error: heed::Error) -> Error {
        match error {
            heed::Error::Mdb(MdbError::Corrupted | MdbError::PageNotFound) => {
                self.damage.add(bucket, key)
            }
            error => engine(error),
        }
    }

    /// Doubles the map, once no transaction is open.
    fn grow(&self) -> Result<(), Error> {
        let _alone = self.gate.write();
        let size = self.env.info().map_size.saturating_mul(2);
        // SAFETY: no transaction is open: each holds the gate shared while it lives.
        let resized = unsafe { self.env.resize(size) }.map_err(engine);
        self.forget_lock();
        resized
    }
}

impl Backend for LmdbBackend {
    fn read(&self) -> Result<Box<dyn ReadTx + '_>, Error> {
        // Recursive: a thread may open a second view while growing waits for its first.
        let gate = self.gate.read_recursive();
        let txn = self.env.read_txn().map_err(engine)?;
        let active = self.active(&txn).map_err(engine)?;
        let plain = Plain::read(self.state, &txn, active).map_err(engine)?;
        let (buckets, long) = (&self.generations[active], self.long[active]);
        Ok(Box::new(LmdbRead { backend: self, buckets, long, plain, txn, _gate: gate }))
    }

    fn commit(&self, ops: &[Op]) -> Result<(), Error> {
        ops.iter().try_for_each(Op::check_key)?;
        // Bucket by bucket, so that what is read together lies together: pages are taken from the file
        // in the order in which they are filled. Within a bucket the order stays.
        let mut ordered: Vec<&Op> = ops.iter().collect();
        ordered.sort_by_key(|op| op.bucket() as usize);
        let _one_writer = self.writer.lock();
        self.write(|txn| {
            let active = self.active(txn)?;
            self.apply(txn, active, ordered.iter().copied())
        })
    }

    fn replace(&self, ops: &mut dyn Iterator<Item = Result<Op, Error>>) -> Result<(), Error> {
        replace::replace(self, ops)
    }

    fn take_damage(&self) -> Vec<Damage> {
        self.damage.take()
    }

    fn size(&self) -> Result<Size, Error> {
        let _shared = self.gate.read_recursive();
        let txn = self.env.read_txn().map_err(engine)?;
        let main = self.env.stat();
        let page_bytes = u64::from(main.page_size);
        // Two meta pages and the tree of databases; then each database.
        let mut pages = 2 + main.branch_pages + main.leaf_pages + main.overflow_pages;
        for bucket in self.databases(self.active(&txn).map_err(engine)?) {
            let stat = bucket.stat(&txn).map_err(engine)?;
            pages += stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
        }
        let file = fs::metadata(&self.data_file).map_err(io("stat", &self.data_file))?;
        let in_use = pages as u64 * page_bytes;
        Ok(Size { allocated: file.len().max(in_use), in_use })
    }
}

/// A view. The transaction ends before the gate opens.
struct LmdbRead<'a> {
    backend: &'a LmdbBackend,
    /// Of the generation that was the store when the view was opened.
    buckets: &'a [Database<Bytes, Bytes>],
    /// Its rows with long keys.
    long: Database<Bytes, Bytes>,
    /// The rows of it that have no checksum.
    plain: Plain,
    txn: RoTxn<'a, WithoutTls>,
    _gate: RwLockReadGuard<'a, ()>,
}

impl LmdbRead<'_> {
    /// The value of a row, if the row is what was written.
    fn open<'v>(&self, bucket: Bucket, key: &[u8], row: &'v [u8]) -> Result<&'v [u8], Error> {
        if self.plain.has(bucket, key) {
            return Ok(row);
        }
        let value = self.backend.seals.open(bucket, key, row);
        value.ok_or_else(|| self.backend.damage.add(bucket, key))
    }
}

impl ReadTx for LmdbRead<'_> {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Ok(None);
        }
        if long::is_long(key) {
            return self.get_long(bucket, key);
        }
        let row = self.buckets[bucket as usize].get(&self.txn, key);
        let row = row.map_err(|error| self.backend.read_error(bucket, key, error))?;
        row.map(|row| self.open(bucket, key, row)).transpose()
    }

    fn scan(&self, bucket: Bucket, from: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        let mut long = self.scan_long(bucket, from)?.into_iter().peekable();
        let failed = |error| self.backend.read_error(bucket, from, error);
        // Only the start of a long key can be looked up: what is before the key itself is passed over.
        let start = &from[..from.len().min(long::SHORT_BYTES_MAX)];
        let start = if start.is_empty() { Bound::Unbounded } else { Bound::Included(start) };
        let entries = self.buckets[bucket as usize].range(&self.txn, &(start, Bound::Unbounded));
        for entry in entries.map_err(failed)? {
            let (key, row) = entry.map_err(failed)?;
            if key < from {
                continue;
            }
            while let Some((key, value)) = long.next_if(|(long, _)| *long < key) {
                if visit(key, value).is_break() {
                    return Ok(());
                }
            }
            if visit(key, self.open(bucket, key, row)?).is_break() {
                return Ok(());
            }
        }
        for (key, value) in long {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn scan_revisions(&self, bucket: Bucket, visit: &mut Visit<'_>) -> Result<(), Error> {
        self.with_pages_fetched(bucket, || self.scan(bucket, b"", visit))
    }

    fn forget(&self) {
        self.backend.forget_pages();
    }
}

/// Reserves the address space, less of it where the process may not have so much.
fn open_env(dir: &Path, options: LmdbOptions, used: usize) -> Result<Env<WithoutTls>, Error> {
    let least = round_up(used.saturating_mul(2).max(options.map_size.min(MAP_UNIT)));
    let mut map_size = round_up(options.map_size.max(least));
    loop {
        let mut open = EnvOpenOptions::new().read_txn_without_tls();
        open.map_size(map_size).max_readers(options.max_readers).max_dbs(32);
        // SAFETY: the file is touched by this process alone (`LOCK`) and only through this map; no
        // unsafe flag is set.
        match unsafe { open.open(dir) } {
            Err(heed::Error::Io(error))
                if error.raw_os_error() == Some(libc::ENOMEM) && map_size > least =>
            {
                map_size = round_up((map_size / 2).max(least));
            }
            result => return result.map_err(engine),
        }
    }
}

/// Up to a multiple of 64 KiB, the largest page of any system that matters.
fn round_up(bytes: usize) -> usize {
    bytes.next_multiple_of(1 << 16)
}

/// Keeps everybody from opening the store in `dir`, which is not opened itself, while the answer lives.
pub fn hold(dir: &Path) -> Result<File, Error> {
    lock(dir)
}

/// Takes the directory for this process, or says that another has it.
fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join("LOCK");
    let mut open = File::options();
    let file = open.read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(io("open", &path))?;
    // SAFETY: the descriptor is open for the whole call.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(file);
    }
    let error = std::io::Error::last_os_error();
    if error.kind() == std::io::ErrorKind::WouldBlock {
        return Err(Error::Locked(dir.to_owned()));
    }
    Err(io("lock", &path)(error))
}

/// Makes the names of a new file and of its directory durable.
fn sync_directories(dir: &Path) -> Result<(), Error> {
    for dir in [Some(dir), dir.parent()].into_iter().flatten() {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        File::open(dir).and_then(|opened| opened.sync_all()).map_err(io("sync", dir))?;
    }
    Ok(())
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

fn engine(error: heed::Error) -> Error {
    Error::Engine(error.to_string())
}

#[cfg(test)]
mod tests;
