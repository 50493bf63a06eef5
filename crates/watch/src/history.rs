//! What the hub asks of the store: events of the past, and replaced values.

use api::{event::Changes, ids::Revision, kv::RawKeyValue};

/// The history of the store, as the hub reads it.
///
/// The store publishes a revision before the hub is told of it: `revision()` is never behind what
/// was passed to `WatchHub::notify`.
pub trait History {
    /// The newest revision that can be read.
    fn revision(&self) -> i64;

    /// The oldest revision that can be replayed; -1 when nothing was ever compacted.
    fn compact_revision(&self) -> i64;

    /// The changes of revision `from` and later, oldest first, without gaps, at most
    /// `max_revisions` of them and of about `max_bytes`, but at least one when there is one.
    fn events(
        &self,
        from: i64,
        max_revisions: usize,
        max_bytes: usize,
    ) -> Result<Vec<Changes>, HistoryError>;

    /// The key-value that was put at `at`; `None` when it was compacted away.
    fn value(&self, at: Revision) -> Option<RawKeyValue>;
}

/// Why history could not be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The wanted revision is older than the oldest one kept.
    #[error("history before revision {compact_revision} has been compacted")]
    Compacted {
        /// The oldest revision that can be replayed.
        compact_revision: i64,
    },
    /// The store could not be read; watchers stay where they are.
    #[error("read history")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}
