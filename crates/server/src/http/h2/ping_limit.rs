//! How often a client may ping (`--grpc-keepalive-min-time`), by the rules of grpc-go's server.
//!
//! A ping that comes too soon after the one before is a strike; after more than two the connection
//! is ended. Without a call under way, too soon is less than two hours. The first ping after the
//! server sent headers or data is never a strike, and takes all strikes back: clients ping to measure
//! what they receive.

use std::time::Duration;

use tokio::time::Instant;

/// Strikes that a client has.
const STRIKES_MAX: u8 = 2;
/// Time between two pings while no call is under way.
const IDLE_MIN: Duration = Duration::from_secs(2 * 60 * 60);

/// The pings of one client.
pub(super) struct PingLimit {
    between_min: Duration,
    last: Option<Instant>,
    strikes: u8,
}

impl PingLimit {
    /// Allows pings that are `between_min` apart.
    pub(super) fn new(between_min: Duration) -> PingLimit {
        PingLimit { between_min, last: None, strikes: 0 }
    }

    /// Counts a ping. `has_answered`: headers or data were sent since the last ping; `has_calls`: calls
    /// are under way. Returns whether the client pings too much.
    pub(super) fn count(&mut self, now: Instant, has_answered: bool, has_calls: bool) -> bool {
        let before = self.last.replace(now);
        if has_answered {
            self.strikes = 0;
            return false;
        }
        let between_min = if has_calls { self.between_min } else { IDLE_MIN };
        if before.is_some_and(|before| now < before + between_min) {
            self.strikes = self.strikes.saturating_add(1);
        }
        self.strikes > STRIKES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pings so many seconds apart, until one is too much.
    fn pings(limit: &mut PingLimit, seconds: u64, has_calls: bool) -> usize {
        let start = Instant::now();
        let ping = |at: usize| start + Duration::from_secs(seconds) * at as u32;
        (0..100).find(|at| limit.count(ping(*at), false, has_calls)).unwrap_or(100)
    }

    fn limit() -> PingLimit {
        PingLimit::new(Duration::from_secs(5))
    }

    #[test]
    fn the_fourth_ping_in_a_row_is_too_much() {
        assert_eq!(pings(&mut limit(), 4, true), 3);
        assert_eq!(pings(&mut limit(), 5, true), 100);
        assert_eq!(pings(&mut limit(), 5, false), 3);
        assert_eq!(pings(&mut limit(), 7199, false), 3);
        assert_eq!(pings(&mut limit(), 7200, false), 100);
    }

    #[test]
    fn an_answer_takes_the_strikes_back() {
        let (mut limit, now) = (limit(), Instant::now());
        for _ in 0..20 {
            for _ in 0..2 {
                assert!(!limit.count(now, false, true));
            }
            assert!(!limit.count(now, true, true));
        }
        assert!(!limit.count(now, false, true));
        assert!(!limit.count(now, false, true));
        assert!(limit.count(now, false, true));
    }

    #[test]
    fn strikes_do_not_wear_off() {
        let (mut limit, now) = (limit(), Instant::now());
        for at in [0, 1, 100, 101, 200] {
            assert!(!limit.count(now + Duration::from_secs(at), false, true), "{at}");
        }
        assert!(limit.count(now + Duration::from_secs(201), false, true));
    }
}
