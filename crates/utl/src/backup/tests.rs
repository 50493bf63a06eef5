//! What is left out of a copy, and what is in it.

use std::path::Path;

use api::{
    etcdserverpb::{InternalRaftRequest, RequestHeader},
    raftpb::{ConfChange, ConfState, SnapshotMetadata},
};
use bytes::Bytes;

use super::*;

fn v2(method: &str, path: &str) -> Vec<u8> {
    let method = Some(method.as_bytes().to_vec());
    let mut data = vec![8, 1];
    V2 { method, path: Some(path.as_bytes().to_vec()) }.encode(&mut data).unwrap();
    data
}

fn of_v3() -> Vec<u8> {
    let header = Some(RequestHeader { id: 7, ..RequestHeader::default() });
    InternalRaftRequest { header, ..InternalRaftRequest::default() }.encode_to_vec()
}

fn entries() -> Vec<Entry> {
    let change = ConfChange { node_id: 9, ..ConfChange::default() }.encode_to_vec();
    let data = [
        (EntryType::EntryConfChange, change),
        (EntryType::EntryNormal, Vec::new()),
        (EntryType::EntryNormal, v2("PUT", "/0/members/8e9e05c52164694d/attributes")),
        (EntryType::EntryNormal, v2("PUT", "/1/a")),
        (EntryType::EntryNormal, v2("DELETE", "/0/members/1/attributes")),
        (EntryType::EntryNormal, of_v3()),
    ];
    let entry = |((kind, data), index): ((EntryType, Vec<u8>), u64)| Entry {
        r#type: kind as i32,
        term: 2,
        index,
        data: Bytes::from(data),
    };
    data.into_iter().zip(6..).map(entry).collect()
}

/// A data dir with a snapshot at 5 and entries behind it.
fn data_dir(dir: &Path) -> PathBuf {
    let data_dir = dir.join("data");
    let snap = data_dir.join("member/snap");
    fs::create_dir_all(&snap).unwrap();
    let conf_state = Some(ConfState { voters: vec![9], ..ConfState::default() });
    let metadata = Some(SnapshotMetadata { conf_state, index: 5, term: 2 });
    let snapshot = Snapshot { data: Bytes::from_static(b"store"), metadata };
    wal::snap::save(&OsFs, &snap, &snapshot).unwrap();
    fs::write(snap.join("0000000000000002-0000000000000009.snap"), "damaged").unwrap();
    let metadata = walpb::Metadata { node_id: 1, cluster_id: 2 };
    let options = wal::Options { zero_fill: false, ..wal::Options::default() };
    let mut log =
        Wal::create(Arc::new(OsFs), &data_dir.join("member/wal"), &metadata, options).unwrap();
    log.save_snapshot(&record(&snapshot)).unwrap();
    let state = HardState { term: 2, vote: 9, commit: 11 };
    log.save(Some(&state), &entries()).unwrap();
    log.close().unwrap();
    data_dir
}

fn config(dir: &Path, with_v3: bool) -> Backup {
    let backup_dir = dir.join("copy");
    Backup { data_dir: data_dir(dir), wal_dir: None, backup_dir, backup_wal_dir: None, with_v3 }
}

#[test]
fn members_and_the_v3_store_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), false);
    let mut told = Vec::new();
    backup(&config, &mut |line| told.push(line.to_owned())).unwrap();
    assert_eq!(
        told,
        [
            "ignoring EntryConfChange raft entry",
            "ignoring member attribute update on /0/members/8e9e05c52164694d/attributes",
            "ignoring v3 raft entry",
        ]
    );
    let copy = config.backup_dir.join("member");
    let snapshots = Wal::valid_snapshots(&OsFs, &copy.join("wal")).unwrap();
    let log = Wal::read_only(&OsFs, &copy.join("wal"), snapshots.last().unwrap()).unwrap();
    assert_eq!(snapshots.last().unwrap().index, 5);
    assert_ne!((log.metadata.node_id, log.metadata.cluster_id), (1, 2));
    assert_eq!((log.hard_state.term, log.hard_state.commit), (2, 11));
    let kept: Vec<u64> =
        log.entries.iter().filter(|entry| !entry.data.is_empty()).map(|e| e.index).collect();
    assert_eq!((log.entries.len(), kept), (6, vec![9, 10]));
    assert!(log.entries.iter().all(|entry| entry.r#type == EntryType::EntryNormal as i32));
    assert_eq!(newest_snapshot(&copy.join("snap")).unwrap().unwrap().data, "store");
    // The database says how much is applied, and nothing else.
    let db = open_db(&copy.join("snap/db")).unwrap();
    let meta = db.bucket(b"meta").unwrap().unwrap();
    assert_eq!(meta.get(b"consistent_index").unwrap().unwrap(), 11_u64.to_be_bytes());
    // The damaged file of the source is left as it was.
    let damaged = config.data_dir.join("member/snap/0000000000000002-0000000000000009.snap");
    assert!(damaged.exists());
}

#[test]
fn a_place_that_is_not_empty_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), false);
    fs::create_dir_all(config.backup_dir.join("member/snap/x")).unwrap();
    let failure = backup(&config, &mut |_| {}).unwrap_err();
    assert!(failure.message.contains("not empty"), "{failure}");
    assert!(!config.backup_dir.join("member/wal").exists());
}

#[test]
fn the_v3_store_is_copied_without_members() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), true);
    let failure = backup(&config, &mut |_| {}).unwrap_err();
    assert!(failure.message.contains("no such file"), "{failure}");
    // A snapshot is such a file, with a hash behind it.
    let content = include_bytes!("../../../bbolt/testdata/etcd-3.5.snap");
    let db = config.data_dir.join("member/snap/db");
    fs::write(&db, &content[..content.len() - 32]).unwrap();
    fs::remove_dir_all(&config.backup_dir).unwrap();
    let mut told = Vec::new();
    backup(&config, &mut |line| told.push(line.to_owned())).unwrap();
    assert_eq!(told.len(), 2, "entries of the v3 store are kept: {told:?}");
    let copy = open_db(&config.backup_dir.join("member/snap/db")).unwrap();
    for bucket in MEMBERS {
        let bucket = copy.bucket(bucket.name().as_bytes()).unwrap().unwrap();
        assert!(bucket.cursor().next().unwrap().is_none());
    }
    assert!(copy.bucket(b"key").unwrap().unwrap().cursor().next().unwrap().is_some());
}
