//! A leader whose disk does not answer.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use vfs::{File, Fs, OpenMode, os::OsFs};

use super::*;

/// The operating system's files, whose syncs can be made to hang.
struct HangingFs {
    hangs: Arc<AtomicBool>,
}

struct HangingFile {
    file: Box<dyn File>,
    hangs: Arc<AtomicBool>,
}

impl HangingFile {
    fn wait(&self) {
        while self.hangs.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Fs for HangingFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn File>> {
        let file = OsFs.open(path, mode)?;
        Ok(Box::new(HangingFile { file, hangs: self.hangs.clone() }))
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsFs.sync_dir(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsFs.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        OsFs.remove(path)
    }
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        OsFs.remove_dir_all(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        OsFs.create_dir_all(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        OsFs.list(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        OsFs.exists(path)
    }
}

impl File for HangingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.wait();
        self.file.write_at(data, offset)
    }
    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.file.preallocate(len)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.wait();
        self.file.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.wait();
        self.file.sync_all()
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
}

/// Bytes of entries that a member of the rig keeps waiting.
const BACKLOG: usize = 512 << 10;

/// A rig whose disks hang when their switch is on.
async fn with_switches() -> (Rig, Vec<Arc<AtomicBool>>) {
    let mut rig = Rig::new(3);
    let switches: Vec<_> = (0..3).map(|_| Arc::new(AtomicBool::new(false))).collect();
    for number in 1..=3 {
        let mut settings = rig.settings(number);
        settings.fs = Arc::new(HangingFs { hangs: switches[number - 1].clone() });
        settings.limits.backlog_bytes_max = BACKLOG;
        rig.try_start(number, settings).await.unwrap();
    }
    rig.wait_ready().await;
    (rig, switches)
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_leaves_a_disk_that_hangs() {
    let (rig, switches) = with_switches().await;
    let stuck = rig.leader().await;
    rig.put(stuck, "before", "1").await;
    switches[stuck - 1].store(true, Ordering::SeqCst);
    let others: Vec<usize> = rig.numbers().into_iter().filter(|n| *n != stuck).collect();
    // A write shows that the disk hangs: nobody hears of its end from this member.
    let put = PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() };
    let request = InternalRaftRequest { put: Some(put), ..InternalRaftRequest::default() };
    let handle = rig.handle(stuck).clone();
    let lost = tokio::spawn(async move { handle.propose(request).await });
    eventually("somebody else leads", || {
        others.iter().any(|n| rig.handle(*n).progress.leader() == rig.handle(*n).member)
    })
    .await;
    let leader = rig.leader_among(&others).await;
    rig.put(leader, "meanwhile", "2").await;
    persist("read without the member", || rig.handle(leader).linearizable()).await;
    switches[stuck - 1].store(false, Ordering::SeqCst);
    drop(lost.await);
    rig.put(stuck, "after", "3").await;
    rig.assert_equal().await;
    assert_eq!(rig.value(stuck, "meanwhile").as_deref(), Some("2"));
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_disk_hangs_is_waited_for_by_nobody() {
    let (rig, switches) = with_switches().await;
    let (leader, stuck) = (rig.leader().await, rig.follower().await);
    let term = rig.handle(leader).progress.term();
    switches[stuck - 1].store(true, Ordering::SeqCst);
    let until = tokio::time::Instant::now() + 3 * Duration::from_millis(500);
    let mut count = 0;
    while tokio::time::Instant::now() < until || count < 20 {
        rig.put(leader, "k", &count.to_string()).await;
        count += 1;
    }
    assert_eq!(rig.handle(leader).progress.term(), term, "it does not campaign");
    switches[stuck - 1].store(false, Ordering::SeqCst);
    rig.assert_equal().await;
    assert_eq!(rig.leader().await, leader);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_disk_hangs_keeps_no_more_than_it_may() {
    let (rig, switches) = with_switches().await;
    let (leader, stuck) = (rig.leader().await, rig.follower().await);
    switches[stuck - 1].store(true, Ordering::SeqCst);
    let value = "v".repeat(64 << 10);
    for _ in 0..64 {
        rig.put(leader, "k", &value).await;
    }
    let progress = &rig.handle(stuck).progress;
    let backlog = progress.peer_bytes() + progress.unsynced() + progress.unapplied();
    // What came together when there still was room.
    assert!(backlog <= BACKLOG + (1 << 20), "{backlog} bytes wait");
    switches[stuck - 1].store(false, Ordering::SeqCst);
    rig.put(leader, "after", "1").await;
    rig.assert_equal().await;
    let progress = &rig.handle(stuck).progress;
    assert_eq!(progress.unapplied(), 0);
    assert_eq!(rig.value(stuck, "after").as_deref(), Some("1"));
    rig.end().await;
}
