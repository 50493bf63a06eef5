//! The storage thread: commits the window to the store every 100 ms, or at once when it is full.

use std::{sync::Arc, time::Instant};

use super::{NodeEvent, fatal};
use crate::{handle::Handle, inbox::Inbox};

/// What can happen to the storage thread.
pub(crate) enum StorageEvent {
    /// The window was empty and is not any more.
    Filled,
    /// The window has grown past its flush limit.
    Full,
    /// Commit what there is and end the thread.
    Stop,
}

/// Runs until [`StorageEvent::Stop`]. Sleeps without a deadline while there is nothing to commit.
pub(crate) fn run(handle: &Handle, inbox: &Arc<Inbox<StorageEvent>>) {
    let mut batch = Vec::new();
    let mut flush_at: Option<Instant> = None;
    loop {
        inbox.drain(flush_at, &mut batch);
        let mut flush_now = false;
        let mut stop = false;
        for event in batch.drain(..) {
            match event {
                StorageEvent::Filled => {
                    flush_at.get_or_insert_with(|| Instant::now() + handle.limits.flush_interval);
                }
                StorageEvent::Full => flush_now = true,
                StorageEvent::Stop => stop = true,
            }
        }
        let due = flush_at.is_some_and(|at| at <= Instant::now());
        if due || flush_now || stop {
            flush_at = None;
            flush(handle);
        }
        if stop {
            return;
        }
    }
}

/// Commits the window. Also called by those who must see the backend up to date (hashes, physical
/// compactions).
pub(crate) fn flush(handle: &Handle) {
    let began = Instant::now();
    match handle.window.flush(&*handle.backend) {
        Ok(None) => {}
        Ok(Some(flushed)) => {
            handle.metrics.backend_commit.observe(began.elapsed().as_secs_f64());
            handle.shared.store.committed(flushed.revision);
            refresh_size(handle);
            let event = NodeEvent::Flushed { index: flushed.index, term: flushed.term };
            handle.node.push_always(event);
        }
        Err(error) => fatal("failed to commit to the store", &error),
    }
    let overloaded = handle.window.pending_bytes() > handle.limits.window_bytes_max;
    handle.progress.set_overloaded(overloaded);
}

/// Reads the size of the store, for quota, status and metrics.
pub(crate) fn refresh_size(handle: &Handle) {
    match handle.backend.size() {
        Ok(size) => handle.progress.set_db_size(size),
        Err(error) => fatal("failed to read the size of the store", &error),
    }
}
