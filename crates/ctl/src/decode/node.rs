//! A decoded value as a tree: what YAML and JSON can both say.

/// One value of the tree.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An integer above the range of [`Node::Int`].
    Uint(u64),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Members in the order they are shown.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Text.
    pub(crate) fn text(text: impl Into<String>) -> Node {
        Node::Text(text.into())
    }

    /// Whether the value is what its type is without one: zero, empty, false.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Node::Null | Node::Bool(false) | Node::Int(0) | Node::Uint(0) => true,
            Node::Text(text) => text.is_empty(),
            _ => false,
        }
    }

    /// The member of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        let Node::Map(members) = self else { return None };
        members.iter().find(|(member, _)| member == name).map(|(_, node)| node)
    }

    /// The member of this name.
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        let Node::Map(members) = self else { return None };
        members.iter_mut().find(|(member, _)| member == name).map(|(_, node)| node)
    }

    /// The text, if it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Sorts members by name, as Kubernetes' tools show objects; of two with one name the last stays.
pub(super) fn sorted(mut members: Vec<(String, Node)>) -> Node {
    members.reverse();
    members.sort_by(|(one, _), (other, _)| one.cmp(other));
    members.dedup_by(|(one, _), (other, _)| one == other);
    Node::Map(members)
}
