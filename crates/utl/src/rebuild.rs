//! `etcdutl rebuild`: the store of a member that does not run, anew from a healthy peer.
//!
//! For a member whose store is damaged and whose log is not. The log stays, and with it all that the
//! member has promised: its term, its vote, and every entry that it has acknowledged. Only what it
//! has *applied* is replaced, by an image of what a peer has applied. That is what a snapshot of the
//! leader does to a running member, and it is sound for the same reasons:
//!
//! - An entry that a member has applied is committed; so is everything before it. An image at index i
//!   is therefore a state that this member would have reached, or has reached.
//! - Entries of the log after i stay. Where the log does not reach i the next entries come from the
//!   leader, which finds a log that ends at i, as after a snapshot. An image older than the first
//!   entry that the log still has is refused: there would be a gap.
//! - The term only rises, to that of the image, where the member has voted for nobody; a vote in the
//!   same term stays.
//! - Where the log has another entry at i than the cluster has committed, the member has not
//!   acknowledged the committed one: a majority without it has. Entries behind it that remain for a
//!   while are those of a follower that was led astray; they win no election against that majority.
//!
//! The keys of the v2 API come with the image, in a bucket that images do not have otherwise, and reach
//! the member as they do in a snapshot of the leader. Nothing is changed before the image is here and checked. Then, each step durable: the image gets the
//! name by which the next start finds it, the damaged store is set aside, the record in the log makes
//! the image count. Interrupted, the command can be run again.
//!
//! A member whose *log* is damaged has lost what it promised, and nobody can say what that was: it must
//! not come back under its id. [`replace`] (`--replace`) is for it.

mod fetch;
mod replace;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use api::{
    ids::{ClusterId, MemberId, RaftIndex},
    raftpb::{HardState, Snapshot, SnapshotMetadata},
    walpb,
};
use bbolt::Source;
use membership::Membership;
use serde_json::Value;
use storage::{
    Backend, Bucket,
    engine::{self, DbSum, STORE_NAME, Share},
    image,
    mem::MemBackend,
    schema::meta,
};
use vfs::os::OsFs;
use wal::Wal;

use crate::{Failure, console, defrag::sync_dir, exit::io, open, snapshot};

pub use fetch::Peers;
pub use replace::replace;

const PLACE: &str = "utl/rebuild.rs";

/// What the store is called once it is set aside.
const DAMAGED_NAME: &str = "oxetcd.damaged";

/// Why a peer's image is not enough.
const NO_V2_KEYS: &str = "the peer does not hand on the keys of the v2 API, which a member must have: \
                          try another peer, or remove this member (etcdctl member remove) and add it \
                          with an empty data dir";

/// What to rebuild, and from whom.
pub struct Rebuild {
    /// The data dir.
    pub data_dir: PathBuf,
    /// The log, if it is elsewhere.
    pub wal_dir: Option<PathBuf>,
    /// The other members.
    pub peers: Peers,
}

/// The log of the member, open: so nobody else runs on it.
struct Log {
    wal: Wal,
    at: walpb::Snapshot,
    hard_state: HardState,
    last: u64,
    member: MemberId,
    cluster: ClusterId,
}

/// An image that has arrived and was looked into.
struct Image {
    path: PathBuf,
    index: u64,
    term: u64,
    members: Membership,
    /// The keys of the v2 API at that index; `None` when there are none in such a cluster.
    v2: Option<v2store::Store>,
}

