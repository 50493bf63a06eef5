//! The readers of clocks for the layers below, which get plain numbers.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since this process began, as the core counts time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that starts at 0 now.
    pub(crate) fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    /// Milliseconds since [`Clock::start`].
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).expect("uptime fits 64 bits")
    }
}

/// Nanoseconds since 1970.
pub(crate) fn unix_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
