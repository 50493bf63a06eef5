//! `etcdutl defrag`: the database of a data dir that nobody uses, without its free pages.

use std::{collections::BTreeMap, fs, path::Path, time::Instant};

use bbolt::Db;
use serde_json::Value;
use storage::engine::{self, DbFile, Share};

use crate::{
    Failure, console,
    copy::{Copy, Edit},
    exit::io,
    open::{self, Database, Timeout},
    print::human_bytes,
};

const PLACE: &str = "utl/defrag.rs";

/// Defragments the database of a data dir.
pub(crate) fn defrag(data_dir: &Path, timeout: Timeout) -> Result<(), Failure> {
    let in_dir = |failure: Failure| {
        let message = format!("Failed to defragment etcd data[{}] ({failure})", data_dir.display());
        Failure { message, ..failure }
    };
    match open::find(data_dir).map_err(in_dir)? {
        Database::File(path) => {
            let db = open::open_db(&path, Share::Nobody, timeout).map_err(in_dir)?;
            defrag_file(&path, db).map_err(in_dir)
        }
        Database::Store(path) => defrag_store(&path).map_err(in_dir),
    }
}

fn defrag_file(path: &Path, db: Db<DbFile>) -> Result<(), Failure> {
    let began = Instant::now();
    let before = fs::metadata(path).map_err(|error| io("stat", path, &error))?.len();
    begun(path, before);
    rewrite(path, &db, BTreeMap::new())?;
    let after = fs::metadata(path).map_err(|error| io("stat", path, &error))?.len();
    finished(path, before, after, began);
    Ok(())
}

/// A store of oxetcd. Its own lock says whether it is in use.
fn defrag_store(path: &Path) -> Result<(), Failure> {
    let began = Instant::now();
    let data = path.join("data.mdb");
    let size = || fs::metadata(&data).map_err(|error| io("stat", &data, &error));
    let before = size()?.len();
    begun(path, before);
    engine::compact(path).map_err(Failure::error)?;
    finished(path, before, size()?.len(), began);
    Ok(())
}

/// Puts a changed copy in the place of a database file.
pub(crate) fn rewrite(
    path: &Path,
    db: &Db<DbFile>,
    edits: BTreeMap<Vec<u8>, Edit>,
) -> Result<(), Failure> {
    let copy = Copy::plan(db, edits)?;
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = Path::new(&name);
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(io("remove", temporary, &error));
        }
        _ => {}
    }
    let written = copy.write(temporary).and_then(|()| {
        fs::rename(temporary, path).map_err(|error| io("rename", temporary, &error))
    });
    if written.is_err() {
        // The failure that is told matters more than one of tidying up.
        let _ = fs::remove_file(temporary);
    }
    written?;
    sync_dir(path.parent().unwrap_or(Path::new("")))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Failure> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let opened = fs::File::open(dir).map_err(|error| io("open", dir, &error))?;
    opened.sync_all().map_err(|error| io("sync", dir, &error))
}

fn begun(path: &Path, bytes: u64) {
    let fields = [
        ("path", Value::from(path.display().to_string())),
        ("current-db-size-bytes", bytes.into()),
        ("current-db-size", human_bytes(bytes).into()),
    ];
    console::info(PLACE, "defragmenting", &fields);
}

fn finished(path: &Path, before: u64, after: u64, began: Instant) {
    let fields = [
        ("path", Value::from(path.display().to_string())),
        ("current-db-size-bytes-diff", (after as i64 - before as i64).into()),
        ("current-db-size-bytes", after.into()),
        ("current-db-size", human_bytes(after).into()),
        ("took", format!("{:?}", began.elapsed()).into()),
    ];
    console::info(PLACE, "finished defragmenting directory", &fields);
}
