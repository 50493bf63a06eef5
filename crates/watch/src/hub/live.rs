//! The live path: changes as they are applied, to the watchers that stand where the hub stands.
//!
//! Changes that one batch brings are delivered together: a watcher receives one message a batch (in
//! etcd one a transaction), so that a burst of small writes does not fill its queue.

use api::event::Changes;
use mutants::{Mutant, is_on};

use super::{Budget, WatchHub};
use crate::{
    chunk::Chunk,
    delivery::Sink,
    history::{History, HistoryError},
    watcher::{Slot, State},
};

impl WatchHub {
    /// Changes that were applied, oldest first. Those that the hub has seen are passed over; when
    /// others are missing before them, all are left to be read from history.
    pub fn notify(&mut self, changes: &[Changes], history: &dyn History, sink: &mut dyn Sink) {
        let seen = changes.partition_point(|change| change.revision <= self.revision);
        let news = &changes[seen..];
        if self.behind || news.is_empty() {
            return;
        }
        let expected = self.revision + 1..;
        let next = news.iter().zip(expected).take_while(|(change, at)| change.revision == *at);
        let next = next.count();
        self.behind = next < news.len();
        self.hand_out(&news[..next], history, sink);
    }

    /// Changes up to `revision` were dropped on their way to `notify` (the queue was full), or may
    /// have been. They will be read from history instead; no watcher loses any.
    pub fn lagged(&mut self, revision: i64) {
        self.behind |= revision > self.revision;
    }

    /// The store was replaced by a snapshot. What is between the hub and the new store's revision
    /// is replayed from it, or, where the snapshot no longer has it, reported as compacted.
    pub fn restored(&mut self) {
        self.behind = true;
        if is_on(Mutant::WatchBack) {
            self.revision = (self.revision - 3).max(1);
        }
    }

    /// Brings the hub nearer to the store by one read of history.
    pub(super) fn advance(
        &mut self,
        history: &dyn History,
        sink: &mut dyn Sink,
    ) -> Result<(), HistoryError> {
        let current = history.revision();
        assert!(current >= self.revision, "watch hub: told of a revision before it can be read");
        if current > self.revision {
            let from = self.revision + 1;
            let compact_revision = history.compact_revision();
            if from < compact_revision {
                return Err(HistoryError::Compacted { compact_revision });
            }
            let Budget { max_revisions, max_bytes, .. } = self.budget;
            let changes = history.events(from, max_revisions, max_bytes)?;
            self.hand_out(&changes, history, sink);
            if changes.is_empty() {
                self.revision = current;
            }
        }
        self.behind &= self.revision < current;
        Ok(())
    }

    /// History that synced watchers were still to be given is gone: those that needed it begin to
    /// wait, and will be told so; the hub goes on at the oldest revision that is left.
    pub(super) fn skip_to(&mut self, compact_revision: i64) {
        let next = self.revision + 1;
        assert!(compact_revision > next, "watch hub: history after a compaction is refused");
        for index in 0..self.watchers.len() {
            let Some(watcher) = &self.watchers[index] else { continue };
            let cursor = watcher.cursor.max(next);
            if watcher.state == State::Synced && cursor < compact_revision {
                self.fall_back(Slot(index as u32), cursor);
            }
        }
        self.revision = compact_revision - 1;
    }

    /// Hands changes that follow the hub's revision out, in runs that fit one delivery.
    fn hand_out(&mut self, changes: &[Changes], history: &dyn History, sink: &mut dyn Sink) {
        let mut rest = changes;
        while !rest.is_empty() {
            let (run, after) = rest.split_at(self.run_length(rest));
            self.hand_out_run(run, history, sink);
            rest = after;
        }
    }

    /// How many of these changes go into one delivery.
    fn run_length(&self, changes: &[Changes]) -> usize {
        let mut bytes = 0;
        let fitting = changes.iter().take(self.budget.max_revisions).take_while(|change| {
            bytes += change.events.iter().map(|event| event.kv.0.len()).sum::<usize>();
            bytes <= self.budget.max_bytes
        });
        fitting.count().max(1)
    }

    /// Offers one run to every synced watcher that wants some of it.
    fn hand_out_run(&mut self, run: &[Changes], history: &dyn History, sink: &mut dyn Sink) {
        let last = run.last().expect("a run is not empty").revision;
        let mut chunk = Chunk::new(run, history);
        let mut hits: Vec<(Slot, u32)> = Vec::new();
        for (position, event) in chunk.events().iter().enumerate() {
            self.synced.matching(&event.key, |slot| {
                let watcher = self.watcher(slot);
                let due = watcher.cursor <= event.revision.main || is_on(Mutant::FutureEvents);
                if due && watcher.spec.admits(event) {
                    hits.push((slot, position as u32));
                }
            });
        }
        hits.sort_unstable();
        let mut positions = Vec::new();
        for hits in hits.chunk_by(|a, b| a.0 == b.0) {
            let slot = hits[0].0;
            positions.clear();
            positions.extend(hits.iter().map(|(_, position)| *position));
            if !self.feed(slot, &positions, last, &mut chunk, sink) {
                let first = chunk.revision(positions[0]);
                let lost = is_on(Mutant::EventsLostWhenFull);
                self.fall_back(slot, if lost { last + 1 } else { first });
            }
        }
        self.revision = last;
    }
}
