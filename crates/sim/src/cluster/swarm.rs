//! What one run is like: every seed draws its own mix of members, clients, delays and faults, so that
//! rare combinations come up (swarm testing).

use rand::{Rng, rngs::StdRng};

/// The mix of one run.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// Founding members.
    pub members: u64,
    /// Clients that work at the same time.
    pub clients: usize,
    /// How long faults are injected, in simulated milliseconds.
    pub duration_ms: u64,
    /// Messages take between the first and the second many microseconds.
    pub delay_us: (u64, u64),
    /// Of 1000 messages, so many are lost.
    pub loss: u32,
    /// Of 1000 messages, so many arrive twice (forwarded proposals excepted: their transport, a
    /// stream, never repeats).
    pub duplication: u32,
    /// A sync takes between the first and the second many microseconds.
    pub sync_us: (u64, u64),
    /// Of 1000 syncs, so many take a hundred times as long.
    pub slow_syncs: u32,
    /// Mean time between faults of each kind in milliseconds; `None`: this kind does not happen.
    pub crash_ms: Option<u64>,
    /// Every member loses power at once.
    pub blackout_ms: Option<u64>,
    /// Some links are cut, perhaps one way, and healed later.
    pub partition_ms: Option<u64>,
    /// A member stands still.
    pub pause_ms: Option<u64>,
    /// A sync or a write of the log fails.
    pub disk_failure_ms: Option<u64>,
    /// There is no room for a write of the log or a commit of the store.
    pub full_disk_ms: Option<u64>,
    /// Bits of a log or a store turn over, or all of a disk is gone; the member is replaced.
    pub damage_ms: Option<u64>,
    /// A clock goes ahead at once.
    pub clock_jump_ms: Option<u64>,
    /// Clocks run up to 5 % fast or slow.
    pub drift: bool,
    /// Leadership is handed over.
    pub transfer_ms: Option<u64>,
    /// A member is added as learner, promoted or removed.
    pub membership_ms: Option<u64>,
    /// The store is defragmented.
    pub defragmentation_ms: Option<u64>,
    /// Clients that count under a lock.
    pub lockers: usize,
    /// Whether users, roles and permissions change.
    pub auth: bool,
    /// Whether stores are the real engine.
    pub real: bool,
    /// Entries between snapshots of the log, and kept behind one for slow followers.
    pub snapshot_count: u64,
    /// Of 1000 votes, so many are followed by a loss of power.
    pub vote_crashes: u32,
    /// Revisions that watchers are given at a time.
    pub watch_batch: usize,
    /// Whether elections ask first.
    pub pre_vote: bool,
}

impl Swarm {
    /// Draws a mix.
    pub fn draw(rng: &mut StdRng) -> Swarm {
        let maybe = |rng: &mut StdRng, chance: f64, least: u64, most: u64| {
            rng.random_bool(chance).then(|| rng.random_range(least..most))
        };
        let slowest = [300, 2_000, 20_000, 150_000][rng.random_range(0..4)];
        let slowest_sync = [200, 2_000, 20_000][rng.random_range(0..3)];
        Swarm {
            members: [1, 3, 3, 3, 3, 5, 5][rng.random_range(0..7)],
            clients: rng.random_range(1..8),
            duration_ms: rng.random_range(10_000..40_000),
            delay_us: (100, slowest),
            loss: if rng.random_bool(0.5) { rng.random_range(0..100) } else { 0 },
            duplication: if rng.random_bool(0.5) { rng.random_range(0..100) } else { 0 },
            sync_us: (50, slowest_sync),
            slow_syncs: if rng.random_bool(0.3) { rng.random_range(0..50) } else { 0 },
            crash_ms: maybe(rng, 0.7, 500, 8_000),
            blackout_ms: maybe(rng, 0.2, 5_000, 20_000),
            partition_ms: maybe(rng, 0.6, 1_000, 10_000),
            pause_ms: maybe(rng, 0.4, 1_000, 10_000),
            disk_failure_ms: maybe(rng, 0.4, 2_000, 15_000),
            full_disk_ms: maybe(rng, 0.3, 2_000, 15_000),
            damage_ms: maybe(rng, 0.25, 4_000, 15_000),
            clock_jump_ms: maybe(rng, 0.2, 2_000, 15_000),
            drift: rng.random_bool(0.3),
            transfer_ms: maybe(rng, 0.4, 500, 8_000),
            membership_ms: maybe(rng, 0.4, 2_000, 8_000),
            defragmentation_ms: maybe(rng, 0.3, 1_000, 10_000),
            lockers: if rng.random_bool(0.4) { rng.random_range(2..5) } else { 0 },
            auth: rng.random_bool(0.3),
            real: rng.random_bool(0.1),
            snapshot_count: [8, 15, 60][rng.random_range(0..3)],
            vote_crashes: if rng.random_bool(0.2) { rng.random_range(0..500) } else { 0 },
            watch_batch: [2, 5, 50][rng.random_range(0..3)],
            pre_vote: rng.random_bool(0.8),
        }
    }
}
