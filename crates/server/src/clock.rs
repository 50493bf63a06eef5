//! The only reader of the monotonic clock: layers below get plain milliseconds.

use std::time::Instant;

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
