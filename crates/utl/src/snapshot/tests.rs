//! Snapshots of real etcd restored and summed up, and files that are refused.

use std::{fs, path::Path, time::Duration};

use api::etcdserverpb::InternalRaftRequest;
use storage::{
    Backend, Bucket,
    engine::{self, LmdbBackend, LmdbOptions, STORE_NAME},
};
use tempfile::TempDir;

use super::*;
use crate::{defrag, hashkv, migrate};

const ETCD_3_5: &[u8] = include_bytes!("../../../bbolt/testdata/etcd-3.5.snap");
const ETCD_3_7: &[u8] = include_bytes!("../../../bbolt/testdata/etcd-3.7.snap");
const NOW: Option<Duration> = Some(Duration::ZERO);

/// A directory with a file `snap`.
fn given(content: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("snap"), content).unwrap();
    dir
}

fn config(dir: &Path) -> Restore {
    Restore {
        snapshot: dir.join("snap"),
        name: "default".into(),
        data_dir: dir.join("data"),
        wal_dir: None,
        peer_urls: "http://localhost:2380".into(),
        initial_cluster: "default=http://localhost:2380".into(),
        token: "etcd-cluster".into(),
        skip_hash_check: false,
        initial_mmap_bytes: 0,
        bump_revision: 0,
        mark_compacted: false,
    }
}

fn sum(path: &Path) -> (u32, i64, usize) {
    let status = status(path, NOW).unwrap();
    (status.hash, status.revision, status.total_keys)
}

#[test]
fn status_is_that_of_etcdutl() {
    for (file, hash, version) in [(ETCD_3_5, 0xd228f0f8, ""), (ETCD_3_7, 0x389e03a5, "3.7.0")] {
        let dir = given(file);
        let expected = Status {
            hash,
            revision: 66,
            total_keys: 62,
            total_bytes: 81_920,
            version: version.to_owned(),
        };
        assert_eq!(status(&dir.path().join("snap"), NOW).unwrap(), expected);
    }
}

/// The hashes are those that etcdutl 3.7.1 printed for the same commands.
#[test]
fn a_restored_database_has_the_content_of_one_that_etcd_restored() {
    let dir = given(ETCD_3_7);
    restore(&config(dir.path())).unwrap();
    let db = dir.path().join("data/member/snap/db");
    assert_eq!(sum(&db), (0x30055392, 66, 62));
    assert_eq!(hashkv::hash(&db, 0, NOW).unwrap().hash, 3_300_551_083);

    let dir = given(ETCD_3_5);
    restore(&Restore {
        name: "a".into(),
        initial_cluster: "a=http://127.0.0.1:1,b=http://127.0.0.1:2".into(),
        peer_urls: "http://127.0.0.1:1".into(),
        bump_revision: 1000,
        mark_compacted: true,
        ..config(dir.path())
    })
    .unwrap();
    let db = dir.path().join("data/member/snap/db");
    assert_eq!(sum(&db), (0x438a5d88, 1066, 63));
    let hash = hashkv::hash(&db, 0, NOW).unwrap();
    assert_eq!((hash.hash, hash.revision, hash.compact_revision), (3_994_353_842, 1066, 1066));
    let snap = dir.path().join("data/member/snap/0000000000000001-0000000000000002.snap");
    let snapshot = wal::snap::decode(&fs::read(snap).unwrap()).unwrap();
    let metadata = snapshot.metadata.unwrap();
    assert_eq!((metadata.index, metadata.term), (2, 1));
    assert_eq!(metadata.conf_state.unwrap().voters.len(), 2);
}

