//! Lines about what goes wrong on the way, on standard error, in the JSON form of etcdctl's log.

use std::{
    fmt::{Debug, Write as _},
    io::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::gotext::json::{self, Object};

/// The name that the client's lines bear.
const CLIENT: &str = "etcd-client";

/// Writes one line.
pub(crate) fn line(level: &str, message: &str, fields: &[(&str, &str)]) {
    let mut text = String::new();
    json::object(&mut text, |o| {
        o.text_always("level", level);
        o.text_always("ts", &timestamp(SystemTime::now()));
        o.text_always("msg", message);
        for (name, value) in fields {
            o.text_always(name, value);
        }
    });
    text.push('\n');
    // Standard error is where its own failure would be told.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Sends what the client library logs to standard error: `ETCD_CLIENT_DEBUG` names the level, else
/// notices and worse are shown.
pub(crate) fn install(debug: bool) {
    let level = match std::env::var("ETCD_CLIENT_DEBUG").as_deref() {
        Ok("debug") => Level::DEBUG,
        Ok("warn") => Level::WARN,
        Ok("error") => Level::ERROR,
        _ if debug => Level::DEBUG,
        _ => Level::INFO,
    };
    // A second command line in one process keeps the first one's level.
    let _ = tracing::subscriber::set_global_default(Lines { level });
}

/// Writes each event as a line.
struct Lines {
    level: Level,
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level && metadata.target().starts_with("client")
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut text = String::new();
        json::object(&mut text, |o| {
            o.text_always("level", &event.metadata().level().as_str().to_lowercase());
            o.text_always("ts", &timestamp(SystemTime::now()));
            o.text_always("logger", CLIENT);
            o.text_always("msg", &fields.message);
            fields.others.iter().for_each(|(name, value)| value.write(o, name));
        });
        text.push('\n');
        // Standard error is where its own failure would be told.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

enum Value {
    Text(String),
    Number(String),
}

impl Value {
    fn write(&self, o: &mut Object<'_>, name: &str) {
        match self {
            Value::Text(text) => o.text_always(name, text),
            Value::Number(number) => o.number_always(name, number),
        }
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.others.push((field.name(), Value::Text(value.to_owned())));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.push((field.name(), Value::Number(value.to_string())));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.push((field.name(), Value::Number(value.to_string())));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        write!(text, "{value:?}").expect("a String takes everything");
        match field.name() {
            "message" => self.message = text,
            name => self.others.push((name, Value::Text(text))),
        }
    }
}

/// `2026-11-21T08:25:35.364551Z`.
pub(crate) fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let micros = since.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// The date of a day counted from 1970-01-01 (years begin in March while counting, so that the
/// leap day is the last).
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_of_days() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_795_249_535, "2026-11-21T08:25:35.000000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
