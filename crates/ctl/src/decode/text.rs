//! Bytes as text: what a terminal may be shown, base 64, times.

use std::borrow::Cow;

use crate::gotext::quote::quote;

/// Whether the bytes can be shown as they are: UTF-8 of printable characters, tabs and line feeds.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.chars().all(is_shown))
}

/// Whether a character shows itself, or is a tab or line feed.
pub(super) fn is_shown(c: char) -> bool {
    matches!(c, '\n' | '\t') || is_printable(c)
}

/// Whether a character shows itself. Those that move or turn text do not.
pub(super) fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    // A character that is escaped in the middle of a literal has no shape of its own.
    let text = format!("a{c}");
    text.escape_debug().eq(text.chars())
}

/// A key on one line of a terminal: as it is when it is printable, else in quotes with escapes.
pub(crate) fn key(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(is_printable) => Cow::Borrowed(text),
        _ => Cow::Owned(quote(bytes)),
    }
}

/// Base 64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut quoted = String::new();
    crate::gotext::json::bytes(&mut quoted, bytes);
    quoted.trim_matches('"').to_owned()
}

/// Seconds and nanoseconds since 1970 as RFC 3339 has them; `None` outside the years 0 to 9999.
pub(super) fn time(seconds: i64, nanos: i64, micros: bool) -> Option<String> {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days)?;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = match micros {
        true if (0..1_000_000_000).contains(&nanos) => format!(".{:06}", nanos / 1000),
        true => return None,
        false => String::new(),
    };
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z"))
}

/// The date of a day since 1970, in the Gregorian calendar: eras of 400 years, years from March.
fn date(days: i64) -> Option<(i64, i64, i64)> {
    if !(-719_528..=2_932_896).contains(&days) {
        return None;
    }
    let from_march = days + 719_468;
    let (era, day) = (from_march.div_euclid(146_097), from_march.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    Some((era * 400 + year + i64::from(month <= 2), month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (-62_135_596_800, "0001-01-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(time(seconds, 0, false).as_deref(), Some(text));
        }
        assert_eq!(time(1, 1500, true).as_deref(), Some("1970-01-01T00:00:01.000001Z"));
        assert_eq!(time(i64::MAX, 0, false), None);
        assert_eq!(time(i64::MIN, 0, false), None);
        assert_eq!(time(0, -1, true), None);
    }

    #[test]
    fn keys_stay_on_one_line() {
        assert_eq!(key(b"/registry/pods/a b"), "/registry/pods/a b");
        assert_eq!(key("/caf\u{e9}".as_bytes()), "/caf\u{e9}");
        assert_eq!(key(b"a\nb"), "\"a\\nb\"");
        assert_eq!(key(b"\x1b[2J"), "\"\\x1b[2J\"");
        assert_eq!(key(b"\xff"), "\"\\xff\"");
        assert_eq!(key("\u{202e}x".as_bytes()), "\"\\u202ex\"");
    }
}
