//! `time.Duration` in both directions.

use std::time::Duration;

use super::quote::quote;

/// Reads `1h2m3.5s` and the like. Negative durations become zero: no flag of etcdctl has a use
/// for one.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos = 0_f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        if number.is_empty() || number == "." || number.matches('.').count() > 1 {
            return Err(invalid());
        }
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let scale = scale(unit).ok_or_else(|| {
            format!("time: unknown unit {} in duration {}", quote(unit), quote(text))
        })?;
        nanos += number.parse::<f64>().map_err(|_| invalid())? * scale;
        rest = tail;
    }
    if nanos >= 9.223_372_036_854_776e18 {
        return Err(invalid());
    }
    Ok(if negative { Duration::ZERO } else { Duration::from_nanos(nanos.round() as u64) })
}

fn scale(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 6e10,
        "h" => 3.6e12,
        _ => return None,
    })
}

/// Writes `1.5ms`, `2m3s`: below a second in its largest fitting unit, with all digits.
pub(crate) fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let (unit, digits) = match nanos {
        0 => return "0s".to_owned(),
        1..1_000 => return format!("{nanos}ns"),
        1_000..1_000_000 => ("µs", 3),
        1_000_000..1_000_000_000 => ("ms", 6),
        _ => ("s", 9),
    };
    if unit != "s" {
        return decimal(nanos, digits) + unit;
    }
    let minute = 60_000_000_000;
    let (minutes, rest) = (nanos / minute, nanos % minute);
    let seconds = decimal(rest, digits);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// `value` with the point `digits` from the right, without trailing zeros.
fn decimal(value: u128, digits: usize) -> String {
    let scale = 10_u128.pow(u32::try_from(digits).expect("at most 9 digits"));
    let fraction = format!("{:0digits$}", value % scale);
    match fraction.trim_end_matches('0') {
        "" => (value / scale).to_string(),
        fraction => format!("{}.{fraction}", value / scale),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        for (text, nanos) in [
            ("0s", 0),
            ("999ns", 999),
            ("1.5µs", 1_500),
            ("976.514µs", 976_514),
            ("4.1ms", 4_100_000),
            ("5s", 5_000_000_000),
            ("1m0.5s", 60_500_000_000),
            ("2h0m1s", 7_201_000_000_000),
        ] {
            assert_eq!(format(Duration::from_nanos(nanos)), text);
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)));
        }
        assert_eq!(parse("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("-3s"), Ok(Duration::ZERO));
    }

    #[test]
    fn errors_in_gos_words() {
        for (text, error) in [
            ("", "time: invalid duration \"\""),
            ("x", "time: invalid duration \"x\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5y", "time: unknown unit \"y\" in duration \"5y\""),
            ("..s", "time: invalid duration \"..s\""),
        ] {
            assert_eq!(parse(text), Err(error.to_owned()));
        }
    }
}
