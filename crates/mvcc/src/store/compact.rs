//! Compaction: forgetting what no read can ask for any more.
//!
//! Invariants:
//! - The compact revision rises as soon as the entry is applied. Nothing is removed before the
//!   backend has `scheduledCompactRev`, and with it every revision up to there.
//! - Phases: history since the last compaction is hashed, for `HashKV` serves that later; the index is
//!   walked under short locks, and what goes is noted; then that is deleted from the backend in the
//!   order of revisions, so that whole pages come free. Only the hash reads values.
//! - `finishedCompactRev` goes with the last delete. A crash before it leaves the scheduled mark, and
//!   the compaction begins again when the store is opened.
//! - One runs and at most one waits: those that wait are joined, the highest counts.

use std::{iter::Peekable, sync::atomic::Ordering};

use api::ids::Revision;
use bytes::Bytes;
use parking_lot::Mutex;
use storage::{
    Error, Op,
    schema::{key, meta},
};

use super::{
    Store,
    hash::{HashKv, Hasher, Kept},
};
use crate::{
    ReadError,
    runs::{Merge, Runs},
};

/// Locks of the index taken in one step: about a million keys when nothing is to be removed.
const LOCKS_MAX: usize = 128;

/// How far a compaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compaction {
    /// Step again, after a pause.
    More,
    /// Nothing is left to do; also said when there was nothing.
    Done,
}

/// What waits and what runs.
#[derive(Default)]
pub(super) struct State {
    queue: Mutex<Queue>,
    /// Held for a whole step.
    job: Mutex<Option<Job>>,
}

#[derive(Default)]
struct Queue {
    waiting: Option<Request>,
    running: Option<i64>,
}

#[derive(Clone, Copy)]
struct Request {
    revision: i64,
    /// The compact revision before.
    previous: i64,
    /// Whether its hash is computed: not when the one before had not finished.
    hashed: bool,
}

pub(super) struct Job {
    request: Request,
    phase: Phase,
    /// Its hash, once known.
    hash: Option<HashKv>,
}

enum Phase {
    /// Choosing what is hashed.
    Keep(Kept),
    /// Hashing, from this revision on.
    Hash(Hasher, Revision),
    /// Removing from the index, from this key on; what has been removed from it so far.
    Index(Bytes, Runs<Removed>),
    /// Deleting from the backend what is left of that.
    Delete(Peekable<Merge<Removed>>),
}

/// A revision that goes, packed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Removed {
    main: i64,
    sub: u32,
    deleted: bool,
}

impl Phase {
    /// The beginning of removing.
    fn of_index() -> Phase {
        Phase::Index(Bytes::new(), Runs::new())
    }
}

impl State {
    /// The state at the opening of a store.
    pub(super) fn resume(unfinished: Option<i64>) -> State {
        let request = |revision| Request { revision, previous: -1, hashed: false };
        let queue = Queue { waiting: unfinished.map(request), running: None };
        State { queue: Mutex::new(queue), job: Mutex::default() }
    }

    /// Keeps steps away while the guard lives.
    pub(super) fn lock_job(&self) -> parking_lot::MutexGuard<'_, Option<Job>> {
        self.job.try_lock().expect("no step of a compaction runs beside a replacement")
    }

    /// Forgets what waited and ran: the store was replaced.
    pub(super) fn begin_anew(&self, unfinished: Option<i64>) {
        *self.queue.lock() = State::resume(unfinished).queue.into_inner();
    }
}

impl Store {
    /// Begins a compaction at main revision `revision`: reads below fail from now on. The removing
    /// is done by [`Store::compaction_step`]. Apply thread only.
    pub fn compact(&self, revision: i64, ops: &mut Vec<Op>) -> Result<(), ReadError> {
        let _writer = self.writer.try_lock().expect("the store has one writer at a time");
        let previous = self.compact_revision();
        if revision <= previous {
            return Err(ReadError::Compacted);
        }
        if revision > self.revision() {
            return Err(ReadError::Future);
        }
        self.compacted.store(revision, Ordering::Release);
        ops.push(meta::put_scheduled_compact(revision));
        let mut queue = self.compaction.queue.lock();
        let idle = queue.waiting.is_none() && queue.running.is_none();
        let hashed = idle && self.hash_compactions.load(Ordering::Relaxed);
        queue.waiting = Some(Request { revision, previous, hashed });
        Ok(())
    }

