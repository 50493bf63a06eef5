//! JSON in both directions; members keep their order.

use std::fmt::{self, Write};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{node::Node, paint::Paint};
use crate::gotext::json::text;

/// The value of a JSON document; `None` when it is none, or is nested deeper than 128.
pub(crate) fn read(bytes: &[u8]) -> Option<Node> {
    serde_json::from_slice(bytes).ok()
}

/// Writes a value on lines of its own, without a last line feed.
pub(super) fn write(node: &Node, paint: Paint) -> String {
    let mut out = String::new();
    value(&mut out, node, paint, Some(0));
    out
}

/// Writes a value on one line.
pub(crate) fn write_line(node: &Node) -> String {
    let mut out = String::new();
    value(&mut out, node, Paint::OFF, None);
    out
}

/// Writes a value; `indent` is that of its line, without one everything goes on one line.
fn value(out: &mut String, node: &Node, paint: Paint, indent: Option<usize>) {
    let push = |out: &mut String, text: fmt::Arguments<'_>| {
        out.write_fmt(text).expect("a String takes everything");
    };
    match node {
        Node::Null => out.push_str("null"),
        Node::Bool(value) => push(out, format_args!("{value}")),
        Node::Int(value) => push(out, format_args!("{value}")),
        Node::Uint(value) => push(out, format_args!("{value}")),
        Node::Float(value) if !value.is_finite() => out.push_str("null"),
        Node::Float(value) => push(out, format_args!("{value:?}")),
        Node::Text(value) => out.push_str(&literal(value)),
        Node::List(list) => {
            let items = list.iter().map(|item| (None, item));
            brackets(out, ['[', ']'], items, paint, indent);
        }
        Node::Map(members) => {
            let items = members.iter().map(|(name, item)| (Some(name.as_str()), item));
            brackets(out, ['{', '}'], items, paint, indent);
        }
    }
}

fn brackets<'a>(
    out: &mut String,
    [open, close]: [char; 2],
    items: impl ExactSizeIterator<Item = (Option<&'a str>, &'a Node)>,
    paint: Paint,
    indent: Option<usize>,
) {
    out.push(open);
    let empty = items.len() == 0;
    let inner = indent.map(|indent| indent + 2);
    for (at, (name, item)) in items.enumerate() {
        if at > 0 {
            out.push(',');
        }
        new_line(out, inner);
        if let Some(name) = name {
            out.push_str(&paint.name(&literal(name)));
            out.push_str(if indent.is_some() { ": " } else { ":" });
        }
        value(out, item, paint, inner);
    }
    if !empty {
        new_line(out, indent);
    }
    out.push(close);
}

fn new_line(out: &mut String, indent: Option<usize>) {
    if let Some(indent) = indent {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent));
    }
}

/// A text in quotes; what a terminal should not be sent is escaped.
fn literal(value: &str) -> String {
    let mut quoted = String::new();
    text(&mut quoted, value);
    let mut out = String::with_capacity(quoted.len());
    for c in quoted.chars() {
        if super::text::is_printable(c) {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            write!(out, "\\u{unit:04x}").expect("a String takes everything");
        }
    }
    out
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(i64::try_from(value).map_or(Node::Uint(value), Node::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::text(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            members.push(entry);
        }
        Ok(Node::Map(members))
    }
}
