//! The time of a line: `2006-01-02T15:04:05.000000Z0700` in local time.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Appends the local time of this machine; `Z` where it is UTC, else the offset as `+hhmm`.
pub(crate) fn write_timestamp(out: &mut String, now: SystemTime) {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    write_at_offset(out, seconds, since.subsec_micros(), local_offset(seconds));
}

/// A time as it stands in the names of old log files: `2006-01-02T15-04-05.000`, in UTC or local.
pub(crate) fn for_file_name(now: SystemTime, local: bool) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let offset = if local { local_offset(seconds) } else { 0 };
    let mut text = String::new();
    write_at_offset(&mut text, seconds, since.subsec_micros(), offset);
    text.truncate("2006-01-02T15:04:05.000".len());
    text.replace(':', "-")
}

fn write_at_offset(out: &mut String, unix_seconds: i64, micros: u32, offset_seconds: i64) {
    let local = unix_seconds.saturating_add(offset_seconds);
    let (days, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    let (year, month, day) = civil_date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}")
        .expect("a string takes everything");
    if offset_seconds == 0 {
        out.push('Z');
        return;
    }
    let sign = if offset_seconds < 0 { '-' } else { '+' };
    let minutes = offset_seconds.abs() / 60;
    write!(out, "{sign}{:02}{:02}", minutes / 60, minutes % 60).expect("a string takes everything");
}

/// The date of a day counted from 1970-01-01, in the Gregorian calendar. Years are counted from
/// March, so that the leap day is the last of its year, in eras of 400 years (146,097 days).
fn civil_date(days: i64) -> (i64, i64, i64) {
    let from_era_zero = days + 719_468;
    let era = from_era_zero.div_euclid(146_097);
    let day_of_era = from_era_zero.rem_euclid(146_097);
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

/// Seconds east of UTC at this moment, by the machine's time zone.
fn local_offset(unix_seconds: i64) -> i64 {
    // SAFETY: `tm` is plain data for which all zeroes are a valid value (its pointer may be null).
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call, and the function keeps neither.
    let filled = unsafe { libc::localtime_r(&unix_seconds, &mut parts) };
    if filled.is_null() { 0 } else { parts.tm_gmtoff }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, micros: u32, offset: i64) -> String {
        let mut out = String::new();
        write_at_offset(&mut out, seconds, micros, offset);
        out
    }

    #[test]
    fn dates_of_all_kinds() {
        assert_eq!(at(0, 0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(951_782_400, 5, 0), "2000-02-29T00:00:00.000005Z");
        assert_eq!(at(1_709_251_199, 999_999, 0), "2024-02-29T23:59:59.999999Z");
        assert_eq!(at(4_107_542_400, 0, 0), "2100-03-01T00:00:00.000000Z");
        assert_eq!(at(1_767_225_599, 0, 0), "2025-12-31T23:59:59.000000Z");
    }

    #[test]
    fn offsets_move_the_time() {
        assert_eq!(at(0, 0, 7_200), "1970-01-01T02:00:00.000000+0200");
        assert_eq!(at(0, 0, -12_600), "1969-12-31T20:30:00.000000-0330");
    }

    #[test]
    fn now_has_the_right_length() {
        let mut out = String::new();
        write_timestamp(&mut out, SystemTime::now());
        assert!(out.len() == 27 || out.len() == 31, "{out}");
    }
}