    /// The revision of the newest compaction that has not finished.
    pub fn compacting(&self) -> Option<i64> {
        let queue = self.compaction.queue.lock();
        queue.waiting.map(|request| request.revision).or(queue.running)
    }

    /// Does a piece of the work: about `batch_limit` revisions hashed or removed. Changes for the
    /// backend are added to `out`, in any order with those of entries, but in the order of steps.
    /// Not for the apply thread: it may read from the disk. `More` may mean that the mark of the
    /// compaction is not committed yet.
    pub fn compaction_step(
        &self,
        batch_limit: usize,
        out: &mut Vec<Op>,
    ) -> Result<Compaction, Error> {
        let batch_limit = batch_limit.max(1);
        let mut running = self.compaction.job.lock();
        if running.is_none() {
            *running = self.next_job()?;
        }
        let Some(job) = &mut *running else { return Ok(self.more_or_done()) };
        let revision = job.request.revision;
        match &mut job.phase {
            Phase::Keep(kept) => {
                if kept.step(&self.index) {
                    let hasher = kept.hasher();
                    job.phase = Phase::Hash(hasher, Revision::default());
                }
            }
            Phase::Hash(hasher, from) => match self.hash_step(hasher, *from, batch_limit) {
                // Without its hash the compaction goes on: what is damaged may be what it removes.
                Err(error) if error.is_damage() => job.phase = Phase::of_index(),
                Err(error) => return Err(error),
                Ok(Some(next)) => *from = next,
                Ok(None) => {
                    job.hash = Some(hasher.finish());
                    job.phase = Phase::of_index();
                }
            },
            Phase::Index(from, removed) => {
                match self.compact_index(from, revision, batch_limit, removed) {
                    Some(next) => *from = next,
                    None => {
                        let removed = std::mem::replace(removed, Runs::new());
                        job.phase = Phase::Delete(removed.merge().peekable());
                    }
                }
            }
            Phase::Delete(removed) => {
                for gone in removed.by_ref().take(batch_limit) {
                    let revision = Revision { main: gone.main, sub: i64::from(gone.sub) };
                    out.extend(key::delete(revision, gone.deleted));
                }
                if removed.peek().is_none() {
                    out.push(meta::put_finished_compact(revision));
                    self.finish(job.hash);
                    *running = None;
                }
            }
        }
        Ok(self.more_or_done())
    }

    /// Takes what waits, once its mark is in the backend.
    fn next_job(&self) -> Result<Option<Job>, Error> {
        let Some(request) = self.compaction.queue.lock().waiting else { return Ok(None) };
        let marked = meta::read_scheduled_compact(&*self.backend.read()?)?;
        if marked.is_none_or(|marked| marked < request.revision) {
            return Ok(None);
        }
        let mut queue = self.compaction.queue.lock();
        // A higher one may have joined meanwhile; its mark is not there yet.
        if queue.waiting.is_none_or(|waiting| waiting.revision != request.revision) {
            return Ok(None);
        }
        queue.waiting = None;
        queue.running = Some(request.revision);
        let phase = match request.hashed {
            true => Phase::Keep(Kept::of_compaction(request.revision, request.previous)),
            false => Phase::of_index(),
        };
        Ok(Some(Job { request, phase, hash: None }))
    }

    fn more_or_done(&self) -> Compaction {
        match self.compacting() {
            Some(_) => Compaction::More,
            None => Compaction::Done,
        }
    }

    fn finish(&self, hash: Option<HashKv>) {
        if let Some(hash) = hash {
            self.remember_hash(hash);
        }
        self.compaction.queue.lock().running = None;
    }

    /// Compacts the index from a key on until about `limit` revisions are removed, or for a while.
    /// Returns where to go on.
    fn compact_index(
        &self,
        from: &[u8],
        main: i64,
        limit: usize,
        removed: &mut Runs<Removed>,
    ) -> Option<Bytes> {
        let enough = removed.len() + limit;
        let mut next = Bytes::copy_from_slice(from);
        for _ in 0..LOCKS_MAX {
            let after = self.index.write().compact(&next, main, |version| {
                removed.push(Removed {
                    main: version.main,
                    sub: version.sub,
                    deleted: version.deleted,
                });
            });
            next = after?;
            if removed.len() >= enough {
                break;
            }
        }
        Some(next)
    }
}
