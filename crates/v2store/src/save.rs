//! The store as the JSON that members of etcd keep in their `.snap` files and send with snapshots.
//!
//! The nodes of `/0`, the members, are given and taken as JSON of their own: the `membership` crate
//! has them.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    Action, Event, HISTORY_MAX, NodeView, Stats, Store,
    history::History,
    text,
    tree::{Content, KEYS, Node, NodeId, ROOT},
};

/// The never of Go's times.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Why JSON is not a store.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// It is not what etcd writes.
    #[error("the v2 store of a snapshot cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// It is, but makes no sense.
    #[error("the v2 store of a snapshot is corrupt: {0}")]
    Corrupt(&'static str),
}

#[derive(Deserialize)]
struct StoreJson<'a> {
    #[serde(rename = "Root", borrow)]
    root: NodeJson<'a>,
    #[serde(rename = "WatcherHub", default)]
    hub: Option<HubJson>,
    #[serde(rename = "CurrentIndex", default)]
    index: u64,
    #[serde(rename = "Stats", default)]
    stats: Option<Stats>,
}

/// A node; what is below it is read when it is its turn.
#[derive(Deserialize)]
struct NodeJson<'a> {
    #[serde(rename = "CreatedIndex", default)]
    created_index: u64,
    #[serde(rename = "ModifiedIndex", default)]
    modified_index: u64,
    #[serde(rename = "ExpireTime", default, borrow)]
    expire_time: Cow<'a, str>,
    #[serde(rename = "Value", default)]
    value: String,
    #[serde(rename = "Children", default, borrow)]
    children: Option<BTreeMap<String, &'a RawValue>>,
}

#[derive(Deserialize)]
struct HubJson {
    #[serde(rename = "EventHistory", default)]
    history: Option<HistoryJson>,
}

#[derive(Deserialize)]
struct HistoryJson {
    #[serde(rename = "Queue")]
    queue: QueueJson,
}

/// A ring of events.
#[derive(Deserialize)]
struct QueueJson {
    #[serde(rename = "Events", default)]
    events: Option<Vec<Option<EventJson>>>,
    #[serde(rename = "Size", default)]
    size: usize,
    #[serde(rename = "Front", default)]
    front: usize,
}

/// An event, as it is stored.
#[derive(Deserialize)]
pub(crate) struct EventJson {
    action: Action,
    node: Option<ViewJson>,
    #[serde(rename = "prevNode")]
    prev: Option<ViewJson>,
    #[serde(default)]
    refresh: bool,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[derive(Default)]
struct ViewJson {
    key: String,
    value: Option<String>,
    dir: bool,
    expiration: Option<String>,
    ttl: i64,
    modified_index: u64,
    created_index: u64,
}

impl From<ViewJson> for NodeView {
    fn from(view: ViewJson) -> NodeView {
        NodeView {
            key: view.key,
            value: view.value,
            dir: view.dir,
            expiration: view.expiration.and_then(|time| text::parse_time(&time)),
            ttl: view.ttl,
            modified_index: view.modified_index,
            created_index: view.created_index,
        }
    }
}

impl EventJson {
    /// The event; `None` when it is about no node.
    pub(crate) fn into_event(self) -> Option<Event> {
        let node = NodeView::from(self.node?);
        let index = node.modified_index;
        let mut event = Event::new(self.action, node, index);
        (event.prev, event.refresh) = (self.prev.map(Into::into), self.refresh);
        Some(event)
    }
}

impl Event {
    /// As the history is stored.
    pub(crate) fn to_stored_json(&self) -> String {
        let mut json = self.to_json("", true);
        if self.refresh {
            json.pop();
            json.push_str(",\"refresh\":true}");
        }
        json
    }
}

impl Store {
    /// The store as JSON; `members` is the node `/0` as JSON.
    pub fn save(&self, members: &str) -> String {
        let mut out = String::from("{\"Root\":");
        push_open(&mut out, "/", self.tree.node(ROOT));
        out.push_str("{\"0\":");
        out.push_str(members);
        for id in self.tree.children_of(ROOT) {
            out.push(',');
            self.push_child(&mut out, "/", id);
        }
        out.push_str("}},\"WatcherHub\":{\"EventHistory\":{\"Queue\":{\"Events\":[");
        let mut size = 0;
        for event in self.history.from(0) {
            out.push_str(&event.to_stored_json());
            out.push(',');
            size += 1;
        }
        out.push_str(&"null,".repeat(HISTORY_MAX - size));
        out.pop();
        let (back, capacity) = (size % HISTORY_MAX, HISTORY_MAX);
        let (start, last) = (self.history.start(), self.history.last());
        out.push_str(&format!(
            "],\"Size\":{size},\"Front\":0,\"Back\":{back},\"Capacity\":{capacity}}},\
             \"StartIndex\":{start},\"LastIndex\":{last}}}}},\"CurrentIndex\":{},\"Stats\":{},\
             \"CurrentVersion\":2}}",
            self.index,
            Stats { watchers: 0, ..self.stats() }.to_json()
        ));
        out
    }

