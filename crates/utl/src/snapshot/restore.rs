//! `etcdutl snapshot restore`: a snapshot as the data dir of the first start of a new cluster.
//!
//! The order is that of etcd, with one difference: everything is read and checked before anything is
//! written, and what a failure leaves half-made is removed again.
//!
//! ```text
//! member/snap/db                  the snapshot, with the members of the new cluster
//! member/snap/<term>-<n>.snap     the same members for releases up to 3.6
//! member/wal/0-0.wal              an entry per member, all committed, and a snapshot at the last
//! ```
//!
//! A new cluster begins with its members as entries 1 to n of term 1, and the database says that it
//! has applied them.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use api::{
    ids::{RaftIndex, Revision, Term},
    raftpb::{
        ConfChange, ConfChangeType, ConfState, Entry, EntryType, HardState, Snapshot,
        SnapshotMetadata,
    },
    walpb,
};
use bbolt::{Db, Source};
use membership::{InitialCluster, Membership, member_to_json};
use prost::Message;
use serde_json::Value;
use storage::{
    Bucket, Op,
    image::key_value,
    schema::{self, key::RevisionKey, meta},
};
use vfs::os::OsFs;
use wal::Wal;

use super::hash;
use crate::{
    Failure, console,
    copy::{Copy, Edit},
    defrag::sync_dir,
    exit::io,
};

const PLACE: &str = "snapshot/restore.rs";
/// The term of the first entries of a cluster.
const TERM: u64 = 1;

/// What to restore, and as which member of which cluster.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The snapshot file.
    pub snapshot: PathBuf,
    /// The member's name.
    pub name: String,
    /// Where the data dir is to be made.
    pub data_dir: PathBuf,
    /// Where the log is to be made, if not in the data dir.
    pub wal_dir: Option<PathBuf>,
    /// The member's peer URLs, separated by commas.
    pub peer_urls: String,
    /// `name=url,...` of all members.
    pub initial_cluster: String,
    /// What tells clusters with the same URLs apart.
    pub token: String,
    /// Takes a file without a hash, or with a wrong one.
    pub skip_hash_check: bool,
    /// Told in the log; memory is mapped when a member starts.
    pub initial_mmap_bytes: u64,
    /// How far the newest revision is moved up, together with `mark_compacted`.
    pub bump_revision: u64,
    /// Marks all up to the newest revision as compacted.
    pub mark_compacted: bool,
}

/// Makes the data dir.
pub fn restore(config: &Restore) -> Result<(), Failure> {
    if (config.bump_revision > 0) != config.mark_compacted {
        let message = "--mark-compacted required if --revision-bump > 0";
        return Err(Failure::bad_args(message));
    }
    let cluster = cluster(config)?;
    let places = Places::of(config)?;
    places.tell(config, "restoring snapshot");
    let file = hash::verified(&config.snapshot, config.skip_hash_check)?;
    let db = Db::open(file).map_err(Failure::error)?;
    let copy = plan(config, &cluster, &db)?;

    let made = make(config, &cluster, &places, &copy);
    if made.is_err() {
        places.remove();
    }
    made?;
    places.tell(config, "restored snapshot");
    Ok(())
}

/// The members of the new cluster, with the checks of a first start.
fn cluster(config: &Restore) -> Result<Membership, Failure> {
    let advertised = membership::urls::parse(config.peer_urls.split(','));
    let advertised = advertised.map_err(Failure::error)?;
    let initial = InitialCluster::parse(&config.initial_cluster).map_err(Failure::error)?;
    initial.verify_bootstrap(&config.name, &advertised).map_err(Failure::error)?;
    let members = initial.members(&config.token).map_err(Failure::error)?;
    let id = membership::cluster_id(members.iter().map(|member| member.id));
    Ok(Membership::from_members(id, 0, members))
}

/// Where things go.
struct Places {
    data_dir: PathBuf,
    snap_dir: PathBuf,
    wal_dir: PathBuf,
    /// Whether the data dir is to be removed when it fails, or only what is in it.
    data_dir_is_new: bool,
}

