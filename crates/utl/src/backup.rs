//! The data dir of a member copied for a new cluster (`backup` of etcdctl's v2 mode): what the log and
//! its newest snapshot hold, without the members, and on demand the database.
//!
//! The copy is started with `--force-new-cluster`. Entries about members, and without the database
//! those of the v3 store, become empty entries, as since 3.5: indexes stay what they were, so the
//! database's own count of what it has applied stays right.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use api::{
    ids::{RaftIndex, Term},
    raftpb::{Entry, EntryType, HardState, Snapshot},
    walpb,
};
use bbolt::{Db, Source};
use prost::Message;
use ring::rand::{SecureRandom, SystemRandom};
use storage::{
    Backend, Bucket, Op,
    engine::{LmdbBackend, LmdbOptions, Share, open_db},
    image::Image,
    schema::meta,
};
use vfs::os::OsFs;
use wal::Wal;

use crate::{
    Failure,
    copy::{Copy, Edit},
    defrag::sync_dir,
    exit::io,
    open::{self, Database},
};

/// What to copy, and where to.
#[derive(Clone, Debug)]
pub struct Backup {
    /// The data dir.
    pub data_dir: PathBuf,
    /// Its log, if not within.
    pub wal_dir: Option<PathBuf>,
    /// The data dir to make.
    pub backup_dir: PathBuf,
    /// The log to make, if not within.
    pub backup_wal_dir: Option<PathBuf>,
    /// Copies the v3 store too.
    pub with_v3: bool,
}

/// Makes the copy; `tell` is given a line about each entry that is left out.
pub fn backup(config: &Backup, tell: &mut dyn FnMut(&str)) -> Result<(), Failure> {
    let within = |dir: &Path, name: &str| dir.join("member").join(name);
    let source_snap = within(&config.data_dir, "snap");
    let snap = within(&config.backup_dir, "snap");
    let source_wal = config.wal_dir.clone().unwrap_or_else(|| within(&config.data_dir, "wal"));
    let wal = config.backup_wal_dir.clone().unwrap_or_else(|| within(&config.backup_dir, "wal"));
    make_empty_dir(&snap)?;

    let snapshot = newest_snapshot(&source_snap)?;
    let at = snapshot.as_ref().map_or_else(walpb::Snapshot::default, record);
    let log = Wal::read_only(&OsFs, &source_wal, &at).map_err(Failure::error)?;
    let mut entries = log.entries;
    entries.iter_mut().for_each(|entry| strip(entry, config.with_v3, tell));

    if let Some(snapshot) = &snapshot {
        wal::snap::save(&OsFs, &snap, snapshot).map_err(Failure::error)?;
    }
    copy_database(config, &snap, &log.hard_state)?;
    write_log(&wal, &at, &log.hard_state, &entries)?;
    let member = config.backup_dir.join("member");
    for dir in [&snap, &member, &config.backup_dir] {
        sync_dir(dir)?;
    }
    Ok(())
}

fn make_empty_dir(dir: &Path) -> Result<(), Failure> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| io("mkdir", dir, &error))?;
    let mut entries = fs::read_dir(dir).map_err(|error| io("open", dir, &error))?;
    let name = dir.display();
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(Failure::error(format!(
            "failed creating backup snapshot dir {name}: the directory is not empty"
        ))),
    }
}

/// The newest `.snap` file that can be read. The source is not changed.
fn newest_snapshot(dir: &Path) -> Result<Option<Snapshot>, Failure> {
    for name in wal::snap::list(&OsFs, dir).map_err(Failure::error)? {
        let path = dir.join(name);
        let content = fs::read(&path).map_err(|error| io("open", &path, &error))?;
        if let Ok(snapshot) = wal::snap::decode(&content) {
            return Ok(Some(snapshot));
        }
    }
    Ok(None)
}

/// The log's record of a snapshot.
fn record(snapshot: &Snapshot) -> walpb::Snapshot {
    let metadata = snapshot.metadata.clone().unwrap_or_default();
    let conf_state = Some(metadata.conf_state.unwrap_or_default());
    walpb::Snapshot { index: metadata.index, term: metadata.term, conf_state }
}

/// What an entry is about, as far as that matters here.
#[derive(Clone, PartialEq, prost::Message)]
struct Internal {
    #[prost(message, optional, tag = "2")]
    v2: Option<V2>,
    #[prost(bytes = "vec", optional, tag = "100")]
    header: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "1301")]
    member_attributes: Option<Vec<u8>>,
}

/// A request to the v2 store.
#[derive(Clone, PartialEq, prost::Message)]
struct V2 {
    #[prost(bytes = "vec", optional, tag = "2")]
    method: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    path: Option<Vec<u8>>,
}