    /// A node with its name before it, and everything below.
    fn push_child(&self, out: &mut String, above: &str, id: NodeId) {
        let node = self.tree.node(id);
        let path = crate::path::child(above, &node.name);
        text::push_string(out, &node.name);
        out.push(':');
        push_open(out, &path, node);
        let Content::Dir(_) = node.content else { return out.push_str("null}") };
        out.push('{');
        // Directories that are open: their paths, and what is left of them.
        let mut open = vec![(path, self.tree.children_of(id))];
        while let Some((above, left)) = open.last_mut() {
            let Some(id) = left.next() else {
                open.pop();
                out.push_str("}}");
                continue;
            };
            if !out.ends_with('{') {
                out.push(',');
            }
            let node = self.tree.node(id);
            let path = crate::path::child(above, &node.name);
            text::push_string(out, &node.name);
            out.push(':');
            push_open(out, &path, node);
            if node.is_dir() {
                out.push('{');
                open.push((path, self.tree.children_of(id)));
            } else {
                out.push_str("null}");
            }
        }
    }

    /// Reads such JSON, but for `/0`. Rows of all of it are due.
    pub fn recover(json: &[u8]) -> Result<Store, RecoverError> {
        let read: StoreJson<'_> = serde_json::from_slice(json)?;
        let mut store = Store::new();
        store.index = read.index;
        if let Some(stats) = read.stats {
            store.gets.set(&stats);
            store.stats = stats;
        }
        let mut left: Vec<(NodeId, String, &RawValue)> = Vec::new();
        let push = |left: &mut Vec<_>, id, children: BTreeMap<String, _>| {
            left.extend(children.into_iter().rev().map(|(name, raw)| (id, name, raw)));
        };
        let mut top =
            read.root.children.ok_or(RecoverError::Corrupt("the root is no directory"))?;
        top.remove("0");
        if let Some(keys) = top.remove("1") {
            let keys: NodeJson<'_> = serde_json::from_str(keys.get())?;
            push(&mut left, KEYS, keys.children.unwrap_or_default());
        }
        push(&mut left, ROOT, top);
        while let Some((parent, name, raw)) = left.pop() {
            if name.is_empty() || name.contains('/') {
                return Err(RecoverError::Corrupt("a name is none"));
            }
            let node: NodeJson<'_> = serde_json::from_str(raw.get())?;
            let id = store.tree.next;
            let content = match node.children.is_some() {
                true => Content::Dir(BTreeMap::new()),
                false => Content::File(node.value),
            };
            let (created_index, modified_index) = (node.created_index, node.modified_index);
            let expire = text::parse_time(&node.expire_time);
            let made = Node { parent, name, created_index, modified_index, expire, content };
            store.tree.changed.insert(id);
            store.tree.put(id, made);
            push(&mut left, id, node.children.unwrap_or_default());
        }
        let history = read.hub.and_then(|hub| hub.history);
        if let Some(HistoryJson { queue }) = history {
            store.recover_history(queue)?;
        }
        Ok(store)
    }

    fn recover_history(&mut self, queue: QueueJson) -> Result<(), RecoverError> {
        let mut events = queue.events.unwrap_or_default();
        if queue.size > events.len() || queue.size > HISTORY_MAX || queue.front > events.len() {
            return Err(RecoverError::Corrupt("the history is larger than itself"));
        }
        events.rotate_left(queue.front);
        events.truncate(queue.size);
        for event in events {
            let event = event.and_then(EventJson::into_event);
            let event = event.ok_or(RecoverError::Corrupt("an event is missing"))?;
            self.add_to_history(event).map_err(RecoverError::Corrupt)?;
        }
        if self.history.last() != self.index {
            // Whoever left changes out of it: a watcher must not miss them without being told.
            self.history = History::default();
        }
        Ok(())
    }

    /// Adds an event that was read.
    pub(crate) fn add_to_history(&mut self, event: Event) -> Result<(), &'static str> {
        let last = self.history.last();
        if event.node.modified_index == 0 || (last != 0 && event.node.modified_index != last + 1) {
            return Err("the history has a gap");
        }
        self.history.add(Arc::new(event));
        Ok(())
    }
}

/// Everything of a node that comes before what is below it.
fn push_open(out: &mut String, path: &str, node: &Node) {
    out.push_str("{\"Path\":");
    text::push_string(out, path);
    out.push_str(&format!(
        ",\"CreatedIndex\":{},\"ModifiedIndex\":{},\"ExpireTime\":\"{}\",\"Value\":",
        node.created_index,
        node.modified_index,
        node.expire.map_or_else(|| NEVER.to_owned(), text::time),
    ));
    text::push_string(out, node.value());
    out.push_str(",\"Children\":");
}
