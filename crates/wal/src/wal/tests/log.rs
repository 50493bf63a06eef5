//! What is saved comes back, from the segments it should be in.

use super::*;
use vfs::os::OsFs;

#[test]
fn a_new_log() {
    let fs = disk();
    assert!(!Wal::exists(&fs, dir()).unwrap());
    // Leftovers that are no log do not matter.
    fs.create_dir_all(Path::new("/data/member/wal.tmp")).unwrap();
    fs.create_dir_all(dir()).unwrap();
    fs.open(&dir().join("0.tmp"), OpenMode::CreateNew).unwrap();
    let wal = create(&fs, 8192);
    assert_eq!(wal.stats().syncs, 1);
    assert!(Wal::exists(&fs, dir()).unwrap());
    assert_eq!(names(&fs), ["0000000000000000-0000000000000000.wal"]);
    assert_eq!(fs.len(&dir().join(&names(&fs)[0])).unwrap(), 8192);
    assert!(!fs.exists(Path::new("/data/member/wal.tmp")).unwrap());
    let again = Wal::create(Arc::new(fs.clone()), dir(), &METADATA, options(8192));
    assert!(matches!(again, Err(Error::Exists)));
    wal.close().unwrap();
    let (_, recovered) = open(&fs, &snapshot(0, 0)).unwrap();
    assert_eq!(recovered, Recovered { metadata: METADATA, ..Recovered::default() });
    for seed in 0..50 {
        let crashed = fs.crash_clone(seed);
        assert!(open(&crashed, &snapshot(0, 0)).is_ok(), "seed {seed}");
    }
}

#[test]
fn one_write_and_one_sync_a_save() {
    let fs = vfs::fault::FaultFs::new(Arc::new(disk()));
    let counts = || (fs.count(vfs::fault::Operation::Write), fs.count(vfs::fault::Operation::Sync));
    let plain = Options { zero_fill: false, ..options(1 << 20) };
    let mut wal = Wal::create(Arc::new(fs.clone()), dir(), &METADATA, plain).unwrap();
    assert_eq!(counts(), (1, 1));
    let batch: Vec<Entry> = (1..=100).map(|index| entry(index, 1, 700)).collect();
    wal.save(Some(&state(1, 0)), &batch).unwrap();
    assert_eq!(counts(), (2, 2));
    wal.save(Some(&state(1, 100)), &[]).unwrap();
    assert_eq!(counts(), (2, 2), "a commit index waits");
    wal.save(None, &[entry(101, 1, 7)]).unwrap();
    assert_eq!(counts(), (3, 3));
    wal.save(Some(&state(2, 100)), &[]).unwrap();
    assert_eq!(counts(), (4, 4), "a new term does not");
    wal.save(Some(&HardState { vote: 8, ..state(2, 100) }), &[]).unwrap();
    assert_eq!(counts(), (5, 5), "nor does a vote");
    wal.save(None, &[]).unwrap();
    wal.save(Some(&HardState::default()), &[]).unwrap();
    assert_eq!(counts(), (5, 5), "nothing is nothing");
    wal.save_snapshot(&snapshot(50, 1)).unwrap();
    assert_eq!(counts(), (6, 6));
    assert_eq!((wal.stats().entries, wal.stats().syncs), (101, 6));
    for commit in 0..10_000 {
        wal.save(Some(&HardState { term: 2, vote: 8, commit }), &[]).unwrap();
    }
    let (writes, syncs) = counts();
    assert!((7..12).contains(&writes) && syncs == 6, "commits are written once they are many");
    wal.close().unwrap();
    let (_, recovered) = Wal::open(Arc::new(fs), dir(), &snapshot(0, 0), options(1 << 20)).unwrap();
    assert_eq!(recovered.hard_state, HardState { term: 2, vote: 8, commit: 9_999 });
    assert_eq!(recovered.entries.len(), 101);
}

#[test]
fn without_sync_nothing_is_synced() {
    let fs = disk();
    let unsafe_options = Options { sync: false, ..options(2048) };
    let mut wal = Wal::create(Arc::new(fs.clone()), dir(), &METADATA, unsafe_options).unwrap();
    for index in 1..20 {
        wal.save(None, &[entry(index, 1, 300)]).unwrap();
    }
    assert_eq!(wal.stats().syncs, 0);
    assert!(wal.stats().segments_cut > 1);
}

