//! JSON strings and times as Go writes them.

/// A second, in the unit of all times here.
pub const SECOND_NS: i64 = 1_000_000_000;

const DAY_S: i64 = 86_400;

/// Appends a JSON string. Go also escapes what HTML and scripts would trip over.
pub fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Of the last one, Go escapes those that stand for a byte that is no part of a character.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' | '\u{fffd}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Bytes as text: each byte that is no part of a character becomes U+FFFD, as in Go's JSON.
pub fn from_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

/// A time in UTC, as Go writes it: RFC 3339 with as many digits after the point as it takes.
pub fn time(unix_ns: i64) -> String {
    let (seconds, ns) = (unix_ns.div_euclid(SECOND_NS), unix_ns.rem_euclid(SECOND_NS));
    let (days, second) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if ns != 0 {
        let digits = format!(".{ns:09}");
        text.push_str(digits.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// Reads a time of RFC 3339. `None` for anything else, and for what 64 bits of nanoseconds do not
/// reach, such as Go's year 1.
pub fn parse_time(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
    };
    let mark = |at: usize, c: &str| (text.get(at..at + 1)? == c).then_some(());
    for (at, c) in [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")] {
        mark(at, c)?;
    }
    let days = days(number(0, 4)?, number(5, 7)?, number(8, 10)?)?;
    let second = number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    let mut rest = text.get(19..)?;
    let mut ns = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let count = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let digits = fraction[..count].get(..count.min(9))?;
        let scale = 10_i64.pow(9 - u32::try_from(digits.len()).ok()?);
        ns = digits.parse::<i64>().ok()? * scale;
        rest = &fraction[count..];
    }
    let offset = offset(rest)?;
    days.checked_mul(DAY_S)?.checked_add(second - offset)?.checked_mul(SECOND_NS)?.checked_add(ns)
}

/// Seconds east of UTC.
fn offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let sign = match text.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    Some(sign * (hours.parse::<u8>().ok()? as i64 * 3600 + minutes.parse::<u8>().ok()? as i64 * 60))
}

/// Days since 1970 of a date. Years are counted from March, so that a leap day is the last.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468)
}

/// The date of a day since 1970.
fn date(days: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097;
    let since = days + 719_468;
    let (era, day) = (since.div_euclid(ERA), since.rem_euclid(ERA));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_does() {
        let mut out = String::new();
        push_string(&mut out, "a\"\\\n<&>\u{7}\u{2028}é");
        assert_eq!(out, r#""a\"\\\n\u003c\u0026\u003e\u0007\u2028é""#);
        assert_eq!(from_bytes(b"a\xff\xfe\xc3b"), "a\u{fffd}\u{fffd}\u{fffd}b");
    }

    #[test]
    fn times_are_written_and_read() {
        for (ns, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_500_000_000, "2000-02-29T00:00:00.5Z"),
            (1_795_260_000_123_456_789, "2026-11-21T11:20:00.123456789Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
        ] {
            assert_eq!(time(ns), text);
            assert_eq!(parse_time(text), Some(ns));
        }
        assert_eq!(parse_time("1970-01-01T01:30:00+01:30"), Some(0));
        for bad in ["", "0001-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00", "x"]
        {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }
}