#[test]
fn the_log_of_a_restored_member_begins_with_its_cluster() {
    let dir = given(ETCD_3_5);
    restore(&config(dir.path())).unwrap();
    let log_dir = dir.path().join("data/member/wal");
    let snapshots = wal::Wal::valid_snapshots(&vfs::os::OsFs, &log_dir).unwrap();
    let indexes: Vec<_> = snapshots.iter().map(|snapshot| snapshot.index).collect();
    assert_eq!(indexes, [0, 1]);
    let log = wal::Wal::read_only(&vfs::os::OsFs, &log_dir, &snapshots[0]).unwrap();
    // etcd's id of that URL and token.
    assert_eq!(log.metadata.node_id, 0x8e9e05c52164694d);
    assert_eq!(log.metadata.cluster_id, 0xcdf818194e3a8c32);
    assert_eq!((log.hard_state.term, log.hard_state.commit, log.entries.len()), (1, 1, 1));
}

#[test]
fn a_restored_data_dir_is_adopted() {
    let dir = given(ETCD_3_5);
    restore(&config(dir.path())).unwrap();
    let snap = dir.path().join("data/member/snap");
    let options = LmdbOptions { map_size: 1 << 24, max_readers: 8 };
    let adopted = engine::adopt(&snap, options, &mut |_, _| {}).unwrap().unwrap();
    assert_eq!(adopted.consistent.map(|(index, term)| (index.0, term.0)), Some((1, 1)));
    let store = snap.join(STORE_NAME);
    let backend = LmdbBackend::open(&store, options).unwrap();
    let view = backend.read().unwrap();
    assert!(view.get(Bucket::Members, b"8e9e05c52164694d").unwrap().is_some());
    drop(view);
    drop(backend);
    // The tools know the store.
    assert_eq!(hashkv::hash(&store, 0, NOW).unwrap().hash, 3_822_889_270);
    defrag::defrag(&dir.path().join("data"), NOW).unwrap();
    assert_eq!(hashkv::hash(&store, 0, NOW).unwrap().hash, 3_822_889_270);
    assert!(!store.join("data.mdb.tmp").exists());
}

/// The message of a restore that is refused, and that left nothing.
#[track_caller]
fn refused(dir: &Path, config: &Restore) -> String {
    let failure = restore(config).unwrap_err();
    assert_eq!(failure.code, 1);
    assert!(!dir.join("data").exists() && !dir.join("wal").exists());
    failure.message
}

#[test]
fn bad_snapshots_are_refused_and_nothing_is_written() {
    let mut flipped = ETCD_3_7.to_vec();
    flipped[50_000] ^= 1;
    let mut other_version = ETCD_3_7.to_vec();
    for page in [0, 4096] {
        other_version[page + 20] ^= 1;
    }
    let mut broken_page = ETCD_3_7.to_vec();
    // The root page's count of elements.
    let root = bbolt::Db::open(ETCD_3_7).unwrap().meta().root as usize * 4096;
    broken_page[root + 10..root + 12].copy_from_slice(&u16::MAX.to_le_bytes());
    let cases: [(&[u8], bool, &str); 9] = [
        (b"", false, "invalid argument"),
        (b"", true, "invalid argument"),
        (&ETCD_3_7[..81_920], false, "snapshot missing hash but --skip-hash-check=false"),
        (&ETCD_3_7[..40_000], false, "snapshot missing hash but --skip-hash-check=false"),
        (&ETCD_3_7[..40_000], true, "file is truncated: it has 40000 bytes, its pages need 81920"),
        (&flipped, false, "expected sha256 [160 153 91 162"),
        (&other_version, true, "version mismatch"),
        (&[7; 20_000], true, "invalid database"),
        (&broken_page, true, "more elements than fit in the page"),
    ];
    for (content, skip_hash_check, message) in cases {
        let dir = given(content);
        let config = Restore { skip_hash_check, ..config(dir.path()) };
        let told = refused(dir.path(), &config);
        assert!(told.contains(message), "{told}");
    }
    // With the check skipped, a flipped bit of a value is taken, as etcd does.
    let dir = given(&flipped);
    restore(&Restore { skip_hash_check: true, ..config(dir.path()) }).unwrap();
}

