//! When the next request starts, and when there is no next one.
//!
//! Closed loop: a client starts its next request as soon as its last one is answered; a server that
//! stalls is then asked less, and its stall is seen by one request per client only. Open loop: the
//! n-th request is meant to start at n / rate whatever the server does, and its latency counts from
//! there, so that the waiting a stall causes is all in the figures (the correction for coordinated
//! omission).
//!
//! Invariant: a pacer gives out a bounded number of starts: by count, by time, or both.

use crate::load::timer::Timer;
use anyhow::{Context as _, Result};
use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// The bound of a load. At least one part is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    total: Option<u64>,
    duration: Option<Duration>,
}

impl Limit {
    /// A limit by count, time, or whichever comes first; `None` when neither is given.
    pub(crate) fn new(total: Option<u64>, duration: Option<Duration>) -> Option<Self> {
        (total.is_some() || duration.is_some()).then_some(Self { total, duration })
    }

    /// A limit by time alone.
    pub(crate) fn of_duration(duration: Duration) -> Self {
        Self { total: None, duration: Some(duration) }
    }

    /// A limit by count alone.
    pub(crate) fn of_total(total: u64) -> Self {
        Self { total: Some(total), duration: None }
    }
}

/// Gives out the starts of one load.
#[derive(Debug)]
pub(crate) struct Pacer {
    begun: Instant,
    limit: Limit,
    open: Option<(Schedule, Timer)>,
    issued: Cell<u64>,
}

impl Pacer {
    /// A pacer whose time begins now; `rate` in requests per second makes it an open loop.
    pub(crate) fn begin(limit: Limit, rate: Option<f64>) -> Result<Self> {
        let open = match rate {
            Some(rate) => {
                let timer = Timer::start().context("create a timer")?;
                Some((Schedule { nanos_per_request: 1e9 / rate }, timer))
            }
            None => None,
        };
        Ok(Self { begun: Instant::now(), limit, open, issued: Cell::new(0) })
    }

    /// When the load began.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// Waits for the next start and returns when it was meant to be: the point to count latency
    /// from. `None` when the load is over.
    pub(crate) async fn next_start(&self) -> Option<Instant> {
        match &self.open {
            None => {
                let now = Instant::now();
                self.claim(now).map(|_slot| now)
            }
            Some((schedule, timer)) => {
                let at = self.begun + schedule.offset(self.issued.get());
                self.claim(at)?;
                timer.wait_until(at).await;
                Some(at)
            }
        }
    }

    /// Takes the next slot for a request that starts at `at`.
    fn claim(&self, at: Instant) -> Option<u64> {
        let slot = self.issued.get();
        if self.limit.total.is_some_and(|total| slot >= total) {
            return None;
        }
        if self.limit.duration.is_some_and(|duration| at >= self.begun + duration) {
            return None;
        }
        self.issued.set(slot + 1);
        Some(slot)
    }
}

/// The intended starts of an open loop.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    nanos_per_request: f64,
}

impl Schedule {
    /// Time from the begin of the load to the start of request `slot`.
    fn offset(self, slot: u64) -> Duration {
        // Exact for as long as any load runs: 2^53 ns are 104 days.
        Duration::from_nanos((slot as f64 * self.nanos_per_request) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::block_on;

    #[test]
    fn schedule_is_even() {
        let schedule = Schedule { nanos_per_request: 1e9 / 3.0 };
        assert_eq!(schedule.offset(0), Duration::ZERO);
        assert_eq!(schedule.offset(3), Duration::from_secs(1));
        assert_eq!(schedule.offset(3_000_000), Duration::from_secs(1_000_000));
    }

    #[test]
    fn a_limit_has_a_bound() {
        assert_eq!(Limit::new(None, None), None);
        assert!(Limit::new(Some(1), None).is_some());
    }

    #[test]
    fn a_closed_loop_ends_by_count() {
        block_on(async {
            let pacer = Pacer::begin(Limit::of_total(3), None).expect("no timer needed");
            for _ in 0..3 {
                assert!(pacer.next_start().await.is_some());
            }
            assert_eq!(pacer.next_start().await, None);
        })
        .expect("runtime");
    }

    #[test]
    fn an_open_loop_ends_by_time_and_keeps_intended_starts() {
        block_on(async {
            let limit = Limit::of_duration(Duration::from_millis(50));
            let pacer = Pacer::begin(limit, Some(1000.0)).expect("timer");
            // The load is late: starts are still a millisecond apart, in the past.
            std::thread::sleep(Duration::from_millis(60));
            let mut starts = Vec::new();
            while let Some(start) = pacer.next_start().await {
                starts.push(start);
            }
            assert_eq!(starts.len(), 50);
            for (slot, start) in starts.iter().enumerate() {
                assert_eq!(*start - pacer.begun(), Duration::from_millis(slot as u64));
            }
        })
        .expect("runtime");
    }
}
