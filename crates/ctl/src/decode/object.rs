//! Messages of known types: names from the tables, values as Kubernetes' JSON has them.
//!
//! A field that the tables do not have, or that has another wire type than they say, is shown by
//! its number.

use super::{
    dump::{self, MAX_DEPTH, too_deep},
    json,
    kubernetes::extension,
    node::{Node, sorted},
    schema::{Alternative, Field, Kind, Message, Schema, Shape},
    text::{base64, time},
    wire::{Wire, fields, packed},
};
use crate::gotext::{duration, quote::quote};

/// The members of a message, sorted by name.
pub(super) fn object(message: &Message, bytes: &[u8], depth: usize) -> Node {
    sorted(members(message, bytes, depth))
}

/// The members of a message, in the order of the wire.
pub(super) fn members(message: &Message, bytes: &[u8], depth: usize) -> Vec<(String, Node)> {
    let mut members = Vec::new();
    for field in fields(bytes) {
        let (number, wire) = match field {
            Ok(field) => field,
            Err(malformed) => {
                members.push(dump::rest(malformed));
                break;
            }
        };
        let known = message.field(number).and_then(|field| {
            let value = value(field, wire, depth)?;
            Some((field, value))
        });
        match known {
            Some((field, value)) => place(&mut members, field, value),
            None => dump::add(&mut members, dump::name(number), dump::value(wire, depth)),
        }
    }
    for (_, node) in &mut members {
        sort_map(node);
    }
    members
}

/// Entries of a map came in any order.
fn sort_map(node: &mut Node) {
    if let Node::Map(entries) = node
        && !entries.is_sorted_by(|(one, _), (other, _)| one < other)
    {
        *node = sorted(std::mem::take(entries));
    }
}

/// Puts a value where its field belongs among the members.
fn place(members: &mut Vec<(String, Node)>, field: &Field, value: Node) {
    let found = members.iter_mut().find(|(name, _)| name == field.name).map(|(_, node)| node);
    match (field.shape, value) {
        (Shape::Inline, Node::Map(inner)) => members.extend(inner),
        (Shape::One, value) if field.optional && value.is_zero() => {}
        // A time that is not set is an empty message.
        (Shape::One, Node::Null) => {}
        (Shape::List, Node::List(values)) => match found {
            Some(Node::List(list)) => list.extend(values),
            _ => members.push((field.name.to_owned(), Node::List(values))),
        },
        (Shape::Map, Node::Map(entry)) => match found {
            Some(Node::Map(map)) => map.extend(entry),
            _ => members.push((field.name.to_owned(), Node::Map(entry))),
        },
        (_, value) => match found {
            Some(place) => *place = value,
            None => members.push((field.name.to_owned(), value)),
        },
    }
}

/// The value of a field: lists and maps as such, of one element; `None` when the wire has another
/// type.
fn value(field: &Field, wire: Wire<'_>, depth: usize) -> Option<Node> {
    match (field.shape, wire) {
        (Shape::List, Wire::Bytes(bytes)) if matches!(field.kind, Kind::Int | Kind::Bool) => {
            let numbers = packed(bytes)?.into_iter();
            let values: Option<_> =
                numbers.map(|number| single(&field.kind, Wire::Varint(number), depth)).collect();
            Some(Node::List(values?))
        }
        (Shape::List, wire) => Some(Node::List(vec![single(&field.kind, wire, depth)?])),
        (Shape::Map, Wire::Bytes(entry)) => {
            let (mut key, mut value) = (String::new(), None);
            for part in fields(entry) {
                match part.ok()? {
                    (1, Wire::Bytes(bytes)) => key = text(bytes),
                    (2, wire) => value = Some(single(&field.kind, wire, depth)?),
                    _ => {}
                }
            }
            // A zero may be left out.
            let value = match value {
                Some(value) => value,
                None => single(&field.kind, zero(&field.kind), depth)?,
            };
            Some(Node::Map(vec![(key, value)]))
        }
        (Shape::Map, _) => None,
        (Shape::One | Shape::Inline, wire) => single(&field.kind, wire, depth),
    }
}

/// The wire form of a value that was left out.
fn zero(kind: &Kind) -> Wire<'static> {
    match kind {
        Kind::Bool | Kind::Int => Wire::Varint(0),
        Kind::Double => Wire::Fixed64(0),
        _ => Wire::Bytes(&[]),
    }
}

