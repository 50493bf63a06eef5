//! Watchers: clients that follow a range through crashes, moves to other members and compactions, and
//! write down what they are sent.
//!
//! Checked of each (etcd's watch guarantees): it is sent every event of its range, once, in order, a
//! transaction as a whole, and after a break the rest; nothing at or below a progress notification
//! comes after it. Only a compaction may take events away, and says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use api::{
    etcdserverpb::{WatchCreateRequest, watch_create_request::FilterType},
    event::Changes,
    ids::Revision,
    kv::{KeyValue, RawKeyValue},
    mvccpb,
    mvccpb::event::EventType,
    range::KeyRange,
};
use bytes::Bytes;
use model::{Keyspace, Watched, expected_events};
use mvcc::{ReadError, Store};
use rand::Rng;
use watch::{
    delivery::{Delivery, Full, Sink, StreamId, WatcherKey},
    history::{History, HistoryError},
    hub::{Budget, WatchHub},
    watcher::{Start, WatcherSpec},
};

use super::{Event, World};
use crate::requests;

/// Deliveries that wait for one watcher; few, so that queues are often full.
const QUEUE_MAX: usize = 3;
/// How often a member lets watchers catch up and they take what waits.
pub(super) const TURN_US: u64 = 20_000;

/// The hub of a member, and what waits for each of its streams.
pub(super) struct Watching {
    hub: WatchHub,
    queues: Queues,
}

#[derive(Default)]
struct Queues(BTreeMap<StreamId, VecDeque<Delivery>>);

impl Sink for Queues {
    fn offer(&mut self, stream: StreamId, delivery: Delivery) -> Result<(), Full> {
        let Some(queue) = self.0.get_mut(&stream) else { return Ok(()) };
        if queue.len() >= QUEUE_MAX {
            return Err(Full);
        }
        queue.push_back(delivery);
        Ok(())
    }
}

struct StoreHistory<'a>(&'a Store);

impl History for StoreHistory<'_> {
    fn revision(&self) -> i64 {
        self.0.revision()
    }

    fn compact_revision(&self) -> i64 {
        self.0.compact_revision()
    }

    fn events(
        &self,
        from: i64,
        max_revisions: usize,
        max_bytes: usize,
    ) -> Result<Vec<Changes>, HistoryError> {
        self.0.events(from, max_revisions, max_bytes).map_err(|error| match error {
            ReadError::Compacted => {
                HistoryError::Compacted { compact_revision: self.0.compact_revision() }
            }
            error => HistoryError::Failed(Box::new(error)),
        })
    }

    fn value(&self, at: Revision) -> Option<RawKeyValue> {
        self.0.value(at).unwrap_or_default()
    }
}

impl Watching {
    pub(super) fn new(revision: i64, max_revisions: usize) -> Watching {
        let budget = Budget { max_watchers: 2, max_revisions, max_bytes: 40 * max_revisions };
        Watching { hub: WatchHub::new(revision, budget), queues: Queues::default() }
    }

    /// Apply changed something.
    pub(super) fn changed(&mut self, changes: Changes, store: &Store) {
        self.hub.notify(&[changes], &StoreHistory(store), &mut self.queues);
    }

    /// The store was replaced by a later one.
    pub(super) fn replaced(&mut self) {
        self.hub.restored();
    }

    fn open(&mut self, stream: StreamId, spec: WatcherSpec) {
        self.queues.0.insert(stream, VecDeque::new());
        self.hub.open_stream(stream);
        self.hub.create(WatcherKey { stream, watch_id: 0 }, spec);
    }

    /// Lets watchers catch up for a moment.
    fn sync(&mut self, store: &Store) -> Result<(), String> {
        if self.hub.needs_sync() {
            let synced = self.hub.sync(&StoreHistory(store), &mut self.queues);
            synced.map_err(|error| format!("history for watchers: {error}"))?;
        }
        Ok(())
    }

    fn tick(&mut self, stream: StreamId, store: &Store) {
        self.hub.progress_tick(stream, &StoreHistory(store), &mut self.queues);
    }

    fn progress(&mut self, stream: StreamId, store: &Store) {
        self.hub.progress(stream, &StoreHistory(store), &mut self.queues);
    }