impl Places {
    fn of(config: &Restore) -> Result<Places, Failure> {
        let data_dir = config.data_dir.clone();
        let entries = fs::read_dir(&data_dir);
        let data_dir_is_new = match &entries {
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
            Ok(_) => false,
        };
        let is_empty = entries.is_ok_and(|mut entries| entries.next().is_none());
        if !data_dir_is_new && !is_empty {
            let dir = data_dir.display().to_string();
            let message = format!("data-dir {dir:?} not empty or could not be read");
            return Err(Failure::error(message));
        }
        let own = data_dir.join("member/wal");
        let wal_dir = config.wal_dir.clone().unwrap_or(own);
        if wal_dir.exists() {
            let message = format!("wal-dir {:?} exists", wal_dir.display().to_string());
            return Err(Failure::error(message));
        }
        let snap_dir = data_dir.join("member/snap");
        Ok(Places { data_dir, snap_dir, wal_dir, data_dir_is_new })
    }

    fn tell(&self, config: &Restore, message: &str) {
        let text = |path: &Path| Value::from(path.display().to_string());
        let fields = [
            ("path", text(&config.snapshot)),
            ("wal-dir", text(&self.wal_dir)),
            ("data-dir", text(&self.data_dir)),
            ("snap-dir", text(&self.snap_dir)),
            ("initial-memory-map-size", config.initial_mmap_bytes.into()),
        ];
        console::info(PLACE, message, &fields);
    }

    /// Removes what was made. Failures to do so are not told: the one before is.
    fn remove(&self) {
        let made =
            if self.data_dir_is_new { &self.data_dir } else { &self.data_dir.join("member") };
        let _ = fs::remove_dir_all(made);
        let _ = fs::remove_dir_all(&self.wal_dir);
    }
}

/// Reads all of the snapshot and decides what is changed on the way.
fn plan<'d, S: Source>(
    config: &Restore,
    cluster: &Membership,
    db: &'d Db<S>,
) -> Result<Copy<'d, S>, Failure> {
    let latest = latest_revision(db)?;
    let mut edits: BTreeMap<Vec<u8>, Edit> = BTreeMap::new();
    for bucket in Bucket::ALL.into_iter().filter(|bucket| bucket.is_of_etcd()) {
        edits.insert(bucket.name().as_bytes().to_vec(), Edit::default());
    }
    let mut ops = Vec::new();
    let members = cluster.members();
    ops.extend(members.map(|m| schema::members::put(m.id, member_to_json(m).into())));
    ops.extend(meta::put_consistent(RaftIndex(entries_of(cluster).len() as u64), Term(TERM)));
    if config.bump_revision > 0 {
        ops.extend(bump(latest, config.bump_revision)?);
    }
    for bucket in [Bucket::Members, Bucket::MembersRemoved] {
        edits.entry(bucket.name().as_bytes().to_vec()).or_default().clear = true;
    }
    for op in ops {
        let edit = edits.entry(op.bucket().name().as_bytes().to_vec()).or_default();
        match op {
            Op::Put { key, value, .. } => edit.put(key, value),
            Op::Delete { key, .. } => edit.delete(key),
        }
    }
    console::info(PLACE, "Trimming membership information from the backend...", &[]);
    Copy::plan(db, edits)
}

/// The newest main revision of the key bucket, every entry of which is looked into.
fn latest_revision<S: Source>(db: &Db<S>) -> Result<i64, Failure> {
    let mut latest = 0;
    let name = Bucket::Key.name().as_bytes();
    let Some(bucket) = db.bucket(name).map_err(Failure::error)? else { return Ok(latest) };
    let mut cursor = bucket.cursor();
    while let Some(entry) = cursor.next().map_err(Failure::error)? {
        let value = bytes::Bytes::copy_from_slice(entry.value);
        let (revision, _, _) = key_value(entry.key, &value).map_err(Failure::error)?;
        latest = revision.main;
    }
    Ok(latest)
}

