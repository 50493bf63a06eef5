//! A YAML document as a tree of JSON values.
//!
//! Differs from a plain YAML value in two points where etcd's reader is older than YAML 1.2: a key
//! that comes twice has its last value, and `yes`, `no`, `on`, `off`, `y`, `n` are booleans where a
//! boolean is wanted.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A value of the tree.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Reads the first document of a text.
    pub(crate) fn parse(text: &str) -> Result<Node, String> {
        let mut documents = serde_norway::Deserializer::from_str(text);
        match documents.next() {
            Some(first) => Node::deserialize(first).map_err(|error| error.to_string()),
            None => Ok(Node::Null),
        }
    }

    /// The entries of a map; none for anything else.
    pub(crate) fn entries(&self) -> &[(String, Node)] {
        match self {
            Node::Map(entries) => entries,
            _ => &[],
        }
    }

    /// What Go's JSON decoder calls such a value.
    pub(crate) fn json_kind(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Bool(_) => "bool",
            Node::Integer(_) | Node::Float(_) => "number",
            Node::Text(_) if self.as_bool().is_some() => "bool",
            Node::Text(_) => "string",
            Node::List(_) => "array",
            Node::Map(_) => "object",
        }
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self {
            Node::Bool(on) => Some(*on),
            Node::Text(text) => match text.to_ascii_lowercase().as_str() {
                "y" | "yes" | "on" => Some(true),
                "n" | "no" | "off" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// The value as a whole number, if it is one.
    pub(crate) fn as_integer(&self) -> Option<i128> {
        match self {
            Node::Integer(number) => Some(*number),
            // Go writes floats below 1e21 without an exponent, and whole ones read as integers.
            Node::Float(number) if number.fract() == 0.0 && number.abs() < 1e21 => {
                Some(*number as i128)
            }
            _ => None,
        }
    }

    /// A number as Go's JSON encoder writes it.
    pub(crate) fn number_text(&self) -> String {
        match self {
            Node::Integer(number) => number.to_string(),
            Node::Float(number) if number.abs() >= 1e21 => {
                format!("{number:e}").replacen('e', "e+", 1)
            }
            Node::Float(number) => number.to_string(),
            _ => String::new(),
        }
    }

    /// A key of a map, which JSON has as texts only.
    fn into_key(self) -> String {
        match self {
            Node::Text(text) => text,
            Node::Bool(on) => on.to_string(),
            Node::Null => "null".to_string(),
            other => other.number_text(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Integer(i128::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Integer(i128::from(value)))
    }

    // Beyond 64 bits Go has a float.
    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Float(value as f64))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Float(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        while let Some((key, value)) = items.next_entry::<Node, Node>()? {
            let key = key.into_key();
            match entries.iter_mut().find(|(name, _)| *name == key) {
                Some((_, earlier)) => *earlier = value,
                None => entries.push((key, value)),
            }
        }
        Ok(Node::Map(entries))
    }
}
