//! A store that keeps everything in vectors, bounded queues, and a hub between them.

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
};

use api::{
    event::{Changes, Event, EventKind},
    ids::Revision,
    kv::{KeyValue, RawKeyValue},
    mvccpb,
    range::KeyRange,
};
use bytes::Bytes;

use crate::{
    delivery::{Delivery, Full, Sink, StreamId, WatcherKey},
    history::{History, HistoryError},
    hub::{Budget, WatchHub},
    watcher::{Start, WatcherSpec},
};

/// A store with its whole history. The empty store is at revision 1.
#[derive(Default)]
pub(super) struct Store {
    changes: Vec<Changes>,
    live: BTreeMap<Bytes, (Revision, KeyValue)>,
    values: BTreeMap<Revision, RawKeyValue>,
    compacted: Option<i64>,
    pub(super) broken: bool,
    pub(super) value_reads: Cell<usize>,
    pub(super) event_reads: Cell<usize>,
}

impl Store {
    /// One transaction: puts and deletes (`None`) of distinct keys, at least one of which changes
    /// something.
    pub(super) fn write(&mut self, ops: &[(&str, Option<&str>)]) -> Changes {
        let main = self.revision() + 1;
        let mut events: Vec<Event> = Vec::new();
        for (key, value) in ops {
            let revision = Revision { main, sub: events.len() as i64 };
            events.extend(self.change(Bytes::copy_from_slice(key.as_bytes()), *value, revision));
        }
        assert!(!events.is_empty(), "a transaction that changes nothing has no revision");
        let changes = Changes { revision: main, events: events.into() };
        self.changes.push(changes.clone());
        changes
    }

    fn change(&mut self, key: Bytes, value: Option<&str>, revision: Revision) -> Option<Event> {
        let before = self.live.remove(&key);
        let prev = before.as_ref().map(|(revision, _)| *revision);
        let main = revision.main;
        let (kind, kv) = match value {
            Some(value) => {
                let (create_revision, version) =
                    before.map_or((main, 1), |(_, kv)| (kv.create_revision, kv.version + 1));
                let value = Bytes::copy_from_slice(value.as_bytes());
                let mod_revision = main;
                let key = key.clone();
                let kv = KeyValue { key, create_revision, mod_revision, version, value, lease: 0 };
                self.live.insert(kv.key.clone(), (revision, kv.clone()));
                self.values.insert(revision, kv.to_raw());
                (EventKind::Put, kv)
            }
            None => {
                prev?;
                let kv = KeyValue { key: key.clone(), mod_revision: main, ..Default::default() };
                (EventKind::Delete, kv)
            }
        };
        Some(Event { kind, key, kv: kv.to_raw(), revision, prev })
    }

    /// Refuses history before `revision` from now on. The values are still there until `scrub`.
    pub(super) fn compact(&mut self, revision: i64) {
        assert!(revision > self.compact_revision() && revision <= self.revision());
        self.compacted = Some(revision);
    }

    /// Removes the values that nobody can read any more, as the store does some time later.
    pub(super) fn scrub(&mut self) {
        let compacted = self.compact_revision();
        for change in self.changes.iter().take_while(|change| change.revision <= compacted) {
            for prev in change.events.iter().filter_map(|event| event.prev) {
                self.values.remove(&prev);
            }
        }
    }

    /// The key-value that an event replaced, if etcd would show it now.
    pub(super) fn prev_kv(&self, event: &Event) -> Option<RawKeyValue> {
        let readable = event.revision.main > self.compact_revision();
        event.prev.filter(|_| readable).and_then(|prev| self.values.get(&prev).cloned())
    }

    /// Every change since the store was empty, compacted ones too.
    pub(super) fn all(&self) -> &[Changes] {
        &self.changes
    }
}

impl History for Store {
    fn revision(&self) -> i64 {
        self.changes.last().map_or(1, |change| change.revision)
    }

    fn compact_revision(&self) -> i64 {
        self.compacted.unwrap_or(-1)
    }

    fn events(
        &self,
        from: i64,
        max_revisions: usize,
        max_bytes: usize,
    ) -> Result<Vec<Changes>, HistoryError> {
        self.event_reads.set(self.event_reads.get() + 1);
        if self.broken {
            return Err(HistoryError::Failed("the disk is gone".into()));
        }
        if from < self.compact_revision() {
            return Err(HistoryError::Compacted { compact_revision: self.compact_revision() });
        }
        let mut bytes = 0;
        let found = self.changes.iter().skip_while(|change| change.revision < from);
        let found = found.take(max_revisions).take_while(|change| {
            let before = bytes;
            bytes += change.events.iter().map(|event| event.kv.0.len()).sum::<usize>();
            before < max_bytes
        });
        Ok(found.cloned().collect())
    }

    fn value(&self, at: Revision) -> Option<RawKeyValue> {
        self.value_reads.set(self.value_reads.get() + 1);
        self.values.get(&at).cloned()
    }
}

/// Queues of one size.
pub(super) struct Queues {
    pub(super) capacity: usize,
    pub(super) queues: BTreeMap<StreamId, VecDeque<Delivery>>,
    pub(super) refusals: usize,
}

