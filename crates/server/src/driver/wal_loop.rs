//! The wal thread: makes readies durable. Everything that queued while one sync ran goes out with
//! the next: one write, one fdatasync.
//!
//! A member without others writes a ready with a single entry on its node thread (`save_here`): that
//! has nobody to send heartbeats to, and linearizable reads do not ask it (`read_gate`).

use std::{
    ops::ControlFlow,
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

use super::{NodeEvent, duty::Duty, fatal, snapshots, spread::Spread};
use crate::handle::Handle;

/// What the wal thread is asked to do, in order.
pub(crate) enum WalEvent {
    /// Make this durable, then report the ready.
    Persist(Save),
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

/// A ready that is to be durable.
pub(crate) struct Save {
    /// Its number.
    pub(crate) ready: u64,
    /// Changed term, vote or commit.
    pub(crate) hard_state: Option<HardState>,
    /// Entries to append.
    pub(crate) entries: Vec<Entry>,
    /// Bytes of their data.
    pub(crate) bytes: usize,
}

/// Bytes written to a segment from which on the next one is prepared.
const PREPARE_AFTER_BYTES: u64 = 24 << 20;
/// Bytes a second at which that is done: the log would have to grow by 30 MB/s to overtake it.
const PREPARE_RATE: f64 = (48 << 20) as f64;
/// A write and sync that takes longer is worth a warning.
const SYNC_SLOW: Duration = Duration::from_secs(1);

/// The log of a member, and what waits for the wal thread.
pub(crate) type Logger = Duty<Work, WalEvent>;

/// The log and what is under way with it.
pub(crate) struct Work {
    /// `None` once it is closed.
    wal: Option<Wal>,
    /// The snapshot of the leader that the next ready makes count.
    restore: Option<(RaftIndex, mpsc::Sender<()>)>,
    /// Bytes of the log when its last segment was begun.
    segment_began_at: u64,
    segments_cut: u64,
}

/// The log, with nothing to be written.
pub(crate) fn logger(wal: Wal) -> Arc<Logger> {
    let work = Work { wal: Some(wal), restore: None, segment_began_at: 0, segments_cut: 0 };
    Arc::new(Duty::new(work))
}

/// Makes a ready durable at once, unless the wal thread has something to do before: then it comes
/// back. Only the node thread of a member without others calls it, which would have nothing to do
/// meanwhile but gather what to write next.
pub(crate) fn save_here(logger: &Arc<Logger>, handle: &Handle, ready: Save) -> Result<(), Save> {
    let Some(mut work) = logger.here().filter(|work| work.restore.is_none()) else {
        return Err(ready);
    };
    let mut gathered = Gathered::default();
    gathered.add(ready);
    gathered.save(handle, work.wal());
    work.look_ahead(logger);
    Ok(())
}

/// The wal thread. Runs until [`WalEvent::Stop`].
pub(crate) fn run(handle: &Handle, logger: &Arc<Logger>) {
    logger.run(|work, batch| {
        let mut stop = false;
        let mut gathered = Gathered::default();
        for event in batch.drain(..) {
            match event {
                WalEvent::Persist(ready) => {
                    gathered.add(ready);
                    if let Some((snapshot, saved)) = work.restore.take() {
                        gathered.save_and_tell(handle, work.wal());
                        finish_restore(handle, work.wal(), snapshot, saved);
                    }
                }
                WalEvent::Snapshot { snapshot } => {
                    gathered.save_and_tell(handle, work.wal());
                    save_snapshot(handle, work.wal(), &snapshot);
                    // The store is beyond it: databases that the leader sent before are history.
                    snapshots::remove_covered(&handle.snap_dir, index_of(&snapshot));
                    release(handle, work.wal(), index_of(&snapshot));
                }
                WalEvent::Restore { snapshot, saved } => {
                    gathered.save_and_tell(handle, work.wal());
                    save_snapshot(handle, work.wal(), &snapshot);
                    work.restore = Some((index_of(&snapshot), saved));
                }
                WalEvent::Prepared(prepared) => work.wal().prepared(prepared),
                WalEvent::Stop => stop = true,
            }
        }
        gathered.save_and_tell(handle, work.wal());
        if stop {
            work.close();
            return ControlFlow::Break(());
        }
        work.look_ahead(logger);
        ControlFlow::Continue(())
    });
}

impl Work {
    fn wal(&mut self) -> &mut Wal {
        self.wal.as_mut().expect("nothing is written to the log after the end of its thread")
    }

    /// Has the next segment prepared when this one is well used.
    fn look_ahead(&mut self, logger: &Arc<Logger>) {
        let stats = self.wal().stats();
        if stats.segments_cut > self.segments_cut {
            self.segments_cut = stats.segments_cut;
            self.segment_began_at = stats.bytes;
        }
        if stats.bytes - self.segment_began_at > PREPARE_AFTER_BYTES {
            prepare_segment(self.wal(), logger);
        }
    }

    fn close(&mut self) {
        if let Some(Err(error)) = self.wal.take().map(Wal::close) {
            tracing::warn!(%error, "failed to close the write-ahead log");
        }
    }
}

/// Has the next segment made and filled with zeros aside, so that no save waits for it.
fn prepare_segment(wal: &mut Wal, logger: &Arc<Logger>) {
    let Some(preparation) = wal.preparation() else { return };
    let logger = logger.clone();
    let work = move || {
        let mut spread = Spread::at_rate(PREPARE_RATE);
        // Nobody else has it any more: the member has stopped.
        let mut pause = |bytes| spread.pass(Arc::strong_count(&logger) == 1, bytes as usize);
        match preparation.run_in_pieces(&mut pause) {
            Ok(prepared) => logger.give(WalEvent::Prepared(prepared)),
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
    fn add(&mut self, ready: Save) {
        let Save { ready, hard_state, entries, bytes } = ready;
        self.ready = Some(ready);
        self.bytes += bytes;
        if hard_state.is_some() {
            self.hard_state = hard_state;
        }
        if self.entries.is_empty() {
            self.entries = entries;
        } else {
            self.entries.extend(entries);
        }
    }

    fn save_and_tell(&mut self, handle: &Handle, wal: &mut Wal) {
        if let Some(ready) = self.save(handle, wal) {
            handle.node.push_always(NodeEvent::Persisted { ready });
        }
    }

    /// The last of the readies, if there is one: all are durable now.
    fn save(&mut self, handle: &Handle, wal: &mut Wal) -> Option<u64> {
        let ready = self.ready.take()?;
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
        Some(ready)
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
