//! The tree: nodes by number, so that a path of any length takes no recursion, and the times that
//! nodes expire at, in order.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{Code, NodeView, path, text::SECOND_NS};

/// The number of a node. Numbers are not used again, and a directory's is below those of what is in
/// it.
pub(crate) type NodeId = u64;

/// `/`.
pub(crate) const ROOT: NodeId = 0;
/// `/1`, where the keys are.
pub(crate) const KEYS: NodeId = 1;

/// What a node is.
#[derive(Debug, PartialEq)]
pub(crate) enum Content {
    File(String),
    Dir(BTreeMap<String, NodeId>),
}

/// A file or a directory.
#[derive(Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) parent: NodeId,
    pub(crate) name: String,
    pub(crate) created_index: u64,
    pub(crate) modified_index: u64,
    pub(crate) expire: Option<i64>,
    pub(crate) content: Content,
}

impl Node {
    pub(crate) fn is_dir(&self) -> bool {
        matches!(self.content, Content::Dir(_))
    }

    /// The value; of a directory it is empty.
    pub(crate) fn value(&self) -> &str {
        match &self.content {
            Content::File(value) => value,
            Content::Dir(_) => "",
        }
    }

    fn children(&self) -> Option<&BTreeMap<String, NodeId>> {
        match &self.content {
            Content::File(_) => None,
            Content::Dir(children) => Some(children),
        }
    }
}

/// Why a path leads nowhere, and up to where it leads.
pub(crate) type Lost = (Code, String);

/// See the module.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: HashMap<NodeId, Node>,
    pub(crate) next: NodeId,
    /// Nodes that expire, by time and path: members must agree on the order.
    expiry: BTreeSet<(i64, String)>,
    /// Nodes whose rows are to be written or removed.
    pub(crate) changed: BTreeSet<NodeId>,
}

impl Tree {
    pub(crate) fn new() -> Tree {
        let directory = |name: &str, children: &[(&str, NodeId)]| Node {
            parent: ROOT,
            name: name.to_owned(),
            created_index: 0,
            modified_index: 0,
            expire: None,
            content: Content::Dir(
                children.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect(),
            ),
        };
        let nodes = [(ROOT, directory("", &[("1", KEYS)])), (KEYS, directory("1", &[]))];
        Tree {
            nodes: HashMap::from(nodes),
            next: KEYS + 1,
            expiry: BTreeSet::new(),
            changed: BTreeSet::new(),
        }
    }

