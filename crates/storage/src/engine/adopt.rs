//! A data dir that etcd, or `etcdutl snapshot restore`, wrote: its `db` becomes a store of ours.
//!
//! The store is made beside its final name and renamed when it is complete, so a start that is
//! interrupted begins again. The bbolt file stays, under another name: it is the way back.

use std::{fs, path::Path};

use api::ids::{RaftIndex, Term};
use bbolt::{Db, Source};

use crate::{Backend, Error, Op, image, schema};

use super::{DbFile, LmdbBackend, LmdbOptions, Share, io};

/// The name of etcd's store in `member/snap`.
pub const DB_NAME: &str = "db";
/// What it is called once its content has been taken over.
pub const ADOPTED_NAME: &str = "db.adopted";
/// The name of our store in `member/snap`, a directory.
pub const STORE_NAME: &str = "oxetcd";
/// The same while it is being made.
const UNFINISHED_NAME: &str = "oxetcd.adopting";

/// Progress is told each time that so many bytes are done.
const PROGRESS_BYTES: u64 = 64 << 20;

/// What was taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The last entry that the store has applied; `None` when it does not say.
    pub consistent: Option<(RaftIndex, Term)>,
    /// The size of the bbolt file.
    pub bytes: u64,
}

/// Makes `oxetcd` from `db` in `snap_dir`, unless there is no `db`, or `oxetcd` is there: then the
/// answer is `None`. A `db` of a later release stays as it is. `progress` is told the bytes that are done and those of the file.
pub fn adopt(
    snap_dir: &Path,
    options: LmdbOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Option<Adopted>, Error> {
    let (db_path, store_path) = (snap_dir.join(DB_NAME), snap_dir.join(STORE_NAME));
    if store_path.exists() || !db_path.exists() {
        return Ok(None);
    }
    let unfinished = snap_dir.join(UNFINISHED_NAME);
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(io("remove", &unfinished))?;
    }
    let file = DbFile::open(&db_path)?;
    // An etcd that runs on the file holds this.
    if !file.try_lock(Share::Nobody).map_err(io("lock", &db_path))? {
        return Err(Error::Locked(db_path));
    }
    let bytes = file.len();
    let db = Db::open(file)?;
    let backend = LmdbBackend::open(&unfinished, options)?;
    backend.replace(&mut Watched { ops: image::import(&db), done: 0, total: bytes, progress })?;
    let view = backend.read()?;
    schema::meta::check_storage_version(&*view)?;
    let consistent = schema::read_consistent(&*view)?;
    drop(view);
    drop(backend);

    fs::rename(&unfinished, &store_path).map_err(io("rename", &unfinished))?;
    sync(snap_dir)?;
    fs::rename(&db_path, snap_dir.join(ADOPTED_NAME)).map_err(io("rename", &db_path))?;
    sync(snap_dir)?;
    Ok(Some(Adopted { consistent, bytes }))
}

fn sync(dir: &Path) -> Result<(), Error> {
    fs::File::open(dir).and_then(|opened| opened.sync_all()).map_err(io("sync", dir))
}

/// Tells how far it is.
struct Watched<'d, 'p> {
    ops: image::Import<'d, DbFile>,
    done: u64,
    total: u64,
    progress: &'p mut dyn FnMut(u64, u64),
}

impl Iterator for Watched<'_, '_> {
    type Item = Result<Op, Error>;

    fn next(&mut self) -> Option<Result<Op, Error>> {
        let op = self.ops.next();
        if let Some(Ok(op)) = &op {
            let before = self.done;
            self.done += op.bytes() as u64;
            if self.done / PROGRESS_BYTES != before / PROGRESS_BYTES {
                (self.progress)(self.done.min(self.total), self.total);
            }
        }
        op
    }
}
