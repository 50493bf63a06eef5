//! JSON of the gateway: any text for any message ends in bytes or an error; what it became is written
//! and read again as the same. Encoded messages of any kind are written without a panic. A stream of
//! values is cut the same however it arrives.
//!
//! Two bytes choose the message and what is done, the rest is the text.

use protojson::{METHODS, Splitter};

/// Runs an input.
pub fn run(input: &[u8]) {
    let [which, how, rest @ ..] = input else { return };
    let method = &METHODS[usize::from(*which) % METHODS.len()];
    let schema = if how & 1 == 0 { method.input } else { method.output };
    match how >> 1 & 3 {
        0 | 1 => {
            let Ok(message) = protojson::decode(schema, rest) else { return };
            let json = protojson::encode(schema, &message).expect("what was read can be written");
            let again = protojson::decode(schema, json.as_bytes());
            let again = again.expect("what was written can be read");
            let twice = protojson::encode(schema, &again).expect("as before");
            assert_eq!(json, twice, "{}", method.path);
            let _ = protojson::text(schema, &message);
        }
        2 => {
            if let Ok(json) = protojson::encode(schema, rest) {
                protojson::decode(schema, json.as_bytes()).expect("what was written can be read");
            }
            let _ = protojson::text(schema, rest);
        }
        _ => {
            let cut = usize::from(how >> 3).max(1);
            assert_eq!(split(rest, cut), split(rest, usize::MAX), "in pieces of {cut}");
        }
    }
}

/// The values of a stream, and whether it ended well.
fn split(bytes: &[u8], cut: usize) -> (Vec<bytes::Bytes>, bool) {
    let (mut splitter, mut values) = (Splitter::default(), Vec::new());
    for piece in bytes.chunks(cut.min(bytes.len().max(1))) {
        splitter.push(piece);
        loop {
            match splitter.next_value() {
                Ok(Some(value)) => values.push(value),
                Ok(None) => break,
                Err(_) => return (values, false),
            }
        }
    }
    match splitter.finish() {
        Ok(last) => {
            values.extend(last);
            (values, true)
        }
        Err(_) => (values, false),
    }
}