#[test]
fn bad_configurations_are_refused_and_nothing_is_written() {
    let dir = given(ETCD_3_7);
    let good = config(dir.path());
    let refused = |config: Restore| refused(dir.path(), &config);
    assert_eq!(
        refused(Restore { name: "x".into(), ..good.clone() }),
        "couldn't find local name \"x\" in the initial cluster configuration"
    );
    assert_eq!(
        refused(Restore { initial_cluster: "default=http://127.0.0.1:1".into(), ..good.clone() }),
        "--initial-cluster has default=http://127.0.0.1:1 but missing from \
         --initial-advertise-peer-urls=http://localhost:2380 (resolved urls: \
         \"http://localhost:2380\" != \"http://127.0.0.1:1\")"
    );
    assert_eq!(
        refused(Restore { peer_urls: "foo".into(), ..good.clone() }),
        "URL scheme must be http, https, unix, or unixs: foo"
    );
    let wal_dir = Some(dir.path().to_owned());
    let told = refused(Restore { wal_dir, ..good.clone() });
    assert!(told.ends_with("exists"), "{told}");
    let bump_revision = u64::MAX;
    let told = refused(Restore { bump_revision, mark_compacted: true, ..good.clone() });
    assert!(told.contains("last revision"), "{told}");

    fs::create_dir(dir.path().join("data")).unwrap();
    fs::write(dir.path().join("data/x"), "").unwrap();
    let told = restore(&good).unwrap_err().message;
    assert!(told.ends_with("not empty or could not be read"), "{told}");
    assert_eq!(fs::read_dir(dir.path().join("data")).unwrap().count(), 1);
}

#[test]
fn damage_is_found_by_the_check_of_status() {
    let mut file = ETCD_3_7.to_vec();
    let db = bbolt::Db::open(ETCD_3_7).unwrap();
    // The second key of the first branch page: still a file to walk, but out of order.
    let pages = db.size() as usize / 4096;
    let branch = (2..pages).find(|page| file[page * 4096 + 8] == 1).unwrap() * 4096;
    let pos = u32::from_le_bytes(file[branch + 32..branch + 36].try_into().unwrap()) as usize;
    file[branch + 32 + pos] = 0xff;
    let dir = given(&file);
    let told = status(&dir.path().join("snap"), NOW).unwrap_err();
    assert!(told.message.starts_with("snapshot file integrity check failed. "), "{told}");

    for (content, message) in
        [(&b""[..], "invalid database"), (&ETCD_3_7[..40_000], "file is truncated")]
    {
        let dir = given(content);
        let told = status(&dir.path().join("snap"), NOW).unwrap_err();
        assert!(told.message.contains(message), "{told}");
    }
}

#[test]
fn hashes_at_revisions_are_those_of_etcdutl() {
    let dir = given(ETCD_3_7);
    let path = dir.path().join("snap");
    let hash = |revision| hashkv::hash(&path, revision, NOW).map(|hash| hash.hash);
    assert_eq!(hash(30), Ok(542_709_082));
    assert_eq!(hash(40), Ok(3_992_966_960));
    let text = |revision| hash(revision).unwrap_err().message;
    assert_eq!(text(20), "mvcc: required revision has been compacted");
    assert_eq!(text(99), "mvcc: required revision is a future revision");
    // The file is not changed by it.
    assert_eq!(fs::read(&path).unwrap(), ETCD_3_7);
}

#[test]
fn a_database_in_use_is_waited_for() {
    let dir = given(ETCD_3_7);
    let path = dir.path().join("snap");
    let etcd = engine::DbFile::open(&path).unwrap();
    assert!(etcd.try_lock(engine::Share::Nobody).unwrap());
    assert_eq!(hashkv::hash(&path, 0, NOW).unwrap_err().message, "timeout");
    assert_eq!(status(&path, NOW).unwrap_err().message, "timeout");
    drop(etcd);
    assert!(status(&path, NOW).is_ok());
}

