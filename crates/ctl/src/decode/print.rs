//! Decoded values as a stream: YAML documents, or a line of JSON for each key.

use std::io::{self, Write};

use api::kv::KeyValue;

use super::{Show, Style, decode, json_line, paint::Screen, text};
use crate::{
    cli::flag::{Flag, Flags, Kind},
    exit::Failure,
};

/// `--decode`.
pub(crate) const DECODE: Flag =
    Flag::new("decode", Kind::Text, "show Kubernetes objects and JSON as yaml or json")
        .alone("yaml")
        .hints(&["yaml", "json"]);
/// `--reveal`.
pub(crate) const REVEAL: Flag = Flag::new("reveal", Kind::Bool, "show the values of Secrets");
/// `--show-managed-fields`.
pub(crate) const MANAGED_FIELDS: Flag =
    Flag::new("show-managed-fields", Kind::Bool, "show metadata.managedFields of objects");

impl Show {
    /// What the flags ask for.
    pub(crate) fn from_flags(flags: &Flags) -> Show {
        Show { secrets: flags.bool(REVEAL.name), managed_fields: flags.bool(MANAGED_FIELDS.name) }
    }
}

/// The style that `--decode` asks for, if it was given.
pub(crate) fn style(flags: &Flags) -> Result<Option<Style>, Failure> {
    match flags.changed(DECODE.name) {
        true => Style::named(flags.text(DECODE.name)).map(Some),
        false => Ok(None),
    }
}

/// Writes keys with their decoded values, one after the other.
pub(crate) struct Printer {
    /// The form of the values.
    pub(crate) style: Style,
    /// What is shown of them.
    pub(crate) show: Show,
    /// Without the keys.
    pub(crate) value_only: bool,
    /// Where they go.
    pub(crate) screen: Screen,
    /// Whether anything was written yet.
    pub(crate) some: bool,
}

impl Printer {
    /// Writes one key; `note` is added to what is said of it.
    pub(crate) fn print(
        &mut self,
        kv: &KeyValue,
        note: &str,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let paint = self.screen.paint;
        if self.style == Style::Json && !self.value_only {
            return writeln!(out, "{}", json_line(kv, self.show));
        }
        if self.style == Style::Yaml && std::mem::replace(&mut self.some, true) {
            out.write_all(b"---\n")?;
        }
        if !self.value_only {
            let head = format!("# {}{note}", text::key(&kv.key));
            writeln!(out, "{}", paint.faint(&head))?;
        }
        out.write_all(decode(&kv.value, self.show).render(self.style, paint).as_bytes())
    }
}
