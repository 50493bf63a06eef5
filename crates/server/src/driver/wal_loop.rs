//! The wal thread: makes readies durable. Everything that queued while one sync ran goes out with
//! the next: one write, one fdatasync.

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use api::{
    ids::RaftIndex,
    raftpb::{Entry, HardState, Snapshot},
    walpb,
};
use config::GoDuration;
use wal::{Prepared, Wal};

use super::{NodeEvent, fatal, snapshots, spread::Spread};
use crate::{handle::Handle, inbox::Inbox};

/// What the wal thread is asked to do, in order.
pub(crate) enum WalEvent {
    /// Make this durable, then report the ready.
    Persist {
        /// The number of the ready.
        ready: u64,
        /// Changed term, vote or commit.
        hard_state: Option<HardState>,
        /// Entries to append.
        entries: Vec<Entry>,
        /// Bytes of their data.
        bytes: usize,
    },
    /// Record that the log before `snapshot` is covered by the store, and release its segments.
    Snapshot {
        /// Index, term and members at that point, in etcd's form for `.snap` files.
        snapshot: Box<Snapshot>,
    },
    /// A snapshot of the leader replaces the log up to its index. It counts once the ready that
    /// follows is durable, too.
    Restore {
        /// Index, term and members of the snapshot.
        snapshot: Box<Snapshot>,
        /// Told when the store may follow.
        saved: mpsc::Sender<()>,
    },
    /// The next segment has been prepared.
    Prepared(Prepared),
    /// End the thread.
    Stop,
}

/// Bytes written to a segment from which on the next one is prepared.
const PREPARE_AFTER_BYTES: u64 = 24 << 20;
/// Bytes a second at which that is done: the log would have to grow by 30 MB/s to overtake it.
const PREPARE_RATE: f64 = (48 << 20) as f64;
/// A write and sync that takes longer is worth a warning.
const SYNC_SLOW: Duration = Duration::from_secs(1);

/// Runs until [`WalEvent::Stop`].
pub(crate) fn run(handle: &Handle, inbox: &Arc<Inbox<WalEvent>>, mut wal: Wal) {
    let mut batch = Vec::new();
    let mut restore = None;
    let mut stop = false;
    let mut segment_began_at = 0;
    let mut segments_cut = 0;
    while !stop {
        inbox.drain(None, &mut batch);
        let mut gathered = Gathered::default();
        for event in batch.drain(..) {
            match event {
                WalEvent::Persist { ready, hard_state, entries, bytes } => {
                    gathered.bytes += bytes;
                    gathered.add(ready, hard_state, entries);
                    if restore.is_some() {
                        gathered.save(handle, &mut wal);
                    }
                    if let Some((snapshot, saved)) = restore.take() {
                        finish_restore(handle, &mut wal, snapshot, saved);
                    }
                }
                WalEvent::Snapshot { snapshot } => {
                    gathered.save(handle, &mut wal);
                    save_snapshot(handle, &mut wal, &snapshot);
                    // The store is beyond it: databases that the leader sent before are history.
                    snapshots::remove_covered(&handle.snap_dir, index_of(&snapshot));
                    release(handle, &mut wal, index_of(&snapshot));
                }
                WalEvent::Restore { snapshot, saved } => {
                    gathered.save(handle, &mut wal);
                    save_snapshot(handle, &mut wal, &snapshot);
                    restore = Some((index_of(&snapshot), saved));
                }
                WalEvent::Prepared(prepared) => wal.prepared(prepared),
                WalEvent::Stop => stop = true,
            }
        }
        gathered.save(handle, &mut wal);
        let stats = wal.stats();
        if stats.segments_cut > segments_cut {
            segments_cut = stats.segments_cut;
            segment_began_at = stats.bytes;
        }
        if !stop && stats.bytes - segment_began_at > PREPARE_AFTER_BYTES {
            prepare_segment(&mut wal, inbox);
        }
    }
    if let Err(error) = wal.close() {
        tracing::warn!(%error, "failed to close the write-ahead log");
    }
}

