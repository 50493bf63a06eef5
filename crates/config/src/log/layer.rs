//! `tracing` events as lines of the log.

use std::fmt::{self, Debug};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::encode::Line;
use super::{LOGGER_PREFIX, Logger, Severity};

/// Crates whose chatter below a warning is about their inner life and is never logged.
const CHATTY: [&str; 8] =
    ["h2", "hyper", "hyper_util", "mio", "rustls", "tokio_util", "tonic", "tower"];

/// Writes every event that the log's level lets through. Spans are passed over.
pub struct LogLayer {
    logger: Logger,
}

impl LogLayer {
    pub(super) fn new(logger: Logger) -> LogLayer {
        LogLayer { logger }
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _context: Context<'_, S>) -> bool {
        // An error may turn out to be fatal: that is known only once its fields are seen.
        let lowest = self.logger.0.lowest.min(Severity::Error);
        let krate = metadata.target().split("::").next().unwrap_or_default();
        let severity = severity(metadata.level());
        metadata.is_event()
            && severity.is_some_and(|severity| {
                severity >= lowest && (severity >= Severity::Warn || !CHATTY.contains(&krate))
            })
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.logger.0.lowest {
            Severity::Debug => LevelFilter::DEBUG,
            Severity::Info => LevelFilter::INFO,
            Severity::Warn => LevelFilter::WARN,
            _ => LevelFilter::ERROR,
        })
    }

    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        let Some(severity) = severity(metadata.level()) else { return };
        let core = &self.logger.0;
        let line = Line::new(core.format);
        let mut fields = Fields { line, message: String::new(), severity };
        event.record(&mut fields);
        if fields.severity < core.lowest {
            return;
        }
        let logger = metadata.target().strip_prefix(LOGGER_PREFIX).unwrap_or_default();
        let caller = metadata.file().zip(metadata.line());
        core.finish(fields.severity, logger, caller, &fields.message, fields.line);
    }
}

/// The level of an event; `tracing`'s lowest level has no place in etcd's log.
fn severity(level: &Level) -> Option<Severity> {
    Some(match *level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warn,
        Level::INFO => Severity::Info,
        Level::DEBUG => Severity::Debug,
        _ => return None,
    })
}

struct Fields {
    line: Line,
    message: String,
    severity: Severity,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_string(),
            "severity" if self.severity == Severity::Error => {
                self.severity = Severity::parse(value).unwrap_or(Severity::Error);
            }
            name => self.line.text(name, value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        self.record_str(field, &text);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.line.raw(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.line.raw(field.name(), value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.line.raw(field.name(), value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.line.raw(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.line.raw(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.line.float(field.name(), value);
    }
}

impl fmt::Debug for LogLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLayer").finish_non_exhaustive()
    }
}
