//! History replay: the events of past revisions, for watchers that catch up.

use std::ops::ControlFlow;

use api::{
    event::{Changes, Event, EventKind},
    ids::Revision,
    kv::RawKeyValue,
};
use bytes::Bytes;
use storage::{
    Bucket, Error,
    schema::key::{self, RevisionKey},
};

use super::Store;
use crate::{
    ReadError,
    raw::{self, Parts},
};

/// A piece of history under construction, within limits. A transaction is taken as a whole.
struct Piece {
    transactions: Vec<Changes>,
    bytes: usize,
    revisions_max: usize,
    bytes_max: usize,
}

impl Piece {
    fn is_full(&self) -> bool {
        self.transactions.len() >= self.revisions_max || self.bytes >= self.bytes_max
    }

    fn push(&mut self, changes: Changes) {
        self.bytes += changes.events.iter().map(|event| event.kv.0.len()).sum::<usize>();
        self.transactions.push(changes);
    }
}

impl Store {
    /// What happened at main revision `from` and after, in order, oldest first: whole transactions,
    /// at least one if there is any, until one of the limits is reached. The rest is asked for with
    /// the revision after the last. Fails when `from` is below the compact revision.
    pub fn events(
        &self,
        from: i64,
        max_revisions: usize,
        max_bytes: usize,
    ) -> Result<Vec<Changes>, ReadError> {
        loop {
            let generation = self.generations.now();
            let events = self.events_once(from, max_revisions, max_bytes);
            if !self.generations.changed_since(generation) {
                return events;
            }
        }
    }

    fn events_once(
        &self,
        from: i64,
        max_revisions: usize,
        max_bytes: usize,
    ) -> Result<Vec<Changes>, ReadError> {
        self.still_readable(from)?;
        let mut piece = Piece {
            transactions: Vec::new(),
            bytes: 0,
            revisions_max: max_revisions.max(1),
            bytes_max: max_bytes.max(1),
        };
        let mut next = from.max(1);
        loop {
            let current = self.revision();
            // Looked at first: what the ring has let go of is in a view that is opened afterwards.
            let ring_first = {
                let recent = self.recent.read();
                let first = recent.first().unwrap_or(current + 1);
                if first <= next {
                    for changes in recent.since(next) {
                        piece.push(changes.clone());
                        if piece.is_full() {
                            break;
                        }
                    }
                    break;
                }
                first
            };
            let replayed = self.replay(next, &mut piece)?;
            next = match mutants::is_on(mutants::Mutant::EventTwice) {
                true => ring_first,
                false => replayed.max(ring_first),
            };
            if piece.is_full() {
                break;
            }
        }
        self.still_readable(from)?;
        Ok(piece.transactions)
    }

    /// Replays from the backend. Returns the main revision to go on with.
    fn replay(&self, from: i64, piece: &mut Piece) -> Result<i64, ReadError> {
        let tx = self.backend.read()?;
        let start = RevisionKey::new(Revision { main: from, sub: 0 }, false);
        let mut group: Vec<Event> = Vec::new();
        let mut failure = None;
        tx.scan(Bucket::Key, &start, &mut |stored, value| {
            let Some((revision, event)) = event(stored, value) else {
                failure = Some("neither a revision nor a key-value");
                return ControlFlow::Break(());
            };
            if group.last().is_some_and(|last| last.revision.main != revision.main) {
                piece.push(self.transaction(&mut group));
                if piece.is_full() {
                    return ControlFlow::Break(());
                }
            }
            group.push(event);
            ControlFlow::Continue(())
        })?;
        if let Some(what) = failure {
            return Err(Error::Corrupt { bucket: Bucket::Key.name(), what }.into());
        }
        if !group.is_empty() {
            piece.push(self.transaction(&mut group));
        }
        Ok(piece.transactions.last().map_or(from, |last| last.revision + 1))
    }

    /// Completes the events of one transaction with what each replaced.
    fn transaction(&self, group: &mut Vec<Event>) -> Changes {
        let index = self.index.read();
        for event in &mut *group {
            event.prev = index.get(&event.key).and_then(|entry| entry.replaced_by(event.revision));
        }
        let revision = group[0].revision.main;
        Changes { revision, events: std::mem::take(group).into() }
    }
}

/// An event from the key bucket; what it replaced is not known yet.
fn event(stored: &[u8], value: &[u8]) -> Option<(Revision, Event)> {
    let (revision, deleted) = key::decode(stored)?;
    let raw = RawKeyValue(Bytes::copy_from_slice(value));
    let key = raw::key(&raw)?;
    let event = if deleted {
        let kv = Parts { key: &key, mod_revision: revision.main, ..Parts::default() }.encode();
        let key = raw::key_of_encoded(&kv, key.len());
        Event { kind: EventKind::Delete, key, kv, revision, prev: None }
    } else {
        Event { kind: EventKind::Put, key, kv: raw, revision, prev: None }
    };
    Some((revision, event))
}
