//! The store as rows of [`Bucket::V2`]: a row for each node, each event and the counters, so that a
//! change writes what it changed and no more.
//!
//! ```text
//! e<index>   an event, as JSON
//! n<number>  a node: its directory's number, its name, and the rest
//! s          the index, the next number, the counters
//! ```

use std::ops::ControlFlow;

use bytes::Bytes;
use prost::Message;
use storage::{Bucket, Op, ReadTx};

use crate::{
    Stats, Store,
    save::EventJson,
    tree::{Content, KEYS, Node, NodeId, ROOT},
};

/// What the backend has, or will have.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// The index of the row of counters; `None` when there is no such row.
    index: Option<u64>,
    /// The first and the last event with a row.
    events: Option<(u64, u64)>,
}

/// Why rows are not a store.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The backend failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// A row is not one that [`Store::take_ops`] makes.
    #[error("corrupt v2 store: {0}")]
    Corrupt(&'static str),
}

#[derive(Clone, PartialEq, Message)]
struct NodeRow {
    #[prost(uint64, tag = "1")]
    parent: u64,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint64, tag = "3")]
    created_index: u64,
    #[prost(uint64, tag = "4")]
    modified_index: u64,
    #[prost(sint64, optional, tag = "5")]
    expire: Option<i64>,
    /// Absent for a directory.
    #[prost(string, optional, tag = "6")]
    value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct StateRow {
    #[prost(uint64, tag = "1")]
    index: u64,
    #[prost(uint64, tag = "2")]
    next: u64,
    #[prost(string, tag = "3")]
    stats: String,
}

const EVENT: u8 = b'e';
const NODE: u8 = b'n';
const STATE: u8 = b's';

fn key(kind: u8, number: u64) -> Bytes {
    let mut key = vec![kind];
    key.extend(number.to_be_bytes());
    key.into()
}

fn put(key: Bytes, value: impl Into<Bytes>) -> Op {
    Op::Put { bucket: Bucket::V2, key, value: value.into() }
}

fn delete(key: Bytes) -> Op {
    Op::Delete { bucket: Bucket::V2, key }
}

impl Store {
    /// Adds the operations that bring the backend up to date. Nothing when nothing has changed.
    pub fn take_ops(&mut self, ops: &mut Vec<Op>) {
        if self.stored.index == Some(self.index) {
            return;
        }
        for id in std::mem::take(&mut self.tree.changed) {
            ops.push(match self.tree.get(id) {
                None => delete(key(NODE, id)),
                Some(node) => put(key(NODE, id), row(node).encode_to_vec()),
            });
        }
        let (start, last) = (self.history.start(), self.history.last());
        let mut first_new = start;
        if let Some((old_start, old_last)) = self.stored.events {
            ops.extend((old_start..start.min(old_last + 1)).map(|index| delete(key(EVENT, index))));
            first_new = start.max(old_last + 1);
        }
        for event in self.history.from(first_new) {
            ops.push(put(key(EVENT, event.index()), event.to_stored_json()));
        }
        self.stored.events = (last != 0).then_some((start, last));
        // Reads are counted by each member for itself: what is stored is the same on all.
        let stats = Stats { get_success: 0, get_fail: 0, watchers: 0, ..self.stats.clone() };
        let (index, next) = (self.index, self.tree.next);
        let state = StateRow { index, next, stats: stats.to_json() };
        ops.push(put(Bytes::from_static(&[STATE]), state.encode_to_vec()));
        self.stored.index = Some(self.index);
    }

    /// Whether rows of this store are in the backend, or have been given for it.
    pub fn is_stored(&self) -> bool {
        self.stored.index.is_some()
    }

    /// Reads a store back; without rows, an empty one.
    pub fn load(view: &dyn ReadTx) -> Result<Store, LoadError> {
        let mut store = Store::new();
        let mut failed = None;
        view.scan(Bucket::V2, b"", &mut |key, value| match store.load_row(key, value) {
            Ok(()) => ControlFlow::Continue(()),
            Err(what) => {
                failed = Some(what);
                ControlFlow::Break(())
            }
        })?;
        if let Some(what) = failed {
            return Err(LoadError::Corrupt(what));
        }
        let last = store.history.last();
        store.stored.events = (last != 0).then_some((store.history.start(), last));
        store.tree.changed.clear();
        Ok(store)
    }

    fn load_row(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let (kind, number) = key.split_first().ok_or("a key is empty")?;
        if *kind == STATE {
            let state = StateRow::decode(value).map_err(|_| "the counters cannot be decoded")?;
            self.stats = serde_json::from_str(&state.stats).map_err(|_| "counters are no JSON")?;
            self.index = state.index;
            self.tree.next = self.tree.next.max(state.next);
            self.stored.index = Some(state.index);
            return Ok(());
        }
        let number = number.try_into().map(u64::from_be_bytes).map_err(|_| "a key is no number")?;
        match *kind {
            NODE => {
                let row = NodeRow::decode(value).map_err(|_| "a node cannot be decoded")?;
                self.load_node(number, row)
            }
            EVENT => {
                let event: EventJson =
                    serde_json::from_slice(value).map_err(|_| "an event is no JSON")?;
                let event = event.into_event().ok_or("an event has no node")?;
                self.add_to_history(event)
            }
            _ => Err("a key is of no kind"),
        }
    }

    fn load_node(&mut self, id: NodeId, row: NodeRow) -> Result<(), &'static str> {
        if id == ROOT || id == KEYS || row.name.is_empty() || row.name.contains('/') {
            return Err("a node is one that no store has");
        }
        let parent = self.tree.get(row.parent).ok_or("the directory of a node is missing")?;
        if !parent.is_dir() || self.tree.child(row.parent, &row.name).is_some() {
            return Err("a node is where none may be");
        }
        let content = match row.value {
            Some(value) => Content::File(value),
            None => Content::Dir(Default::default()),
        };
        let NodeRow { parent, name, created_index, modified_index, expire, .. } = row;
        self.tree.put(id, Node { parent, name, created_index, modified_index, expire, content });
        Ok(())
    }
}

fn row(node: &Node) -> NodeRow {
    NodeRow {
        parent: node.parent,
        name: node.name.clone(),
        created_index: node.created_index,
        modified_index: node.modified_index,
        expire: node.expire,
        value: match &node.content {
            Content::File(value) => Some(value.clone()),
            Content::Dir(_) => None,
        },
    }
}
