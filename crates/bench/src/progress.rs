//! A line per second on a terminal, so that a long load is seen to move.

use crate::{load::record::Recorder, report::text::micros};
use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

/// Prints how a load goes; silent when standard error is no terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    label: Option<String>,
    last: u64,
}

impl Progress {
    /// Progress of the load named `label`.
    pub(crate) fn new(label: &str) -> Self {
        Self { label: stderr().is_terminal().then(|| label.to_owned()), last: 0 }
    }

    /// Prints the line of one second.
    pub(crate) fn line(&mut self, elapsed: Duration, recorder: &Recorder) {
        let Some(label) = &self.label else { return };
        let done = recorder.latencies().count();
        let summary = recorder.latencies().summary();
        eprintln!(
            "{label} {:>4} s  {:>8} ops/s  p50 {}  p99 {}  max {}  errors {}",
            elapsed.as_secs(),
            done - self.last,
            micros(summary.p50_us),
            micros(summary.p99_us),
            micros(summary.max_us),
            recorder.error_count(),
        );
        self.last = done;
    }
}
