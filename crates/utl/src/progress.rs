//! How far a long copy is, on one line that a terminal overwrites; without a terminal, nothing.

use std::io::{IsTerminal, Write};

/// Progress of something whose size is known.
pub(crate) struct Progress {
    what: &'static str,
    total: u64,
    done: u64,
    /// The last that was shown; `None` without a terminal.
    shown: Option<u64>,
}

impl Progress {
    /// Nothing is done yet.
    pub(crate) fn new(what: &'static str, total: u64) -> Progress {
        let shown = std::io::stderr().is_terminal().then_some(u64::MAX);
        Progress { what, total, done: 0, shown }
    }

    /// So many bytes more are done.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.done += bytes;
        let percent = (self.done * 100).checked_div(self.total).unwrap_or(100).min(100);
        if self.shown.is_some_and(|shown| shown != percent) {
            self.shown = Some(percent);
            // A terminal that is gone misses nothing.
            let _ = write!(std::io::stderr(), "\r{} {percent:3}%", self.what);
        }
    }
}

impl Drop for Progress {
    /// Leaves an empty line.
    fn drop(&mut self) {
        if self.shown.is_some_and(|shown| shown != u64::MAX) {
            let _ = write!(std::io::stderr(), "\r{:1$}\r", "", self.what.len() + 5);
        }
    }
}
