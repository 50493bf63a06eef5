//! Events: what a request did, or what it read. Also the answers of the keys API.

use serde::{Deserialize, Serialize};

use crate::text;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub enum Action {
    Get,
    Create,
    Set,
    Update,
    Delete,
    CompareAndSwap,
    CompareAndDelete,
    Expire,
}

impl Action {
    /// Its name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Action::Get => "get",
            Action::Create => "create",
            Action::Set => "set",
            Action::Update => "update",
            Action::Delete => "delete",
            Action::CompareAndSwap => "compareAndSwap",
            Action::CompareAndDelete => "compareAndDelete",
            Action::Expire => "expire",
        }
    }
}

/// A node as it was at a time, without those below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// Its path.
    pub key: String,
    /// Its value, if it is a file.
    pub value: Option<String>,
    /// Whether it is said to be a directory.
    pub dir: bool,
    /// When it expires.
    pub expiration: Option<i64>,
    /// The seconds that were left until then, rounded up.
    pub ttl: i64,
    /// The index of its last change.
    pub modified_index: u64,
    /// The index that made it.
    pub created_index: u64,
}

/// What a request did or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What was done.
    pub action: Action,
    /// The node afterwards.
    pub node: NodeView,
    /// What a read found below the node: each with its depth below, those of one directory in the
    /// order of their names, each followed by what is below it.
    pub below: Vec<(u32, NodeView)>,
    /// The node before.
    pub prev: Option<NodeView>,
    /// The index of the store after this.
    pub etcd_index: u64,
    /// Whether only the time to live was renewed, which watchers are not told of.
    pub refresh: bool,
}

impl Event {
    pub(crate) fn new(action: Action, node: NodeView, etcd_index: u64) -> Event {
        Event { action, node, below: Vec::new(), prev: None, etcd_index, refresh: false }
    }

    /// Whether this made a node that was not there.
    pub fn is_created(&self) -> bool {
        match self.action {
            Action::Create => true,
            Action::Set => self.prev.is_none(),
            _ => false,
        }
    }

    /// The index of the change.
    pub(crate) fn index(&self) -> u64 {
        self.node.modified_index
    }

    /// As an answer of the keys API, without a line end: paths lose `prefix`, and without
    /// `with_nodes` only the action is said.
    pub fn to_json(&self, prefix: &str, with_nodes: bool) -> String {
        let mut out = format!("{{\"action\":\"{}\"", self.action.name());
        if with_nodes {
            out.push_str(",\"node\":");
            self.push_nodes(&mut out, prefix);
            if let Some(prev) = &self.prev {
                out.push_str(",\"prevNode\":");
                push_open(&mut out, prev, prefix);
                push_close(&mut out, prev);
            }
        }
        out.push('}');
        out
    }

    fn push_nodes(&self, out: &mut String, prefix: &str) {
        push_open(out, &self.node, prefix);
        let mut open = vec![&self.node];
        for (depth, node) in &self.below {
            let depth = *depth as usize;
            if open.len() == depth {
                // The first below its directory.
                push_name(out, "nodes");
                out.push('[');
            }
            while open.len() > depth {
                push_close(out, open.pop().expect("longer than the depth"));
                if open.len() > depth {
                    out.push(']');
                } else {
                    out.push(',');
                }
            }
            push_open(out, node, prefix);
            open.push(node);
        }
        while let Some(node) = open.pop() {
            push_close(out, node);
            if !open.is_empty() {
                out.push(']');
            }
        }
    }
}

fn push_name(out: &mut String, name: &str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
}

/// Everything that comes before the nodes below.
fn push_open(out: &mut String, node: &NodeView, prefix: &str) {
    out.push('{');
    let key = node.key.strip_prefix(prefix).unwrap_or(&node.key);
    if !key.is_empty() {
        push_name(out, "key");
        text::push_string(out, key);
    }
    if let Some(value) = &node.value {
        push_name(out, "value");
        text::push_string(out, value);
    }
    if node.dir {
        push_name(out, "dir");
        out.push_str("true");
    }
    if let Some(expiration) = node.expiration {
        push_name(out, "expiration");
        text::push_string(out, &text::time(expiration));
    }
    if node.ttl != 0 {
        push_name(out, "ttl");
        out.push_str(&node.ttl.to_string());
    }
}

/// Everything that comes after them.
fn push_close(out: &mut String, node: &NodeView) {
    for (name, index) in
        [("modifiedIndex", node.modified_index), ("createdIndex", node.created_index)]
    {
        if index != 0 {
            push_name(out, name);
            out.push_str(&index.to_string());
        }
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(key: &str, value: Option<&str>) -> NodeView {
        NodeView {
            key: key.into(),
            value: value.map(Into::into),
            dir: value.is_none(),
            modified_index: 3,
            created_index: 2,
            ..NodeView::default()
        }
    }

    #[test]
    fn answers_are_those_of_etcd() {
        let mut event = Event::new(Action::Set, node("/1/a", Some("<v>")), 3);
        assert_eq!(
            event.to_json("/1", true),
            r#"{"action":"set","node":{"key":"/a","value":"\u003cv\u003e","modifiedIndex":3,"createdIndex":2}}"#
        );
        assert_eq!(event.to_json("/1", false), r#"{"action":"set"}"#);
        event.prev = Some(NodeView { expiration: Some(5), ttl: 4, ..node("/1/a", Some("")) });
        assert_eq!(
            event.to_json("/1", true),
            r#"{"action":"set","node":{"key":"/a","value":"\u003cv\u003e","modifiedIndex":3,"createdIndex":2},"prevNode":{"key":"/a","value":"","expiration":"1970-01-01T00:00:00.000000005Z","ttl":4,"modifiedIndex":3,"createdIndex":2}}"#
        );
    }

    #[test]
    fn listings_nest() {
        let mut root = node("/1", None);
        (root.modified_index, root.created_index) = (0, 0);
        let mut event = Event::new(Action::Get, root, 3);
        assert_eq!(event.to_json("/1", true), r#"{"action":"get","node":{"dir":true}}"#);
        let small = |key: &str, dir: bool| NodeView { key: key.into(), dir, ..NodeView::default() };
        event.below = vec![
            (1, small("/1/a", true)),
            (2, small("/1/a/b", true)),
            (3, small("/1/a/b/c", false)),
            (3, small("/1/a/b/d", false)),
            (1, small("/1/e", false)),
        ];
        assert_eq!(
            event.to_json("/1", true),
            concat!(
                r#"{"action":"get","node":{"dir":true,"nodes":[{"key":"/a","dir":true,"nodes":["#,
                r#"{"key":"/a/b","dir":true,"nodes":[{"key":"/a/b/c"},{"key":"/a/b/d"}]}]},"#,
                r#"{"key":"/e"}]}}"#
            )
        );
    }
}
