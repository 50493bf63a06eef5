//! Bytes that etcd wrote.
//!
//! `etcd-3.5.wal`: a 3.5.30 server with `--snapshot-count 6`: puts, a delete, a lease; its zero
//! tail is left out. `etcd-3.7/`: two segments made by the WAL package of 3.7.1 with a segment
//! size of 4096.

use api::etcdserverpb::InternalRaftRequest;
use proptest::prelude::*;
use prost::Message;

use super::*;

const GOLDEN_35: &[u8] = include_bytes!("../../../testdata/etcd-3.5.wal");

const GOLDEN_37: [(&str, &[u8]); 2] = [
    (
        "0000000000000000-0000000000000000.wal",
        include_bytes!("../../../testdata/etcd-3.7/0000000000000000-0000000000000000.wal"),
    ),
    (
        "0000000000000001-000000000000000f.wal",
        include_bytes!("../../../testdata/etcd-3.7/0000000000000001-000000000000000f.wal"),
    ),
];

fn disk_with(files: &[(&str, &[u8])]) -> MemFs {
    let fs = disk();
    fs.create_dir_all(dir()).unwrap();
    for (name, bytes) in files {
        fs.open(&dir().join(name), OpenMode::CreateNew).unwrap().write_at(bytes, 0).unwrap();
    }
    fs
}

fn disk_35() -> MemFs {
    disk_with(&[("0000000000000000-0000000000000000.wal", GOLDEN_35)])
}

/// Decodes every record of a segment and encodes it again.
#[track_caller]
fn written_alike(name: &str, golden: &[u8]) {
    let fs = disk_with(&[(name, golden)]);
    let segments = segment::open_for_read(&fs, dir(), &[Name::parse(name).unwrap()]).unwrap();
    let mut reader = Reader::new(&segments);
    let mut encoder = Encoder::new(0);
    let mut kinds = std::collections::BTreeMap::<u8, usize>::new();
    while let Some((kind, record)) = reader.next().unwrap() {
        *kinds.entry(kind as u8).or_default() += 1;
        match kind {
            Kind::Crc => {
                encoder.crc = record.crc;
                encoder.crc();
            }
            Kind::Metadata => encoder.encoded(kind, &record.data),
            Kind::Entry => encoder.entry(&Entry::decode(record.data).unwrap()),
            Kind::State => encoder.state(&HardState::decode(record.data).unwrap()),
            Kind::Snapshot => encoder.snapshot(&walpb::Snapshot::decode(record.data).unwrap()),
        }
    }
    assert_eq!(reader.offset() as usize, golden.len(), "all of it was read");
    assert!(encoder.buffer == golden, "the same bytes");
    assert!(kinds.len() >= 4 && kinds[&2] > 5, "{kinds:?}");
}

#[test]
fn every_record_is_written_alike() {
    written_alike("0000000000000000-0000000000000000.wal", GOLDEN_35);
    for (name, bytes) in GOLDEN_37 {
        written_alike(name, bytes);
    }
}

#[test]
fn a_new_log_begins_with_the_bytes_of_etcd() {
    let fs = disk();
    drop(create(&fs, 8192));
    let ours = fs.read(&dir().join(GOLDEN_37[0].0)).unwrap();
    let header = ours.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert_eq!(ours[..header], GOLDEN_37[0].1[..header]);
}

#[test]
fn a_log_of_etcd_3_5() {
    let fs = disk_35();
    let snapshots = Wal::valid_snapshots(&fs, dir()).unwrap();
    let points: Vec<_> = snapshots.iter().map(|snap| (snap.index, snap.term)).collect();
    assert_eq!(points, [(0, 0), (7, 2), (14, 2)]);
    let (wal, recovered) = open(&fs, &snapshots[0]).unwrap();
    assert_eq!(recovered.repaired, None);
    assert_eq!(recovered.hard_state.term, 2);
    assert_eq!(recovered.hard_state.vote, recovered.metadata.node_id);
    let indexes: Vec<u64> = recovered.entries.iter().map(|entry| entry.index).collect();
    assert_eq!(indexes, (1..=16).collect::<Vec<_>>());
    let keys: Vec<_> = recovered
        .entries
        .iter()
        .filter(|entry| entry.r#type == 0)
        // The first entries are requests of the v2 API, which are something else.
        .filter_map(|entry| InternalRaftRequest::decode(entry.data.clone()).ok()?.put)
        .map(|put| String::from_utf8(put.key.to_vec()).unwrap())
        .collect();
    let wanted = "key1 key2 key3 key4 key5 key6 key7 leased big empty";
    assert_eq!(keys.join(" "), wanted);
    drop(wal);
    let (_, rest) = open(&fs, &snapshots[2]).unwrap();
    assert_eq!(rest.entries, recovered.entries[14..]);
    assert_eq!(snapshots[2].conf_state.as_ref().unwrap().voters, [recovered.metadata.node_id]);
}

/// Appends behind what etcd wrote; the old bytes stay and the checksum goes on.
#[test]
fn etcd_logs_are_continued() {
    let fs = disk_with(&GOLDEN_37);
    let (mut wal, recovered) = open(&fs, &snapshot(10, 2)).unwrap();
    assert_eq!(recovered.metadata, METADATA);
    assert_eq!(recovered.hard_state, state(2, 19));
    assert_eq!(recovered.entries.len(), 10);
    for item in &recovered.entries {
        assert_eq!(item.data, vec![item.index as u8; item.index as usize * 37]);
    }
    for index in 21..=40 {
        wal.save(Some(&state(3, index - 1)), &[entry(index, 3, 400)]).unwrap();
    }
    assert!(wal.stats().segments_cut > 1);
    wal.close().unwrap();
    for (name, bytes) in GOLDEN_37 {
        assert_eq!(fs.read(&dir().join(name)).unwrap()[..bytes.len()], *bytes);
    }
    let (_, again) = open(&fs, &snapshot(0, 0)).unwrap();
    assert_eq!(again.entries.len(), 40);
    assert_eq!(again.entries[10..20], recovered.entries);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens to the bytes, reading them ends with an answer, and without gaps. (The
    /// format does not protect the type of a record, so more cannot be asked.)
    #[test]
    fn damage_never_panics(
        changes in proptest::collection::vec((0..GOLDEN_35.len(), any::<u8>()), 1..4),
        length in prop_oneof![Just(GOLDEN_35.len()), 0..GOLDEN_35.len()],
    ) {
        let mut bytes = GOLDEN_35.to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(length);
        let fs = disk_with(&[("0000000000000000-0000000000000000.wal", &bytes)]);
        let _ = Wal::valid_snapshots(&fs, dir());
        if let Ok((_, recovered)) = open(&fs, &snapshot(0, 0)) {
            let indexes = recovered.entries.iter().map(|entry| entry.index);
            prop_assert!(indexes.eq(1..=recovered.entries.len() as u64));
        }
    }
}
