//! What a terminal is shown, and what a pipe gets: colours and escapes, or bytes as they are.

use std::{
    borrow::Cow,
    io::{IsTerminal, stdout},
};

use super::text;

/// Where keys are written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Screen {
    /// Its colours.
    pub(crate) paint: Paint,
    /// Whether people look at it, or a program reads it.
    pub(crate) terminal: bool,
}

impl Screen {
    /// A pipe or file.
    pub(crate) const PIPE: Screen = Screen { paint: Paint::OFF, terminal: false };

    /// Standard output.
    pub(crate) fn stdout() -> Screen {
        Screen { paint: Paint::of_stdout(), terminal: stdout().is_terminal() }
    }

    /// A key: escaped for people where it is not printable, as it is for programs.
    pub(crate) fn key(self, key: &[u8]) -> Cow<'_, [u8]> {
        match self.terminal {
            true => Cow::Owned(text::key(key).into_owned().into_bytes()),
            false => Cow::Borrowed(key),
        }
    }

    /// A prefix with keys below it.
    pub(crate) fn prefix(self, key: &[u8]) -> Cow<'_, [u8]> {
        match self.terminal {
            true => Cow::Owned(self.paint.prefix(&text::key(key)).into_bytes()),
            false => Cow::Borrowed(key),
        }
    }
}

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// Text as it is.
    pub(crate) const OFF: Paint = Paint { on: false };

    /// Colours if standard output is a terminal that has some, and `NO_COLOR` is not set.
    pub(crate) fn of_stdout() -> Paint {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Paint { on: stdout().is_terminal() && !refused && !dumb }
    }

    /// The name of a member.
    pub(crate) fn name(self, text: &str) -> String {
        self.sgr("36", text)
    }

    /// A prefix with keys below it.
    pub(crate) fn prefix(self, text: &str) -> String {
        self.sgr("1;34", text)
    }

    /// What was added.
    pub(crate) fn added(self, text: &str) -> String {
        self.sgr("32", text)
    }

    /// What was removed.
    pub(crate) fn removed(self, text: &str) -> String {
        self.sgr("31", text)
    }

    /// What was changed.
    pub(crate) fn changed(self, text: &str) -> String {
        self.sgr("33", text)
    }

    /// What is beside the point.
    pub(crate) fn faint(self, text: &str) -> String {
        self.sgr("2", text)
    }

    /// What is the point.
    pub(crate) fn strong(self, text: &str) -> String {
        self.sgr("1", text)
    }

    fn sgr(self, code: &str, text: &str) -> String {
        match self.on {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}
