//! Any order of writes, watchers, slow clients, lags, compactions: every watcher receives exactly
//! the events of its range from its start on, in order, or the notice that they are compacted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use api::{
    event::{Changes, Event, EventKind},
    mvccpb,
};
use proptest::prelude::*;

use super::world::{Store, World, spec};
use crate::{
    delivery::{Delivery, NO_WATCH_ID, StreamId},
    history::History,
    hub::Budget,
    watcher::{Start, WatcherSpec},
};

const STREAMS: u64 = 3;
const KEYS: [&str; 5] = ["a", "aa", "ab", "b", "c"];
const RANGES: [(&str, &str); 7] =
    [("a", ""), ("b", ""), ("c", ""), ("a", "b"), ("aa", "c"), ("a", "\0"), ("b", "\0")];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// A transaction over keys (delete or put); the hub is told later.
    Write(Vec<(usize, bool)>),
    /// The hub is told of what it has not been told of, at most so many at once.
    Notify(usize),
    /// The queue to the hub is lost; the hub learns that something was (or only by the gap).
    Drop {
        told: bool,
    },
    Watch {
        stream: u64,
        range: usize,
        start: i64,
        flags: u8,
    },
    Cancel {
        stream: u64,
        nth: usize,
    },
    /// A client reads so many messages.
    Read {
        stream: u64,
        count: usize,
    },
    Sync,
    /// Compact so many revisions below the current one.
    Compact {
        keep: i64,
    },
    Progress {
        stream: u64,
    },
    Tick {
        stream: u64,
    },
    Restored,
}

fn step() -> impl Strategy<Value = Step> {
    let stream = 0..STREAMS;
    let op = (0..KEYS.len(), any::<bool>());
    prop_oneof![
        12 => proptest::collection::vec(op, 1..4).prop_map(Step::Write),
        12 => (1usize..5).prop_map(Step::Notify),
        1 => any::<bool>().prop_map(|told| Step::Drop { told }),
        4 => (stream.clone(), 0..RANGES.len(), -8i64..8, any::<u8>())
            .prop_map(|(stream, range, start, flags)| Step::Watch { stream, range, start, flags }),
        1 => (stream.clone(), any::<usize>()).prop_map(|(stream, nth)| Step::Cancel { stream, nth }),
        5 => (stream.clone(), 1usize..6).prop_map(|(stream, count)| Step::Read { stream, count }),
        5 => Just(Step::Sync),
        1 => (0i64..10).prop_map(|keep| Step::Compact { keep }),
        2 => stream.clone().prop_map(|stream| Step::Progress { stream }),
        2 => stream.prop_map(|stream| Step::Tick { stream }),
        1 => Just(Step::Restored),
    ]
}

/// What a watcher's client knows.
struct Follower {
    spec: WatcherSpec,
    /// Everything before this was received.
    next: i64,
    /// Told that everything up to here was sent.
    progress: i64,
    compacted: bool,
}

/// The events that a watcher must receive of a transaction.
fn wanted<'a>(spec: &'a WatcherSpec, change: &'a Changes) -> Vec<&'a Event> {
    let wants = |event: &&Event| {
        let filtered = match event.kind {
            EventKind::Put => spec.filter_put,
            EventKind::Delete => spec.filter_delete,
        };
        spec.range.contains(&event.key) && !filtered
    };
    change.events.iter().filter(wants).collect()
}

impl Follower {
    /// Receives events: exactly the next ones that are wanted, in whole transactions.
    fn receive(&mut self, events: &[mvccpb::Event], header_revision: i64, store: &Store) {
        assert!(!events.is_empty() && !self.compacted);
        let mut rest = events;
        let next = self.next;
        for change in store.all().iter().filter(|change| change.revision >= next) {
            let wanted = wanted(&self.spec, change);
            if rest.is_empty() {
                break;
            }
            assert!(rest.len() >= wanted.len(), "a revision is split");
            let (received, after) = rest.split_at(wanted.len());
            for (received, wanted) in received.iter().zip(&wanted) {
                self.compare(received, wanted, store);
            }
            if !wanted.is_empty() {
                assert!(change.revision > self.progress, "progress overtook events");
                assert!(header_revision >= change.revision);
                self.next = change.revision + 1;
            }
            rest = after;
        }
        assert!(rest.is_empty(), "events that nobody wrote: {rest:?}");
        assert!(header_revision <= store.revision());
    }

