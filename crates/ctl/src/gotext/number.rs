//! Numbers and truth values as `strconv` reads them, errors included.

/// An integer in base 10 or 16 without a prefix, or in the base of its prefix when `base` is 0.
pub(crate) fn parse_int(text: &str, base: u32) -> Result<i64, String> {
    let error = |why: &str| failure("ParseInt", text, why);
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = magnitude(digits, base).map_err(error)?;
    let limit = if negative { 1_u64 << 63 } else { (1 << 63) - 1 };
    match magnitude {
        Some(value) if value <= limit => {
            let value = value.cast_signed();
            Ok(if negative { value.wrapping_neg() } else { value })
        }
        _ => Err(error(OUT_OF_RANGE)),
    }
}

/// An integer without a sign.
pub(crate) fn parse_uint(text: &str, base: u32) -> Result<u64, String> {
    let error = |why: &str| failure("ParseUint", text, why);
    magnitude(text, base).map_err(error)?.ok_or_else(|| error(OUT_OF_RANGE))
}

/// `1`, `t`, `T`, `true`, `TRUE`, `True` and their opposites.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(failure("ParseBool", text, SYNTAX)),
    }
}

const SYNTAX: &str = "invalid syntax";
const OUT_OF_RANGE: &str = "value out of range";

fn failure(function: &str, text: &str, why: &str) -> String {
    format!("strconv.{function}: parsing {}: {why}", super::quote::quote(text))
}

/// The value of the digits; `None` when it has more than 64 bits.
fn magnitude(text: &str, base: u32) -> Result<Option<u64>, &'static str> {
    let (digits, radix) = match base {
        0 => prefixed(text),
        base => (text, base),
    };
    // Underscores may separate digits, and follow a prefix, where the base is the text's own.
    let separated = base == 0
        && !digits.ends_with('_')
        && !digits.contains("__")
        && (digits.len() < text.len() || !digits.starts_with('_'));
    let digits: String = if separated { digits.replace('_', "") } else { digits.to_owned() };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(SYNTAX);
    }
    Ok(u64::from_str_radix(&digits, radix).ok())
}

fn prefixed(text: &str) -> (&str, u32) {
    let lower = text.get(..2).map(str::to_ascii_lowercase);
    match lower.as_deref() {
        Some("0x") => (&text[2..], 16),
        Some("0b") => (&text[2..], 2),
        Some("0o") => (&text[2..], 8),
        _ if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        _ => (text, 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_their_errors() {
        assert_eq!(parse_int("-9223372036854775808", 10), Ok(i64::MIN));
        assert_eq!(parse_int("7fffffffffffffff", 16), Ok(i64::MAX));
        assert_eq!(parse_int("0x1_0", 0), Ok(16));
        assert_eq!(parse_int("0", 0), Ok(0));
        assert_eq!(parse_int("017", 0), Ok(15));
        assert_eq!(
            parse_int("x", 10),
            Err("strconv.ParseInt: parsing \"x\": invalid syntax".to_owned())
        );
        assert_eq!(
            parse_int("9223372036854775808", 10),
            Err("strconv.ParseInt: parsing \"9223372036854775808\": value out of range".to_owned())
        );
        for bad in ["", "-", "1_0", "0x10", " 1"] {
            assert!(parse_int(bad, 10).is_err(), "{bad}");
        }
        assert_eq!(parse_uint("ffffffffffffffff", 16), Ok(u64::MAX));
        assert!(parse_uint("-1", 16).unwrap_err().starts_with("strconv.ParseUint"));
    }

    #[test]
    fn truth() {
        assert_eq!(parse_bool("T"), Ok(true));
        assert_eq!(parse_bool("False"), Ok(false));
        assert_eq!(
            parse_bool("yes"),
            Err("strconv.ParseBool: parsing \"yes\": invalid syntax".to_owned())
        );
    }
}
