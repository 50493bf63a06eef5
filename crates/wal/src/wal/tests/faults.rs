//! After a failed write or sync nothing is written any more.

use super::*;
use vfs::fault::{Fault, FaultFs, Operation};

fn every_call_fails(wal: &mut Wal, fs: &FaultFs) {
    let before = (fs.count(Operation::Write), fs.count(Operation::Sync));
    let text = |result: Result<(), Error>| match result {
        Err(Error::Poisoned(first)) => first,
        other => panic!("{other:?}"),
    };
    let first = text(wal.save(None, &[]));
    assert!(first.starts_with("wal: failed to "), "{first}");
    assert_eq!(text(wal.save(Some(&state(9, 0)), &[])), first);
    assert_eq!(text(wal.save(None, &[entry(1, 9, 1)])), first);
    assert_eq!(text(wal.save_snapshot(&snapshot(1, 1))), first);
    assert_eq!(text(wal.sync()), first);
    assert_eq!(text(wal.purge(1).map(drop)), first);
    assert!(wal.preparation().is_none());
    assert_eq!((fs.count(Operation::Write), fs.count(Operation::Sync)), before);
}

/// Fails every operation of every kind that a cut makes, one at a time.
#[test]
fn a_failure_is_final() {
    use Operation::*;
    let mut failed = 0;
    for operation in [Open, Lock, Write, Preallocate, Truncate, Sync, SyncDir, Rename] {
        for nth in 1..10 {
            for fault in [Fault::Error(libc::EIO), Fault::ShortWrite(100)] {
                let disk = disk();
                let fs = FaultFs::new(Arc::new(disk.clone()));
                let shared: Arc<dyn Fs> = Arc::new(fs.clone());
                let mut wal = Wal::create(shared, dir(), &METADATA, options(2048)).unwrap();
                wal.save(Some(&state(1, 0)), &[entry(1, 1, 1000)]).unwrap();
                fs.fail(operation, nth, fault);
                let mut saved = 1;
                while saved < 4 {
                    match wal.save(None, &[entry(saved + 1, 1, 1000)]) {
                        Ok(()) => saved += 1,
                        Err(error) => {
                            assert!(matches!(error, Error::Io { .. }), "{error}");
                            assert!(fs.exhausted());
                            failed += 1;
                            every_call_fails(&mut wal, &fs);
                            break;
                        }
                    }
                }
                assert!(saved == 4 || fs.exhausted());
                // Whatever the disk holds: what was acknowledged is there.
                for seed in 0..6 {
                    let crashed = disk.crash_clone(seed);
                    let (_, recovered) = open(&crashed, &snapshot(0, 0)).unwrap();
                    assert!(recovered.entries.len() as u64 >= saved);
                }
            }
        }
    }
    assert!(failed > 30, "only {failed} failures");
}

#[test]
fn a_failed_creation_leaves_no_log() {
    use Operation::*;
    for operation in [Open, Lock, Write, Preallocate, Truncate, Sync, SyncDir, Rename, Remove] {
        let disk = disk();
        let fs = FaultFs::new(Arc::new(disk.clone()));
        fs.fail(operation, 1, Fault::Error(libc::ENOSPC));
        let made = Wal::create(Arc::new(fs.clone()), dir(), &METADATA, options(2048));
        let error = made.map(drop).unwrap_err().to_string();
        assert!(error.contains("No space left on device"), "{error}");
        assert!(!Wal::exists(&fs, dir()).unwrap());
        Wal::create(Arc::new(fs), dir(), &METADATA, options(2048)).unwrap();
    }
}

#[test]
fn a_failed_preparation_can_be_tried_again() {
    let fs = FaultFs::new(Arc::new(disk()));
    let mut wal = Wal::create(Arc::new(fs.clone()), dir(), &METADATA, options(2048)).unwrap();
    fs.fail(Operation::Preallocate, 1, Fault::Error(libc::ENOSPC));
    assert!(wal.preparation().unwrap().run().is_err());
    let prepared = wal.preparation().unwrap().run().unwrap();
    wal.prepared(prepared);
    wal.save(None, &[entry(1, 1, 3000)]).unwrap();
    assert_eq!(wal.stats().segments_cut, 1);
    // One in work does not stand in the way of a cut.
    let in_work = wal.preparation().unwrap();
    wal.save(None, &[entry(2, 1, 3000)]).unwrap();
    wal.save(None, &[entry(3, 1, 3000)]).unwrap();
    let prepared = in_work.run().unwrap();
    wal.prepared(prepared);
    wal.save(None, &[entry(4, 1, 3000)]).unwrap();
    assert_eq!(wal.stats().segments_cut, 4);
}

/// A process that was killed between a write and its sync: what the next one finds, it relies on.
#[test]
fn what_is_found_at_the_start_is_durable() {
    let disk = disk();
    let fs = FaultFs::new(Arc::new(disk.clone()));
    let mut wal = Wal::create(Arc::new(fs.clone()), dir(), &METADATA, options(1 << 20)).unwrap();
    wal.save(Some(&state(1, 0)), &[entry(1, 1, 1000)]).unwrap();
    fs.fail(Operation::Sync, 1, Fault::Error(libc::EIO));
    assert!(wal.save(None, &[entry(2, 1, 3000)]).is_err());
    drop(wal);
    let mut found = 0;
    for _ in 0..2 {
        let (_, recovered) = open(&disk, &snapshot(0, 0)).unwrap();
        found = recovered.entries.len();
        for seed in 0..20 {
            let (_, after) = open(&disk.crash_clone(seed), &snapshot(0, 0)).unwrap();
            assert_eq!(after.entries, recovered.entries);
        }
    }
    assert_eq!(found, 2);
}