/// Rebuilds; returns what to say.
pub fn rebuild(config: &Rebuild) -> Result<String, Failure> {
    let snap_dir = config.data_dir.join("member/snap");
    let wal_dir = config.wal_dir.clone().unwrap_or_else(|| config.data_dir.join("member/wal"));
    let store = snap_dir.join(STORE_NAME);
    // Held to the end: a server that starts meanwhile finds the store in use.
    let _lock = match store.is_dir() {
        true => Some(engine::hold(&store).map_err(Failure::error)?),
        false => None,
    };
    let mut log = Log::open(&wal_dir)?;
    let temporary = snap_dir.join(format!("tmp-rebuild-{}", std::process::id()));
    let fetched = fetch::fetch(&config.peers, (log.cluster, log.member), &temporary)
        .and_then(|()| Image::check(&temporary, (log.cluster, log.member)))
        .and_then(|image| log.reaches(image));
    let image = fetched.inspect_err(|_| {
        // The failure before matters more than one of tidying up.
        let _ = fs::remove_file(&temporary);
    })?;
    let damaged = set_aside(&snap_dir, &image, &store)?;
    log.record(&snap_dir, &image)?;
    let fields = [
        ("member-id", Value::from(log.member.to_string())),
        ("index", image.index.into()),
        ("term", image.term.into()),
        ("log-ends-at", log.last.into()),
    ];
    console::info(PLACE, "the store will be read from the image at the next start", &fields);
    log.wal.close().map_err(Failure::error)?;
    let kept = match damaged {
        Some(path) => format!("The old store is {}; remove it when all is well.\n", path.display()),
        None => String::new(),
    };
    Ok(format!(
        "Member {} has the store of its peers at index {}. Start it.\n{kept}",
        log.member, image.index
    ))
}

impl Log {
    fn open(wal_dir: &Path) -> Result<Log, Failure> {
        let unsound = |error: wal::Error| {
            let advice = "without its log the member can only come back as a new one: --replace";
            Failure::error(format!("the write-ahead log cannot be used: {error}; {advice}"))
        };
        let records = Wal::valid_snapshots(&OsFs, wal_dir).map_err(unsound)?;
        let newest = records.into_iter().max_by_key(|snapshot| snapshot.index);
        let at = newest.ok_or_else(|| Failure::error("the log has no snapshot record"))?;
        let options = wal::Options { zero_fill: false, ..wal::Options::default() };
        let (wal, log) = Wal::open(Arc::new(OsFs), wal_dir, &at, options).map_err(unsound)?;
        let last = log.entries.last().map_or(at.index, |entry| entry.index);
        let member = MemberId(log.metadata.node_id);
        let cluster = ClusterId(log.metadata.cluster_id);
        Ok(Log { wal, at, hard_state: log.hard_state, last, member, cluster })
    }

    /// The image, if there is no gap between it and the log.
    fn reaches(&self, image: Image) -> Result<Image, Failure> {
        if image.index >= self.at.index {
            return Ok(image);
        }
        Err(Failure::error(format!(
            "the peer has applied index {}, and the log of this member begins after {}: \
             try again later, or with another peer",
            image.index, self.at.index
        )))
    }

    /// Makes the image count.
    fn record(&mut self, snap_dir: &Path, image: &Image) -> Result<(), Failure> {
        let state = self.covering(image);
        image.record(&mut self.wal, snap_dir, &state)
    }

    fn covering(&self, image: &Image) -> HardState {
        let old = &self.hard_state;
        let vote = if image.term > old.term { 0 } else { old.vote };
        HardState { term: old.term.max(image.term), vote, commit: old.commit.max(image.index) }
    }
}