/// An empty revision above all others, and the mark that all up to there is compacted: clients that
/// remember newer revisions than the snapshot has learn that theirs are gone.
fn bump(latest: i64, amount: u64) -> Result<[Op; 2], Failure> {
    let new = i64::try_from(amount).ok().and_then(|amount| latest.checked_add(amount));
    let Some(main) = new else {
        return Err(Failure::error("--bump-revision leads past the last revision"));
    };
    let fields = [
        ("latest-revision", latest.into()),
        ("bump-amount", amount.into()),
        ("new-latest-revision", main.into()),
    ];
    console::info(PLACE, "bumping latest revision", &fields);
    console::info(PLACE, "marking revision compacted", &[("revision", main.into())]);
    let key = RevisionKey::new(Revision { main, sub: 0 }, false).to_bytes();
    let put = Op::Put { bucket: Bucket::Key, key, value: bytes::Bytes::new() };
    Ok([put, meta::put_scheduled_compact(main)])
}

/// One entry per member, by ascending id.
fn entries_of(cluster: &Membership) -> Vec<Entry> {
    let of_member = |(member, index): (&membership::Member, u64)| {
        let change = ConfChange {
            r#type: ConfChangeType::ConfChangeAddNode as i32,
            node_id: member.id.0,
            context: member_to_json(member).into(),
            ..ConfChange::default()
        };
        Entry {
            r#type: EntryType::EntryConfChange as i32,
            term: TERM,
            index,
            data: change.encode_to_vec().into(),
        }
    };
    cluster.members().zip(1..).map(of_member).collect()
}

fn make<S: Source>(
    config: &Restore,
    cluster: &Membership,
    places: &Places,
    copy: &Copy<'_, S>,
) -> Result<(), Failure> {
    make_dir(&places.snap_dir)?;
    copy.write(&places.snap_dir.join("db"))?;
    for member in cluster.members() {
        let fields = [
            ("cluster-id", Value::from(cluster.cluster_id().to_string())),
            ("local-member-id", "0".into()),
            ("added-peer-id", member.id.to_string().into()),
            ("added-peer-peer-urls", member.peer_urls.clone().into()),
            ("added-peer-is-learner", false.into()),
        ];
        console::info(PLACE, "added member", &fields);
    }
    write_log(config, cluster, places)?;
    // Every name on the way, from the inside out.
    let member_dir = places.data_dir.join("member");
    let parent = places.data_dir.parent().unwrap_or(Path::new(""));
    for dir in [&places.snap_dir, &member_dir, &places.data_dir, parent] {
        sync_dir(dir)?;
    }
    Ok(())
}

fn make_dir(dir: &Path) -> Result<(), Failure> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| io("mkdir", dir, &error))
}

fn write_log(config: &Restore, cluster: &Membership, places: &Places) -> Result<(), Failure> {
    let own = cluster.member_by_name(&config.name);
    let own = own.expect("the initial cluster was checked to have this member");
    let metadata = walpb::Metadata { node_id: own.id.0, cluster_id: cluster.cluster_id().0 };
    let entries = entries_of(cluster);
    let commit = entries.len() as u64;
    let first = cluster.members().next().expect("a cluster has a member").id;
    let hard_state = HardState { term: TERM, vote: first.0, commit };
    let voters = cluster.members().map(|member| member.id.0).collect();
    let conf_state = Some(ConfState { voters, ..ConfState::default() });

    if let Some(parent) = places.wal_dir.parent() {
        make_dir(parent)?;
    }
    // One short segment; nothing is to be won by filling it ahead.
    let options = wal::Options { zero_fill: false, ..wal::Options::default() };
    let mut log =
        Wal::create(Arc::new(OsFs), &places.wal_dir, &metadata, options).map_err(Failure::error)?;
    log.save(Some(&hard_state), &entries).map_err(Failure::error)?;
    let snapshot = Snapshot {
        data: cluster.to_v2_store().into(),
        metadata: Some(SnapshotMetadata {
            conf_state: conf_state.clone(),
            index: commit,
            term: TERM,
        }),
    };
    wal::snap::save(&OsFs, &places.snap_dir, &snapshot).map_err(Failure::error)?;
    let record = walpb::Snapshot { index: commit, term: TERM, conf_state };
    log.save_snapshot(&record).map_err(Failure::error)?;
    log.close().map_err(Failure::error)
}