#[test]
fn later_entries_take_the_place_of_earlier_ones() {
    let fs = disk();
    let mut wal = create(&fs, 1 << 20);
    wal.save(None, &[entry(1, 1, 1), entry(2, 1, 1), entry(3, 1, 1)]).unwrap();
    wal.save(None, &[entry(2, 2, 0)]).unwrap();
    wal.close().unwrap();
    let (_, recovered) = open(&fs, &snapshot(0, 0)).unwrap();
    assert_eq!(recovered.entries, [entry(1, 1, 1), entry(2, 2, 0)]);
}

#[test]
#[should_panic(expected = "entry 3 would leave a gap in the log after 1")]
fn a_gap_is_a_broken_invariant() {
    let fs = disk();
    let mut wal = create(&fs, 1 << 20);
    wal.save(None, &[entry(1, 1, 1), entry(3, 1, 1)]).unwrap();
}

/// A log over many segments, with a snapshot at 60.
fn long_log(fs: &MemFs) -> Wal {
    let mut wal = create(fs, 4096);
    for index in 1..=100 {
        // Every third segment is prepared ahead.
        if index % 24 == 0 {
            let prepared = wal.preparation().expect("none is in work").run().unwrap();
            assert!(wal.preparation().is_none());
            wal.prepared(prepared);
            assert!(wal.preparation().is_none());
        }
        wal.save(Some(&state(1, index)), &[entry(index, 1, 500)]).unwrap();
        if index == 80 {
            wal.save_snapshot(&snapshot(60, 1)).unwrap();
        }
    }
    wal
}

#[test]
fn the_newest_snapshot_is_found_without_the_segments_before_it() {
    let segments = |fs: &MemFs| -> Vec<_> {
        let names = names(fs).into_iter().filter(|name| name.ends_with(".wal"));
        names.map(|name| dir().join(name)).collect()
    };
    let flip = |fs: &MemFs, path: &Path| {
        let file = fs.open(path, OpenMode::Write).unwrap();
        let mut byte = [0];
        file.read_at(&mut byte, 700).unwrap();
        file.write_at(&[byte[0] ^ 4], 700).unwrap();
    };
    let fs = disk();
    let mut wal = long_log(&fs);
    let newest = || Wal::newest_snapshots(&fs, dir());
    // Segments after its own have none; what is before is not looked at.
    assert_eq!(newest().unwrap(), [snapshot(60, 1)]);
    flip(&fs, &segments(&fs)[0]);
    assert_eq!(newest().unwrap(), [snapshot(60, 1)]);
    assert!(Wal::valid_snapshots(&fs, dir()).is_err());
    // One that no state covers does not count.
    wal.save_snapshot(&snapshot(101, 1)).unwrap();
    assert_eq!(newest().unwrap(), [snapshot(60, 1)]);
    wal.save(Some(&state(1, 101)), &[entry(101, 1, 500)]).unwrap();
    assert_eq!(newest().unwrap(), [snapshot(101, 1)]);
    // Damage on the way to it is told.
    let fs = disk();
    drop(long_log(&fs));
    let segments = segments(&fs);
    flip(&fs, &segments[segments.len() - 2]);
    let error = |found: Result<Vec<walpb::Snapshot>, Error>| found.unwrap_err().to_string();
    let told = error(Wal::newest_snapshots(&fs, dir()));
    assert_eq!(told, error(Wal::valid_snapshots(&fs, dir())));
}

/// Zeros are as many bytes again as the log itself: they are for small syncs alone.
#[test]
fn segments_are_filled_with_zeros_only_for_small_syncs() {
    use vfs::fault::{FaultFs, Operation};
    let fs = FaultFs::new(Arc::new(disk()));
    let made = Wal::create(Arc::new(fs.clone()), dir(), &METADATA, options(256 << 10));
    let mut wal = made.unwrap();
    let mut next = 1;
    let mut written_ahead = |entries_in_one: u64, bytes: usize| {
        let cut = wal.stats().segments_cut;
        while wal.stats().segments_cut == cut {
            let entries: Vec<_> =
                (next..next + entries_in_one).map(|index| entry(index, 1, bytes)).collect();
            next += entries_in_one;
            wal.save(None, &entries).unwrap();
        }
        let some = wal.stats().bytes;
        while wal.stats().bytes < some + (128 << 10) {
            let entries: Vec<_> =
                (next..next + entries_in_one).map(|index| entry(index, 1, bytes)).collect();
            next += entries_in_one;
            wal.save(None, &entries).unwrap();
        }
        let before = fs.count(Operation::Write);
        let prepared = wal.preparation().unwrap().run().unwrap();
        let writes = fs.count(Operation::Write) - before;
        wal.prepared(prepared);
        writes
    };
    assert_eq!(written_ahead(1, 1 << 10), 64, "a page at a time");
    assert_eq!(written_ahead(5, 1 << 10), 0, "a few entries share a sync");
    assert_eq!(written_ahead(50, 1 << 10), 0);
    assert_eq!(written_ahead(1, 1 << 10), 64, "it is the last segment that counts");
}