/// Has the next segment made and filled with zeros aside, so that no save waits for it.
fn prepare_segment(wal: &mut Wal, inbox: &Arc<Inbox<WalEvent>>) {
    let Some(preparation) = wal.preparation() else { return };
    let inbox = inbox.clone();
    let work = move || {
        let mut spread = Spread::at_rate(PREPARE_RATE);
        // Nobody else has the inbox any more: the member has stopped.
        let mut pause = |bytes| spread.pass(Arc::strong_count(&inbox) == 1, bytes as usize);
        match preparation.run_in_pieces(&mut pause) {
            Ok(prepared) => inbox.push_always(WalEvent::Prepared(prepared)),
            // The save that fills the segment makes the next one itself, or fails as this did.
            Err(error) => tracing::warn!(%error, "failed to prepare the next WAL segment"),
        }
    };
    if let Err(error) = std::thread::Builder::new().name("wal-next".to_owned()).spawn(work) {
        tracing::warn!(%error, "failed to start a thread for the next WAL segment");
    }
}

/// Readies that share one sync.
#[derive(Default)]
struct Gathered {
    ready: Option<u64>,
    hard_state: Option<HardState>,
    entries: Vec<Entry>,
    bytes: usize,
}

impl Gathered {
    fn add(&mut self, ready: u64, hard_state: Option<HardState>, entries: Vec<Entry>) {
        self.ready = Some(ready);
        if hard_state.is_some() {
            self.hard_state = hard_state;
        }
        if self.entries.is_empty() {
            self.entries = entries;
        } else {
            self.entries.extend(entries);
        }
    }

    fn save(&mut self, handle: &Handle, wal: &mut Wal) {
        let Some(ready) = self.ready.take() else { return };
        let syncs = wal.stats().syncs;
        let began = Instant::now();
        if let Err(error) = wal.save(self.hard_state.take().as_ref(), &self.entries) {
            fatal("failed to write the write-ahead log", &error);
        }
        self.entries.clear();
        handle.progress.remove_unsynced(std::mem::take(&mut self.bytes));
        let stats = wal.stats();
        let elapsed = began.elapsed();
        let took = elapsed.as_secs_f64();
        if stats.syncs > syncs {
            warn_of_sync(elapsed);
            handle.metrics.wal_fsync.observe(took);
        }
        handle.metrics.store.wal_write.observe(took);
        handle.metrics.wal_bytes.set(stats.bytes as i64);
        handle.node.push_always(NodeEvent::Persisted { ready });
    }
}

/// A disk that takes so long endangers leadership.
fn warn_of_sync(took: Duration) {
    if took > SYNC_SLOW {
        tracing::warn!(
            took = %GoDuration::from(took),
            "expected-duration" = %GoDuration::from(SYNC_SLOW),
            "slow fdatasync"
        );
    }
}

fn index_of(snapshot: &Snapshot) -> RaftIndex {
    RaftIndex(snapshot.metadata.as_ref().map_or(0, |metadata| metadata.index))
}

/// First the `.snap` file, then the record of the log that makes it count.
fn save_snapshot(handle: &Handle, wal: &mut Wal, snapshot: &Snapshot) {
    let began = Instant::now();
    if let Err(error) = wal::snap::save(&*handle.fs, &handle.snap_dir, snapshot) {
        fatal("failed to write a snapshot file", &error);
    }
    let took = began.elapsed().as_secs_f64();
    handle.metrics.snapshots.save.observe(took);
    handle.metrics.snapshots.fsync.observe(took);
    let metadata = snapshot.metadata.clone().unwrap_or_default();
    let record = walpb::Snapshot {
        index: metadata.index,
        term: metadata.term,
        conf_state: metadata.conf_state,
    };
    if let Err(error) = wal.save_snapshot(&record) {
        fatal("failed to record a snapshot in the write-ahead log", &error);
    }
}

/// The log is behind a snapshot of the leader: it may be opened there, and the store may follow.
fn finish_restore(handle: &Handle, wal: &mut Wal, index: RaftIndex, saved: mpsc::Sender<()>) {
    // The commit index that makes the record count may not have been synced.
    if let Err(error) = wal.sync() {
        fatal("failed to sync the write-ahead log", &error);
    }
    release(handle, wal, index);
    let _stopping = saved.send(());
}

/// Lets go of what the log has before a snapshot, on the disk too.
fn release(handle: &Handle, wal: &mut Wal, index: RaftIndex) {
    wal.release_to(index);
    if handle.limits.snapshots_max > 0 {
        snapshots::purge(&handle.snap_dir, handle.limits.snapshots_max, index);
    }
    if handle.limits.wals_max == 0 {
        return;
    }
    match wal.purge(handle.limits.wals_max) {
        Ok(0) => {}
        Ok(purged) => tracing::info!(purged, "purged old WAL segments"),
        Err(error) => tracing::warn!(%error, "failed to purge old WAL segments"),
    }
}
