//! Conversions of Go's `strconv` that decide what a flag's text means and how an error quotes it.
//!
//! Source: the behaviour of `ParseBool`, `ParseInt`/`ParseUint` with base 0 and `Quote`.

use std::fmt;

/// Why a number was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberError {
    /// The text is no number of this kind.
    Syntax,
    /// The number does not fit.
    Range,
}

impl NumberError {
    /// The words that Go's `flag` package uses.
    pub(crate) fn flag_text(self) -> &'static str {
        match self {
            NumberError::Syntax => "parse error",
            NumberError::Range => "value out of range",
        }
    }

    /// The words that Go's `strconv` package uses.
    pub(crate) fn strconv_text(self) -> &'static str {
        match self {
            NumberError::Syntax => "invalid syntax",
            NumberError::Range => "value out of range",
        }
    }
}

/// Reads a boolean in one of Go's twelve spellings.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Reads an unsigned number; a prefix `0x`, `0o`, `0b` or `0` chooses the base.
pub(crate) fn parse_uint(text: &str, max: u64) -> Result<u64, NumberError> {
    let (base, digits) = split_base(text)?;
    let mut value: u64 = 0;
    let mut overflow = false;
    for byte in digits.bytes() {
        if byte == b'_' {
            continue;
        }
        let digit = match byte.to_ascii_lowercase() {
            b @ b'0'..=b'9' => u64::from(b - b'0'),
            b @ b'a'..=b'z' => u64::from(b - b'a') + 10,
            _ => return Err(NumberError::Syntax),
        };
        if digit >= base {
            return Err(NumberError::Syntax);
        }
        match value.checked_mul(base).and_then(|v| v.checked_add(digit)) {
            Some(next) => value = next,
            // Go stops at the first digit that does not fit, whatever follows it.
            None => return Err(NumberError::Range),
        }
        if value > max {
            overflow = true;
            break;
        }
    }
    if overflow {
        return Err(NumberError::Range);
    }
    if digits.contains('_') && !underscores_separate_digits(text) {
        return Err(NumberError::Syntax);
    }
    Ok(value)
}

/// Reads a signed 64-bit number with the rules of [`parse_uint`].
pub(crate) fn parse_int(text: &str) -> Result<i64, NumberError> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let limit = if negative { 1 << 63 } else { i64::MAX as u64 };
    let magnitude = parse_uint(digits, limit)?;
    Ok(if negative { (magnitude as i64).wrapping_neg() } else { magnitude as i64 })
}

fn split_base(text: &str) -> Result<(u64, &str), NumberError> {
    let bytes = text.as_bytes();
    match bytes {
        [] => Err(NumberError::Syntax),
        [b'0', b'x' | b'X', _, ..] => Ok((16, &text[2..])),
        [b'0', b'o' | b'O', _, ..] => Ok((8, &text[2..])),
        [b'0', b'b' | b'B', _, ..] => Ok((2, &text[2..])),
        [b'0', ..] => Ok((8, &text[1..])),
        _ => Ok((10, text)),
    }
}

/// Underscores may stand between digits, and between a base prefix and the first digit.
fn underscores_separate_digits(text: &str) -> bool {
    let mut last_was_digit = false;
    let mut last_was_underscore = false;
    let mut rest = text;
    if let [b'0', b'x' | b'X' | b'o' | b'O' | b'b' | b'B', ..] = text.as_bytes() {
        last_was_digit = true;
        rest = &text[2..];
    }
    for byte in rest.bytes() {
        if byte == b'_' {
            if !last_was_digit {
                return false;
            }
            last_was_digit = false;
            last_was_underscore = true;
        } else {
            last_was_digit = true;
            last_was_underscore = false;
        }
    }
    !last_was_underscore
}

/// Shows a text as a Go string literal in double quotes.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\u{7}' => f.write_str("\\a")?,
                '\u{8}' => f.write_str("\\b")?,
                '\u{c}' => f.write_str("\\f")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\u{b}' => f.write_str("\\v")?,
                c if c < ' ' || c == '\u{7f}' => write!(f, "\\x{:02x}", c as u32)?,
                c if c.is_control() => write!(f, "\\u{:04x}", c as u32)?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsigned_numbers_follow_base_zero() {
        let cases: &[(&str, Result<u64, NumberError>)] = &[
            ("0", Ok(0)),
            ("10", Ok(10)),
            ("010", Ok(8)),
            ("0x1F", Ok(31)),
            ("0o17", Ok(15)),
            ("0b101", Ok(5)),
            ("1_000", Ok(1000)),
            ("0x_ff", Ok(255)),
            ("0_7", Ok(7)),
            ("1__0", Err(NumberError::Syntax)),
            ("_1", Err(NumberError::Syntax)),
            ("1_", Err(NumberError::Syntax)),
            ("", Err(NumberError::Syntax)),
            ("0x", Err(NumberError::Syntax)),
            ("+5", Err(NumberError::Syntax)),
            ("-1", Err(NumberError::Syntax)),
            ("08", Err(NumberError::Syntax)),
            (" 1", Err(NumberError::Syntax)),
            ("1.0", Err(NumberError::Syntax)),
            ("18446744073709551615", Ok(u64::MAX)),
            ("18446744073709551616", Err(NumberError::Range)),
        ];
        for (text, want) in cases {
            assert_eq!(parse_uint(text, u64::MAX), *want, "{text:?}");
        }
        assert_eq!(parse_uint("4294967296", u64::from(u32::MAX)), Err(NumberError::Range));
    }

    #[test]
    fn signed_numbers_reach_both_ends() {
        assert_eq!(parse_int("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(parse_int("9223372036854775807"), Ok(i64::MAX));
        assert_eq!(parse_int("9223372036854775808"), Err(NumberError::Range));
        assert_eq!(parse_int("-9223372036854775809"), Err(NumberError::Range));
        assert_eq!(parse_int("+7"), Ok(7));
        assert_eq!(parse_int("-"), Err(NumberError::Syntax));
        assert_eq!(parse_int("é"), Err(NumberError::Syntax));
    }

    #[test]
    fn quoting_is_gos() {
        assert_eq!(Quoted("a\"b\\c\n\u{1}é").to_string(), r#""a\"b\\c\n\x01é""#);
    }
}