    fn take(&mut self, stream: StreamId, at_most: usize) -> Vec<Delivery> {
        let Some(queue) = self.queues.0.get_mut(&stream) else { return Vec::new() };
        let taken = queue.drain(..at_most.min(queue.len())).collect();
        self.hub.stream_has_room(stream);
        taken
    }
}

/// What a watcher was sent between two compactions.
struct Segment {
    first: i64,
    events: Vec<mvccpb::Event>,
}

/// One watcher.
pub(super) struct Watcher {
    request: WatchCreateRequest,
    /// The member it is connected to, that member's life, and its stream there.
    at: Option<(u64, u64, StreamId)>,
    /// The next revision that it has not been sent, and has not been told to be without events.
    next: i64,
    segments: Vec<Segment>,
}

impl Watcher {
    fn spec(&self) -> WatcherSpec {
        let smallest = Bytes::from_static(&[0]);
        let key = &self.request.key;
        let key = if key.is_empty() { smallest } else { key.clone() };
        WatcherSpec {
            range: KeyRange::new(key, self.request.range_end.clone()),
            start: Start::At(self.next),
            prev_kv: self.request.prev_kv,
            filter_put: self.request.filters.contains(&0),
            filter_delete: self.request.filters.contains(&1),
            progress_notify: true,
            fragment: false,
        }
    }

    /// A client without a stream asks for history again, from before what it has seen.
    fn begin_again(&mut self, back: i64) {
        let first = (self.next - back).max(1);
        self.segments.push(Segment { first, events: Vec::new() });
        self.next = first;
    }

    fn receive(&mut self, delivery: Delivery) -> Result<(), String> {
        match delivery {
            Delivery::Events { header_revision, events, .. } => {
                let revision = |event: &mvccpb::Event| {
                    let kv = event.kv.as_ref().and_then(|kv| kv.decode().ok());
                    kv.map_or(0, |kv| kv.mod_revision)
                };
                let first = events.first().map_or(0, revision);
                let last = events.iter().map(revision).max().unwrap_or(0);
                if first < self.next {
                    return Err(format!(
                        "a watcher was sent revision {first} after everything before {}",
                        self.next
                    ));
                }
                if header_revision < last {
                    return Err(format!("header {header_revision} of events up to {last}"));
                }
                self.next = last + 1;
                let segment = self.segments.last_mut().expect("a watcher has a segment");
                segment.events.extend(events.iter().cloned());
            }
            Delivery::Progress { revision, .. } => {
                if revision + 1 < self.next {
                    return Err(format!(
                        "progress {revision} after events up to {}",
                        self.next - 1
                    ));
                }
                self.next = revision + 1;
            }
            Delivery::Compacted { compact_revision, .. } => {
                if compact_revision <= self.next {
                    return Err(format!(
                        "compacted at {compact_revision}, but {} was wanted",
                        self.next
                    ));
                }
                self.at = None;
                self.segments.push(Segment { first: compact_revision, events: Vec::new() });
                self.next = compact_revision;
            }
        }
        Ok(())
    }
}

impl World {
    pub(super) fn add_watchers(&mut self) {
        for _ in 0..self.rng.random_range(0..5) {
            let read = requests::range(&mut self.rng, 1);
            // Often in the future.
            let latest = if self.rng.random() { 20 } else { 300 };
            let first = self.rng.random_range(1..latest);
            let range = KeyRange::new(read.key.clone(), read.range_end.clone());
            if range.is_empty() {
                continue;
            }
            let request = WatchCreateRequest {
                key: read.key,
                range_end: read.range_end,
                start_revision: first,
                prev_kv: self.rng.random(),
                filters: if self.rng.random_bool(0.2) {
                    vec![self.rng.random_range(0..2)]
                } else {
                    Vec::new()
                },
                ..WatchCreateRequest::default()
            };
            let segments = vec![Segment { first, events: Vec::new() }];
            self.watchers.push(Watcher { request, at: None, next: first, segments });
        }
    }

