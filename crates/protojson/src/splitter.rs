//! Cuts a stream of bytes into JSON values, as Go's `encoding/json` does: values follow each other
//! with or without white space, and whatever is no JSON is named with that library's texts.
//!
//! Invariant: a value that comes out is valid JSON but for the UTF-8 and the surrogates in its
//! strings, which nobody has looked at.

use bytes::{Buf, Bytes, BytesMut};

use crate::Error;

/// Arrays and objects in each other that are followed.
const DEPTH_MAX: usize = 10_000;

/// What the next byte may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A value.
    Value,
    /// A value, or the end of an empty array.
    ValueOrEnd,
    /// The key of an object, or its end when it is empty.
    KeyOrEnd,
    /// The key of an object.
    Key,
    /// What comes after a value.
    After,
    String,
    Escape,
    /// Hexadecimal digits that are still to come.
    Unicode(u8),
    /// After a minus.
    Minus,
    /// After a leading zero.
    Zero,
    Digits,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
    /// The rest of `true`, `false` or `null`: what, and how much of it has come.
    Word(&'static str, usize),
}

/// What is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Key,
    Member,
    Array,
}

/// Bytes in, values out.
#[derive(Debug)]
pub struct Splitter {
    buffer: BytesMut,
    /// Bytes of `buffer` that were looked at.
    seen: usize,
    /// Whether a value has begun.
    begun: bool,
    state: State,
    open: Vec<Open>,
    failed: Option<Error>,
}

/// What a byte does to the value that it is in.
enum Step {
    More,
    /// The value ends with this byte.
    Last,
    /// The value ended before this byte.
    Past,
}

impl Default for Splitter {
    fn default() -> Splitter {
        Splitter {
            buffer: BytesMut::new(),
            seen: 0,
            begun: false,
            state: State::Value,
            open: Vec::new(),
            failed: None,
        }
    }
}

