//! A stretch of history shared by all watchers that are fed from it.
//!
//! What watchers receive is built once for each distinct set of events and then shared; a replaced
//! value is looked up once for each event, and only when somebody wants it.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    event::{Changes, Event, EventKind},
    kv::RawKeyValue,
    mvccpb::{self, event::EventType},
    range::KeyRange,
};

use crate::{history::History, watcher::Watcher};

/// Events by position in the chunk, as sent to watchers.
type Built = BTreeMap<Vec<u32>, Arc<[mvccpb::Event]>>;

/// Consecutive changes, flattened to events in order.
pub(crate) struct Chunk<'a> {
    history: &'a dyn History,
    events: Vec<&'a Event>,
    /// Positions of the events ordered by key, then by position; built when first needed.
    by_key: Option<Vec<u32>>,
    /// Replaced values: outside whether it was looked up, inside what was found.
    replaced: BTreeMap<u32, Option<RawKeyValue>>,
    plain: Built,
    with_prev: Built,
}

impl<'a> Chunk<'a> {
    /// The events of `changes`.
    pub(crate) fn new(changes: &'a [Changes], history: &'a dyn History) -> Chunk<'a> {
        Chunk {
            history,
            events: changes.iter().flat_map(|change| change.events.iter()).collect(),
            by_key: None,
            replaced: BTreeMap::new(),
            plain: BTreeMap::new(),
            with_prev: BTreeMap::new(),
        }
    }

    /// The events in order; a position in the chunk is an index here.
    pub(crate) fn events(&self) -> &[&'a Event] {
        &self.events
    }

    /// Main revision of the event at a position.
    pub(crate) fn revision(&self, position: u32) -> i64 {
        self.events[position as usize].revision.main
    }

    /// Positions, in order, of the events from the watcher's cursor on that it wants.
    pub(crate) fn select(&mut self, watcher: &Watcher) -> Vec<u32> {
        let events = &self.events;
        let by_key = self.by_key.get_or_insert_with(|| {
            let mut order: Vec<u32> = (0..events.len() as u32).collect();
            order.sort_by_key(|position| &events[*position as usize].key);
            order
        });
        let below = |key: &[u8]| by_key.partition_point(|at| events[*at as usize].key < key);
        let range = &watcher.spec.range;
        let from = below(range.start());
        let to = match range {
            KeyRange::Single(key) => {
                from + by_key[from..].partition_point(|at| events[*at as usize].key == key)
            }
            KeyRange::Span(_, end) => below(end).max(from),
            KeyRange::From(_) => by_key.len(),
        };
        let wanted = |at: &u32| {
            let event = events[*at as usize];
            event.revision.main >= watcher.cursor && watcher.spec.admits(event)
        };
        let mut positions: Vec<u32> = by_key[from..to].iter().copied().filter(wanted).collect();
        positions.sort_unstable();
        positions
    }

    /// The events at these positions in the form that is sent.
    pub(crate) fn build(&mut self, positions: &[u32], prev_kv: bool) -> Arc<[mvccpb::Event]> {
        let known = if prev_kv { &self.with_prev } else { &self.plain };
        if let Some(built) = known.get(positions) {
            return built.clone();
        }
        let mut built = Vec::with_capacity(positions.len());
        for position in positions {
            let event = self.events[*position as usize];
            let kind = match event.kind {
                EventKind::Put => EventType::Put,
                EventKind::Delete => EventType::Delete,
            };
            let prev_kv = if prev_kv { self.replaced(*position) } else { None };
            let kv = Some(event.kv.clone());
            built.push(mvccpb::Event { r#type: kind as i32, kv, prev_kv });
        }
        let built: Arc<[mvccpb::Event]> = built.into();
        let known = if prev_kv { &mut self.with_prev } else { &mut self.plain };
        known.insert(positions.to_vec(), built.clone());
        built
    }

    /// The value that an event replaced. etcd reads it at the revision before the event's and says
    /// nothing when that revision is compacted, even where the value itself is still there.
    fn replaced(&mut self, position: u32) -> Option<RawKeyValue> {
        let event = self.events[position as usize];
        let history = self.history;
        let look_up = || {
            let readable = event.revision.main > history.compact_revision();
            event.prev.filter(|_| readable).and_then(|prev| history.value(prev))
        };
        self.replaced.entry(position).or_insert_with(look_up).clone()
    }
}
