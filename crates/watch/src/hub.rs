//! The hub: every watcher of the member, and the revision up to which live changes were handed out.
//!
//! ```text
//!            notify: the next revision            sync: any older revision
//!   apply ------------------------+          +------------------------- history
//!                                 v          v
//!                     synced (cursor = hub) / waiting (own cursor)
//!                                 \          /
//!                                  sink: a bounded queue a stream
//! ```
//!
//! A watcher is synced when nothing at or below the hub's revision is left for it. It begins to
//! wait when it asks for older history or when its stream's queue refuses a delivery, and is synced
//! again once it has read up to the hub. The hub itself can fall behind the store (changes were
//! dropped on the way to it, or a snapshot replaced the store); it then reads history on behalf of
//! all synced watchers together, so that a lag costs the number of events and not of watchers.
//!
//! Not thread safe and never blocking: one thread owns it, calls `notify` with each batch, and
//! `sync` between batches for as long as it says that there is more.

mod catch_up;
mod live;
mod progress;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    chunk::Chunk,
    delivery::{Delivery, Sink, StreamId, WatcherKey},
    group::Group,
    lineup::Lineup,
    watcher::{Slot, State, Watcher, WatcherSpec},
};

/// How much one call does, and how much one delivery holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Waiting watchers looked at in one `sync`.
    pub max_watchers: usize,
    /// Revisions read from history at a time, and in one delivery.
    pub max_revisions: usize,
    /// Bytes of key-values read from history at a time, and in one delivery; a single larger
    /// transaction is delivered whole.
    pub max_bytes: usize,
}

impl Budget {
    /// etcd's numbers of watchers and revisions; etcd has no limit in bytes.
    pub const ETCD: Budget = Budget { max_watchers: 512, max_revisions: 1000, max_bytes: 1 << 20 };
}

/// What `sync` left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncState {
    /// There is work that can be done now: call again soon.
    pub more: bool,
    /// Watchers that have not caught up, those of streams without room included.
    pub waiting: usize,
}

/// Numbers for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Open streams.
    pub streams: usize,
    /// Watchers of all streams.
    pub watchers: usize,
    /// Watchers that are not synced.
    pub slow_watchers: usize,
    /// Streams whose queue is full.
    pub blocked_streams: usize,
    /// Events taken by queues since the hub was made. Less those sent, they are pending.
    pub delivered_events: u64,
}

/// One client stream.
#[derive(Debug, Default)]
struct Stream {
    watchers: BTreeMap<i64, Slot>,
    /// Watchers dropped for compacted history that the client has not cancelled. In etcd they keep
    /// their id, and no progress is reported for all of the stream until they are cancelled.
    dropped: BTreeSet<i64>,
}

/// All watchers of a member.
#[derive(Debug)]
pub struct WatchHub {
    /// Synced watchers were offered everything up to here.
    revision: i64,
    /// The next change will not come through `notify`: it has to be read.
    behind: bool,
    budget: Budget,
    watchers: Vec<Option<Watcher>>,
    free: Vec<Slot>,
    streams: BTreeMap<StreamId, Stream>,
    synced: Group,
    lineup: Lineup,
    /// See `unreadable()`.
    unreadable: Option<StreamId>,
    delivered_events: u64,
}

impl WatchHub {
    /// A hub without watchers that will be told of every change after `revision`.
    pub fn new(revision: i64, budget: Budget) -> WatchHub {
        assert!(budget.max_watchers > 0 && budget.max_revisions > 0, "watch hub: empty budget");
        WatchHub {
            revision,
            behind: false,
            budget,
            watchers: Vec::new(),
            free: Vec::new(),
            streams: BTreeMap::new(),
            synced: Group::new(),
            lineup: Lineup::default(),
            unreadable: None,
            delivered_events: 0,
        }
    }

    /// Every synced watcher was offered everything up to this revision.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Begins a stream.
    pub fn open_stream(&mut self, stream: StreamId) {
        let before = self.streams.insert(stream, Stream::default());
        assert!(before.is_none(), "watch hub: a stream is opened twice");
    }

    /// Ends a stream and all its watchers; false when it is not open.
    pub fn close_stream(&mut self, stream: StreamId) -> bool {
        let Some(closed) = self.streams.remove(&stream) else { return false };
        for slot in closed.watchers.into_values() {
            self.release(slot);
        }
        self.lineup.unblock(stream);
        true
    }

