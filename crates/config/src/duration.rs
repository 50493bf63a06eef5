//! Durations as Go writes and reads them (`1h30m`, `100ms`, `1.5s`), counted in nanoseconds.
//!
//! A duration is signed, as in Go: `--corrupt-check-time=-1s` is accepted by etcd.

use std::fmt;
use std::time::Duration;

use crate::goconv::Quoted;

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

const MAGNITUDE_MAX: u64 = 1 << 63;

/// A length of time in nanoseconds that reads and shows itself as Go's `time.Duration`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(i64);

impl GoDuration {
    /// No time at all.
    pub const ZERO: GoDuration = GoDuration(0);

    /// A duration of this many nanoseconds.
    pub const fn from_nanos(nanos: i64) -> GoDuration {
        GoDuration(nanos)
    }

    /// A duration of this many milliseconds.
    pub const fn from_millis(millis: i64) -> GoDuration {
        GoDuration(millis * 1_000_000)
    }

    /// A duration of this many seconds.
    pub const fn from_secs(secs: i64) -> GoDuration {
        GoDuration(secs * 1_000_000_000)
    }

    /// The number of nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whether this is exactly zero, which many flags read as "the default" or "off".
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The standard library's duration; a negative one becomes zero.
    pub fn to_std(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }

    /// Reads Go's syntax. The error is the text of Go's `time.ParseDuration`.
    pub fn parse(text: &str) -> Result<GoDuration, String> {
        let invalid = || format!("time: invalid duration {}", Quoted(text));
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(GoDuration::ZERO);
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let (nanos, tail) = parse_term(text, rest)?;
            rest = tail;
            total =
                total.checked_add(nanos).filter(|sum| *sum <= MAGNITUDE_MAX).ok_or_else(invalid)?;
        }
        if negative {
            return Ok(GoDuration((total as i64).wrapping_neg()));
        }
        i64::try_from(total).map(GoDuration).map_err(|_| invalid())
    }
}

/// Reads one `number unit` and returns its nanoseconds and what follows.
fn parse_term<'a>(whole: &str, term: &'a str) -> Result<(u64, &'a str), String> {
    let invalid = || format!("time: invalid duration {}", Quoted(whole));
    let split_digits = |s: &'a str| s.split_at(s.bytes().take_while(u8::is_ascii_digit).count());
    let (integer, mut rest) = split_digits(term);
    let mut fraction = "";
    if let Some(tail) = rest.strip_prefix('.') {
        (fraction, rest) = split_digits(tail);
    }
    if integer.is_empty() && fraction.is_empty() {
        return Err(invalid());
    }
    let unit_len = rest.bytes().take_while(|b| *b != b'.' && !b.is_ascii_digit()).count();
    let (unit, rest) = rest.split_at(unit_len);
    if unit.is_empty() {
        return Err(format!("time: missing unit in duration {}", Quoted(whole)));
    }
    let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let (unit, whole) = (Quoted(unit), Quoted(whole));
        return Err(format!("time: unknown unit {unit} in duration {whole}"));
    };
    let whole_units: u64 =
        if integer.is_empty() { 0 } else { integer.parse().map_err(|_| invalid())? };
    let nanos = whole_units.checked_mul(*scale).filter(|n| *n <= MAGNITUDE_MAX);
    let nanos = nanos.ok_or_else(invalid)? + fraction_nanos(fraction, *scale);
    if nanos > MAGNITUDE_MAX {
        return Err(invalid());
    }
    Ok((nanos, rest))
}

/// The nanoseconds of the digits after the point; digits beyond 63 bits are dropped.
fn fraction_nanos(digits: &str, unit: u64) -> u64 {
    let mut value: u64 = 0;
    let mut scale: f64 = 1.0;
    for byte in digits.bytes() {
        let next = value.checked_mul(10).map(|v| v + u64::from(byte - b'0'));
        let Some(next) = next.filter(|v| *v <= MAGNITUDE_MAX) else {
            break;
        };
        value = next;
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

impl From<Duration> for GoDuration {
    fn from(value: Duration) -> GoDuration {
        GoDuration(i64::try_from(value.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let nanos = self.0.unsigned_abs();
        if nanos < 1_000 {
            return write!(f, "{nanos}ns");
        }
        if nanos < 1_000_000 {
            return write_decimal(f, nanos, 1_000, "\u{b5}s");
        }
        if nanos < 1_000_000_000 {
            return write_decimal(f, nanos, 1_000_000, "ms");
        }
        let (minutes, within_minute) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
        let (hours, minutes) = (minutes / 60, minutes % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write_decimal(f, within_minute, 1_000_000_000, "s")
    }
}

/// Writes `nanos / unit` with as many decimals as are needed, then the unit's name.
fn write_decimal(f: &mut fmt::Formatter<'_>, nanos: u64, unit: u64, name: &str) -> fmt::Result {
    write!(f, "{}", nanos / unit)?;
    let mut rest = nanos % unit;
    if rest > 0 {
        f.write_str(".")?;
        let mut place = unit / 10;
        while rest > 0 {
            write!(f, "{}", rest / place)?;
            rest %= place;
            place = (place / 10).max(1);
        }
    }
    f.write_str(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_read_as_in_go() {
        let cases: &[(&str, i64)] = &[
            ("0", 0),
            ("-0", 0),
            ("5s", 5_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("100ms", 100_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("-2us", -2_000),
            ("3\u{b5}s", 3_000),
            ("3\u{3bc}s", 3_000),
            ("+1ns", 1),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("0.3333333333333333333h", 1_200_000_000_000),
        ];
        for (text, nanos) in cases {
            assert_eq!(GoDuration::parse(text), Ok(GoDuration(*nanos)), "{text}");
        }
    }

    #[test]
    fn errors_are_gos() {
        let cases = [
            ("", "time: invalid duration \"\""),
            ("3", "time: missing unit in duration \"3\""),
            ("-", "time: invalid duration \"-\""),
            ("s", "time: invalid duration \"s\""),
            (".s", "time: invalid duration \".s\""),
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
            ("9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\""),
            ("3000000h", "time: invalid duration \"3000000h\""),
            ("99999999999999999999s", "time: invalid duration \"99999999999999999999s\""),
        ];
        for (text, error) in cases {
            assert_eq!(GoDuration::parse(text), Err(error.to_string()));
        }
    }

    #[test]
    fn display_is_gos() {
        let cases = [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1\u{b5}s"),
            (100_000_000, "100ms"),
            (2_500_000, "2.5ms"),
            (60_000_000_000, "1m0s"),
            (7_200_000_000_000, "2h0m0s"),
            (5_400_000_000_000, "1h30m0s"),
            (1_000_000_001, "1.000000001s"),
            (-1_500_000_000, "-1.5s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ];
        for (nanos, text) in cases {
            assert_eq!(GoDuration(nanos).to_string(), text);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_shown_reads_back(nanos in -(1i64 << 52)..(1i64 << 52)) {
            let shown = GoDuration(nanos).to_string();
            prop_assert_eq!(GoDuration::parse(&shown), Ok(GoDuration(nanos)));
        }
    }
}