#[test]
fn segments_are_cut() {
    let fs = disk();
    let wal = long_log(&fs);
    assert_eq!(wal.stats().segments_cut, 12);
    drop(wal);
    let names: Vec<Name> = names(&fs).iter().filter_map(|name| Name::parse(name)).collect();
    assert_eq!(names.len(), 13);
    let (last, full) = names.split_last().unwrap();
    for name in full {
        let path = dir().join(name.to_string());
        let length = fs.len(&path).unwrap();
        assert!((4096..4096 + 600).contains(&length), "the tail is cut off: {length}");
        let segments = [Segment { name: *name, file: fs.open(&path, OpenMode::Read).unwrap() }];
        let mut reader = Reader::new(&segments);
        let kinds = [(); 3].map(|()| reader.next().unwrap().unwrap().0);
        let third = if name.sequence == 0 { Kind::Snapshot } else { Kind::State };
        assert_eq!(kinds, [Kind::Crc, Kind::Metadata, third]);
        let (mut kind, mut record) = reader.next().unwrap().unwrap();
        if kind == Kind::Snapshot {
            (kind, record) = reader.next().unwrap().unwrap();
        }
        assert_eq!(kind, Kind::Entry);
        let first: Entry = prost::Message::decode(record.data).unwrap();
        assert_eq!(first.index, name.first_index.max(1));
    }
    assert_eq!(fs.len(&dir().join(last.to_string())).unwrap(), 4096);
    for start in [0, 60] {
        let (_, recovered) = open(&fs, &snapshot(start, start.min(1))).unwrap();
        let wanted: Vec<Entry> = (start + 1..=100).map(|index| entry(index, 1, 500)).collect();
        assert_eq!(recovered.entries, wanted);
        assert_eq!(recovered.hard_state, state(1, 100));
        let read = Wal::read_only(&fs, dir(), &snapshot(start, start.min(1))).unwrap();
        assert_eq!(read, recovered);
    }
}

/// A segment made larger than it is now wanted ends at its last record all the same.
#[test]
fn a_full_segment_is_cut_to_its_records() {
    let fs = disk();
    let mut wal = create(&fs, 1 << 20);
    wal.save(None, &[entry(1, 1, 10)]).unwrap();
    drop(wal);
    let (mut wal, _) = open(&fs, &snapshot(0, 0)).unwrap();
    wal.save(None, &[entry(2, 1, 5000)]).unwrap();
    assert_eq!(wal.stats().segments_cut, 1);
    assert!(fs.len(&dir().join(&names(&fs)[0])).unwrap() < 6000);
}

#[test]
fn released_segments_are_purged() {
    let fs = disk();
    let mut wal = long_log(&fs);
    let segments = |fs: &MemFs| names(fs).iter().filter(|name| name.ends_with(".wal")).count();
    assert_eq!(wal.purge(5).unwrap(), 0, "all are locked");
    wal.release_to(RaftIndex(60));
    assert_eq!(wal.purge(11).unwrap(), 2);
    assert_eq!(segments(&fs), 11);
    // Segment 7 begins with entry 57; 0 to 6 are not needed.
    assert_eq!(names(&fs)[5], "0000000000000007-0000000000000039.wal");
    assert_eq!(wal.purge(1).unwrap(), 5);
    assert_eq!(segments(&fs), 6);
    assert_eq!(wal.purge(1).unwrap(), 0);
    wal.close().unwrap();
    assert_eq!(Wal::valid_snapshots(&fs, dir()).unwrap(), [snapshot(60, 1)]);
    let (mut wal, recovered) = open(&fs, &snapshot(60, 1)).unwrap();
    assert_eq!(recovered.entries.len(), 40);
    assert!(matches!(open(&fs, &snapshot(60, 1)), Err(Error::Locked(_))));
    assert!(matches!(open(&fs, &snapshot(0, 0)), Err(Error::NoFileForSnapshot(0))));
    // Segments before the snapshot are nobody's; but a lock of someone else stops the purge.
    wal.release_to(RaftIndex(90));
    let other = fs.open(&dir().join(&names(&fs)[1]), OpenMode::Write).unwrap();
    assert!(other.try_lock().unwrap());
    assert_eq!(wal.purge(1).unwrap(), 1);
    drop(other);
    assert!(wal.purge(1).unwrap() > 0);
}