    /// Adds a watcher; false when its stream is not open. The caller has given out the id
    /// (`request::StreamState`) and has queued the `created` reply before.
    pub fn create(&mut self, key: WatcherKey, spec: WatcherSpec) -> bool {
        if !self.streams.contains_key(&key.stream) {
            return false;
        }
        let cursor = spec.start.first_revision();
        let watcher = Watcher { key, spec, state: State::Serving, cursor, quiet: true };
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.watchers.push(None);
                Slot(u32::try_from(self.watchers.len() - 1).expect("fewer than 2^32 watchers"))
            }
        };
        self.watchers[slot.0 as usize] = Some(watcher);
        let stream = self.streams.get_mut(&key.stream).expect("looked up above");
        let before = stream.watchers.insert(key.watch_id, slot);
        let fresh = before.is_none() && !stream.dropped.contains(&key.watch_id);
        assert!(fresh, "watch hub: a watch id is given out twice on a stream");
        self.place(slot);
        true
    }

    /// Removes a watcher, or what is left of a dropped one; false when there is none. Nothing of it
    /// is offered afterwards, so a `canceled` reply that is queued now comes last.
    pub fn cancel(&mut self, key: WatcherKey) -> bool {
        let Some(stream) = self.streams.get_mut(&key.stream) else { return false };
        match stream.watchers.remove(&key.watch_id) {
            Some(slot) => {
                self.release(slot);
                true
            }
            None => stream.dropped.remove(&key.watch_id),
        }
    }

    /// The stream's queue can take deliveries again. Harmless when it was never full.
    pub fn stream_has_room(&mut self, stream: StreamId) {
        self.lineup.unblock(stream);
    }

    /// Streams that refused a delivery and are not offered any until they have room.
    pub fn blocked_streams(&self) -> impl Iterator<Item = StreamId> {
        self.lineup.blocked()
    }

    /// Whether `sync` has work that can be done now.
    pub fn needs_sync(&self) -> bool {
        self.behind || self.lineup.is_ready()
    }

    /// Numbers for metrics.
    pub fn stats(&self) -> Stats {
        Stats {
            streams: self.streams.len(),
            watchers: self.watchers.len() - self.free.len(),
            slow_watchers: self.lineup.len(),
            blocked_streams: self.lineup.blocked().count(),
            delivered_events: self.delivered_events,
        }
    }

    fn watcher(&self, slot: Slot) -> &Watcher {
        self.watchers[slot.0 as usize].as_ref().expect("watch hub: a slot in use holds a watcher")
    }

    fn watcher_mut(&mut self, slot: Slot) -> &mut Watcher {
        self.watchers[slot.0 as usize].as_mut().expect("watch hub: a slot in use holds a watcher")
    }

    /// Puts a watcher that is in neither half where its cursor belongs.
    fn place(&mut self, slot: Slot) {
        let (stream, cursor) = (self.watcher(slot).key.stream, self.watcher(slot).cursor);
        let state = if cursor > self.revision {
            self.synced.add(&self.watcher(slot).spec.range.clone(), slot);
            State::Synced
        } else {
            State::Waiting(self.lineup.join(stream, slot))
        };
        self.watcher_mut(slot).state = state;
    }

    /// A synced watcher begins to wait: `cursor` is the first revision that it was not offered.
    fn fall_back(&mut self, slot: Slot, cursor: i64) {
        let range = self.watcher(slot).spec.range.clone();
        self.synced.remove(&range, slot);
        let ticket = self.lineup.join(self.watcher(slot).key.stream, slot);
        let watcher = self.watcher_mut(slot);
        watcher.cursor = cursor;
        watcher.state = State::Waiting(ticket);
    }

    /// Forgets a watcher that its stream no longer lists.
    fn release(&mut self, slot: Slot) {
        let watcher = self.watchers[slot.0 as usize].take();
        let watcher = watcher.expect("watch hub: a slot in use holds a watcher");
        match watcher.state {
            State::Synced => self.synced.remove(&watcher.spec.range, slot),
            State::Waiting(ticket) => self.lineup.leave(watcher.key.stream, ticket),
            State::Serving => {}
        }
        self.free.push(slot);
    }

    /// Offers one message; false when the stream has no room, which is then remembered.
    fn offer(&mut self, stream: StreamId, delivery: Delivery, sink: &mut dyn Sink) -> bool {
        if self.lineup.is_blocked(stream) {
            return false;
        }
        let taken = sink.offer(stream, delivery).is_ok();
        if !taken {
            self.lineup.block(stream);
        }
        taken
    }

    /// Offers a watcher these events of the chunk; false when its stream has no room.
    fn feed(
        &mut self,
        slot: Slot,
        positions: &[u32],
        header_revision: i64,
        chunk: &mut Chunk<'_>,
        sink: &mut dyn Sink,
    ) -> bool {
        let watcher = self.watcher(slot);
        let (key, fragment) = (watcher.key, watcher.spec.fragment);
        if self.lineup.is_blocked(key.stream) {
            return false;
        }
        let events = chunk.build(positions, watcher.spec.prev_kv);
        let watch_id = key.watch_id;
        let delivery = Delivery::Events { watch_id, header_revision, events, fragment };
        let taken = self.offer(key.stream, delivery, sink);
        if taken {
            self.watcher_mut(slot).quiet = false;
            self.delivered_events += positions.len() as u64;
        }
        taken
    }
}