    /// Watchers of a member take what waits for them; those without a member look for one.
    pub(super) fn watch_turn(&mut self, member: u64, life: u64) -> Result<(), String> {
        let may_connect = self.faulty || self.members().contains(&member);
        for at in 0..self.watchers.len() {
            let appetite = self.rng.random_range(0..4);
            let leaves = self.faulty && self.rng.random_bool(0.002);
            let connects = may_connect && self.rng.random_bool(0.3);
            let ticks = self.rng.random_bool(0.05);
            let goes_back = !self.quiet && self.rng.random_bool(0.1);
            let back = if goes_back { self.rng.random_range(1..60) } else { 0 };
            let asks = self.rng.random_bool(0.05);
            let Some(live) = &mut self.slots.get_mut(&member).and_then(|s| s.live.as_mut()) else {
                return Ok(());
            };
            let watcher = &mut self.watchers[at];
            if back > 0 && watcher.at.is_none() {
                watcher.begin_again(back);
            }
            let stream = StreamId(at as u64);
            let (watching, shared) = (&mut live.watching, live.machine.shared());
            if let Err(what) = watching.sync(&shared.store) {
                return self.found_damage(member, &what);
            }
            match watcher.at {
                Some((on, its_life, stream)) if on == member && its_life == life => {
                    if ticks {
                        watching.tick(stream, &shared.store);
                    }
                    if asks {
                        watching.progress(stream, &shared.store);
                    }
                    for delivery in watching.take(stream, appetite) {
                        watcher.receive(delivery)?;
                    }
                    if leaves || !may_connect || watcher.at.is_none() {
                        watching.hub.close_stream(stream);
                        watching.queues.0.remove(&stream);
                        watcher.at = None;
                    }
                }
                None if connects => {
                    watching.open(stream, watcher.spec());
                    watcher.at = Some((member, life, stream));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Watchers of a member that is gone are without one.
    pub(super) fn lose_watchers(&mut self, member: u64) {
        for watcher in &mut self.watchers {
            if watcher.at.is_some_and(|(on, ..)| on == member) {
                watcher.at = None;
            }
        }
    }

    pub(super) fn plan_watch_turn(&mut self, member: u64, life: u64) {
        let pause = self.rng.random_range(TURN_US / 2..TURN_US * 2);
        self.after(pause, Event::Watch { member, life });
    }

    /// Whether every watcher has been sent all there is.
    pub(super) fn check_watchers(&self, keys: &Keyspace) -> Result<u64, String> {
        let mut checked = 0;
        for (at, watcher) in self.watchers.iter().enumerate() {
            for (number, segment) in watcher.segments.iter().enumerate() {
                let is_last = number + 1 == watcher.segments.len();
                let revision = |event: &mvccpb::Event| {
                    let kv = event.kv.as_ref().and_then(|kv| kv.decode().ok());
                    kv.map_or(0, |kv| kv.mod_revision)
                };
                let last = match is_last {
                    true => keys.revision(),
                    false => segment.events.last().map_or(0, revision),
                };
                let mut expected = expected_events(keys, &watcher.request, segment.first, last);
                if expected.len() > segment.events.len() {
                    // What superseded a change may be of a kind that the watcher does not want.
                    let all = WatchCreateRequest { filters: Vec::new(), ..watcher.request.clone() };
                    expected = expected_events(keys, &all, segment.first, last);
                    let unwanted = &watcher.request.filters;
                    without_superseded(&mut expected, &self.compactions, unwanted, &segment.events);
                }
                let mut pairs = expected.iter().zip(&segment.events);
                let wrong = pairs.position(|(expected, event)| !tells(event, expected));
                let counts = (expected.len(), segment.events.len());
                let short = (counts.0 != counts.1).then(|| counts.0.min(counts.1));
                if let Some(wrong) = wrong.or(short) {
                    return Err(format!(
                        "watcher {at} {:?} segment {number} of {} next {} from {} to {last}: \
                         {counts:?} events, {wrong} is wrong: expected {:?}, got {:?}",
                        watcher.request,
                        watcher.segments.len(),
                        watcher.next,
                        segment.first,
                        expected.get(wrong),
                        segment.events.get(wrong)
                    ));
                }
                checked += segment.events.len() as u64;
            }
        }
        Ok(checked)
    }
}

/// Whether an event is the one that was to be sent.
fn tells(event: &mvccpb::Event, expected: &Watched) -> bool {
    let deleted = event.r#type == EventType::Delete as i32;
    let previous = expected.previous.as_ref().map(|kv| kv.to_raw());
    deleted == expected.change.deleted
        && event.kv == Some(expected.change.kv.to_raw())
        && (event.prev_kv.is_none() || event.prev_kv == previous)
}

/// Takes out what is `unwanted` (the numbers of filters), and what its own transaction superseded, at
/// a revision of one of the `compactions`, and what was not sent. A
/// compaction at a revision leaves of each key its last change there: the delete after a put, or the put
/// after a delete. It removes the others piece by piece, so some may have been sent; and a watcher
/// that was sent everything before may come later.
fn without_superseded(
    expected: &mut Vec<Watched>,
    compactions: &BTreeSet<i64>,
    unwanted: &[i32],
    sent: &[mvccpb::Event],
) {
    let mut keys = BTreeSet::new();
    let mut last_of_key = |kv: &KeyValue| keys.insert((kv.mod_revision, kv.key.clone()));
    let mut superseded: Vec<bool> = expected
        .iter()
        .rev()
        .map(|watched| &watched.change.kv)
        .map(|kv| compactions.contains(&kv.mod_revision) && !last_of_key(kv))
        .collect();
    let mut sent = sent.iter().peekable();
    expected.retain(|watched| {
        let superseded = superseded.pop().expect("there is one for each");
        let filter = if watched.change.deleted { FilterType::Nodelete } else { FilterType::Noput };
        if unwanted.contains(&(filter as i32)) {
            return false;
        }
        let stays = !superseded || sent.peek().is_some_and(|event| tells(event, watched));
        if stays {
            sent.next();
        }
        stays
    });
}

#[cfg(test)]
mod tests {
    use model::Change;

    use super::*;

    fn change(key: &'static [u8], main: i64, deleted: bool) -> Watched {
        let key = Bytes::from_static(key);
        let kv = KeyValue { key, mod_revision: main, ..KeyValue::default() };
        Watched { change: Change { kv, deleted }, previous: None }
    }

    fn event(watched: &Watched) -> mvccpb::Event {
        let deleted = watched.change.deleted;
        let kind = if deleted { EventType::Delete } else { EventType::Put };
        let kv = Some(watched.change.kv.to_raw());
        mvccpb::Event { r#type: kind as i32, kv, prev_kv: None }
    }

    #[test]
    fn only_what_its_transaction_superseded_may_be_missing() {
        // At a revision that is compacted: "a" deleted and put, "b" put and deleted; later "a" twice again.
        let all = [
            change(b"a", 3, true),
            change(b"b", 3, false),
            change(b"a", 3, false),
            change(b"b", 3, true),
            change(b"a", 4, true),
            change(b"a", 4, false),
        ];
        let may_be = |unwanted: &[i32], kept: &[usize]| {
            let sent: Vec<_> = kept.iter().map(|at| event(&all[*at])).collect();
            let mut expected = all.to_vec();
            without_superseded(&mut expected, &BTreeSet::from([2, 3]), unwanted, &sent);
            let same = expected.iter().zip(&sent).all(|(expected, event)| tells(event, expected));
            same && expected.len() == sent.len()
        };
        assert!(may_be(&[], &[0, 1, 2, 3, 4, 5]));
        assert!(may_be(&[], &[2, 3, 4, 5]), "the last change of each key");
        assert!(may_be(&[], &[1, 2, 3, 4, 5]), "half way through the removal");
        assert!(!may_be(&[], &[0, 3, 4, 5]), "the put after the delete of a key is what it was");
        assert!(!may_be(&[], &[1, 2, 4, 5]), "the delete after a put is what became of it");
        assert!(!may_be(&[], &[2, 3, 5]), "no compaction was at a later revision");
        assert!(!may_be(&[], &[2, 3, 4]));
        let (no_put, no_delete) = ([FilterType::Noput as i32], [FilterType::Nodelete as i32]);
        assert!(may_be(&no_delete, &[2, 5]), "the put of b is gone for a delete that is not sent");
        assert!(may_be(&no_delete, &[1, 2, 5]));
        assert!(!may_be(&no_delete, &[1, 5]));
        assert!(may_be(&no_put, &[3, 4]), "the delete of a is gone for a put that is not sent");
        assert!(!may_be(&no_put, &[0, 4]));
    }
}