#[test]
fn snapshots_that_are_unknown_or_not_covered() {
    let fs = disk();
    let mut wal = create(&fs, 4096);
    wal.save(Some(&state(1, 2)), &[entry(1, 1, 1), entry(2, 1, 1), entry(3, 1, 1)]).unwrap();
    wal.save_snapshot(&snapshot(2, 1)).unwrap();
    wal.save_snapshot(&snapshot(3, 1)).unwrap();
    let error = wal.save_snapshot(&walpb::Snapshot { conf_state: None, ..snapshot(3, 1) });
    let text = "Saved (not-initial) snapshot is missing ConfState: index:3 term:1";
    assert_eq!(error.unwrap_err().to_string(), text);
    wal.save(None, &[entry(4, 1, 1)]).unwrap();
    drop(wal);
    let valid = Wal::valid_snapshots(&fs, dir()).unwrap();
    assert_eq!(valid, [snapshot(0, 0), snapshot(2, 1)], "3 is above the commit index");
    let error = |at| open(&fs, &at).map(drop).unwrap_err().to_string();
    assert_eq!(error(snapshot(1, 1)), "wal: snapshot not found");
    assert_eq!(error(snapshot(2, 4)), "wal: snapshot mismatch");
    let (_, recovered) = open(&fs, &snapshot(2, 1)).unwrap();
    assert_eq!(recovered.entries, [entry(3, 1, 1), entry(4, 1, 1)]);
}

/// A snapshot from another member leaps over entries this one never had.
#[test]
fn a_snapshot_beyond_the_last_entry() {
    let fs = disk();
    let mut wal = create(&fs, 2048);
    wal.save(Some(&state(1, 1)), &[entry(1, 1, 1)]).unwrap();
    wal.save_snapshot(&snapshot(50, 1)).unwrap();
    wal.save(Some(&state(1, 50)), &[]).unwrap();
    wal.sync().unwrap();
    wal.save(None, &[entry(51, 1, 3000)]).unwrap();
    wal.save(None, &[entry(52, 1, 1)]).unwrap();
    assert_eq!(names(&fs)[1], "0000000000000001-0000000000000034.wal");
    wal.close().unwrap();
    let (_, recovered) = open(&fs, &snapshot(50, 1)).unwrap();
    assert_eq!(recovered.entries, [entry(51, 1, 3000), entry(52, 1, 1)]);
    let error = open(&fs, &snapshot(0, 0)).map(drop).unwrap_err().to_string();
    let text = "wal: slice bounds out of range, snapshot[Index: 0, Term: 0], \
                current entry[Index: 51, Term: 1], len(ents): 1";
    assert_eq!(error, text);
}

/// Entries of a log that was overwritten or replaced do not come back behind a snapshot.
#[test]
fn stale_entries_behind_a_snapshot_are_dropped() {
    let fs = disk();
    let mut wal = create(&fs, 1 << 20);
    let old: Vec<Entry> = (1..=6).map(|index| entry(index, 1, 1)).collect();
    wal.save(Some(&state(1, 1)), &old).unwrap();
    let mut replaced = fs.crash_clone(0);
    wal.save(Some(&state(2, 1)), &[entry(3, 2, 1)]).unwrap();
    wal.save_snapshot(&snapshot(4, 2)).unwrap();
    wal.save(Some(&state(2, 4)), &[]).unwrap();
    wal.close().unwrap();
    assert_eq!(open(&fs, &snapshot(4, 2)).unwrap().1.entries, []);
    // The snapshot of another member replaces a longer log.
    let (mut wal, _) = open(&replaced, &snapshot(0, 0)).unwrap();
    wal.save_snapshot(&snapshot(4, 2)).unwrap();
    wal.save(Some(&state(2, 4)), &[]).unwrap();
    wal.sync().unwrap();
    replaced = replaced.crash_clone(1);
    let (mut wal, recovered) = open(&replaced, &snapshot(4, 2)).unwrap();
    assert_eq!(recovered.entries, []);
    wal.save(None, &[entry(5, 2, 1)]).unwrap();
    drop(wal);
    let (_, recovered) = open(&replaced, &snapshot(4, 2)).unwrap();
    assert_eq!(recovered.entries, [entry(5, 2, 1)]);
}

