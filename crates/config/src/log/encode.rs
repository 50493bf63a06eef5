//! One log line as text: etcd's JSON, or its console form with the fields as JSON behind.

use std::fmt::Write as _;
use std::time::SystemTime;

use super::Severity;
use super::timestamp::write_timestamp;

/// Begins a text that is a list of texts in JSON.
pub(crate) const LIST_MARK: char = '\u{1}';

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Console,
}

impl Format {
    /// Reads `--log-format`. The error is etcd's.
    pub(crate) fn parse(text: &str) -> Result<Format, String> {
        match text {
            "" | "json" => Ok(Format::Json),
            "console" => Ok(Format::Console),
            _ => Err(format!("unknown log format: {text}, supported values json, console")),
        }
    }
}

/// A line under construction: its fields, encoded.
pub(crate) struct Line {
    format: Format,
    fields: String,
}

impl Line {
    pub(crate) fn new(format: Format) -> Line {
        Line { format, fields: String::new() }
    }

    /// A field with a text; one marked as a list becomes a list.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        let list = text.strip_prefix(LIST_MARK);
        match list.and_then(|json| serde_json::from_str::<Vec<String>>(json).ok()) {
            Some(texts) => self.texts(name, &texts),
            None => {
                self.key(name);
                write_quoted(&mut self.fields, text);
            }
        }
    }

    /// A field with a list of texts.
    pub(crate) fn texts(&mut self, name: &str, texts: &[String]) {
        self.key(name);
        self.fields.push('[');
        for (at, text) in texts.iter().enumerate() {
            if at > 0 {
                self.fields.push_str(self.separator());
            }
            write_quoted(&mut self.fields, text);
        }
        self.fields.push(']');
    }

    /// A field whose value is JSON as it stands: a number or a boolean.
    pub(crate) fn raw(&mut self, name: &str, value: impl std::fmt::Display) {
        self.key(name);
        write!(self.fields, "{value}").expect("a string takes everything");
    }

    /// A field with a number; what JSON has no number for is a text.
    pub(crate) fn float(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            return self.raw(name, value);
        }
        let text = match value {
            v if v.is_nan() => "NaN",
            v if v > 0.0 => "+Inf",
            _ => "-Inf",
        };
        self.text(name, text);
    }

    /// The whole line with its end.
    pub(crate) fn finish(
        self,
        severity: Severity,
        now: SystemTime,
        logger: &str,
        caller: Option<(&str, u32)>,
        message: &str,
    ) -> String {
        let mut out = String::with_capacity(160 + self.fields.len());
        match self.format {
            Format::Json => self.finish_json(&mut out, severity, now, logger, caller, message),
            Format::Console => {
                self.finish_console(&mut out, severity, now, logger, caller, message)
            }
        }
        out.push('\n');
        out
    }

    fn finish_json(
        &self,
        out: &mut String,
        severity: Severity,
        now: SystemTime,
        logger: &str,
        caller: Option<(&str, u32)>,
        message: &str,
    ) {
        out.push_str("{\"level\":\"");
        out.push_str(severity.name());
        out.push_str("\",\"ts\":\"");
        write_timestamp(out, now);
        out.push('"');
        if !logger.is_empty() {
            out.push_str(",\"logger\":");
            write_quoted(out, logger);
        }
        if let Some((file, line)) = caller {
            out.push_str(",\"caller\":");
            write_quoted(out, &format!("{}:{line}", short_file(file)));
        }
        out.push_str(",\"msg\":");
        write_quoted(out, message);
        if !self.fields.is_empty() {
            out.push(',');
            out.push_str(&self.fields);
        }
        out.push('}');
    }

    fn finish_console(
        &self,
        out: &mut String,
        severity: Severity,
        now: SystemTime,
        logger: &str,
        caller: Option<(&str, u32)>,
        message: &str,
    ) {
        write_timestamp(out, now);
        out.push('\t');
        out.push_str(severity.name());
        if !logger.is_empty() {
            out.push('\t');
            out.push_str(logger);
        }
        if let Some((file, line)) = caller {
            write!(out, "\t{}:{line}", short_file(file)).expect("a string takes everything");
        }
        out.push('\t');
        out.push_str(message);
        if !self.fields.is_empty() {
            write!(out, "\t{{{}}}", self.fields).expect("a string takes everything");
        }
    }

    fn key(&mut self, name: &str) {
        if !self.fields.is_empty() {
            self.fields.push_str(self.separator());
        }
        write_quoted(&mut self.fields, name);
        self.fields.push_str(if self.format == Format::Json { ":" } else { ": " });
    }

    fn separator(&self) -> &'static str {
        if self.format == Format::Json { "," } else { ", " }
    }
}

/// The last folder and the file; the crate's name where the folder is only `src`.
pub(crate) fn short_file(path: &str) -> String {
    let mut parts = path.rsplit(['/', '\\']);
    let file = parts.next().unwrap_or_default();
    match parts.find(|part| *part != "src") {
        Some(folder) => format!("{folder}/{file}"),
        None => file.to_string(),
    }
}

fn write_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                write!(out, "\\u{:04x}", c as u32).expect("a string takes everything");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_a_folder_and_a_file() {
        assert_eq!(short_file("crates/server/src/driver/apply_loop.rs"), "driver/apply_loop.rs");
        assert_eq!(short_file("crates/config/src/env.rs"), "config/env.rs");
        assert_eq!(short_file("main.rs"), "main.rs");
    }

    #[test]
    fn quoted_texts_are_json() {
        let text = "a\"b\\c\nd\te\u{1}\u{7f}é";
        let mut out = String::new();
        write_quoted(&mut out, text);
        assert_eq!(out, "\"a\\\"b\\\\c\\nd\\te\\u0001\u{7f}é\"");
        assert_eq!(serde_json::from_str::<String>(&out).expect("valid JSON"), text);
    }
}
