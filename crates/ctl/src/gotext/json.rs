//! JSON as Go's `encoding/json` writes it: members in the order given, bytes in base 64, and
//! `<`, `>`, `&` escaped in texts.

use std::fmt::Display;

/// An object under construction. Plain methods leave out zero values, as `omitempty` does; those
/// named `_always` write them.
pub(crate) struct Object<'a> {
    out: &'a mut String,
    first: bool,
}

/// Writes one object.
pub(crate) fn object(out: &mut String, fill: impl FnOnce(&mut Object<'_>)) {
    out.push('{');
    let mut object = Object { out, first: true };
    fill(&mut object);
    object.out.push('}');
}

/// Writes a list.
pub(crate) fn array<T>(
    out: &mut String,
    items: impl IntoIterator<Item = T>,
    mut each: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        each(out, item);
    }
    out.push(']');
}

/// Writes a text.
pub(crate) fn text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            c if c < ' ' || "<>&\u{2028}\u{2029}".contains(c) => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Writes bytes in base 64.
pub(crate) fn bytes(out: &mut String, bytes: &[u8]) {
    out.push('"');
    base64(out, bytes);
    out.push('"');
}

/// Appends `bytes` in base 64 with padding (RFC 4648).
pub(crate) fn base64(out: &mut String, bytes: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for at in 0..4 {
            let index = (bits >> (18 - 6 * at)) & 63;
            out.push(if at <= chunk.len() { char::from(ALPHABET[index as usize]) } else { '=' });
        }
    }
}

impl Object<'_> {
    fn name(&mut self, name: &str) -> &mut String {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
        text(self.out, name);
        self.out.push(':');
        self.out
    }

    /// A number that is left out when zero.
    pub(crate) fn number<N: Display + Default + PartialEq>(&mut self, name: &str, value: N) {
        if value != N::default() {
            self.number_always(name, value);
        }
    }

    /// A number.
    pub(crate) fn number_always(&mut self, name: &str, value: impl Display) {
        let value = value.to_string();
        self.name(name).push_str(&value);
    }

    /// A truth value that is left out when false.
    pub(crate) fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.flag_always(name, value);
        }
    }

    /// A truth value.
    pub(crate) fn flag_always(&mut self, name: &str, value: bool) {
        self.name(name).push_str(if value { "true" } else { "false" });
    }

    /// A text that is left out when empty.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.text_always(name, value);
        }
    }

    /// A text.
    pub(crate) fn text_always(&mut self, name: &str, value: &str) {
        text(self.name(name), value);
    }

    /// Bytes that are left out when empty.
    pub(crate) fn bytes(&mut self, name: &str, value: &[u8]) {
        if !value.is_empty() {
            bytes(self.name(name), value);
        }
    }

    /// An object.
    pub(crate) fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        object(self.name(name), fill);
    }

    /// `null`.
    pub(crate) fn null(&mut self, name: &str) {
        self.name(name).push_str("null");
    }

    /// A list that is left out when empty.
    pub(crate) fn list<T>(&mut self, name: &str, items: &[T], each: impl Fn(&mut String, &T)) {
        if !items.is_empty() {
            self.list_always(name, items, each);
        }
    }

    /// A list.
    pub(crate) fn list_always<T>(
        &mut self,
        name: &str,
        items: &[T],
        each: impl Fn(&mut String, &T),
    ) {
        array(self.name(name), items, each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_values_are_left_out_and_texts_escaped() {
        let mut out = String::new();
        object(&mut out, |object| {
            object.number("zero", 0_i64);
            object.number("n", -5_i64);
            object.number_always("always", 0_u64);
            object.text("s", "a<b>&\"\u{1}é");
            object.text("empty", "");
            object.flag("no", false);
            object.object("o", |_| {});
            object.list("l", &["x", "y"], |out, item| text(out, item));
            object.null("none");
        });
        let expected = r#"{"n":-5,"always":0,"s":"a\u003cb\u003e\u0026\"\u0001é","o":{},"l":["x","y"],"none":null}"#;
        assert_eq!(out, expected);
    }

    #[test]
    fn base64_of_every_remainder() {
        for (plain, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            let mut out = String::new();
            base64(&mut out, plain.as_bytes());
            assert_eq!(out, encoded);
        }
    }
}
