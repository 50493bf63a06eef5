//! An encoded message to JSON.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::{
    DecodeError,
    bytes::Buf,
    encoding::{self, DecodeContext, WireType},
};

use crate::{Error, Field, Kind, Message};

/// Messages inside messages that are followed; generated decoders stop there as well.
pub(crate) const DEPTH_MAX: u32 = 100;

/// A value as it lies on the wire.
#[derive(Clone, Copy)]
pub(crate) enum Raw<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Writes an encoded `message` as JSON, in one line.
pub fn encode(schema: &Message, message: &[u8]) -> Result<String, Error> {
    let mut out = String::with_capacity(message.len() * 2);
    write_message(schema, message, &mut out, DEPTH_MAX)?;
    Ok(out)
}

pub(crate) fn broken(error: &DecodeError) -> Error {
    Error(format!("a message is not well-formed: {error}"))
}

fn write_message(
    schema: &Message,
    bytes: &[u8],
    out: &mut String,
    depth: u32,
) -> Result<(), Error> {
    let depth = depth.checked_sub(1).ok_or_else(|| Error("a message is too deep".to_owned()))?;
    let mut values = read_fields(schema, bytes).map_err(|error| broken(&error))?;
    values.sort_by_key(|(index, _)| *index);
    out.push('{');
    let mut empty = true;
    for same in values.chunk_by(|(a, _), (b, _)| a == b) {
        let field = &schema.fields[same[0].0];
        let (_, last) = *same.last().expect("a chunk has a value");
        if !field.repeated && field.oneof.is_none() && is_default(field.kind, last) {
            continue;
        }
        if !empty {
            out.push(',');
        }
        empty = false;
        write_string(field.name, out);
        out.push(':');
        if !field.repeated {
            write_value(field, last, out, depth)?;
            continue;
        }
        for (i, (_, value)) in same.iter().enumerate() {
            out.push(if i == 0 { '[' } else { ',' });
            write_value(field, *value, out, depth)?;
        }
        out.push(']');
    }
    out.push('}');
    Ok(())
}

/// The known fields of a message, each with its place in the table. Of several values of a field that
/// has one, or of the fields of a oneof, it gives the last.
pub(crate) fn read_fields<'a>(
    schema: &Message,
    mut bytes: &'a [u8],
) -> Result<Vec<(usize, Raw<'a>)>, DecodeError> {
    let mut values = Vec::new();
    while bytes.has_remaining() {
        let (number, wire) = encoding::decode_key(&mut bytes)?;
        let index = schema.fields.iter().position(|field| field.number == number);
        match (index, wire) {
            (Some(index), WireType::Varint) if !schema.fields[index].kind.is_delimited() => {
                values.push((index, Raw::Number(encoding::decode_varint(&mut bytes)?)));
            }
            (Some(index), WireType::LengthDelimited) => {
                let mut value = take(&mut bytes)?;
                if schema.fields[index].kind.is_delimited() {
                    values.push((index, Raw::Bytes(value)));
                    continue;
                }
                // Numbers of a repeated field, packed.
                while value.has_remaining() {
                    values.push((index, Raw::Number(encoding::decode_varint(&mut value)?)));
                }
            }
            _ => encoding::skip_field(wire, number, &mut bytes, DecodeContext::default())?,
        }
    }
    keep_last(schema, &mut values);
    Ok(values)
}

fn keep_last(schema: &Message, values: &mut Vec<(usize, Raw<'_>)>) {
    let mut given: Vec<&Field> = Vec::new();
    values.reverse();
    values.retain(|(index, _)| {
        let field = &schema.fields[*index];
        let is_replaced = given.iter().any(|later| {
            later.number == field.number || (field.oneof.is_some() && later.oneof == field.oneof)
        });
        if !field.repeated && !is_replaced {
            given.push(field);
        }
        field.repeated || !is_replaced
    });
    values.reverse();
}

/// The next length and as many bytes.
fn take<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let length = encoding::decode_varint(bytes)?;
    let split = usize::try_from(length).ok().and_then(|length| bytes.split_at_checked(length));
    let Some((value, rest)) = split else {
        // The error of the library for a length beyond the end.
        return Err(encoding::skip_field(
            WireType::LengthDelimited,
            1,
            &mut &[1][..],
            DecodeContext::default(),
        )
        .expect_err("one byte is missing"));
    };
    *bytes = rest;
    Ok(value)
}

pub(crate) fn is_default(kind: Kind, value: Raw<'_>) -> bool {
    match value {
        Raw::Number(number) => number == 0,
        Raw::Bytes(bytes) => bytes.is_empty() && !matches!(kind, Kind::Message(_)),
    }
}

fn write_value(field: &Field, value: Raw<'_>, out: &mut String, depth: u32) -> Result<(), Error> {
    match (field.kind, value) {
        (Kind::Bool, Raw::Number(n)) => out.push_str(if n == 0 { "false" } else { "true" }),
        (Kind::Int32, Raw::Number(n)) => out.push_str(&(n as i32).to_string()),
        (Kind::Uint32, Raw::Number(n)) => out.push_str(&(n as u32).to_string()),
        (Kind::Int64, Raw::Number(n)) => quote(&(n as i64).to_string(), out),
        (Kind::Uint64, Raw::Number(n)) => quote(&n.to_string(), out),
        (Kind::Enum(names), Raw::Number(n)) => match names.name(n as i32) {
            Some(name) => quote(name, out),
            None => out.push_str(&(n as i32).to_string()),
        },
        (Kind::String, Raw::Bytes(bytes)) => match std::str::from_utf8(bytes) {
            Ok(text) => write_string(text, out),
            Err(_) => {
                return Err(Error(format!("proto: field {} contains invalid UTF-8", field.name)));
            }
        },
        (Kind::Bytes, Raw::Bytes(bytes)) => {
            out.push('"');
            STANDARD.encode_string(bytes, out);
            out.push('"');
        }
        (Kind::Message(schema), Raw::Bytes(bytes)) => write_message(schema, bytes, out, depth)?,
        (kind, _) => unreachable!("read_fields never gives such a value for {}", kind.name()),
    }
    Ok(())
}

/// Puts quotes around what needs no escapes.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    out.push_str(text);
    out.push('"');
}

/// Writes a JSON string.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