    pub(crate) fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(&id).expect("v2store: a number in the tree is that of a node")
    }

    /// A node that is about to change.
    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.changed.insert(id);
        self.nodes.get_mut(&id).expect("v2store: a number in the tree is that of a node")
    }

    pub(crate) fn path(&self, mut id: NodeId) -> String {
        let mut names = Vec::new();
        while id != ROOT {
            let node = self.node(id);
            names.push(node.name.as_str());
            id = node.parent;
        }
        names.reverse();
        format!("/{}", names.join("/"))
    }

    /// The node at a clean path.
    pub(crate) fn find(&self, at: &str) -> Result<NodeId, Lost> {
        let mut id = ROOT;
        for name in path::parts(at) {
            let children = self.node(id).children();
            let children = children.ok_or_else(|| (Code::NotDir, self.path(id)))?;
            id = *children
                .get(name)
                .ok_or_else(|| (Code::KeyNotFound, path::child(&self.path(id), name)))?;
        }
        Ok(id)
    }

    /// The directory at a clean path, made if it is not there.
    pub(crate) fn make_dirs(&mut self, at: &str, index: u64) -> Result<NodeId, Lost> {
        let mut id = ROOT;
        for name in path::parts(at) {
            let found = self.child(id, name);
            id = match found {
                Some(child) if self.node(child).is_dir() => child,
                Some(child) => return Err((Code::NotDir, self.path(child))),
                None => self.add(id, name, Content::Dir(BTreeMap::new()), index, None),
            };
        }
        Ok(id)
    }

    pub(crate) fn child(&self, id: NodeId, name: &str) -> Option<NodeId> {
        self.node(id).children().and_then(|children| children.get(name)).copied()
    }

    /// Adds a node to a directory that has none of the name.
    pub(crate) fn add(
        &mut self,
        parent: NodeId,
        name: &str,
        content: Content,
        index: u64,
        expire: Option<i64>,
    ) -> NodeId {
        let id = self.next;
        self.changed.insert(id);
        let name = name.to_owned();
        let (created_index, modified_index) = (index, index);
        self.put(id, Node { parent, name, created_index, modified_index, expire, content });
        id
    }

    /// Puts a node in its place below its parent, which must be a directory without one of the name.
    pub(crate) fn put(&mut self, id: NodeId, node: Node) {
        self.next = self.next.max(id + 1);
        let (parent, name, expire) = (node.parent, node.name.clone(), node.expire);
        self.nodes.insert(id, node);
        let parent = self.nodes.get_mut(&parent).expect("v2store: a node has a parent");
        let Content::Dir(children) = &mut parent.content else {
            panic!("v2store: a parent is a directory")
        };
        let old = children.insert(name, id);
        assert!(old.is_none(), "v2store: a name is there once");
        if let Some(expire) = expire {
            self.expiry.insert((expire, self.path(id)));
        }
    }

    /// Sets or takes away the time that a node expires at.
    pub(crate) fn set_expire(&mut self, id: NodeId, expire: Option<i64>) {
        let path = self.path(id);
        let old = std::mem::replace(&mut self.node_mut(id).expire, expire);
        if let Some(old) = old {
            self.expiry.remove(&(old, path.clone()));
        }
        if let Some(expire) = expire {
            self.expiry.insert((expire, path));
        }
    }

    /// The node that expires first, if it does so by then.
    pub(crate) fn expired(&self, cutoff: i64) -> Option<NodeId> {
        let (expire, path) = self.expiry.first()?;
        (*expire <= cutoff).then(|| self.find(path).expect("v2store: what expires is there"))
    }

    pub(crate) fn has_ttl(&self) -> bool {
        !self.expiry.is_empty()
    }

    /// Whether a node may be removed this way.
    pub(crate) fn check_remove(&self, id: NodeId, dir: bool, recursive: bool) -> Result<(), Lost> {
        match self.node(id).children() {
            Some(_) if !dir => Err((Code::NotFile, self.path(id))),
            Some(children) if !children.is_empty() && !recursive => {
                Err((Code::DirNotEmpty, self.path(id)))
            }
            _ => Ok(()),
        }
    }

    /// Removes a node with everything below it. Returns the paths that are gone, each before that of
    /// its directory.
    pub(crate) fn remove(&mut self, id: NodeId) -> Vec<String> {
        let node = self.node(id);
        let (parent, name) = (node.parent, node.name.clone());
        let mut gone = Vec::new();
        let mut left = vec![(id, self.path(id))];
        while let Some((id, path)) = left.pop() {
            let node = self.nodes.remove(&id).expect("v2store: what is below a node is there");
            self.changed.insert(id);
            if let Some(expire) = node.expire {
                self.expiry.remove(&(expire, path.clone()));
            }
            if let Content::Dir(children) = node.content {
                let below = children.into_iter().map(|(name, id)| (id, path::child(&path, &name)));
                left.extend(below);
            }
            gone.push(path);
        }
        gone.reverse();
        let parent = self.nodes.get_mut(&parent).expect("v2store: a node has a parent");
        if let Content::Dir(children) = &mut parent.content {
            children.remove(&name);
        }
        gone
    }

    /// A node as clients see it.
    pub(crate) fn view(&self, id: NodeId, key: String, now: i64) -> NodeView {
        let node = self.node(id);
        let mut view = NodeView {
            key,
            value: None,
            dir: node.is_dir(),
            modified_index: node.modified_index,
            created_index: node.created_index,
            ..NodeView::default()
        };
        if let Content::File(value) = &node.content {
            view.value = Some(value.clone());
        }
        show_expiration(&mut view, node.expire, now);
        view
    }

    /// What is below a directory, without what is hidden: see [`crate::Event::below`].
    pub(crate) fn below(&self, id: NodeId, recursive: bool, now: i64) -> Vec<(u32, NodeView)> {
        let mut found = Vec::new();
        let mut left = Vec::new();
        let push = |left: &mut Vec<(u32, NodeId, String)>, id: NodeId, path: &str, depth: u32| {
            let children = self.node(id).children().into_iter().flatten().rev();
            let shown = children.filter(|(name, _)| !path::is_hidden_name(name));
            left.extend(shown.map(|(name, id)| (depth, *id, path::child(path, name))));
        };
        push(&mut left, id, &self.path(id), 1);
        while let Some((depth, id, path)) = left.pop() {
            if recursive {
                push(&mut left, id, &path, depth + 1);
            }
            found.push((depth, self.view(id, path, now)));
        }
        found
    }

    /// Numbers of nodes below one, each after that of its directory.
    pub(crate) fn children_of(&self, id: NodeId) -> impl DoubleEndedIterator<Item = NodeId> + '_ {
        self.node(id).children().into_iter().flatten().map(|(_, id)| *id)
    }
}

/// Fills in when a node expires, and the seconds until then.
fn show_expiration(view: &mut NodeView, expire: Option<i64>, now: i64) {
    view.expiration = expire;
    let left = expire.map_or(0, |expire| expire.saturating_sub(now));
    view.ttl = left / SECOND_NS + i64::from(left % SECOND_NS > 0);
}
