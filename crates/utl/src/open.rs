//! Opening database files with bbolt's lock.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bbolt::Db;
use storage::engine::{DB_NAME, DbFile, STORE_NAME, Share};

use crate::{Failure, exit::io};

/// How often a lock that another process has is tried.
const RETRY: Duration = Duration::from_millis(50);

/// How long to wait for a lock; `None` for ever.
pub(crate) type Timeout = Option<Duration>;

/// The database of a data dir.
pub(crate) enum Database {
    /// etcd's: a bbolt file.
    File(PathBuf),
    /// Ours: a directory.
    Store(PathBuf),
}

/// Finds the database of a data dir, with etcd's error when there is none.
pub(crate) fn find(data_dir: &Path) -> Result<Database, Failure> {
    let snap = data_dir.join("member/snap");
    // A store of ours was made from the file beside it, if there is one.
    let store = snap.join(STORE_NAME);
    if store.is_dir() {
        return Ok(Database::Store(store));
    }
    let file = snap.join(DB_NAME);
    exists(&file)?;
    Ok(Database::File(file))
}

/// Fails when there is no such file.
pub(crate) fn exists(path: &Path) -> Result<(), Failure> {
    fs::metadata(path).map(drop).map_err(|error| io("stat", path, &error))
}

/// Opens a bbolt file, and waits for its lock as long as that.
pub(crate) fn open_db(path: &Path, share: Share, timeout: Timeout) -> Result<Db<DbFile>, Failure> {
    let file = DbFile::open(path).map_err(Failure::error)?;
    let until = timeout.map(|timeout| Instant::now() + timeout);
    while !file.try_lock(share).map_err(|error| io("lock", path, &error))? {
        if until.is_some_and(|until| until <= Instant::now()) {
            return Err(Failure::error("timeout"));
        }
        std::thread::sleep(RETRY);
    }
    Db::open(file).map_err(Failure::error)
}
