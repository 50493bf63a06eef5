//! Compaction: forgetting what no read can ask for any more.
//!
//! Invariants:
//! - The compact revision rises, and `scheduledCompactRev` is recorded, before anything is removed.
//! - First the index is walked, in steps under short locks, and what goes is noted; then it is
//!   deleted from the backend in the order of revisions, so that whole pages come free. Values are
//!   never read.
//! - `finishedCompactRev` is recorded with the last delete. A crash before leaves the scheduled mark,
//!   and the compaction begins again when the store is opened.

use api::ids::Revision;
use bytes::Bytes;
use std::sync::atomic::Ordering;
use storage::{
    Error, Op,
    schema::{key, meta},
};

use super::Store;
use crate::ReadError;

/// How far a compaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compaction {
    /// Step again, after a pause.
    More,
    /// Nothing is left to do; also said when there was nothing.
    Done,
}

/// The compaction under way.
#[derive(Default)]
pub(super) struct State {
    /// Its revision, and where it goes on.
    phase: Option<(i64, Phase)>,
    /// Removed from the index and not from the backend yet; sorted once the index is done.
    removed: Vec<Removed>,
}

enum Phase {
    /// The index, from this key on.
    Index(Bytes),
    /// The backend, from this place in `removed` on.
    Backend(usize),
}

/// A revision that goes, packed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Removed {
    main: i64,
    sub: u32,
    deleted: bool,
}

impl State {
    /// The state at the opening of a store.
    pub(super) fn resume(unfinished: Option<i64>) -> State {
        let phase = unfinished.map(|main| (main, Phase::Index(Bytes::new())));
        State { phase, removed: Vec::new() }
    }
}

impl Store {
    /// Begins a compaction at main revision `revision`: reads below fail from now on. The removing
    /// is done by [`Store::compaction_step`]. Apply thread only.
    pub fn compact(&self, revision: i64, ops: &mut Vec<Op>) -> Result<(), ReadError> {
        let _writer = self.writer.try_lock().expect("the store has one writer at a time");
        if revision <= self.compact_revision() {
            return Err(ReadError::Compacted);
        }
        if revision > self.revision() {
            return Err(ReadError::Future);
        }
        let mut state = self.compaction.lock();
        self.compacted.store(revision, Ordering::Release);
        ops.push(meta::put_scheduled_compact(revision));
        // What an unfinished one has removed from the index already is deleted with this one's.
        if let Some((_, Phase::Backend(done))) = state.phase {
            state.removed.drain(..done);
        }
        state.phase = Some((revision, Phase::Index(Bytes::new())));
        Ok(())
    }

    /// The revision of the compaction that has not finished.
    pub fn compacting(&self) -> Option<i64> {
        self.compaction.lock().phase.as_ref().map(|(revision, _)| *revision)
    }

    /// Removes up to about `batch_limit` revisions. Changes for the backend are added to `out`; they
    /// must reach it after those of the entries before. Apply thread only.
    pub fn compaction_step(
        &self,
        batch_limit: usize,
        out: &mut Vec<Op>,
    ) -> Result<Compaction, Error> {
        let mut state = self.compaction.lock();
        let State { phase, removed } = &mut *state;
        let Some((main, step)) = phase else { return Ok(Compaction::Done) };
        match step {
            Phase::Index(from) => {
                let limit = removed.len() + batch_limit;
                match self.compact_index(from, *main, limit, removed) {
                    Some(next) => *from = next,
                    None => {
                        removed.sort_unstable();
                        *step = Phase::Backend(0);
                    }
                }
                Ok(Compaction::More)
            }
            Phase::Backend(done) => {
                let batch = removed[*done..].iter().take(batch_limit.max(1));
                for gone in batch {
                    let revision = Revision { main: gone.main, sub: i64::from(gone.sub) };
                    out.extend(key::delete(revision, gone.deleted));
                }
                *done = (*done + batch_limit.max(1)).min(removed.len());
                if *done < removed.len() {
                    return Ok(Compaction::More);
                }
                out.push(meta::put_finished_compact(*main));
                *state = State::default();
                Ok(Compaction::Done)
            }
        }
    }

    /// Compacts the index from a key on until `limit` revisions are removed, or for a while. Returns
    /// where to go on.
    fn compact_index(
        &self,
        from: &[u8],
        main: i64,
        limit: usize,
        removed: &mut Vec<Removed>,
    ) -> Option<Bytes> {
        /// Locks taken in one step: about a million keys when there is nothing to remove.
        const LOCKS_MAX: usize = 128;
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
            if removed.len() >= limit {
                break;
            }
        }
        Some(next)
    }
}
