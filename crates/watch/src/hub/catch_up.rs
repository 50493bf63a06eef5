//! The history path: watchers that have not caught up, served in turn.
//!
//! The watcher whose turn it is decides which stretch of history is read; every other one of the
//! round whose cursor lies in that stretch is served from the same read. A watcher far in the past
//! therefore takes one read a turn like any other, and never holds up those that are nearly there.

use std::collections::VecDeque;

use super::{Budget, SyncState, WatchHub};
use crate::{
    chunk::Chunk,
    delivery::{Delivery, Sink, StreamId},
    history::{History, HistoryError},
    lineup::Turn,
    watcher::State,
};

/// A stretch of history that was read.
struct Stretch<'a> {
    chunk: Chunk<'a>,
    first: i64,
    /// Every revision from `first` to here was read.
    last: i64,
    header_revision: i64,
}

impl WatchHub {
    /// Does one budget's worth of reading for the hub, if it is behind, and for watchers that wait.
    pub fn sync(
        &mut self,
        history: &dyn History,
        sink: &mut dyn Sink,
    ) -> Result<SyncState, HistoryError> {
        self.unreadable = None;
        if self.behind {
            match self.advance(history, sink) {
                Err(HistoryError::Compacted { compact_revision }) => self.skip_to(compact_revision),
                outcome => outcome?,
            }
        }
        let mut turns = VecDeque::new();
        while turns.len() < self.budget.max_watchers
            && let Some(turn) = self.lineup.next()
        {
            self.watcher_mut(turn.slot).state = State::Serving;
            turns.push_back(turn);
        }
        let outcome = self.serve(&mut turns, history, sink);
        let first = turns.front().map(|turn| self.watcher(turn.slot).key.stream);
        self.unreadable = if outcome.is_err() { first } else { None };
        for turn in turns {
            self.put_back(turn);
        }
        outcome?;
        Ok(SyncState { more: self.needs_sync(), waiting: self.lineup.len() })
    }

    /// After a `sync` that failed: the stream of the watcher whose history could not be read. `None`
    /// when it was read for the hub itself.
    pub fn unreadable(&self) -> Option<StreamId> {
        self.unreadable
    }

    /// Serves watchers until none is left or the budget is used up.
    fn serve(
        &mut self,
        turns: &mut VecDeque<Turn>,
        history: &dyn History,
        sink: &mut dyn Sink,
    ) -> Result<(), HistoryError> {
        let Budget { max_revisions, max_bytes, .. } = self.budget;
        let (mut revisions, mut bytes) = (0, 0);
        let mut compact_revision = history.compact_revision();
        while let Some(turn) = turns.front()
            && revisions < max_revisions
            && bytes < max_bytes
        {
            let watcher = self.watcher(turn.slot);
            let cursor = watcher.cursor;
            if self.lineup.is_blocked(watcher.key.stream) || cursor < compact_revision {
                let turn = turns.pop_front().expect("looked at above");
                self.refuse(turn, compact_revision, sink);
                continue;
            }
            let current = history.revision();
            assert!(cursor <= current, "watch hub: a waiting watcher has history to read");
            let changes = match history.events(cursor, max_revisions, max_bytes) {
                Err(HistoryError::Compacted { compact_revision: moved }) => {
                    assert!(moved > cursor, "watch hub: history after a compaction is refused");
                    compact_revision = moved;
                    continue;
                }
                outcome => outcome?,
            };
            let events = changes.iter().flat_map(|change| change.events.iter());
            bytes += events.map(|event| event.kv.0.len()).sum::<usize>();
            revisions += changes.len();
            let last = changes.last().map_or(current, |change| change.revision);
            let header_revision = last.max(current);
            let chunk = Chunk::new(&changes, history);
            let mut stretch = Stretch { chunk, first: cursor, last, header_revision };
            self.serve_from(&mut stretch, turns, sink);
        }
        Ok(())
    }

    /// Serves every watcher whose next revision lies in the stretch, in order of their turns.
    fn serve_from(
        &mut self,
        stretch: &mut Stretch<'_>,
        turns: &mut VecDeque<Turn>,
        sink: &mut dyn Sink,
    ) {
        for _ in 0..turns.len() {
            let turn = turns.pop_front().expect("as many as were counted");
            let cursor = self.watcher(turn.slot).cursor;
            if stretch.first <= cursor && cursor <= stretch.last {
                self.serve_one(turn, stretch, sink);
            } else {
                turns.push_back(turn);
            }
        }
    }

    /// Offers a watcher what it wants of the stretch, and puts it where it then belongs.
    fn serve_one(&mut self, turn: Turn, stretch: &mut Stretch<'_>, sink: &mut dyn Sink) {
        let slot = turn.slot;
        let positions = stretch.chunk.select(self.watcher(slot));
        if let Some(first) = positions.first() {
            let header_revision = stretch.header_revision;
            if !self.feed(slot, &positions, header_revision, &mut stretch.chunk, sink) {
                self.watcher_mut(slot).cursor = stretch.chunk.revision(*first);
                self.put_back(turn);
                return;
            }
        }
        self.watcher_mut(slot).cursor = stretch.last + 1;
        self.place(slot);
    }

    /// A watcher that cannot be served: its stream has no room, or its history is gone.
    fn refuse(&mut self, turn: Turn, compact_revision: i64, sink: &mut dyn Sink) {
        let slot = turn.slot;
        let (key, cursor) = (self.watcher(slot).key, self.watcher(slot).cursor);
        let notice = Delivery::Compacted { watch_id: key.watch_id, compact_revision };
        if cursor >= compact_revision || !self.offer(key.stream, notice, sink) {
            self.put_back(turn);
            return;
        }
        let stream = self.streams.get_mut(&key.stream);
        let stream = stream.expect("watch hub: a watcher's stream is open");
        stream.watchers.remove(&key.watch_id);
        stream.dropped.insert(key.watch_id);
        self.release(slot);
    }

    /// Lets a watcher wait on at its old place.
    fn put_back(&mut self, turn: Turn) {
        let stream = self.watcher(turn.slot).key.stream;
        self.lineup.put_back(stream, turn);
        self.watcher_mut(turn.slot).state = State::Waiting(turn.ticket());
    }
}
