//! Election timeouts from the seed. raft-rs draws one from the thread's generator whenever it resets
//! itself; here every such draw is detected and replaced by ours (raft paper, 5.2: random timeouts
//! make split votes rare; they need not be unpredictable).
//!
//! Detection: raft-rs is told that timeouts may be as long as [`UNSEEDED_MAX`] ticks, so that what it
//! draws is, but for one chance in 2^59, none of ours, and a value that is not ours means a reset.

use crate::convert::{Raft, Storage};

/// The upper end of what raft-rs itself draws from.
pub(crate) const UNSEEDED_MAX: usize = usize::MAX;

/// The generator and the timeout in force.
#[derive(Debug)]
pub(crate) struct ElectionTimeout {
    random: SplitMix64,
    election_tick: usize,
    current: usize,
}

impl ElectionTimeout {
    pub(crate) fn new(seed: u64, election_tick: usize) -> ElectionTimeout {
        ElectionTimeout { random: SplitMix64(seed), election_tick, current: 0 }
    }

    /// To be called after everything that may have reset `raft` and before its next tick.
    pub(crate) fn settle<T: Storage>(&mut self, raft: &mut Raft<T>) {
        if raft.randomized_election_timeout() == self.current {
            return;
        }
        let spread = self.election_tick as u64;
        self.current = self.election_tick + (self.random.next() % spread) as usize;
        raft.set_randomized_election_timeout(self.current);
    }
}

/// Steele, Lea and Flood's generator: small, and the same everywhere.
#[derive(Debug)]
pub(crate) struct SplitMix64(pub(crate) u64);

impl SplitMix64 {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_matches_its_published_sequence() {
        let mut random = SplitMix64(1_234_567);
        let drawn: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(
            drawn,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }
}
