//! The file of a store written anew without its free pages.

use std::{fs, path::Path};

use heed::CompactionOption;

use crate::Error;

use super::{LmdbBackend, LmdbOptions, engine, io};

/// Compacts the store in `dir`, which must not be in use: a copy takes the place of its file.
pub fn compact(dir: &Path) -> Result<(), Error> {
    let backend = LmdbBackend::open(dir, LmdbOptions::default())?;
    let temporary = dir.join("data.mdb.tmp");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(io("remove", &temporary)(error));
        }
        _ => {}
    }
    let mut options = fs::File::options();
    let open = options.read(true).write(true).create_new(true).open(&temporary);
    let mut file = open.map_err(io("create", &temporary))?;
    backend.env.copy_to_file(&mut file, CompactionOption::Enabled).map_err(engine)?;
    file.sync_all().map_err(io("sync", &temporary))?;
    // The lock of the directory is held until the new file is in place.
    let LmdbBackend { env, data_file, _lock: lock, .. } = backend;
    drop(env);
    fs::rename(&temporary, &data_file).map_err(io("rename", &temporary))?;
    let synced = fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("sync", dir));
    drop(lock);
    synced
}