/// The record of a snapshot can be in an older segment than all entries after it.
#[test]
fn a_snapshot_saved_long_before_its_entries() {
    let fs = disk();
    let mut wal = create(&fs, 1024);
    wal.save(Some(&state(1, 0)), &[entry(1, 1, 1), entry(2, 1, 1)]).unwrap();
    wal.save_snapshot(&snapshot(4, 1)).unwrap();
    // The state that covers it is lost in a crash; the entries come one by one.
    let fs = fs.crash_clone(0);
    let (mut wal, _) = open(&fs, &snapshot(0, 0)).unwrap();
    wal.options.segment_bytes = 1024;
    for index in 2..=5 {
        wal.save(Some(&state(1, index)), &[entry(index, 1, 1000)]).unwrap();
    }
    drop(wal);
    assert_eq!(segment::select(&fs, dir(), 4).unwrap()[0].sequence, 2);
    let at = Wal::valid_snapshots(&fs, dir()).unwrap().pop().unwrap();
    assert_eq!(at, snapshot(4, 1));
    assert_eq!(Wal::read_only(&fs, dir(), &at).unwrap().entries, [entry(5, 1, 1000)]);
    let (mut wal, recovered) = open(&fs, &at).unwrap();
    assert_eq!(recovered.entries, [entry(5, 1, 1000)]);
    // It was saved again, so the segment that had it can go.
    assert_eq!(wal.purge(1).unwrap(), 2);
    drop(wal);
    assert_eq!(Wal::valid_snapshots(&fs, dir()).unwrap(), std::slice::from_ref(&at));
    assert_eq!(open(&fs, &at).unwrap().1, recovered);
}

#[test]
fn segments_of_different_logs_do_not_mix() {
    let [fs, other] = [disk(), disk()];
    let owner = Metadata { node_id: 8, ..METADATA };
    let mut wal = create(&fs, 2048);
    let mut second = Wal::create(Arc::new(other.clone()), dir(), &owner, options(2048)).unwrap();
    for index in 1..20 {
        wal.save(None, &[entry(index, 1, 300)]).unwrap();
        second.save(None, &[entry(index, 1, 300)]).unwrap();
    }
    drop((wal, second));
    let name = dir().join(&names(&fs)[1]);
    let bytes = other.read(&name).unwrap();
    fs.open(&name, OpenMode::Truncate).unwrap().write_at(&bytes, 0).unwrap();
    let error = open(&fs, &snapshot(0, 0)).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "walpb: crc mismatch");
    // With a checksum that continues, the metadata is what tells.
    let mut encoder = Encoder::new(0);
    encoder.crc();
    encoder.encoded(Kind::Metadata, &[8, 7, 16, 9]);
    encoder.encoded(Kind::Metadata, &[8, 8, 16, 9]);
    let file = fs.open(&dir().join(&names(&fs)[0]), OpenMode::Truncate).unwrap();
    file.write_at(&encoder.buffer, 0).unwrap();
    drop(file);
    let error = open(&fs, &snapshot(0, 0)).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "wal: conflicting metadata found");
}

#[test]
fn on_the_real_disk() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("member/wal");
    let fs: Arc<dyn Fs> = Arc::new(OsFs);
    let mut wal = Wal::create(Arc::clone(&fs), &dir, &METADATA, options(64 << 10)).unwrap();
    for index in 1..=100 {
        if index == 10 {
            let preparation = wal.preparation().unwrap();
            let prepared = std::thread::spawn(|| preparation.run().unwrap()).join().unwrap();
            wal.prepared(prepared);
        }
        wal.save(Some(&state(1, index)), &[entry(index, 1, 3000)]).unwrap();
    }
    assert_eq!(wal.stats().segments_cut, 4);
    let locked = Wal::open(Arc::clone(&fs), &dir, &snapshot(0, 0), options(64 << 10));
    assert!(matches!(locked, Err(Error::Locked(_))));
    let prepared = wal.preparation().unwrap().run().unwrap();
    wal.prepared(prepared);
    wal.close().unwrap();
    assert_eq!(OsFs.list(&dir).unwrap().len(), 5, "the prepared segment is gone");
    let (_, recovered) = Wal::open(fs, &dir, &snapshot(0, 0), options(64 << 10)).unwrap();
    assert_eq!(recovered.entries.len(), 100);
    assert_eq!(recovered.repaired, None);
}