impl Sink for Queues {
    fn offer(&mut self, stream: StreamId, delivery: Delivery) -> Result<(), Full> {
        let queue = self.queues.entry(stream).or_default();
        if queue.len() >= self.capacity {
            self.refusals += 1;
            return Err(Full);
        }
        queue.push_back(delivery);
        Ok(())
    }
}

/// A watcher that wants all there is of a range.
pub(super) fn spec(key: &str, range_end: &str, start: Start) -> WatcherSpec {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    WatcherSpec {
        range: KeyRange::new(bytes(key), bytes(range_end)),
        start,
        prev_kv: false,
        filter_put: false,
        filter_delete: false,
        progress_notify: false,
        fragment: false,
    }
}

/// Everything that a scenario plays with.
pub(super) struct World {
    pub(super) store: Store,
    pub(super) hub: WatchHub,
    pub(super) sink: Queues,
}

impl World {
    /// An empty store, and streams 0..`streams` with queues of `capacity`.
    pub(super) fn new(streams: u64, capacity: usize) -> World {
        World::with_budget(streams, capacity, Budget::ETCD)
    }

    pub(super) fn with_budget(streams: u64, capacity: usize, budget: Budget) -> World {
        let mut hub = WatchHub::new(1, budget);
        (0..streams).for_each(|stream| hub.open_stream(StreamId(stream)));
        let sink = Queues { capacity, queues: BTreeMap::new(), refusals: 0 };
        World { store: Store::default(), hub, sink }
    }

    /// Creates a watcher as the service does.
    pub(super) fn watch(&mut self, stream: u64, watch_id: i64, spec: WatcherSpec) {
        let key = WatcherKey { stream: StreamId(stream), watch_id };
        assert!(self.hub.create(key, spec));
    }

    /// Creates a watcher of everything from now on.
    pub(super) fn watch_now(&mut self, stream: u64, watch_id: i64, key: &str, range_end: &str) {
        let start = Start::After(self.store.revision());
        self.watch(stream, watch_id, spec(key, range_end, start));
    }

    pub(super) fn cancel(&mut self, stream: u64, watch_id: i64) -> bool {
        self.hub.cancel(WatcherKey { stream: StreamId(stream), watch_id })
    }

    /// A transaction that the hub is told of at once.
    pub(super) fn write(&mut self, ops: &[(&str, Option<&str>)]) {
        let changes = self.store.write(ops);
        self.notify(&[changes]);
    }

    pub(super) fn put(&mut self, key: &str, value: &str) {
        self.write(&[(key, Some(value))]);
    }

    pub(super) fn notify(&mut self, changes: &[Changes]) {
        self.hub.notify(changes, &self.store, &mut self.sink);
    }

    /// Syncs until the hub says that there is no more; returns how many calls it took.
    pub(super) fn sync(&mut self) -> usize {
        for calls in 1..100_000 {
            let state = self.hub.sync(&self.store, &mut self.sink).unwrap();
            assert_eq!(state.waiting, self.hub.stats().slow_watchers);
            if !state.more {
                return calls;
            }
        }
        panic!("sync does not come to an end");
    }

    pub(super) fn progress(&mut self, stream: u64) -> Option<i64> {
        self.hub.progress(StreamId(stream), &self.store, &mut self.sink)
    }

    pub(super) fn tick(&mut self, stream: u64) {
        self.hub.progress_tick(StreamId(stream), &self.store, &mut self.sink);
    }

    /// The client reads all that is queued; the hub is told that there is room.
    pub(super) fn take(&mut self, stream: u64) -> Vec<Delivery> {
        let queue = self.sink.queues.remove(&StreamId(stream)).unwrap_or_default();
        self.hub.stream_has_room(StreamId(stream));
        queue.into()
    }

    /// As `take`, one line a message: `id@header: key=value/revision ..`.
    pub(super) fn read(&mut self, stream: u64) -> String {
        let lines: Vec<String> = self.take(stream).iter().map(shown).collect();
        lines.join("\n")
    }
}

fn shown(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Events { watch_id, header_revision, events, .. } => {
            let events: Vec<String> = events.iter().map(shown_event).collect();
            format!("{watch_id}@{header_revision}: {}", events.join(" "))
        }
        Delivery::Compacted { watch_id, compact_revision } => {
            format!("{watch_id} compacted {compact_revision}")
        }
        Delivery::Progress { watch_id, revision } => format!("{watch_id} progress {revision}"),
    }
}

fn shown_event(event: &mvccpb::Event) -> String {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let kv = event.kv.as_ref().unwrap().decode().unwrap();
    let value = match event.r#type() {
        mvccpb::event::EventType::Put => format!("={}", text(&kv.value)),
        mvccpb::event::EventType::Delete => "-".to_owned(),
    };
    let prev = event.prev_kv.as_ref().map(|prev| prev.decode().unwrap());
    let prev = prev.map_or(String::new(), |prev| format!("<{}", text(&prev.value)));
    format!("{}{value}/{}{prev}", text(&kv.key), kv.mod_revision)
}
