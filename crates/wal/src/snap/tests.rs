//! Tests of `.snap` files.

use super::*;
use api::raftpb::{ConfState, SnapshotMetadata};
use proptest::prelude::*;
use vfs::mem::MemFs;

/// Written by etcd 3.5.30.
const GOLDEN: &[u8] = include_bytes!("../../testdata/etcd-3.5.snap");

fn snapshot(term: u64, index: u64, data: &'static [u8]) -> Snapshot {
    let conf_state = ConfState { voters: vec![7], ..ConfState::default() };
    let metadata = Some(SnapshotMetadata { conf_state: Some(conf_state), index, term });
    Snapshot { data: data.into(), metadata }
}

#[test]
fn a_file_of_etcd_is_read_and_written_alike() {
    let snapshot = decode(GOLDEN).unwrap();
    let metadata = snapshot.metadata.clone().unwrap();
    assert_eq!(
        name(Term(metadata.term), RaftIndex(metadata.index)),
        "0000000000000002-000000000000000e.snap"
    );
    assert_eq!(metadata.conf_state.unwrap().voters.len(), 1);
    assert!(snapshot.data.starts_with(br#"{"Root":{"Path":"/","#));
    assert!(encode(&snapshot) == GOLDEN, "the same bytes");
}

#[test]
fn files_that_are_none() {
    let text = |content: &[u8]| decode(content).unwrap_err().to_string();
    assert_eq!(text(b""), "snap: empty snapshot");
    assert_eq!(text(&[8, 1]), "snap: empty snapshot");
    assert_eq!(text(&[8, 0, 18, 1, 1]), "snap: empty snapshot");
    assert_eq!(text(&[8, 1, 18, 1, 1]), "snap: crc mismatch");
    assert!(text(&[8, 1, 18, 9, 1]).starts_with("snap: invalid snapshot: "));
}

#[test]
fn the_newest_that_can_be_read() {
    let fs = MemFs::new();
    let dir = Path::new("/snap");
    assert!(matches!(newest(&fs, dir, |_| true), Err(Error::Io(_))));
    fs.create_dir_all(dir).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    assert!(matches!(newest(&fs, dir, |_| true), Err(Error::NoSnapshot)));
    for (term, index) in [(1, 0x10), (2, 0x9), (2, 0x20)] {
        save(&fs, dir, &snapshot(term, index, b"members")).unwrap();
    }
    fs.open(&dir.join("db"), OpenMode::CreateNew).unwrap();
    fs.open(&dir.join("0000000000000030.snap.db"), OpenMode::CreateNew).unwrap();
    let index = |found: Result<Snapshot, Error>| found.unwrap().metadata.unwrap().index;
    for seed in 0..10 {
        assert_eq!(index(newest(&fs.crash_clone(seed), dir, |_| true)), 0x20);
    }
    let old = |snapshot: &Snapshot| snapshot.metadata.as_ref().unwrap().index < 0x20;
    assert_eq!(index(newest(&fs, dir, old)), 9);
    let bad = dir.join(name(Term(2), RaftIndex(0x20)));
    fs.open(&bad, OpenMode::Write).unwrap().write_at(&[0xff], 20).unwrap();
    assert_eq!(index(newest(&fs, dir, |_| true)), 9);
    assert!(fs.exists(&dir.join("0000000000000002-0000000000000020.snap.broken")).unwrap());
    assert_eq!(list(&fs, dir).unwrap().len(), 2);
}

proptest! {
    #[test]
    fn round_trip(data in proptest::collection::vec(any::<u8>(), 0..200), term: u64, index: u64) {
        let mut made = snapshot(term, index, b"");
        made.data = data.into();
        prop_assert_eq!(decode(&encode(&made)).unwrap(), made);
    }

    #[test]
    fn damage_is_noticed(at in 0..GOLDEN.len(), bit in 0..8u32) {
        let mut bytes = GOLDEN.to_vec();
        bytes[at] ^= 1 << bit;
        // The upper bits of a varint's fifth byte mean nothing.
        let unharmed = |snapshot| snapshot == decode(GOLDEN).unwrap();
        prop_assert!(decode(&bytes).map_or(true, unharmed));
    }
}
