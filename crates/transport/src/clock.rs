//! Points in time as members write them to each other: RFC 3339 with nanoseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY_SECONDS: i64 = 86_400;

/// A point in time in UTC.
pub(crate) fn format(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let (year, month, day) = civil(seconds / DAY_SECONDS);
    let of_day = seconds % DAY_SECONDS;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if since.subsec_nanos() > 0 {
        let nanos = format!(".{:09}", since.subsec_nanos());
        text.push_str(nanos.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// Reads a point in time as nanoseconds since 1970.
pub(crate) fn parse(text: &str) -> Option<i128> {
    let (date, rest) = text.split_at_checked(10)?;
    let (time, rest) = rest.strip_prefix('T')?.split_at_checked(8)?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let inside = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !inside || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (nanos, zone) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            let (digits, zone) = rest.split_at(end);
            let nanos = format!("{digits:0<9}");
            (nanos.get(..9)?.parse::<i64>().ok()?, zone)
        }
    };
    let offset = match zone {
        "Z" => 0,
        _ => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let [hours, minutes] = numbers(zone.strip_prefix(['+', '-'])?, ':')?;
            sign * (hours * 60 + minutes) * 60
        }
    };
    let of_day = (hour * 60 + minute) * 60 + second - offset;
    let seconds = days(year, month, day) * DAY_SECONDS + of_day;
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
}

/// Nanoseconds since 1970.
pub(crate) fn nanos(at: SystemTime) -> i128 {
    let nanos = |since: Duration| i128::try_from(since.as_nanos()).unwrap_or(i128::MAX);
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => nanos(since),
        Err(before) => -nanos(before.duration()),
    }
}

fn numbers<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut all = [0; N];
    for number in &mut all {
        let part = parts.next()?;
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = digits.then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(all)
}

/// Days since 1970 of a date in the proleptic Gregorian calendar (H. Hinnant's method).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a day since 1970: the inverse of [`days`].
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times() {
        let at = UNIX_EPOCH + Duration::new(1_709_210_096, 123_456_000);
        assert_eq!(format(at), "2024-02-29T12:34:56.123456Z");
        assert_eq!(format(UNIX_EPOCH), "1970-01-01T00:00:00Z");
        let nanos = Some(1_709_210_096_123_456_000);
        assert_eq!(parse("2024-02-29T12:34:56.123456Z"), nanos);
        assert_eq!(parse("2024-02-29T14:34:56.123456+02:00"), nanos);
        assert_eq!(parse("2024-02-29T05:04:56.123456-07:30"), nanos);
        for bad in ["", "2024-02-29", "2024-13-01T00:00:00Z", "2024-02-29T12:34:56", "2024-02-29T1"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn written_times_are_read_back(seconds in 0u64..16_000_000_000, nanos in 0u32..1_000_000_000) {
            let at = UNIX_EPOCH + Duration::new(seconds, nanos);
            prop_assert_eq!(parse(&format(at)), Some(super::nanos(at)));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,40}") {
            let _read = parse(&text);
        }
    }
}
