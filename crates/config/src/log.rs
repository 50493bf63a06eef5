//! etcd's log lines, written by whatever the program says through `tracing`.
//!
//! A line has `level`, `ts`, `logger`, `caller`, `msg` and then the fields, as JSON or in the
//! console form. What `tracing` has no word for:
//! - a target that starts with [`LOGGER_PREFIX`] names the logger: `target: "logger:raft"`;
//! - an error with the field `severity = "fatal"` (or `dpanic`, `panic`) has that level;
//! - a list of texts is given as `%config::log::strings(&list)`;
//! - a duration in Go's form is a [`crate::GoDuration`] given with `%`.
//!
//! Of equal lines, the first hundred of a second are written and then every hundredth.

mod encode;
mod journal;
mod layer;
mod output;
mod rotate;
pub(crate) mod rotate_options;
mod sample;
mod timestamp;

use std::panic::Location;
use std::sync::Arc;
use std::time::SystemTime;

pub use layer::LogLayer;

use crate::settings::LogConfig;
use encode::{Format, Line};
use output::Outputs;
use sample::Sampler;

/// The output that means the systemd journal.
pub const JOURNAL: &str = "systemd/journal";
/// What a `tracing` target starts with to name a logger.
pub const LOGGER_PREFIX: &str = "logger:";

/// The level of a line, in etcd's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Details for developers.
    Debug,
    /// Normal operation.
    Info,
    /// Something to look at.
    Warn,
    /// Something failed.
    Error,
    /// A panic in development.
    DPanic,
    /// The program panics.
    Panic,
    /// The program ends.
    Fatal,
}

impl Severity {
    /// Reads `--log-level`; the empty text is `info`.
    pub fn parse(text: &str) -> Option<Severity> {
        Some(match text.to_ascii_lowercase().as_str() {
            "debug" => Severity::Debug,
            "" | "info" => Severity::Info,
            "warn" | "warning" => Severity::Warn,
            "error" => Severity::Error,
            "dpanic" => Severity::DPanic,
            "panic" => Severity::Panic,
            "fatal" => Severity::Fatal,
            _ => return None,
        })
    }

    /// The word in a line.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Debug => "debug",
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Error => "error",
            Severity::DPanic => "dpanic",
            Severity::Panic => "panic",
            Severity::Fatal => "fatal",
        }
    }
}

/// A time as the log writes it.
pub fn timestamp(time: SystemTime) -> String {
    let mut text = String::new();
    timestamp::write_timestamp(&mut text, time);
    text
}

/// A field's value in a [`Notice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// A number.
    Number(u64),
}

/// A line to be logged once the log is open: what parsing the configuration has to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The level.
    pub severity: Severity,
    /// The message.
    pub message: String,
    /// Names and values, in order.
    pub fields: Vec<(&'static str, Value)>,
    /// Where it was said.
    pub caller: &'static Location<'static>,
    /// Whether etcd says it before its log is configured: such a line goes to stderr as JSON.
    pub early: bool,
}

impl Notice {
    /// A line without fields, said here.
    #[track_caller]
    pub fn new(severity: Severity, message: impl Into<String>) -> Notice {
        let caller = Location::caller();
        Notice { severity, message: message.into(), fields: Vec::new(), caller, early: false }
    }

    /// Adds a text field.
    pub fn text(mut self, name: &'static str, value: impl Into<String>) -> Notice {
        self.fields.push((name, Value::Text(value.into())));
        self
    }

    /// Adds a field with a list of texts.
    pub fn texts(mut self, name: &'static str, values: Vec<String>) -> Notice {
        self.fields.push((name, Value::Texts(values)));
        self
    }

    /// Adds a field with a number.
    pub fn number(mut self, name: &'static str, value: u64) -> Notice {
        self.fields.push((name, Value::Number(value)));
        self
    }

    /// Marks the line as one from before the log is configured.
    pub fn early(mut self) -> Notice {
        self.early = true;
        self
    }
}

/// An open log. Clones write to the same outputs.
#[derive(Clone)]
pub struct Logger(Arc<Core>);

struct Core {
    lowest: Severity,
    format: Format,
    outputs: Outputs,
    sampler: Sampler,
}

impl Logger {
    /// Opens the outputs. The error is etcd's.
    pub fn open(config: &LogConfig) -> Result<Logger, String> {
        let lowest = Severity::parse(&config.level).ok_or_else(|| {
            format!("unrecognized level: {}", crate::goconv::Quoted(&config.level))
        })?;
        let format = Format::parse(&config.format)?;
        let rotation = match config.rotation {
            true => Some(rotate_options::Options::parse(&config.rotation_json)?),
            false => None,
        };
        let outputs = Outputs::open(&config.outputs, rotation.as_ref())?;
        Ok(Logger(Arc::new(Core { lowest, format, outputs, sampler: Sampler::new() })))
    }

    /// The log from before the configuration is known: JSON from level info on stderr.
    pub fn stderr() -> Logger {
        Logger(Arc::new(Core {
            lowest: Severity::Info,
            format: Format::Json,
            outputs: Outputs::stderr(),
            sampler: Sampler::new(),
        }))
    }

    /// Writes one line.
    pub fn write(&self, notice: &Notice) {
        if notice.severity < self.0.lowest {
            return;
        }
        let mut line = Line::new(self.0.format);
        for (name, value) in &notice.fields {
            match value {
                Value::Text(text) => line.text(name, text),
                Value::Texts(texts) => line.texts(name, texts),
                Value::Number(number) => line.raw(name, number),
            }
        }
        let (file, number) = (notice.caller.file(), notice.caller.line());
        self.0.finish(notice.severity, "", Some((file, number)), &notice.message, line);
    }

    /// A layer that writes `tracing` events to this log.
    pub fn layer(&self) -> LogLayer {
        LogLayer::new(self.clone())
    }

    /// Makes this log the one of the whole process. Does nothing when there is one already.
    pub fn install(&self) {
        use tracing_subscriber::prelude::*;
        let subscriber = tracing_subscriber::registry().with(self.layer());
        let _already_installed = tracing::subscriber::set_global_default(subscriber);
    }
}

impl Core {
    fn finish(
        &self,
        severity: Severity,
        logger: &str,
        caller: Option<(&str, u32)>,
        message: &str,
        line: Line,
    ) {
        let now = SystemTime::now();
        if !self.sampler.admits(severity, message, now) {
            return;
        }
        let file = caller.map(|(file, _)| file);
        self.outputs.write(severity, file, &line.finish(severity, now, logger, caller, message));
    }
}

/// Shows a list of texts so that the log writes it as a list: `urls = %strings(&urls)`.
pub fn strings<T: AsRef<str>>(texts: &[T]) -> impl std::fmt::Display + use<T> {
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    let json = serde_json::to_string(&texts).expect("a list of texts is JSON");
    format!("{}{json}", encode::LIST_MARK)
}

/// Logs a line of level fatal and ends the process with status 1, as etcd does where it cannot go
/// on.
#[macro_export]
macro_rules! fatal {
    ($($arg:tt)+) => {{
        ::tracing::error!(severity = "fatal", $($arg)+);
        ::std::process::exit(1)
    }};
}

/// An error of the operating system in Go's words: lower case, without the number.
pub fn os_error(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests;