impl Splitter {
    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes wait for the end of their value.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// The next value, if all of it has come. After an error there is nothing more.
    pub fn next_value(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        while self.seen < self.buffer.len() {
            let byte = self.buffer[self.seen];
            if !self.begun && is_space(byte) {
                self.buffer.advance(self.seen + 1);
                self.seen = 0;
                continue;
            }
            self.begun = true;
            match self.step(byte) {
                Ok(Step::More) => self.seen += 1,
                Ok(Step::Last) => return Ok(Some(self.cut(self.seen + 1))),
                Ok(Step::Past) => return Ok(Some(self.cut(self.seen))),
                Err(error) => {
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// The last value of a stream that has ended.
    pub fn finish(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(value) = self.next_value()? {
            return Ok(Some(value));
        }
        if !self.begun {
            return Ok(None);
        }
        // Only a number can end with its stream.
        if self.open.is_empty() && self.number_may_end() {
            return Ok(Some(self.cut(self.seen)));
        }
        let error = Error("unexpected EOF".to_owned());
        self.failed = Some(error.clone());
        Err(error)
    }

    fn cut(&mut self, length: usize) -> Bytes {
        let value = self.buffer.split_to(length).freeze();
        (self.seen, self.begun, self.state) = (0, false, State::Value);
        self.open.clear();
        value
    }

    fn number_may_end(&self) -> bool {
        use State::{Digits, ExponentDigits, Fraction, Zero};
        matches!(self.state, Zero | Digits | Fraction | ExponentDigits)
    }

    fn step(&mut self, byte: u8) -> Result<Step, Error> {
        match self.state {
            State::String | State::Escape | State::Unicode(_) => self.in_string(byte),
            State::Word(word, at) => self.in_word(byte, word, at),
            State::Minus
            | State::Zero
            | State::Digits
            | State::Point
            | State::Fraction
            | State::Exponent
            | State::ExponentSign
            | State::ExponentDigits => self.in_number(byte),
            _ if is_space(byte) => Ok(Step::More),
            State::ValueOrEnd if byte == b']' => self.close(),
            State::KeyOrEnd if byte == b'}' => self.close(),
            State::Value | State::ValueOrEnd => self.begin(byte),
            State::Key | State::KeyOrEnd if byte == b'"' => self.go(State::String),
            State::Key | State::KeyOrEnd => {
                Err(unexpected(byte, "looking for beginning of object key string"))
            }
            State::After => self.after(byte),
        }
    }

    fn go(&mut self, state: State) -> Result<Step, Error> {
        self.state = state;
        Ok(Step::More)
    }

    /// The first byte of a value.
    fn begin(&mut self, byte: u8) -> Result<Step, Error> {
        match byte {
            b'{' => self.open(Open::Key, State::KeyOrEnd),
            b'[' => self.open(Open::Array, State::ValueOrEnd),
            b'"' => self.go(State::String),
            b'-' => self.go(State::Minus),
            b'0' => self.go(State::Zero),
            b'1'..=b'9' => self.go(State::Digits),
            b't' => self.go(State::Word("true", 1)),
            b'f' => self.go(State::Word("false", 1)),
            b'n' => self.go(State::Word("null", 1)),
            _ => Err(unexpected(byte, "looking for beginning of value")),
        }
    }

    fn open(&mut self, open: Open, state: State) -> Result<Step, Error> {
        if self.open.len() == DEPTH_MAX {
            return Err(Error("exceeded max depth".to_owned()));
        }
        self.open.push(open);
        self.go(state)
    }

    /// The end of an array or object.
    fn close(&mut self) -> Result<Step, Error> {
        self.open.pop();
        self.end()
    }

    /// The last byte of a value.
    fn end(&mut self) -> Result<Step, Error> {
        if self.open.is_empty() {
            return Ok(Step::Last);
        }
        self.go(State::After)
    }

    /// The first byte after a value that is in another.
    fn after(&mut self, byte: u8) -> Result<Step, Error> {
        let Some(open) = self.open.last_mut() else { return Ok(Step::Past) };
        match (*open, byte) {
            (Open::Key, b':') => {
                *open = Open::Member;
                self.go(State::Value)
            }
            (Open::Key, _) => Err(unexpected(byte, "after object key")),
            (Open::Member, b',') => {
                *open = Open::Key;
                self.go(State::Key)
            }
            (Open::Member, b'}') | (Open::Array, b']') => self.close(),
            (Open::Member, _) => Err(unexpected(byte, "after object key:value pair")),
            (Open::Array, b',') => self.go(State::Value),
            (Open::Array, _) => Err(unexpected(byte, "after array element")),
        }
    }

    fn in_string(&mut self, byte: u8) -> Result<Step, Error> {
        match (self.state, byte) {
            (State::String, b'"') => self.end(),
            (State::String, b'\\') => self.go(State::Escape),
            (State::String, 0..b' ') => Err(unexpected(byte, "in string literal")),
            (State::String, _) => Ok(Step::More),
            (State::Escape, b'u') => self.go(State::Unicode(4)),
            (State::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't')
            | (State::Unicode(1), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.go(State::String)
            }
            (State::Escape, _) => Err(unexpected(byte, "in string escape code")),
            (State::Unicode(left), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.go(State::Unicode(left - 1))
            }
            _ => Err(unexpected(byte, "in \\u hexadecimal character escape")),
        }
    }

    fn in_number(&mut self, byte: u8) -> Result<Step, Error> {
        use State::{Digits, Exponent, ExponentDigits, ExponentSign, Fraction, Minus, Point, Zero};
        match (self.state, byte) {
            (Minus, b'0') => self.go(Zero),
            (Minus, b'1'..=b'9') => self.go(Digits),
            (Minus, _) => Err(unexpected(byte, "in numeric literal")),
            (Digits | Fraction | ExponentDigits, b'0'..=b'9') => Ok(Step::More),
            (Zero | Digits, b'.') => self.go(Point),
            (Zero | Digits | Fraction, b'e' | b'E') => self.go(Exponent),
            (Point, b'0'..=b'9') => self.go(Fraction),
            (Point, _) => Err(unexpected(byte, "after decimal point in numeric literal")),
            (Exponent, b'+' | b'-') => self.go(ExponentSign),
            (Exponent | ExponentSign, b'0'..=b'9') => self.go(ExponentDigits),
            (Exponent | ExponentSign, _) => Err(unexpected(byte, "in exponent of numeric literal")),
            _ if is_space(byte) && !self.open.is_empty() => self.go(State::After),
            _ => self.after(byte),
        }
    }

    fn in_word(&mut self, byte: u8, word: &'static str, at: usize) -> Result<Step, Error> {
        let expected = word.as_bytes()[at];
        if byte != expected {
            let expected = quoted(expected);
            return Err(unexpected(byte, &format!("in literal {word} (expecting {expected})")));
        }
        if at + 1 == word.len() { self.end() } else { self.go(State::Word(word, at + 1)) }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn unexpected(byte: u8, place: &str) -> Error {
    Error(format!("invalid character {} {place}", quoted(byte)))
}

/// A byte in the form in which Go writes it in errors.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => "'\\''".to_owned(),
        b'\\' => "'\\\\'".to_owned(),
        7 => "'\\a'".to_owned(),
        8 => "'\\b'".to_owned(),
        b'\t' => "'\\t'".to_owned(),
        b'\n' => "'\\n'".to_owned(),
        11 => "'\\v'".to_owned(),
        12 => "'\\f'".to_owned(),
        b'\r' => "'\\r'".to_owned(),
        0..=0x1f | 0x7f => format!("'\\x{byte:02x}'"),
        0x80..=0xa0 | 0xad => format!("'\\u{byte:04x}'"),
        _ => format!("'{}'", char::from(byte)),
    }
}