fn single(kind: &Kind, wire: Wire<'_>, depth: usize) -> Option<Node> {
    let bytes = match (kind, wire) {
        (Kind::Bool, Wire::Varint(value)) => return Some(Node::Bool(value != 0)),
        (Kind::Int, Wire::Varint(value)) => return Some(Node::Int(value.cast_signed())),
        (Kind::Double, Wire::Fixed64(bits)) => return Some(Node::Float(f64::from_bits(bits))),
        (Kind::Bool | Kind::Int | Kind::Double, _) => return None,
        (_, Wire::Bytes(bytes)) => bytes,
        _ => return None,
    };
    match kind {
        Kind::Text => Some(Node::Text(text(bytes))),
        Kind::Bytes => Some(Node::text(base64(bytes))),
        Kind::Time | Kind::MicroTime => moment(bytes, *kind == Kind::MicroTime),
        Kind::Duration => span(bytes),
        Kind::Quantity => Some(Node::Text(part(bytes, 1).map(text).unwrap_or_default())),
        Kind::IntOrString => Some(match integer(bytes, 1) {
            0 => Node::Int(integer(bytes, 2)),
            _ => Node::Text(part(bytes, 3).map(text).unwrap_or_default()),
        }),
        Kind::Json => {
            let raw = part(bytes, 1).unwrap_or_default();
            Some(json::read(raw).unwrap_or_else(|| Node::Text(text(raw))))
        }
        Kind::Extension => Some(match depth < MAX_DEPTH {
            true => extension(part(bytes, 1).unwrap_or_default(), depth + 1),
            false => too_deep(bytes),
        }),
        Kind::Texts => Some(Node::List(texts(bytes, 1))),
        Kind::SchemaOr(alternative, name) => schema_or(*alternative, name, bytes, depth),
        Kind::Message(name) => nested(name, bytes, depth),
        Kind::Bool | Kind::Int | Kind::Double => None,
    }
}

fn nested(name: &str, bytes: &[u8], depth: usize) -> Option<Node> {
    if depth >= MAX_DEPTH {
        return Some(too_deep(bytes));
    }
    let message = Schema::built_in().message(name)?;
    Some(object(message, bytes, depth + 1))
}

/// A JSON schema, or what stands in its place.
fn schema_or(alternative: Alternative, name: &str, bytes: &[u8], depth: usize) -> Option<Node> {
    let schemas = |number: u32| -> Option<Node> {
        let all = fields(bytes).flatten().filter(|(at, _)| *at == number);
        let all: Option<Vec<_>> = all
            .map(|(_, wire)| match wire {
                Wire::Bytes(schema) => nested(name, schema, depth),
                _ => None,
            })
            .collect();
        Some(Node::List(all?))
    };
    match alternative {
        Alternative::Bool => match part(bytes, 2) {
            Some(schema) => nested(name, schema, depth),
            None => Some(Node::Bool(integer(bytes, 1) != 0)),
        },
        Alternative::Schemas => match part(bytes, 1) {
            Some(schema) => nested(name, schema, depth),
            None => schemas(2),
        },
        Alternative::Texts => match part(bytes, 1) {
            Some(schema) => nested(name, schema, depth),
            None => Some(Node::List(texts(bytes, 2))),
        },
    }
}

/// A time; nothing when it is not set, and seconds when no calendar has it.
fn moment(bytes: &[u8], micros: bool) -> Option<Node> {
    if bytes.is_empty() {
        return Some(Node::Null);
    }
    let (seconds, nanos) = (integer(bytes, 1), integer(bytes, 2));
    Some(time(seconds, nanos, micros).map_or(Node::Int(seconds), Node::Text))
}

fn span(bytes: &[u8]) -> Option<Node> {
    let nanos = integer(bytes, 1);
    let sign = if nanos < 0 { "-" } else { "" };
    let length = std::time::Duration::from_nanos(nanos.unsigned_abs());
    Some(Node::text(format!("{sign}{}", duration::format(length))))
}

/// The integer of a field, or 0.
fn integer(bytes: &[u8], number: u32) -> i64 {
    let found = fields(bytes).flatten().filter(|(at, _)| *at == number).last();
    match found {
        Some((_, Wire::Varint(value))) => value.cast_signed(),
        _ => 0,
    }
}

/// The bytes of a field that is there.
pub(super) fn part(bytes: &[u8], number: u32) -> Option<&[u8]> {
    match fields(bytes).flatten().filter(|(at, _)| *at == number).last() {
        Some((_, Wire::Bytes(bytes))) => Some(bytes),
        _ => None,
    }
}

fn texts(bytes: &[u8], number: u32) -> Vec<Node> {
    let all = fields(bytes).flatten().filter(|(at, _)| *at == number);
    let texts = all.filter_map(|(_, wire)| match wire {
        Wire::Bytes(bytes) => Some(Node::Text(text(bytes))),
        _ => None,
    });
    texts.collect()
}

/// Text that should be UTF-8; what is not is shown with escapes.
pub(super) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => quote(bytes),
    }
}