    fn compare(&self, received: &mvccpb::Event, wanted: &Event, store: &Store) {
        let kind = match wanted.kind {
            EventKind::Put => mvccpb::event::EventType::Put,
            EventKind::Delete => mvccpb::event::EventType::Delete,
        };
        assert_eq!(received.r#type(), kind);
        assert_eq!(received.kv.as_ref(), Some(&wanted.kv));
        match &received.prev_kv {
            None if self.spec.prev_kv => {
                // It may have been compacted since, but not have come back.
                assert_eq!(store.prev_kv(wanted), None);
            }
            None => {}
            Some(prev) => {
                assert!(self.spec.prev_kv);
                let prev = prev.decode().unwrap();
                assert_eq!(prev.key, wanted.key);
                assert_eq!(Some(prev.mod_revision), wanted.prev.map(|prev| prev.main));
            }
        }
    }

    /// Receives "everything up to `revision` was sent".
    fn receive_progress(&mut self, revision: i64, store: &Store) {
        assert!(!self.compacted);
        let undelivered = store.all().iter().filter(|change| {
            (self.next..=revision).contains(&change.revision)
                && !wanted(&self.spec, change).is_empty()
        });
        assert_eq!(undelivered.count(), 0, "progress {revision} with events before it missing");
        assert!(revision + 1 >= self.next, "progress {revision} below what was received");
        let (Start::At(first) | Start::After(first)) = self.spec.start;
        assert!(revision >= first, "progress {revision} before the start {first}");
        assert!(revision >= self.progress && revision <= store.revision());
        self.progress = revision;
    }
}

/// A world and what its clients know.
struct Model {
    world: World,
    untold: Vec<Changes>,
    followers: BTreeMap<(u64, i64), Follower>,
    next_id: i64,
    /// Cancelled while messages of them were still queued.
    cancelled: BTreeSet<(u64, i64)>,
    /// Stream progress notices that are queued: the watchers that there were.
    notices: BTreeMap<u64, VecDeque<Vec<i64>>>,
}

impl Model {
    fn new(capacity: usize, budget: Budget) -> Model {
        let world = World::with_budget(STREAMS, capacity, budget);
        Model {
            world,
            untold: Vec::new(),
            followers: BTreeMap::new(),
            next_id: 0,
            cancelled: BTreeSet::new(),
            notices: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        let world = &mut self.world;
        match step {
            Step::Write(ops) => self.write(ops),
            Step::Notify(count) => {
                let count = (*count).min(self.untold.len());
                let batch: Vec<Changes> = self.untold.drain(..count).collect();
                world.notify(&batch);
            }
            Step::Drop { told } => {
                let dropped = std::mem::take(&mut self.untold);
                if let (true, Some(last)) = (told, dropped.last()) {
                    world.hub.lagged(last.revision);
                }
            }
            Step::Watch { stream, range, start, flags } => {
                self.watch(*stream, *range, *start, *flags);
            }
            Step::Cancel { stream, nth } => self.cancel(*stream, *nth),
            Step::Read { stream, count } => self.read(*stream, *count),
            Step::Sync => {
                world.hub.sync(&world.store, &mut world.sink).unwrap();
            }
            Step::Compact { keep } => {
                let revision = world.store.revision() - keep;
                if revision > world.store.compact_revision() && revision > 1 {
                    world.store.compact(revision);
                }
            }
            Step::Progress { stream } => {
                if world.progress(*stream).is_some() {
                    let ids = self.ids(*stream);
                    self.notices.entry(*stream).or_default().push_back(ids);
                }
            }
            Step::Tick { stream } => world.tick(*stream),
            Step::Restored => world.hub.restored(),
        }
    }

    fn write(&mut self, ops: &[(usize, bool)]) {
        let revision = self.world.store.revision() + 1;
        let value = format!("v{revision}");
        let ops: BTreeMap<&str, Option<&str>> =
            ops.iter().map(|(key, put)| (KEYS[*key], put.then_some(&value[..]))).collect();
        let mut ops: Vec<_> = ops.into_iter().collect();
        // Deletes of nothing change nothing; this one always changes something.
        ops.push(("z", Some(&value)));
        let change = self.world.store.write(&ops);
        self.untold.push(change);
    }

    fn watch(&mut self, stream: u64, range: usize, start: i64, flags: u8) {
        let current = self.world.store.revision();
        let start = match start {
            0 => Start::After(current),
            offset => Start::At((current + offset).max(1)),
        };
        let (key, range_end) = RANGES[range];
        let spec = WatcherSpec {
            prev_kv: flags & 1 != 0,
            filter_put: flags & 0b110 == 0b110,
            filter_delete: flags & 0b11000 == 0b11000,
            progress_notify: flags & 32 != 0,
            ..spec(key, range_end, start)
        };
        self.world.watch(stream, self.next_id, spec.clone());
        let next = start.first_revision();
        let follower = Follower { spec, next, progress: 0, compacted: false };
        self.followers.insert((stream, self.next_id), follower);
        self.next_id += 1;
    }

    /// Watchers of a stream that were not cancelled.
    fn ids(&self, stream: u64) -> Vec<i64> {
        let of_stream = self.followers.range((stream, i64::MIN)..=(stream, i64::MAX));
        of_stream.map(|((_, id), _)| *id).collect()
    }

    fn cancel(&mut self, stream: u64, nth: usize) {
        let ids = self.ids(stream);
        if let Some(id) = ids.get(nth % ids.len().max(1)) {
            assert!(self.world.cancel(stream, *id), "an id is in use until it is cancelled");
            self.followers.remove(&(stream, *id));
            self.cancelled.insert((stream, *id));
        }
    }

    fn read(&mut self, stream: u64, count: usize) {
        for _ in 0..count {
            let queue = self.world.sink.queues.entry(StreamId(stream)).or_default();
            let Some(delivery) = queue.pop_front() else { break };
            self.receive(stream, delivery);
        }
        self.world.hub.stream_has_room(StreamId(stream));
    }

    fn receive(&mut self, stream: u64, delivery: Delivery) {
        let store = &self.world.store;
        let (Delivery::Events { watch_id, .. }
        | Delivery::Compacted { watch_id, .. }
        | Delivery::Progress { watch_id, .. }) = delivery;
        if let Delivery::Progress { watch_id: NO_WATCH_ID, revision } = delivery {
            // It holds for the watchers that there were when it was queued.
            let told = self.notices.entry(stream).or_default().pop_front();
            for watch_id in told.expect("every notice was asked for") {
                if let Some(follower) = self.followers.get_mut(&(stream, watch_id)) {
                    follower.receive_progress(revision, store);
                }
            }
            return;
        }
        let Some(follower) = self.followers.get_mut(&(stream, watch_id)) else {
            assert!(self.cancelled.contains(&(stream, watch_id)), "an unknown watcher");
            return;
        };
        match delivery {
            Delivery::Events { header_revision, events, .. } => {
                follower.receive(&events, header_revision, store);
            }
            Delivery::Compacted { compact_revision, .. } => {
                assert!(compact_revision <= store.compact_revision());
                assert!(follower.next < compact_revision && !follower.compacted);
                follower.compacted = true;
            }
            Delivery::Progress { revision, .. } => {
                assert!(follower.spec.progress_notify);
                follower.receive_progress(revision, store);
            }
        }
    }

    /// Lets everything settle, and checks that nobody is left without what it was to have.
    fn finish(mut self) {
        self.untold.clear();
        self.world.hub.lagged(self.world.store.revision());
        for round in 0.. {
            assert!(round < 10_000, "does not settle");
            self.world.sync();
            for stream in 0..STREAMS {
                self.read(stream, 100);
            }
            if !self.world.hub.needs_sync() && self.world.hub.stats().slow_watchers == 0 {
                break;
            }
        }
        let (current, open) = (self.world.store.revision(), self.followers.values());
        assert_eq!(self.world.hub.revision(), current);
        let open: Vec<&Follower> = open.filter(|follower| !follower.compacted).collect();
        assert_eq!(self.world.hub.stats().watchers, open.len());
        for follower in open {
            let missing = self.world.store.all().iter().filter(|change| {
                change.revision >= follower.next && !wanted(&follower.spec, change).is_empty()
            });
            assert_eq!(missing.count(), 0, "events never came: {:?}", follower.spec);
        }
        for stream in 0..STREAMS {
            assert!(self.world.hub.close_stream(StreamId(stream)));
        }
        let stats = self.world.hub.stats();
        assert_eq!((stats.watchers, stats.slow_watchers, stats.blocked_streams), (0, 0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_watcher_receives_its_events_once_and_in_order(
        steps in proptest::collection::vec(step(), 1..300),
        capacity in 1usize..5,
        budget in (1usize..5, 1usize..6, 40usize..400),
    ) {
        let (max_watchers, max_revisions, max_bytes) = budget;
        let budget = Budget { max_watchers, max_revisions, max_bytes };
        let mut model = Model::new(capacity, budget);
        for step in &steps {
            model.step(step);
        }
        model.finish();
    }
}
