//! Progress notifications: "everything up to this revision was sent".
//!
//! They go through the same queue as events, so they cannot overtake any.

use super::WatchHub;
use crate::{
    delivery::{Delivery, NO_WATCH_ID, Sink, StreamId},
    history::History,
};

impl WatchHub {
    /// A client asked for progress. It is told, once for all of the stream, if every watcher of the
    /// stream is synced and past its start revision; returns what it was told. Like etcd, says
    /// nothing otherwise, nor for a stream without watchers, nor while a watcher that was dropped
    /// for compacted history has not been cancelled.
    pub fn progress(
        &mut self,
        stream: StreamId,
        history: &dyn History,
        sink: &mut dyn Sink,
    ) -> Option<i64> {
        if !self.draw_level(history, sink) {
            return None;
        }
        let revision = self.revision;
        let state = self.streams.get(&stream)?;
        if state.watchers.is_empty() || !state.dropped.is_empty() {
            return None;
        }
        if !state.watchers.values().all(|slot| self.watcher(*slot).may_report(revision)) {
            return None;
        }
        let notice = Delivery::Progress { watch_id: NO_WATCH_ID, revision };
        self.offer(stream, notice, sink).then_some(revision)
    }

    /// The progress interval of a stream has passed: every watcher that asked for it, is synced,
    /// past its start revision, and was sent no event since the last tick is told the revision.
    pub fn progress_tick(&mut self, stream: StreamId, history: &dyn History, sink: &mut dyn Sink) {
        self.draw_level(history, sink);
        let revision = self.revision;
        let Some(state) = self.streams.get(&stream) else { return };
        let watchers: Vec<_> = state.watchers.iter().map(|(id, slot)| (*id, *slot)).collect();
        for (watch_id, slot) in watchers {
            let watcher = self.watcher_mut(slot);
            if !watcher.spec.progress_notify {
                continue;
            }
            let due = watcher.quiet && watcher.may_report(revision);
            watcher.quiet = true;
            if due {
                self.offer(stream, Delivery::Progress { watch_id, revision }, sink);
            }
        }
    }

    /// Hands out what the store has and the hub was not told yet, so that progress is reported as
    /// of now; false when that is more than one read. What cannot be read is on its way to `notify`
    /// all the same, so a failure changes nothing.
    fn draw_level(&mut self, history: &dyn History, sink: &mut dyn Sink) -> bool {
        let current = history.revision();
        let read = self.revision >= current || self.advance(history, sink).is_ok();
        read && self.revision >= current
    }
}
