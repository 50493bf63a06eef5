//! Messages whose type is not known: fields by number, and a guess at what each is.
//!
//! Bytes on the wire do not tell text from messages. Printable text is text, unless it begins as
//! a message does and is one to its end; other bytes are a message if they are fields to their
//! end.

use super::{
    node::Node,
    text::{base64, is_text},
    wire::{Malformed, Wire, fields, is_message},
};

/// How deep messages are looked into.
pub(super) const MAX_DEPTH: usize = 48;

/// The name under which a field without a known one is shown.
pub(super) fn name(number: u32) -> String {
    format!("field{number}")
}

/// The fields of a message of an unknown type.
pub(super) fn message(bytes: &[u8], depth: usize) -> Node {
    let mut members = Vec::new();
    for field in fields(bytes) {
        match field {
            Ok((number, wire)) => add(&mut members, name(number), value(wire, depth)),
            Err(malformed) => members.push(rest(malformed)),
        }
    }
    Node::Map(members)
}

/// What is shown of bytes that are no fields.
pub(super) fn rest(malformed: Malformed) -> (String, Node) {
    ("malformed".to_owned(), Node::text(format!("the last {} bytes", malformed.left)))
}

/// Adds a value; a name that comes again gets a list.
pub(super) fn add(members: &mut Vec<(String, Node)>, name: String, value: Node) {
    match members.iter_mut().find(|(member, _)| *member == name) {
        None => members.push((name, value)),
        Some((_, Node::List(list))) => list.push(value),
        Some((_, first)) => {
            let before = std::mem::replace(first, Node::Null);
            *first = Node::List(vec![before, value]);
        }
    }
}

/// The value of one field.
pub(super) fn value(wire: Wire<'_>, depth: usize) -> Node {
    match wire {
        Wire::Varint(value) => integer(value),
        Wire::Fixed32(value) => Node::text(format!("0x{value:08x}")),
        Wire::Fixed64(value) => Node::text(format!("0x{value:016x}")),
        Wire::Bytes(bytes) => guess(bytes, depth),
    }
}

/// Ten bytes of a negative number look like a very large one.
fn integer(value: u64) -> Node {
    match i64::try_from(value) {
        Ok(value) => Node::Int(value),
        Err(_) if value > u64::MAX - (1 << 32) => Node::Int(value.cast_signed()),
        Err(_) => Node::Uint(value),
    }
}

fn guess(bytes: &[u8], depth: usize) -> Node {
    // The tag of a first field that has text or a message is a line feed.
    let like_text = is_text(bytes) && bytes.first() != Some(&b'\n');
    if !like_text && is_message(bytes) {
        return match depth < MAX_DEPTH {
            true => message(bytes, depth + 1),
            false => too_deep(bytes),
        };
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if is_text(bytes) => Node::text(text),
        _ => Node::text(base64(bytes)),
    }
}

/// What is shown of a message that is nested too deep.
pub(super) fn too_deep(bytes: &[u8]) -> Node {
    Node::text(format!("{} bytes, nested too deep to show", bytes.len()))
}
