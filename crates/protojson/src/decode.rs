//! JSON to an encoded message.

use std::borrow::Cow;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use prost::encoding::{self, WireType};

use crate::{
    Error, Field, Kind, Message,
    token::{Token, Tokens, Value},
};

/// Messages inside messages; generated decoders take no more.
const DEPTH_MAX: u32 = 100;
/// Digits of the longest number that is looked at.
const DIGITS_MAX: usize = 400;

/// Encodes what one JSON value says as a message.
pub fn decode(schema: &Message, json: &[u8]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(json.len());
    let mut tokens = Tokens::new(json);
    read_message(schema, &mut tokens, &mut out, DEPTH_MAX)?;
    let after = tokens.next()?;
    match after.value {
        Value::End => Ok(out),
        _ => Err(tokens.unexpected(&after)),
    }
}

fn read_message(
    schema: &Message,
    tokens: &mut Tokens<'_>,
    out: &mut Vec<u8>,
    depth: u32,
) -> Result<(), Error> {
    let start = tokens.next()?;
    if start.value != Value::Mark(b'{') {
        return Err(tokens.unexpected(&start));
    }
    let too_deep = || Error("exceeded max recursion depth".to_owned());
    let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
    let mut given: Vec<&'static str> = Vec::new();
    if tokens.peek()?.value == Value::Mark(b'}') {
        tokens.next()?;
        return Ok(());
    }
    loop {
        let token = tokens.next()?;
        let Value::String(name) = &token.value else { return Err(tokens.unexpected(&token)) };
        let colon = tokens.next()?;
        if colon.value != Value::Mark(b':') {
            return Err(tokens.unexpected(&colon));
        }
        match schema.by_name(name) {
            None => skip(tokens)?,
            Some(field) => {
                check_once(field, &token, tokens, &mut given)?;
                read_field(field, tokens, out, depth)?;
            }
        }
        let next = tokens.next()?;
        match next.value {
            Value::Mark(b',') => {}
            Value::Mark(b'}') => return Ok(()),
            _ => return Err(tokens.unexpected(&next)),
        }
    }
}

/// Refuses a second value of a field, or of the oneof that it is in.
fn check_once(
    field: &'static Field,
    token: &Token<'_>,
    tokens: &mut Tokens<'_>,
    given: &mut Vec<&'static str>,
) -> Result<(), Error> {
    let raw = String::from_utf8_lossy(token.raw);
    if given.contains(&field.name) {
        return Err(tokens.error(token.at, &format!("duplicate field {raw}")));
    }
    given.push(field.name);
    let Some(oneof) = field.oneof else { return Ok(()) };
    if tokens.peek()?.value == Value::Null {
        return Ok(());
    }
    if given.contains(&oneof) {
        let text = format!("error parsing {raw}, oneof {oneof} is already set");
        return Err(tokens.error(token.at, &text));
    }
    given.push(oneof);
    Ok(())
}

fn read_field(
    field: &'static Field,
    tokens: &mut Tokens<'_>,
    out: &mut Vec<u8>,
    depth: u32,
) -> Result<(), Error> {
    if tokens.peek()?.value == Value::Null {
        tokens.next()?;
        return Ok(());
    }
    if !field.repeated {
        return read_value(field, tokens, out, depth);
    }
    let start = tokens.next()?;
    if start.value != Value::Mark(b'[') {
        return Err(tokens.unexpected(&start));
    }
    if tokens.peek()?.value == Value::Mark(b']') {
        tokens.next()?;
        return Ok(());
    }
    loop {
        // Numbers go one by one; a decoder takes them as well as packed ones.
        read_value(field, tokens, out, depth)?;
        let next = tokens.next()?;
        match next.value {
            Value::Mark(b',') => {}
            Value::Mark(b']') => return Ok(()),
            _ => return Err(tokens.unexpected(&next)),
        }
    }
}

fn read_value(
    field: &'static Field,
    tokens: &mut Tokens<'_>,
    out: &mut Vec<u8>,
    depth: u32,
) -> Result<(), Error> {
    if let Kind::Message(schema) = field.kind {
        let mut inner = Vec::new();
        read_message(schema, tokens, &mut inner, depth)?;
        put_bytes(field, &inner, out);
        return Ok(());
    }
    let token = tokens.next()?;
    match scalar(field.kind, &token) {
        Some(Scalar::Number(0)) if !field.repeated && field.oneof.is_none() => {}
        Some(Scalar::Number(number)) => {
            encoding::encode_key(field.number, WireType::Varint, out);
            encoding::encode_varint(number, out);
        }
        Some(Scalar::Bytes(bytes)) => put_bytes(field, &bytes, out),
        Some(Scalar::Unknown) => {}
        None => {
            let raw = String::from_utf8_lossy(token.raw);
            let (kind, name) = (field.kind.name(), field.json_name);
            let text = format!("invalid value for {kind} field {name}: {raw}");
            return Err(tokens.error(token.at, &text));
        }
    }
    Ok(())
}

