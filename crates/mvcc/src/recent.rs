//! The ring of recent revisions: what the backend does not have yet, and some of what it has, for
//! watchers that are a little behind and for reads of what was just written.
//!
//! Invariants:
//! - Main revisions in it are consecutive and end with the current one.
//! - Nothing leaves it before the backend has it; beyond that, it holds to its limits.

use std::collections::VecDeque;

use api::{
    event::{Changes, EventKind},
    ids::Revision,
    kv::RawKeyValue,
};

/// How much of what the backend has stays in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentLimits {
    /// Bytes held, about.
    pub bytes: usize,
    /// Main revisions held.
    pub revisions: usize,
}

impl Default for RecentLimits {
    fn default() -> RecentLimits {
        RecentLimits { bytes: 32 << 20, revisions: 50_000 }
    }
}

/// See the module.
pub(crate) struct Recent {
    transactions: VecDeque<Changes>,
    bytes: usize,
    limits: RecentLimits,
    /// The backend holds everything up to this main revision.
    committed: i64,
}

impl Recent {
    /// An empty ring over a backend that holds everything up to `committed`.
    pub(crate) fn new(committed: i64, limits: RecentLimits) -> Recent {
        Recent { transactions: VecDeque::new(), bytes: 0, limits, committed }
    }

    /// How much stays in memory.
    pub(crate) fn limits(&self) -> RecentLimits {
        self.limits
    }

    /// Adds the newest revision.
    pub(crate) fn push(&mut self, changes: Changes) {
        if let Some(last) = self.transactions.back() {
            assert_eq!(changes.revision, last.revision + 1, "recent revisions are consecutive");
        }
        self.bytes += cost(&changes);
        self.transactions.push_back(changes);
    }

    /// Notes what the backend has, and lets go of what is beyond the limits.
    pub(crate) fn committed(&mut self, revision: i64) {
        self.committed = self.committed.max(revision);
        while self.bytes > self.limits.bytes || self.transactions.len() > self.limits.revisions {
            match self.transactions.front() {
                Some(oldest) if oldest.revision <= self.committed => {
                    self.bytes -= cost(oldest);
                    self.transactions.pop_front();
                }
                _ => break,
            }
        }
    }

    /// The oldest main revision in it.
    pub(crate) fn first(&self) -> Option<i64> {
        self.transactions.front().map(|changes| changes.revision)
    }

    /// The transactions from main revision `from` on.
    pub(crate) fn since(&self, from: i64) -> impl Iterator<Item = &Changes> {
        let skip = self.first().map_or(0, |first| from.saturating_sub(first).max(0));
        self.transactions.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX))
    }

    /// The transactions that the backend may lack. Sharing them is cheap.
    pub(crate) fn uncommitted(&self) -> Vec<Changes> {
        self.since(self.committed + 1).cloned().collect()
    }

    /// The value of a put; `None` when the revision is not in the ring.
    pub(crate) fn value(&self, revision: Revision) -> Option<RawKeyValue> {
        let at = usize::try_from(revision.main.checked_sub(self.first()?)?).ok()?;
        let event = self.transactions.get(at)?.events.get(usize::try_from(revision.sub).ok()?)?;
        (event.kind == EventKind::Put).then(|| event.kv.clone())
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// About what a transaction holds in memory.
fn cost(changes: &Changes) -> usize {
    let event = std::mem::size_of::<api::event::Event>();
    changes.events.iter().map(|change| change.kv.0.len() + event).sum::<usize>() + 64
}

#[cfg(test)]
mod tests {
    use api::event::Event;
    use bytes::Bytes;

    use super::*;

    fn changes(revision: i64, bytes: usize) -> Changes {
        let event = Event {
            kind: EventKind::Put,
            key: Bytes::from_static(b"k"),
            kv: RawKeyValue(vec![0; bytes].into()),
            revision: Revision { main: revision, sub: 0 },
            prev: None,
        };
        Changes { revision, events: [event].into() }
    }

    #[test]
    fn keeps_what_is_not_committed_and_little_else() {
        let limits = RecentLimits { bytes: 32 << 20, revisions: 35 };
        let mut recent = Recent::new(1, limits);
        for revision in 2..100 {
            recent.push(changes(revision, 1 << 20));
        }
        assert_eq!(recent.first(), Some(2));
        recent.committed(50);
        assert_eq!(recent.first(), Some(51));
        recent.committed(99);
        let first = recent.first().unwrap();
        assert!(first > 60 && recent.bytes() <= limits.bytes);
        assert!(recent.value(Revision { main: first, sub: 0 }).is_some());
        assert!(recent.value(Revision { main: first, sub: 1 }).is_none());
        assert!(recent.value(Revision { main: first - 1, sub: 0 }).is_none());
        assert!(recent.value(Revision { main: 100, sub: 0 }).is_none());
        let since = |from| recent.since(from).map(|changes| changes.revision).collect::<Vec<_>>();
        assert_eq!(since(98), [98, 99]);
        assert_eq!(since(100), []);
        assert_eq!(since(0).len(), (100 - first) as usize);
        for revision in 100..200 {
            recent.push(changes(revision, 1));
            recent.committed(revision - 1);
        }
        assert_eq!(recent.first(), Some(165));
    }
}