#[test]
fn defragmentation_keeps_every_entry() {
    let dir = given(ETCD_3_7);
    restore(&config(dir.path())).unwrap();
    let data = dir.path().join("data");
    let db = data.join("member/snap/db");
    fs::write(&db, ETCD_3_7).unwrap();
    let before = sum(&db);
    defrag::defrag(&data, NOW).unwrap();
    assert_eq!(sum(&db), before);
    assert!(fs::metadata(&db).unwrap().len() < 81_920);

    let other = tempfile::tempdir().unwrap();
    let told = defrag::defrag(other.path(), NOW).unwrap_err().message;
    assert!(told.starts_with("Failed to defragment etcd data[") && told.contains("no such file"));
}

#[test]
fn migration_sets_and_clears_the_version() {
    for adopted in [false, true] {
        let dir = given(ETCD_3_5);
        restore(&config(dir.path())).unwrap();
        let data = dir.path().join("data");
        let snap = data.join("member/snap");
        if adopted {
            let options = LmdbOptions { map_size: 1 << 24, max_readers: 8 };
            engine::adopt(&snap, options, &mut |_, _| {}).unwrap();
        }
        let version = || {
            if !adopted {
                return status(&snap.join("db"), NOW).unwrap().version;
            }
            let store = LmdbBackend::open(&snap.join(STORE_NAME), LmdbOptions::default()).unwrap();
            let view = store.read().unwrap();
            let version = storage::schema::meta::read_storage_version(&*view).unwrap();
            version.unwrap_or_default()
        };
        let to = |target: &str, force| {
            let target = migrate::parse_target(target).unwrap();
            migrate::migrate(&data, target, force, NOW).map_err(|failure| failure.message)
        };
        assert_eq!(to("3.5", false), Ok(()));
        assert_eq!(version(), "");
        assert_eq!(to("3.7", false), Ok(()));
        assert_eq!(version(), "3.7.0");
        assert_eq!(to("3.6", false), Ok(()));
        assert_eq!(version(), "3.6.0");
        let unknown = "cannot create migration plan: version \"3.8.0\" is not supported";
        assert_eq!(to("3.8", false), Err(unknown.to_owned()));
        assert_eq!(to("3.8", true), Ok(()));
        assert_eq!(version(), "3.8.0");
        assert_eq!(to("3.5", true), Ok(()));
        assert_eq!(version(), "");
    }
}

#[test]
fn a_log_with_newer_entries_forbids_going_down() {
    use api::{etcdserverpb::DowngradeVersionTestRequest, raftpb::Entry, raftpb::HardState};
    use prost::Message;

    let dir = given(ETCD_3_7);
    restore(&config(dir.path())).unwrap();
    let data = dir.path().join("data");
    let log_dir = data.join("member/wal");
    let fs: std::sync::Arc<dyn vfs::Fs> = std::sync::Arc::new(vfs::os::OsFs);
    let at = wal::Wal::valid_snapshots(&*fs, &log_dir).unwrap().pop().unwrap();
    let (mut log, _) = wal::Wal::open(fs, &log_dir, &at, wal::Options::default()).unwrap();
    let test = DowngradeVersionTestRequest { ver: "3.7.0".into() };
    let request = InternalRaftRequest {
        downgrade_version_test: Some(test),
        ..InternalRaftRequest::default()
    };
    let data_of_entry = request.encode_to_vec().into();
    let entry = Entry { index: 2, term: 1, data: data_of_entry, ..Entry::default() };
    log.save(Some(&HardState { term: 1, vote: 0, commit: 2 }), &[entry]).unwrap();
    log.close().unwrap();
    let target = migrate::parse_target("3.6").unwrap();
    let told = migrate::migrate(&data, target, false, NOW).unwrap_err().message;
    assert_eq!(
        told,
        "cannot downgrade storage, WAL contains newer entries, as the target version (3.6.0) is \
         lower than the version (3.7.0) detected from WAL logs"
    );
    assert_eq!(status(&data.join("member/snap/db"), NOW).unwrap().version, "3.7.0");
    migrate::migrate(&data, target, true, NOW).unwrap();
    assert_eq!(status(&data.join("member/snap/db"), NOW).unwrap().version, "3.6.0");
}