fn put_bytes(field: &Field, bytes: &[u8], out: &mut Vec<u8>) {
    encoding::encode_key(field.number, WireType::LengthDelimited, out);
    encoding::encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// What a token says.
enum Scalar<'a> {
    Number(u64),
    Bytes(Cow<'a, [u8]>),
    /// The name of an enum that nobody knows.
    Unknown,
}

/// The value of a token, if it is one of this kind.
fn scalar<'a>(kind: Kind, token: &'a Token<'_>) -> Option<Scalar<'a>> {
    Some(match (kind, &token.value) {
        (Kind::Bool, Value::Bool(value)) => Scalar::Number(u64::from(*value)),
        (Kind::Int32, _) => Scalar::Number(i64::from(i32::try_from(number(token)?).ok()?) as u64),
        (Kind::Int64, _) => Scalar::Number(i64::try_from(number(token)?).ok()? as u64),
        (Kind::Uint32, _) => Scalar::Number(u64::from(u32::try_from(number(token)?).ok()?)),
        (Kind::Uint64, _) => Scalar::Number(u64::try_from(number(token)?).ok()?),
        (Kind::Enum(names), Value::String(name)) => match names.number(name) {
            Some(number) => Scalar::Number(i64::from(number) as u64),
            None => Scalar::Unknown,
        },
        (Kind::Enum(_), Value::Number) => {
            Scalar::Number(i64::from(i32::try_from(number(token)?).ok()?) as u64)
        }
        (Kind::String, Value::String(text)) => Scalar::Bytes(Cow::Borrowed(text.as_bytes())),
        (Kind::Bytes, Value::String(text)) => Scalar::Bytes(Cow::Owned(base64(text)?)),
        _ => return None,
    })
}

/// A whole number, plain or in a string, perhaps with a fraction of zeros or an exponent.
fn number(token: &Token<'_>) -> Option<i128> {
    let text = match &token.value {
        Value::Number => std::str::from_utf8(token.raw).ok()?,
        Value::String(text) => text,
        _ => return None,
    };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            (mantissa, exponent.parse::<i64>().ok()?)
        }
        None => (digits, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    if whole.is_empty() || leading_zero || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let value = whole_number(whole, fraction.trim_end_matches('0'), exponent)?;
    Some(if negative { -value } else { value })
}

/// `whole.fraction` times ten to the `exponent`, if that is a whole number of a size that fits.
fn whole_number(whole: &str, fraction: &str, exponent: i64) -> Option<i128> {
    if whole.len() + fraction.len() > DIGITS_MAX {
        return None;
    }
    let all = format!("{whole}{fraction}");
    let digits = all.trim_end_matches('0');
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    // The power of ten of the last digit that is not zero.
    let zeros = (all.len() - digits.len()) as i64;
    let power = exponent.checked_add(zeros - fraction.len() as i64)?;
    let power = u32::try_from(power).ok().filter(|power| *power < 30)?;
    significant.parse::<i128>().ok()?.checked_mul(10_i128.checked_pow(power)?)
}

/// Bytes of either base64 alphabet, with padding or without.
fn base64(text: &str) -> Option<Vec<u8>> {
    const RULES: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, RULES);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, RULES);
    let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    // Padding belongs to lengths that need it.
    if !text.len().is_multiple_of(4) && text.ends_with('=') {
        return None;
    }
    if !text.contains(['\r', '\n']) {
        return engine.decode(text).ok();
    }
    engine.decode(text.replace(['\r', '\n'], "")).ok()
}

/// Passes over one value, whatever it is.
fn skip(tokens: &mut Tokens<'_>) -> Result<(), Error> {
    let mut depth = 0_usize;
    loop {
        let token = tokens.next()?;
        match token.value {
            Value::Mark(b'{' | b'[') => depth += 1,
            Value::Mark(b'}' | b']') if depth > 0 => depth -= 1,
            Value::Mark(b',' | b':') if depth > 0 => continue,
            Value::Mark(_) | Value::End => return Err(tokens.unexpected(&token)),
            _ => {}
        }
        if depth == 0 {
            return Ok(());
        }
    }
}
