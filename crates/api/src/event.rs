//! What a write did: the changes that mvcc produces and watchers receive.

use std::sync::Arc;

use bytes::Bytes;

use crate::{ids::Revision, kv::RawKeyValue};

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The key was created or updated.
    Put,
    /// The key was deleted.
    Delete,
}

/// One change of one key. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Put or delete.
    pub kind: EventKind,
    /// The changed key.
    pub key: Bytes,
    /// What a watcher is sent: the whole key-value of a put; of a delete only key and
    /// `mod_revision`.
    pub kv: RawKeyValue,
    /// Where this change stands: its main revision is that of its transaction.
    pub revision: Revision,
    /// Revision of the version that this change's transaction replaced or deleted; `None` when there
    /// was none, or when this change creates the key.
    pub prev: Option<Revision>,
}

/// Everything that one transaction changed, in the order of sub revisions; never empty.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The main revision of the transaction.
    pub revision: i64,
    /// The changes, shared by all who receive them.
    pub events: Arc<[Event]>,
}
