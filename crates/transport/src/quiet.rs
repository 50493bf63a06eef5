//! Log lines that a misconfigured or overloaded peer would repeat many times a second.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The least time between two lines.
const INTERVAL: Duration = Duration::from_secs(5);

/// Lets one line through, then none for a while.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    last: Mutex<Option<Instant>>,
}

impl Quiet {
    /// True when a line is due; it counts as written.
    pub(crate) fn may_log(&self) -> bool {
        let mut last = self.last.lock();
        let due = last.is_none_or(|last| last.elapsed() >= INTERVAL);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_of_many() {
        let quiet = Quiet::default();
        assert!(quiet.may_log());
        assert!((0..1000).all(|_| !quiet.may_log()));
        *quiet.last.lock() = Instant::now().checked_sub(INTERVAL);
        assert!(quiet.may_log() && !quiet.may_log());
    }
}
