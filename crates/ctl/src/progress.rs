//! How far long work is: a line that a terminal overwrites. Without a terminal on standard error,
//! nothing is written at all.

use std::{
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

use crate::gotext::size;

/// Between two updates of the line.
const PAUSE: Duration = Duration::from_millis(200);
/// Characters of the bar.
const BAR: u64 = 30;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bytes.
    Bytes,
    /// Things of this name.
    Things(&'static str),
    /// The time itself.
    Seconds,
}

/// Work that goes on.
pub(crate) struct Progress {
    what: String,
    unit: Unit,
    terminal: bool,
    start: Instant,
    shown: Option<Instant>,
}

impl Progress {
    /// Work that begins now.
    pub(crate) fn new(what: impl Into<String>, unit: Unit) -> Progress {
        let terminal = stderr().is_terminal();
        Progress { what: what.into(), unit, terminal, start: Instant::now(), shown: None }
    }

    /// So much is done, of so much if that is known.
    pub(crate) fn show(&mut self, done: u64, total: Option<u64>) {
        if !self.terminal || self.shown.is_some_and(|shown| shown.elapsed() < PAUSE) {
            return;
        }
        self.shown = Some(Instant::now());
        let line = line(&self.what, self.unit, done, total, self.start.elapsed());
        // A terminal that is gone misses nothing.
        let _ = write!(stderr(), "\r{line}\x1b[K");
    }

    /// Shows the time that `work` takes, until it is done.
    pub(crate) async fn during<T>(mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(PAUSE, &mut work).await {
                Ok(result) => return result,
                Err(_) => self.show(self.start.elapsed().as_secs(), None),
            }
        }
    }
}

impl Drop for Progress {
    /// Leaves an empty line.
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, unit: Unit, done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let amount = |amount: u64| match unit {
        Unit::Bytes => size::bytes(amount),
        Unit::Things(name) => format!("{amount} {name}"),
        Unit::Seconds => format!("{amount} s"),
    };
    let mut line = what.to_owned();
    if let Some(total) = total.filter(|total| *total > 0) {
        let share = (done.min(total) as f64) / total as f64;
        let filled = (share * BAR as f64) as usize;
        let (filled, empty) = ("=".repeat(filled), " ".repeat(BAR as usize - filled));
        line += &format!(" [{filled}{empty}] {:3.0}% of {}", share * 100.0, amount(total));
    } else {
        line += &format!(" {}", amount(done));
    }
    let seconds = elapsed.as_secs_f64();
    if unit == Unit::Seconds || done == 0 || seconds < 1.0 {
        return line;
    }
    let rate = done as f64 / seconds;
    line += &format!(", {}/s", amount(rate as u64));
    if let Some(left) = total.and_then(|total| total.checked_sub(done)).filter(|left| *left > 0) {
        line += &format!(", {:.0} s left", left as f64 / rate);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let at = |seconds| Duration::from_secs(seconds);
        assert_eq!(
            line("saving", Unit::Bytes, 250_000_000, Some(1_000_000_000), at(5)),
            "saving [=======                       ]  25% of 1.0 GB, 50 MB/s, 15 s left"
        );
        assert_eq!(
            line("saving", Unit::Bytes, 9, Some(9), at(0)),
            "saving [==============================] 100% of 9 B"
        );
        // A store that grows is more than it was said to be.
        assert_eq!(
            line("saving", Unit::Bytes, 20, Some(10), at(1)),
            "saving [==============================] 100% of 10 B, 20 B/s"
        );
        assert_eq!(
            line("copying", Unit::Things("keys"), 3000, None, at(2)),
            "copying 3000 keys, 1500 keys/s"
        );
        assert_eq!(line("defragmenting", Unit::Seconds, 7, None, at(7)), "defragmenting 7 s");
        assert_eq!(
            line("writing", Unit::Seconds, 15, Some(60), at(15)),
            "writing [=======                       ]  25% of 60 s"
        );
    }

    #[test]
    fn work_is_done_whether_or_not_it_is_shown() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let work = async {
            tokio::task::yield_now().await;
            7
        };
        assert_eq!(runtime.block_on(Progress::new("x", Unit::Seconds).during(work)), 7);
    }
}
