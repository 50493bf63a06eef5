//! Tokens of one JSON value, with their places for errors.
//!
//! The value is known to be valid but for its strings (see [`crate::Splitter`]): a broken structure
//! is an error here all the same, never a panic.

use std::borrow::Cow;

use crate::Error;

/// A piece of JSON.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token<'a> {
    /// Where it begins.
    pub(crate) at: usize,
    /// Its text.
    pub(crate) raw: &'a [u8],
    /// What it is.
    pub(crate) value: Value<'a>,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    /// One of `{}[],:`.
    Mark(u8),
    Null,
    Bool(bool),
    Number,
    String(Cow<'a, str>),
    End,
}

/// Reads tokens.
pub(crate) struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Tokens<'a> {
        Tokens { text, at: 0 }
    }

    /// The next token, left where it is.
    pub(crate) fn peek(&mut self) -> Result<Token<'a>, Error> {
        let at = self.at;
        let token = self.next();
        self.at = at;
        token
    }

    /// The next token.
    pub(crate) fn next(&mut self) -> Result<Token<'a>, Error> {
        while self.text.get(self.at).is_some_and(|byte| b" \t\r\n".contains(byte)) {
            self.at += 1;
        }
        let at = self.at;
        let rest = &self.text[at..];
        let (length, value) = match rest.first() {
            None => (0, Value::End),
            Some(mark @ (b'{' | b'}' | b'[' | b']' | b',' | b':')) => (1, Value::Mark(*mark)),
            Some(b'"') => self.string(at)?,
            Some(_) => {
                let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                let length = rest.iter().take_while(|byte| word(byte)).count().max(1);
                match &rest[..length] {
                    b"null" => (length, Value::Null),
                    b"true" => (length, Value::Bool(true)),
                    b"false" => (length, Value::Bool(false)),
                    [b'-' | b'0'..=b'9', ..] => (length, Value::Number),
                    other => {
                        let text = String::from_utf8_lossy(other);
                        return Err(self.syntax(at, &format!("invalid value {text}")));
                    }
                }
            }
        };
        self.at = at + length;
        Ok(Token { at, raw: &rest[..length], value })
    }

    /// A string, with its quotes at `at`.
    fn string(&self, at: usize) -> Result<(usize, Value<'a>), Error> {
        let body = &self.text[at + 1..];
        let plain = body.iter().position(|byte| matches!(byte, b'"' | b'\\'));
        let Some(plain) = plain else { return Err(Error("unexpected EOF".to_owned())) };
        let utf8 = |bytes: &'a [u8]| {
            let invalid = |_| self.syntax(at, "invalid UTF-8 in string");
            std::str::from_utf8(bytes).map_err(invalid)
        };
        if body[plain] == b'"' {
            return Ok((plain + 2, Value::String(Cow::Borrowed(utf8(&body[..plain])?))));
        }
        let mut text = String::new();
        let mut rest = body;
        loop {
            let next = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            let Some(next) = next else { return Err(Error("unexpected EOF".to_owned())) };
            text.push_str(utf8(&rest[..next])?);
            rest = &rest[next..];
            if rest[0] == b'"' {
                let length = 1 + body.len() - rest.len() + 1;
                return Ok((length, Value::String(Cow::Owned(text))));
            }
            let Some((c, length)) = unescape(rest) else {
                // Half of a pair, with less behind it than the other half takes.
                if hex(rest).is_some() && rest.len() < 12 {
                    return Err(Error("proto: unexpected EOF".to_owned()));
                }
                let shown = rest.len().min(if rest.get(1) == Some(&b'u') { 6 } else { 2 });
                let code = String::from_utf8_lossy(&rest[..shown]);
                return Err(self.syntax(at, &format!("invalid escape code {code:?} in string")));
            };
            text.push(c);
            rest = &rest[length..];
        }
    }

    /// An error about what is at `at`.
    pub(crate) fn error(&self, at: usize, what: &str) -> Error {
        Error(format!("proto: ({}): {what}", self.place(at)))
    }

    /// An error about the form of the text at `at`.
    pub(crate) fn syntax(&self, at: usize, what: &str) -> Error {
        Error(format!("proto: syntax error ({}): {what}", self.place(at)))
    }

    /// The error for a token that should not be where it is.
    pub(crate) fn unexpected(&self, token: &Token<'_>) -> Error {
        let raw = String::from_utf8_lossy(token.raw);
        self.syntax(token.at, &format!("unexpected token {raw}"))
    }

    fn place(&self, at: usize) -> String {
        let before = &self.text[..at];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |i| i + 1);
        let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
        format!("line {line}:{column}")
    }
}

/// The character that an escape stands for, and the length of the escape.
fn unescape(text: &[u8]) -> Option<(char, usize)> {
    let simple = match text.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let first = hex(text)?;
            if let Some(c) = char::from_u32(first) {
                return Some((c, 6));
            }
            // One half of a character beyond the first 65,536.
            let second = hex(&text[6..])?;
            let both = (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(&second);
            let code = 0x10000 + ((first.wrapping_sub(0xd800)) << 10) + (second & 0x3ff);
            return both.then(|| char::from_u32(code)).flatten().map(|c| (c, 12));
        }
        _ => return None,
    };
    Some((simple, 2))
}

/// The number in `\u` and four digits.
fn hex(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    let digits = std::str::from_utf8(digits).ok().filter(|d| !d.starts_with('+'))?;
    u32::from_str_radix(digits, 16).ok()
}
