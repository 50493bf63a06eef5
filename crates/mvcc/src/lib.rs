//! The multi-version key-value store: every change has a revision, and reads name one.
//!
//! Shared by the apply thread, which is the only writer, and readers on any thread.
//!
//! Invariants:
//! - One entry that changes something is one main revision; its changes are the sub revisions
//!   0, 1, 2, ... in the order of execution. The empty store is at revision 1.
//! - The disk is never waited for: a write goes into the index and the ring of recent revisions, and
//!   comes out as [`storage::Op`]s for the storage thread.
//! - A reader at revision r never sees a change after r, nor the changes of an entry that has not
//!   ended: unpublished revisions are simply greater than the current one.
//! - What is not in the ring is in the backend: the ring lets go of nothing that is not committed.
//! - Revisions below the compact revision cannot be read; of each key the newest revision at or
//!   below it stays, without deletes, but for a delete at exactly the compact revision.

mod error;
mod index;
mod query;
mod raw;
mod recent;
mod runs;
mod store;

pub use error::ReadError;
pub use index::KeyMeta;
pub use query::{RangeAnswer, RangeQuery, SortOrder, SortTarget};
pub use recent::RecentLimits;
pub use storage::Error;
pub use store::{Compaction, Deleted, HashKv, Opened, Replaced, Stats, Store, WriteTxn};
