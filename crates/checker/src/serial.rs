//! The order that revisions tell: replays all changes in it and holds every answer against the
//! state at its revision, then the order itself against real time.
//!
//! etcd's revisions number the writes of all keys. Where every revision's changes are known, from
//! answers and from watchers, linearizability of the whole store takes one pass: each answer must
//! follow from the state at its revision, and no operation may have a revision older than one that
//! was known before it was sent. What has no answer is found in the changes, at most once.

mod realtime;
mod replay;
mod seen;

use crate::{
    history::{Event, History, Outcome},
    store::Store,
    verdict::{Verdict, Violations},
};

/// All changes from revision 2 on, without a gap.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    changes: Vec<Change>,
}

/// What happened at one revision.
#[derive(Clone, Debug)]
pub struct Change {
    /// The changes in order.
    pub events: Vec<Event>,
    /// When a watcher was first told; `u64::MAX`: none was.
    pub seen: u64,
}

impl Timeline {
    /// The last revision; 1 for an empty history.
    pub fn last(&self) -> i64 {
        self.changes.len() as i64 + 1
    }

    /// What happened at a revision; nothing outside of the timeline.
    pub fn at(&self, revision: i64) -> &[Event] {
        let index = usize::try_from(revision - 2).ok();
        index.and_then(|i| self.changes.get(i)).map_or(&[], |change| &change.events)
    }

    /// All changes with their revisions.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Change)> {
        self.changes.iter().enumerate().map(|(i, change)| (i as i64 + 2, change))
    }
}

/// What became of an operation without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It happened at this revision, and a watcher was told.
    Seen {
        /// The revision.
        revision: i64,
        /// When the first watcher was told.
        at: u64,
    },
    /// None of the changes is its.
    Never,
}

/// Keys that the end of a lease deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The lease.
    pub lease: i64,
    /// At which revision.
    pub revision: i64,
    /// When a watcher was first told; `u64::MAX`: none was.
    pub seen: u64,
}

/// What the pass over a history found.
#[derive(Clone, Debug, Default)]
pub struct Serial {
    /// What breaks a rule.
    pub violations: Violations,
    /// The changes, up to the first revision of which nothing is known.
    pub timeline: Timeline,
    /// The keyspace after them.
    pub state: Store,
    /// Why not everything could be judged.
    pub undecided: Option<String>,
    /// What became of the operations without answers, when that is known.
    pub fates: Vec<(usize, Fate)>,
    /// Ends of leases that no client asked for, and revocations.
    pub expiries: Vec<Expiry>,
    /// Answers that were held against the state at their revision.
    pub answers: usize,
}

impl Serial {
    /// The worst found.
    pub fn verdict(&self) -> Verdict {
        match (self.violations.verdict(), &self.undecided) {
            (Verdict::Ok, Some(why)) => Verdict::Unknown(why.clone()),
            (verdict, _) => verdict,
        }
    }

    /// Writes into the history what became of operations without answers, so that the search for
    /// an order has less to try.
    pub fn resolve(&self, history: &mut History) {
        for &(index, fate) in &self.fates {
            let operation = &mut history.operations[index];
            match fate {
                Fate::Seen { revision, at } => {
                    operation.outcome = Outcome::Seen { revision };
                    operation.returned = at;
                }
                Fate::Never => operation.outcome = Outcome::Never,
            }
        }
    }
}

/// Judges a history by its revisions.
pub fn check(history: &History) -> Serial {
    let mut serial = Serial::default();
    let seen = seen::collect(&history.watches, &mut serial.violations);
    replay::run(history, seen, &mut serial);
    realtime::check(history, &serial.fates, &mut serial.violations);
    serial
}
