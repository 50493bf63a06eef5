//! Ids of requests, unique over members and restarts.
//!
//! As etcd makes them: two bytes of the member id, five of the start time in milliseconds, one
//! counter byte that carries into the time.

use std::sync::atomic::{AtomicU64, Ordering};

use api::ids::MemberId;

/// A generator of request ids.
pub(crate) struct RequestIds {
    prefix: u64,
    suffix: AtomicU64,
}

impl RequestIds {
    /// A generator seeded by the member and the wall clock in Unix milliseconds.
    pub(crate) fn new(member: MemberId, unix_ms: u64) -> RequestIds {
        const TIME_BITS: u64 = (1 << 40) - 1;
        RequestIds { prefix: member.0 << 48, suffix: AtomicU64::new((unix_ms & TIME_BITS) << 8) }
    }

    /// The next id; never 0 in practice, never repeated within 2^48 calls.
    pub(crate) fn next(&self) -> u64 {
        const SUFFIX_BITS: u64 = (1 << 48) - 1;
        let suffix = self.suffix.fetch_add(1, Ordering::Relaxed) + 1;
        self.prefix | (suffix & SUFFIX_BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_carry_member_and_time_and_differ() {
        let ids = RequestIds::new(MemberId(0x1234_5678), 0x0102_0304_0506);
        let first = ids.next();
        assert_eq!(first, 0x5678_0203_0405_0601);
        assert_eq!(ids.next(), first + 1);
    }
}
