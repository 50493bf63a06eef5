//! Log lines for a person to read: time, level, place, message and fields, on standard error.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// Writes a line of level `info`. `place` is the file that speaks.
pub(crate) fn info(place: &str, message: &str, fields: &[(&str, Value)]) {
    line("info", place, message, fields);
}

/// Writes a line of level `warn`.
pub(crate) fn warn(place: &str, message: &str, fields: &[(&str, Value)]) {
    line("warn", place, message, fields);
}

/// Writes a line of level `error`.
pub(crate) fn error(place: &str, message: &str, fields: &[(&str, Value)]) {
    line("error", place, message, fields);
}

fn line(level: &str, place: &str, message: &str, fields: &[(&str, Value)]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut line = format!("{}\t{level}\t{place}\t{message}", rfc3339(now));
    if !fields.is_empty() {
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name:?}: {}", spaced(value))).collect();
        line.push_str(&format!("\t{{{}}}", fields.join(", ")));
    }
    eprintln!("{line}");
}

/// JSON with a blank behind each comma of a list.
fn spaced(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(spaced).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

/// A time in seconds since 1970, in UTC.
fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days as i64);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The date of a day counted from 1970-01-01: years that begin in March, in eras of 400 of them.
fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_826_154, "2000-02-29T12:09:14Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ];
        for (seconds, text) in cases {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
