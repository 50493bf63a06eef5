//! An encoded message in protobuf's text form, on one line, for the log.

use crate::{
    Error, Field, Kind, Message,
    encode::{DEPTH_MAX, Raw, broken, is_default, read_fields},
};

/// Writes an encoded `message` as text: `name:value name:{name:value}`.
pub fn text(schema: &Message, message: &[u8]) -> Result<String, Error> {
    let mut out = String::with_capacity(message.len() * 2);
    write_message(schema, message, &mut out, DEPTH_MAX)?;
    Ok(out)
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
    let mut first = true;
    for (index, value) in values {
        let field = &schema.fields[index];
        if !field.repeated && field.oneof.is_none() && is_default(field.kind, value) {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(' ');
        }
        out.push_str(field.name);
        out.push(':');
        write_value(field, value, out, depth)?;
    }
    Ok(())
}

fn write_value(field: &Field, value: Raw<'_>, out: &mut String, depth: u32) -> Result<(), Error> {
    match (field.kind, value) {
        (Kind::Message(schema), Raw::Bytes(bytes)) => {
            out.push('{');
            write_message(schema, bytes, out, depth)?;
            out.push('}');
        }
        (_, Raw::Bytes(bytes)) => quote(bytes, out),
        (Kind::Bool, Raw::Number(n)) => out.push_str(if n == 0 { "false" } else { "true" }),
        (Kind::Int32, Raw::Number(n)) => out.push_str(&(n as i32).to_string()),
        (Kind::Int64, Raw::Number(n)) => out.push_str(&(n as i64).to_string()),
        (Kind::Enum(names), Raw::Number(n)) => match names.name(n as i32) {
            Some(name) => out.push_str(name),
            None => out.push_str(&(n as i32).to_string()),
        },
        (_, Raw::Number(n)) => out.push_str(&n.to_string()),
    }
    Ok(())
}

/// A text in quotes; bytes that are no UTF-8 as numbers.
fn quote(bytes: &[u8], out: &mut String) {
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c < ' ' || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_without_defaults() {
        let range = crate::method("/etcdserverpb.KV/Range").unwrap().input;
        // key "a\"\xff\n", range_end "é", limit 3, sort_order DESCEND, serializable.
        let wire = [
            &[0x0a, 4][..],
            b"a\"\xff\n",
            &[0x12, 2],
            "é".as_bytes(),
            &[0x18, 3, 0x28, 2, 0x38, 1],
        ];
        let expected =
            r#"key:"a\"\xff\n" range_end:"é" limit:3 sort_order:DESCEND serializable:true"#;
        assert_eq!(text(range, &wire.concat()).unwrap(), expected);
        assert_eq!(text(range, &[]).unwrap(), "");
        assert!(text(range, &[0x0a, 9]).is_err());
        let txn = crate::method("/etcdserverpb.KV/Txn").unwrap().input;
        // success: request_range { key: "b" }, request_delete_range {}.
        let wire = [&[0x12, 5, 0x0a, 3, 0x0a, 1][..], b"b", &[0x12, 2, 0x1a, 0]].concat();
        let expected = r#"success:{request_range:{key:"b"}} success:{request_delete_range:{}}"#;
        assert_eq!(text(txn, &wire).unwrap(), expected);
    }
}
