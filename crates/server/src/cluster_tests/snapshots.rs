//! Members too far behind for the log.

use api::{ids::RaftIndex, raftpb::HardState, walpb};
use storage::{
    Backend,
    engine::{DbSum, LmdbBackend},
    image::Image,
};

use super::*;
use crate::peers::received_path;

/// A rig whose log is cut early.
fn forgetful() -> Rig {
    let mut rig = Rig::new(3);
    rig.config.snapshot_count = 200;
    rig.config.snapshot_catchup_entries = 10;
    rig
}

/// Whether a snapshot was cut or received.
fn has_snapshot_file(rig: &Rig, number: usize) -> bool {
    let files = std::fs::read_dir(rig.data_dir(number).join("member/snap")).unwrap();
    let mut names = files.map(|entry| entry.unwrap().file_name());
    names.any(|name| name.to_string_lossy().ends_with(".snap"))
}

/// More entries than the log keeps in memory, and waits until it has let go of the first.
async fn fill(rig: &Rig, leader: usize) {
    let first = rig.handle(leader).progress.applied();
    for i in 0..400 {
        rig.put(leader, &format!("k{}", i % 50), &i.to_string()).await;
    }
    let handle = rig.handle(leader);
    let trimmed = async {
        loop {
            let inspection = handle.inspect().await.expect("it runs");
            if inspection.status.first > first {
                return;
            }
            rig.put(leader, "more", "").await;
        }
    };
    tokio::time::timeout(PATIENCE, trimmed).await.expect("the log is cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_far_behind_gets_the_store() {
    let mut rig = forgetful();
    rig.start_all().await;
    let follower = rig.follower().await;
    rig.put(follower, "old", "1").await;
    rig.assert_equal().await;
    rig.stop(follower).await;
    fill(&rig, rig.leader().await).await;
    rig.start(follower).await;
    rig.wait_ready().await;
    rig.assert_equal().await;
    assert!(has_snapshot_file(&rig, follower), "it came as a snapshot");
    assert_eq!(rig.value(follower, "k49").as_deref(), Some("399"));
    // What it took over is its own: it restarts from it, leads and is followed.
    rig.stop(follower).await;
    rig.start(follower).await;
    rig.wait_ready().await;
    rig.assert_equal().await;
    let (leader, target) = (rig.leader().await, rig.handle(follower).member);
    rig.handle(leader).transfer_leader(target, PATIENCE).await.unwrap();
    rig.put(follower, "new", "2").await;
    rig.assert_equal().await;
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_member_takes_the_store_in_place() {
    let mut rig = forgetful();
    rig.start_all().await;
    let follower = rig.follower().await;
    rig.put(follower, "old", "1").await;
    rig.assert_equal().await;
    let revision = rig.handle(follower).shared.store.revision();
    rig.isolate(follower);
    let others: Vec<usize> = rig.numbers().into_iter().filter(|n| *n != follower).collect();
    rig.leader_among(&others).await;
    eventually("the follower misses its leader", || {
        rig.handle(follower).progress.leader() == MemberId(0)
    })
    .await;
    fill(&rig, rig.leader_among(&others).await).await;
    // As if the store were replaced while a flush is planned: the changes after it need another.
    rig.handle(follower).progress.arm_flush();
    rig.rejoin(follower);
    rig.put(follower, "caught", "up").await;
    let applied = rig.handle(follower).progress.applied();
    eventually("changes after the replacement reach the store", || {
        let view = rig.handle(follower).backend.read().unwrap();
        let stored = storage::schema::read_consistent(&*view).unwrap();
        stored.is_some_and(|(index, _)| index >= applied)
    })
    .await;
    rig.assert_equal().await;
    let store = &rig.handle(follower).shared.store;
    assert!(store.revision() >= revision + 400);
    assert!(has_snapshot_file(&rig, follower), "it came as a snapshot");
    assert_eq!(rig.value(follower, "k49").as_deref(), Some("399"));
    assert_eq!(rig.value(follower, "old").as_deref(), Some("1"));
    rig.put(follower, "after", "2").await;
    rig.assert_equal().await;
    rig.end().await;
}

/// A crash after the log recorded the leader's snapshot and before the store followed it.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_finishes_what_a_crash_cut_off() {
    let mut rig = forgetful();
    rig.start_all().await;
    let follower = rig.follower().await;
    rig.put(follower, "old", "1").await;
    rig.assert_equal().await;
    let behind = rig.handle(follower).progress.applied();
    rig.stop(follower).await;
    fill(&rig, rig.leader().await).await;
    let (leader, term) = (rig.leader().await, rig.handle(rig.leader().await).progress.term());
    let handle = rig.handle(leader).clone();
    crate::driver::storage_loop::flush(&handle);
    let (index, conf_state) = write_image(&handle, &rig.data_dir(follower).join("member/snap"));
    assert!(index > behind);
    drop(handle);
    let settings = rig.settings(follower);
    let fs: std::sync::Arc<dyn vfs::Fs> = std::sync::Arc::new(vfs::os::OsFs);
    let options = wal::Options { sync: false, ..wal::Options::default() };
    let at = wal::Wal::valid_snapshots(&*fs, &settings.wal_dir).unwrap().pop().unwrap();
    let (mut wal, _) = wal::Wal::open(fs, &settings.wal_dir, &at, options).unwrap();
    let record = walpb::Snapshot { index: index.0, term: term.0, conf_state: Some(conf_state) };
    wal.save_snapshot(&record).unwrap();
    let hard_state = HardState { term: term.0, vote: 0, commit: index.0 };
    wal.save(Some(&hard_state), &[]).unwrap();
    wal.sync().unwrap();
    drop(wal);
    // What has changed since it arrived does not become the store.
    let path = received_path(&rig.data_dir(follower).join("member/snap"), index);
    DbSum::of(&path).unwrap().save(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let value = whole.windows(3).position(|bytes| bytes == b"399").expect("a value is there");
    let mut damaged = whole.clone();
    damaged[value] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    let error = rig.try_start(follower, rig.settings(follower)).await.unwrap_err();
    assert!(format!("{error:#}").contains("the file is damaged: it arrived with"), "{error:#}");
    std::fs::write(&path, whole).unwrap();
    rig.start(follower).await;
    let left = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let mut left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(left.all(|name| !name.contains(".snap.db")), "it is the store now");
    assert!(rig.handle(follower).progress.applied() >= index);
    rig.wait_ready().await;
    rig.assert_equal().await;
    assert_eq!(rig.value(follower, "k49").as_deref(), Some("399"));
    rig.end().await;
}

/// Writes the store of a member to where a snapshot of it would arrive.
fn write_image(handle: &Handle, snap_dir: &std::path::Path) -> (RaftIndex, api::raftpb::ConfState) {
    let view = handle.backend.read().unwrap();
    let (index, _) = storage::schema::read_consistent(&*view).unwrap().unwrap();
    let mut file = Vec::new();
    Image::plan(&*view)
        .unwrap()
        .write(&mut |chunk| {
            file.extend_from_slice(&chunk);
            Ok(())
        })
        .unwrap();
    std::fs::write(received_path(snap_dir, index), file).unwrap();
    (index, handle.shared.membership.read().conf_state())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_is_not_made_up() {
    let mut rig = forgetful();
    rig.start_all().await;
    fill(&rig, rig.leader().await).await;
    let follower = rig.follower().await;
    rig.assert_equal().await;
    let snap_dir = rig.data_dir(follower).join("member/snap");
    eventually("a snapshot is recorded", || has_snapshot_file(&rig, follower)).await;
    rig.stop(follower).await;
    std::fs::remove_dir_all(snap_dir.join("oxetcd")).unwrap();
    let error = rig.try_start(follower, rig.settings(follower)).await.unwrap_err().to_string();
    assert!(error.starts_with("database file (") && error.ends_with(") of the backend is missing"));
    // An empty store is not left behind as if it were one.
    let store = LmdbBackend::open(&snap_dir.join("oxetcd"), Default::default()).unwrap();
    let view = store.read().unwrap();
    assert_eq!(storage::schema::read_consistent(&*view).unwrap(), None);
    rig.end().await;
}