/// Empties an entry that the copy must not have.
fn strip(entry: &mut Entry, with_v3: bool, tell: &mut dyn FnMut(&str)) {
    let why = match entry.r#type {
        kind if kind != EntryType::EntryNormal as i32 => {
            "ignoring EntryConfChange raft entry".to_owned()
        }
        _ => match unwanted(&entry.data, with_v3) {
            Some(why) => why,
            None => return,
        },
    };
    tell(&why);
    entry.r#type = EntryType::EntryNormal as i32;
    entry.data = bytes::Bytes::new();
}

/// Why the request of an entry is left out, if it is.
fn unwanted(data: &[u8], with_v3: bool) -> Option<String> {
    let internal = Internal::decode(data).ok();
    let v2 = match &internal {
        Some(internal) => internal.v2.clone(),
        // Before 3.5, entries of the v2 store stand alone.
        None => V2::decode(data).ok(),
    };
    if let Some(V2 { method, path }) = v2 {
        let path = String::from_utf8_lossy(&path.unwrap_or_default()).into_owned();
        let put = method.as_deref() == Some(b"PUT");
        return (put && is_member_attributes(&path))
            .then(|| format!("ignoring member attribute update on {path}"));
    }
    let internal = internal?;
    if internal.member_attributes.is_some() {
        return Some("ignoring cluster_member_attr_set".to_owned());
    }
    (!with_v3 && internal.header.is_some()).then(|| "ignoring v3 raft entry".to_owned())
}

/// Whether a path of the v2 store is `/0/members/ID/attributes`.
fn is_member_attributes(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let ["", "0", "members", id, rest] = parts[..] else { return false };
    let is_id = (1..=16).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id && rest == "attributes"
}

/// Buckets that name the members.
const MEMBERS: [Bucket; 3] = [Bucket::Members, Bucket::MembersRemoved, Bucket::Cluster];

fn copy_database(config: &Backup, snap: &Path, state: &HardState) -> Result<(), Failure> {
    let target = snap.join("db");
    if !config.with_v3 {
        return empty_database(&target, state);
    }
    match open::find(&config.data_dir)? {
        Database::File(path) => {
            let db = open::open_db(&path, Share::Readers, None)?;
            without_members(&db, &target)
        }
        Database::Store(path) => {
            let whole = snap.join("db.tmp");
            let store = LmdbBackend::open(&path, LmdbOptions::default()).map_err(Failure::error)?;
            write_image(&store, &whole)?;
            let db = open_db(&whole).map_err(Failure::error)?;
            without_members(&db, &target)?;
            drop(db);
            fs::remove_file(&whole).map_err(|error| io("remove", &whole, &error))
        }
    }
}

fn write_image(store: &LmdbBackend, path: &Path) -> Result<(), Failure> {
    let view = store.read().map_err(Failure::error)?;
    let file = fs::File::create_new(path).map_err(|error| io("open", path, &error))?;
    let mut file = std::io::BufWriter::new(file);
    let image = Image::plan(&*view).map_err(Failure::error)?;
    let written = image.write(&mut |chunk| std::io::Write::write_all(&mut file, &chunk));
    written.map_err(Failure::error)?;
    std::io::Write::flush(&mut file).map_err(|error| io("write", path, &error))
}

fn without_members<S: Source>(db: &Db<S>, target: &Path) -> Result<(), Failure> {
    let clear = |bucket: Bucket| {
        let edit = Edit { clear: true, ..Edit::default() };
        (bucket.name().as_bytes().to_vec(), edit)
    };
    Copy::plan(db, MEMBERS.map(clear).into())?.write(target)
}

/// A database that says only how much of the log is applied.
fn empty_database(target: &Path, state: &HardState) -> Result<(), Failure> {
    let mut edits: BTreeMap<Vec<u8>, Edit> = BTreeMap::new();
    for op in meta::put_consistent(RaftIndex(state.commit), Term(state.term)) {
        let edit = edits.entry(op.bucket().name().as_bytes().to_vec()).or_default();
        if let Op::Put { key, value, .. } = op {
            edit.put(key, value);
        }
    }
    Copy::of_nothing(edits)?.write(target)
}

/// A log of a member of its own, which names no other member.
fn write_log(
    dir: &Path,
    at: &walpb::Snapshot,
    state: &HardState,
    entries: &[Entry],
) -> Result<(), Failure> {
    let metadata = walpb::Metadata { node_id: random_id()?, cluster_id: random_id()? };
    let options = wal::Options { zero_fill: false, ..wal::Options::default() };
    let made = Wal::create(Arc::new(OsFs), dir, &metadata, options);
    let mut log = made.map_err(Failure::error)?;
    if at.index > 0 {
        log.save_snapshot(at).map_err(Failure::error)?;
    }
    log.save(Some(state), entries).map_err(Failure::error)?;
    log.close().map_err(Failure::error)
}

fn random_id() -> Result<u64, Failure> {
    let mut id = [0; 8];
    let filled = SystemRandom::new().fill(&mut id);
    filled.map_err(|_| Failure::error("the system has no random numbers"))?;
    // Zero is nobody's id.
    Ok(u64::from_be_bytes(id).max(1))
}

#[cfg(test)]
mod tests;