impl Image {
    /// Reads all of the file: nothing of it is taken on trust.
    fn check(path: &Path, (cluster, member): (ClusterId, MemberId)) -> Result<Image, Failure> {
        let file = snapshot::verified(path, false)?;
        let len = file.len();
        drop(file);
        // The hash behind it is not part of the database.
        let opened = fs::File::options().write(true).open(path);
        let cut = opened.and_then(|file| file.set_len(len).and_then(|()| file.sync_all()));
        cut.map_err(|error| io("truncate", path, &error))?;
        let db = open::open_db(path, Share::Readers, None)?;
        let small = MemBackend::new();
        let kept = [Bucket::Meta, Bucket::Members, Bucket::MembersRemoved, Bucket::Cluster];
        for op in image::import(&db) {
            let op = op.map_err(Failure::error)?;
            if kept.contains(&op.bucket()) {
                small.commit(&[op]).map_err(Failure::error)?;
            }
        }
        let v2 = image::import_v2(&db).map_err(Failure::error)?;
        let has_v2 = v2.is_some();
        for op in v2.into_iter().flatten() {
            small.commit(&[op.map_err(Failure::error)?]).map_err(Failure::error)?;
        }
        let view = small.read().map_err(Failure::error)?;
        let consistent = meta::read_consistent(&*view).map_err(Failure::error)?;
        let Some((RaftIndex(index), term)) = consistent.filter(|(_, term)| term.0 > 0) else {
            return Err(Failure::error("the image does not say which entry it ends with"));
        };
        let members = Membership::load(&*view, cluster, 0).map_err(Failure::error)?;
        if members.member(member).is_none() {
            let message = format!("member {member} is not part of the cluster any more");
            return Err(Failure::error(message));
        }
        let v2 = match has_v2 {
            true => Some(v2store::Store::load(&*view).map_err(Failure::error)?),
            // A member of etcd itself: since 3.6 those have no such keys.
            false
                if members
                    .cluster_version()
                    .is_some_and(|version| (version.major, version.minor) >= (3, 6)) =>
            {
                None
            }
            false => return Err(Failure::error(NO_V2_KEYS)),
        };
        Ok(Image { path: path.to_owned(), index, term: term.0, members, v2 })
    }

    /// `.snap` file, record of the log, and the state that covers it.
    fn record(&self, wal: &mut Wal, snap_dir: &Path, state: &HardState) -> Result<(), Failure> {
        let (index, term, conf_state) = (self.index, self.term, Some(self.members.conf_state()));
        let record = walpb::Snapshot { index, term, conf_state: conf_state.clone() };
        let metadata = Some(SnapshotMetadata { conf_state, index, term });
        let data = match &self.v2 {
            Some(v2) => v2.save(&self.members.to_v2_node()).into(),
            None => self.members.to_v2_store().into(),
        };
        let snapshot = Snapshot { data, metadata };
        wal::snap::save(&OsFs, snap_dir, &snapshot).map_err(Failure::error)?;
        wal.save_snapshot(&record).map_err(Failure::error)?;
        wal.save(Some(state), &[]).map_err(Failure::error)?;
        wal.sync().map_err(Failure::error)
    }

    /// Gives the file the name by which a start finds it.
    fn place(&self, snap_dir: &Path) -> Result<(), Failure> {
        let place = snap_dir.join(format!("{:016x}.snap.db", self.index));
        let sum = DbSum::of(&self.path).map_err(|error| io("read", &self.path, &error))?;
        DbSum::forget(&place).map_err(|error| io("remove the checksum of", &place, &error))?;
        fs::rename(&self.path, &place).map_err(|error| io("rename", &self.path, &error))?;
        sum.save(&place).map_err(|error| io("write the checksum of", &place, &error))?;
        sync_dir(snap_dir)
    }
}

/// Gives the image its name, and puts the old store out of the way; returns where it is now.
fn set_aside(snap_dir: &Path, image: &Image, store: &Path) -> Result<Option<PathBuf>, Failure> {
    image.place(snap_dir)?;
    if !store.is_dir() {
        return Ok(None);
    }
    let aside = free(&snap_dir.join(DAMAGED_NAME));
    fs::rename(store, &aside).map_err(|error| io("rename", store, &error))?;
    sync_dir(snap_dir)?;
    Ok(Some(aside))
}

/// This path, or with a number behind it, so that nothing is there.
fn free(path: &Path) -> PathBuf {
    let numbered = |number| match number {
        0 => path.to_owned(),
        number => PathBuf::from(format!("{}.{number}", path.display())),
    };
    (0..).map(numbered).find(|path| !path.exists()).expect("some number is free")
}
