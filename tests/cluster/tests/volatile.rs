//! Power losses: what was acknowledged is there afterwards, though nothing that was not synced is.
//!
//! Skipped, with the reason, where no file system can be mounted through FUSE.

use std::{fs::File, io::Write, os::unix::fs::FileExt};

use anyhow::{Result, ensure};
use cluster::{
    binary::Binary,
    cluster::{Cluster, Options, READY_LIMIT},
    volatile::Volatile,
};

fn is_skipped() -> bool {
    let why = Volatile::is_impossible();
    if let Some(why) = &why {
        eprintln!("SKIPPED: needs FUSE: {why}");
    }
    why.is_some()
}

#[test]
fn programs_see_what_they_wrote_until_the_power_fails() -> Result<()> {
    if is_skipped() {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    for seed in 0..10 {
        let mut disk = Volatile::make(directory.path(), &format!("disk{seed}"), seed)?;
        let path = disk.path().join("file");
        let mut file = File::create(&path)?;
        file.write_all(b"synced")?;
        file.sync_all()?;
        File::open(disk.path())?.sync_all()?;
        file.write_all_at(b"later!", 0)?;
        std::fs::write(disk.path().join("other"), vec![7; 100_000])?;
        ensure!(std::fs::read(&path)? == b"later!");
        ensure!(std::fs::read(disk.path().join("other"))?.len() == 100_000);
        drop(file);
        let lost = disk.lose_power();
        ensure!(lost.unsynced > 1, "{lost:?}");
        let left = std::fs::read(&path)?;
        ensure!(left == b"synced" || left == b"later!", "{left:?}");

        disk.fill(true);
        let refused = std::fs::write(disk.path().join("more"), b"x").unwrap_err();
        ensure!(refused.kind() == std::io::ErrorKind::StorageFull, "{refused}");
        disk.fill(false);
        disk.fail(true);
        let file = File::options().write(true).open(&path)?;
        file.write_all_at(b"x", 0)?;
        ensure!(file.sync_all().is_err());
        disk.fail(false);
    }
    Ok(())
}

#[test]
fn acknowledged_writes_survive_power_losses_of_all_members() -> Result<()> {
    if is_skipped() {
        return Ok(());
    }
    let binary = Binary::under_test()?;
    Cluster::with(Options::of(binary, 3).volatile(), async |cluster| {
        let mut unsynced = 0;
        for round in 0..4 {
            for number in 0..10 {
                let key = format!("{round}-{number}");
                cluster.connection(number % 3).put(&key, &key).await?;
            }
            // At once, and while clients still write: nothing is closed in order.
            for slot in 0..3 {
                unsynced += cluster.member(slot).lose_power()?.unsynced;
            }
            for slot in 0..3 {
                cluster.member(slot).start()?;
            }
            cluster.wait_ready(READY_LIMIT).await?;
            for earlier in 0..=round {
                for number in 0..10 {
                    let key = format!("{earlier}-{number}");
                    let read = cluster.connection(0).get(&key, false).await?;
                    ensure!(read.as_deref() == Some(&key[..]), "{key}: {read:?}");
                }
            }
        }
        println!("{unsynced} changes were not synced");
        cluster.wait_equal(READY_LIMIT).await?;
        Ok(())
    })
}

/// A sync that failed has lost what it was to write, while the page cache still shows it: what a new
/// process finds of the log, and tells others, must be on the disk by then.
#[test]
fn what_a_failed_sync_left_in_the_page_cache_is_not_believed() -> Result<()> {
    use api::{raftpb::Entry, walpb};
    use vfs::{Fs, os::OsFs};
    use wal::Wal;

    if is_skipped() {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let mut found = 0;
    for seed in 0..10 {
        let mut disk = Volatile::make(directory.path(), &format!("disk{seed}"), seed)?;
        let path = disk.path().join("wal");
        let fs: std::sync::Arc<dyn Fs> = std::sync::Arc::new(OsFs);
        let metadata = walpb::Metadata { node_id: 1, cluster_id: 2 };
        let options = wal::Options { segment_bytes: 1 << 20, ..wal::Options::default() };
        let entry =
            |index| Entry { index, term: 1, data: vec![7; 3000].into(), ..Entry::default() };
        let mut log = Wal::create(fs.clone(), &path, &metadata, options.clone())?;
        log.save(None, &[entry(1)])?;
        disk.fail(true);
        ensure!(log.save(None, &[entry(2)]).is_err());
        drop(log);
        disk.fail(false);

        let start = walpb::Snapshot::default();
        let (mut log, before) = Wal::open(fs.clone(), &path, &start, options.clone())?;
        found = before.entries.len();
        let next = found as u64 + 1;
        log.save(None, &[entry(next)])?;
        drop(log);
        disk.lose_power();
        let (_log, after) = Wal::open(fs, &path, &start, options)?;
        ensure!(after.entries.len() as u64 == next, "seed {seed}: {} entries", after.entries.len());
    }
    ensure!(found == 2, "the page cache shows what the disk does not have");
    Ok(())
}
