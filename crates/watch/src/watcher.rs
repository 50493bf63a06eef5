//! One watcher: what it asked for, and how far it has come.
//!
//! Invariant: a watcher was sent every matching event before its effective cursor and none after.
//! For a waiting watcher that is `cursor`. For a synced one it is the later of `cursor` and the
//! revision after the hub's, so that the hub advances thousands of them by advancing itself.

use api::{
    event::{Event, EventKind},
    range::KeyRange,
};

use mutants::{Mutant, is_on};

use crate::delivery::WatcherKey;

/// Where a watcher begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// No revision was asked for: everything after this one, which the `created` reply names.
    After(i64),
    /// From this revision on, be it past or future.
    At(i64),
}

impl Start {
    /// The first revision that the watcher is to see.
    pub fn first_revision(self) -> i64 {
        match self {
            Start::After(revision) => revision + 1,
            Start::At(revision) => revision,
        }
    }

    /// Whether a progress notification at `revision` may be sent: etcd sends none before the
    /// revision that was asked for.
    fn reached_by(self, revision: i64) -> bool {
        match self {
            Start::After(first) | Start::At(first) => first <= revision,
        }
    }
}

/// What a watcher wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatcherSpec {
    /// The keys; never an empty range.
    pub range: KeyRange,
    /// The first revision.
    pub start: Start,
    /// Whether events carry the value that they replaced.
    pub prev_kv: bool,
    /// Whether puts are left out.
    pub filter_put: bool,
    /// Whether deletes are left out.
    pub filter_delete: bool,
    /// Whether an idle watcher is told the current revision from time to time.
    pub progress_notify: bool,
    /// Whether the client accepts a response in fragments.
    pub fragment: bool,
}

impl WatcherSpec {
    /// Whether the filters let this kind of event through.
    pub(crate) fn admits(&self, event: &Event) -> bool {
        match event.kind {
            EventKind::Put => !self.filter_put,
            EventKind::Delete => !self.filter_delete,
        }
    }
}

/// A watcher's place in the hub's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Slot(pub(crate) u32);

/// Which half of the hub feeds a watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// In the group that receives live changes.
    Synced,
    /// In the line-up of those that read history, with this ticket.
    Waiting(u64),
    /// Taken out of the line-up, being served now.
    Serving,
}

/// A watcher of the hub.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) key: WatcherKey,
    pub(crate) spec: WatcherSpec,
    pub(crate) state: State,
    /// The next revision that was not delivered; of a synced watcher only a lower bound.
    pub(crate) cursor: i64,
    /// No event was delivered since the last progress tick.
    pub(crate) quiet: bool,
}

impl Watcher {
    /// Whether "everything up to `revision` was sent, and nothing after it" holds and may be told;
    /// `revision` is the hub's. A watcher that is ahead of the hub has seen later events: the lower
    /// number would make its client resume too early and see them twice.
    pub(crate) fn may_report(&self, revision: i64) -> bool {
        let synced = self.state == State::Synced || is_on(Mutant::ProgressUnsynced);
        let reached = self.cursor <= revision + 1 && self.spec.start.reached_by(revision);
        synced && (reached || is_on(Mutant::FutureProgress))
    }
}
