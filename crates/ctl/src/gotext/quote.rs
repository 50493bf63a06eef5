//! `%q`: text in double quotes with Go's escapes, both ways.

use std::fmt::Write;

/// `bytes` in double quotes; what is no UTF-8 becomes `\xNN`.
pub(crate) fn quote(bytes: impl AsRef<[u8]>) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.as_ref().utf8_chunks() {
        for c in chunk.valid().chars() {
            push(&mut out, c);
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}").expect("a String takes everything");
        }
    }
    out.push('"');
    out
}

/// A list of texts as `%q` writes a slice: `["a" "b"]`.
pub(crate) fn quote_list<T: AsRef<[u8]>>(texts: &[T]) -> String {
    let quoted: Vec<_> = texts.iter().map(quote).collect();
    format!("[{}]", quoted.join(" "))
}

fn push(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        c if is_printable(c) => out.push(c),
        c if c < ' ' || c == '\x7f' => {
            write!(out, "\\x{:02x}", u32::from(c)).expect("a String takes everything");
        }
        c if u32::from(c) < 0x10000 => {
            write!(out, "\\u{:04x}", u32::from(c)).expect("a String takes everything");
        }
        c => write!(out, "\\U{:08x}", u32::from(c)).expect("a String takes everything"),
    }
}

/// Go's and Rust's notions agree, up to their versions of Unicode: letters, marks, numbers,
/// punctuation, symbols and the ASCII space. Behind another character a mark is not escaped for
/// being one.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    let text = format!("a{c}");
    text.escape_debug().eq(text.chars())
}

/// The bytes of a literal in double quotes or backquotes, quotes included in `literal`.
pub(crate) fn unquote(literal: &str) -> Option<Vec<u8>> {
    if let Some(raw) = literal.strip_prefix('`') {
        let raw = raw.strip_suffix('`')?;
        return (!raw.contains('`')).then(|| raw.replace('\r', "").into_bytes());
    }
    let body = literal.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = Vec::new();
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' | '\n' => return None,
            '\\' => escape(&mut chars, &mut out)?,
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Some(out)
}

/// What follows a backslash.
fn escape(chars: &mut std::str::Chars<'_>, out: &mut Vec<u8>) -> Option<()> {
    let c = chars.next()?;
    let simple = match c {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        'x' => u8::try_from(digits(chars, 2, 16)?).ok()?,
        '0'..='7' => {
            let rest = digits(chars, 2, 8)?;
            u8::try_from(c.to_digit(8)? * 64 + rest).ok()?
        }
        'u' | 'U' => {
            let code = digits(chars, if c == 'u' { 4 } else { 8 }, 16)?;
            let c = char::from_u32(code)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(());
        }
        _ => return None,
    };
    out.push(simple);
    Some(())
}

fn digits(chars: &mut std::str::Chars<'_>, count: usize, radix: u32) -> Option<u32> {
    (0..count).try_fold(0_u32, |value, _| {
        value.checked_mul(radix)?.checked_add(chars.next()?.to_digit(radix)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_quotes() {
        for (bytes, quoted) in [
            (&b"plain"[..], r#""plain""#),
            (b"a\"b\\c\n\t\x00\x7f", r#""a\"b\\c\n\t\x00\x7f""#),
            (b"\xff\xc3", r#""\xff\xc3""#),
            ("é世\u{301}".as_bytes(), "\"é世\u{301}\""),
            ("\u{200b}\u{a0}\u{10ffff}".as_bytes(), r#""\u200b\u00a0\U0010ffff""#),
        ] {
            assert_eq!(quote(bytes), quoted);
            assert_eq!(unquote(quoted).unwrap(), bytes);
        }
        assert_eq!(quote_list(&["a", "b c"]), r#"["a" "b c"]"#);
    }

    #[test]
    fn literals_are_read_or_refused() {
        assert_eq!(unquote(r#""\101\u00e9\a""#).unwrap(), "A\u{e9}\u{7}".as_bytes());
        assert_eq!(unquote("`a\\n\"b`").unwrap(), b"a\\n\"b");
        for bad in ["", "\"", "a", r#""\q""#, r#""\x1""#, r#""\ud800""#, "\"a\nb\"", r#""\'""#] {
            assert_eq!(unquote(bad), None, "{bad}");
        }
    }
}
