//! The storage thread: commits the window to the store every 100 ms, or at once when it is full,
//! and takes the steps of a compaction in between.

use std::{
    sync::{Arc, mpsc},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use api::ids::{LeaseId, RaftIndex, Term};
use bytes::Bytes;
use storage::{Bucket, Op, engine::DbSum, schema::meta};

use super::{NodeEvent, fatal, snapshots, spread::Spread};
use crate::{handle::Handle, inbox::Inbox, metrics::Compactions, peers};

/// What can happen to the storage thread.
pub(crate) enum StorageEvent {
    /// There is something in the window that no flush is planned for.
    Filled,
    /// The window has grown past its flush limit.
    Full,
    /// A compaction was applied: remove what it drops.
    Compact,
    /// Replace the store by a snapshot of the leader.
    Restore {
        /// The entry that the snapshot ends with.
        at: (RaftIndex, Term),
        /// The rows of the v2 store that came with it.
        v2: Vec<Op>,
        /// The answer: the keys that exist with a lease.
        done: mpsc::Sender<Vec<(LeaseId, Bytes)>>,
    },
    /// Commit what there is and end the thread.
    Stop,
}

/// Runs until [`StorageEvent::Stop`]. Sleeps without a deadline while there is nothing to do.
pub(crate) fn run(handle: &Handle, inbox: &Arc<Inbox<StorageEvent>>) {
    let mut batch = Vec::new();
    let mut flush_at: Option<Instant> = None;
    let mut step_at = next_step(handle);
    loop {
        inbox.drain(earliest(flush_at, step_at), &mut batch);
        let mut flush_now = false;
        let mut stop = false;
        for event in batch.drain(..) {
            match event {
                StorageEvent::Filled => {
                    flush_at.get_or_insert_with(|| Instant::now() + handle.limits.flush_interval);
                }
                StorageEvent::Full => flush_now = true,
                StorageEvent::Compact => {
                    // The first step waits for the mark of the compaction to be in the store.
                    flush_now = true;
                    step_at = next_step(handle);
                }
                StorageEvent::Restore { at, v2, done } => {
                    let _stopping = done.send(restore(handle, at, v2));
                    flush_at = None;
                    step_at = next_step(handle);
                }
                StorageEvent::Stop => stop = true,
            }
        }
        if flush_now || stop || is_due(flush_at) {
            flush_at = None;
            flush(handle);
        }
        if stop {
            return;
        }
        if is_due(step_at) {
            compaction_step(handle);
            step_at = next_step(handle);
        }
    }
}

fn is_due(at: Option<Instant>) -> bool {
    at.is_some_and(|at| at <= Instant::now())
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// When to take the next step of a compaction, if one is under way.
fn next_step(handle: &Handle) -> Option<Instant> {
    let compacting = handle.shared.store.compacting().is_some();
    compacting.then(|| Instant::now() + handle.limits.compaction_pause)
}

/// Removes one batch of revisions. What it removes is committed with, or after, the entry that
/// scheduled the compaction; the last step commits at once, for those who wait.
fn compaction_step(handle: &Handle) {
    let store = &handle.shared.store;
    let Some(revision) = store.compacting() else { return };
    let mut ops = Vec::new();
    let began = Instant::now();
    let first = *handle.metrics.compaction_began.lock().get_or_insert(began);
    let step = store.compaction_step(handle.limits.compaction_batch, &mut ops);
    let step = step.unwrap_or_else(|error| fatal("failed to compact the store", &error));
    let done = step == mvcc::Compaction::Done;
    let keys = |op: &&Op| matches!(op, Op::Delete { bucket: Bucket::Key, .. });
    let removed = ops.iter().filter(keys).count();
    if done || !ops.is_empty() {
        handle.window.append_background(ops);
        flush(handle);
    }
    count_step(&handle.metrics.compactions, began, removed);
    if done {
        *handle.metrics.compaction_began.lock() = None;
        let took = first.elapsed();
        handle.metrics.compactions.total.observe(took.as_secs_f64() * 1000.0);
        handle.compactions.finish(revision);
        tracing::info!(
            "compact-revision" = revision,
            took = %config::GoDuration::from(took),
            "finished scheduled compaction"
        );
    }
}

fn count_step(compactions: &Compactions, began: Instant, removed: usize) {
    compactions.keys.inc_by(removed as u64);
    compactions.pause.observe(began.elapsed().as_secs_f64() * 1000.0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    compactions.last.set(now.as_secs() as i64);
}

/// Commits the window. Also called by those who must see the backend up to date (hashes, physical
/// compactions).
pub(crate) fn flush(handle: &Handle) {
    handle.progress.disarm_flush();
    let began = Instant::now();
    match handle.window.flush(&*handle.backend) {
        Ok(None) => {}
        Ok(Some(flushed)) => {
            let took = began.elapsed().as_secs_f64();
            handle.metrics.backend_commit.observe(took);
            handle.metrics.store.write.observe(took);
            handle.shared.store.committed(flushed.revision);
            let event = NodeEvent::Flushed { index: flushed.index, term: flushed.term };
            handle.node.push_quietly(event);
        }
        Err(error) => fatal("failed to commit to the store", &error),
    }
    // What a compaction removed is committed without an index of its own.
    refresh_size(handle);
}

/// Replaces the store by the database of a snapshot that has arrived. Nothing else writes
/// meanwhile: the apply thread waits for the end of this, and the window is held.
fn restore(handle: &Handle, at: (RaftIndex, Term), v2: Vec<Op>) -> Vec<(LeaseId, Bytes)> {
    let (index, term) = at;
    let path = peers::received_path(&handle.snap_dir, index);
    tracing::info!(path = %path.display(), "snapshot-index" = index.0, "restoring the store");
    let broken = |error: &dyn std::fmt::Display| -> ! {
        fatal(&format!("failed to read the snapshot {}", path.display()), error)
    };
    DbSum::verify(&path).unwrap_or_else(|error| broken(&error));
    let db = storage::engine::open_db(&path).unwrap_or_else(|error| broken(&error));
    let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
    let mut spread = Spread::over(bytes);
    let imported = storage::image::import(&db).inspect(|op| {
        spread.pass(handle.progress.stopping(), op.as_ref().map_or(0, Op::bytes));
    });
    let ops = imported.chain(meta::put_consistent(index, term).map(Ok));
    let ops = ops.chain(v2.into_iter().map(Ok));
    let store = &handle.shared.store;
    // What a planned flush was for is dropped with the window: the next changes need one of their own.
    handle.progress.disarm_flush();
    let replaced = handle.window.replace(at, || {
        let replaced = store.replace(ops, |ops| handle.backend.replace(ops))?;
        Ok((replaced, store.revision()))
    });
    let replaced = replaced.unwrap_or_else(|error| broken(&error));
    if replaced.unfinished_compaction.is_none() {
        handle.compactions.finish(store.compact_revision());
    }
    snapshots::remove_covered(&handle.snap_dir, index);
    handle.damaged.forget();
    refresh_size(handle);
    let event = NodeEvent::Flushed { index, term };
    handle.node.push_quietly(event);
    tracing::info!("snapshot-index" = index.0, revision = store.revision(), "restored the store");
    replaced.attachments
}

/// Reads the size of the store, for quota, status and metrics.
pub(crate) fn refresh_size(handle: &Handle) {
    match handle.backend.size() {
        Ok(size) => handle.progress.set_db_size(size),
        Err(error) => fatal("failed to read the size of the store", &error),
    }
}
