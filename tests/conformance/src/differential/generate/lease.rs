//! Leases. Terms are so long that none ends during a run: when a lease ends is for the clock, not
//! for the sequence. The ones that are too short are revoked at once.

use api::etcdserverpb as pb;
use rand::{Rng, seq::IndexedRandom};

use super::Generator;
use crate::differential::op::Op;

/// How many leases there may be.
const LEASES: usize = 40;

impl Generator {
    /// A step of the lease service.
    pub(super) fn lease(&mut self) -> Op {
        match self.rng.random_range(0..20) {
            0..5 if self.leases.len() < LEASES => self.grant(),
            5 => self.grant_short(),
            6 => Op::LeaseGrantAnonymous { ttl: self.rng.random_range(-3..5000) },
            7..10 => Op::LeaseRevoke(pb::LeaseRevokeRequest { id: self.lease_or_not() }),
            10..13 => Op::LeaseKeepAlive(pb::LeaseKeepAliveRequest { id: self.lease_or_not() }),
            13 => Op::LeaseLeases,
            _ => {
                let (id, keys) = (self.lease_or_not(), self.rng.random());
                Op::LeaseTimeToLive(pb::LeaseTimeToLiveRequest { id, keys })
            }
        }
    }

    fn grant(&mut self) -> Op {
        let id = match self.rng.random_range(0..10) {
            0 => self.some_lease(),
            1 => self.extreme(),
            2 => -self.rng.random_range(1..1_000_000),
            _ => self.rng.random_range(1..i64::MAX),
        };
        // 0 lets the server choose, and another id is chosen on the other side.
        let id = if id == 0 { 1 } else { id };
        let ttl = match self.rng.random_range(0..10) {
            0 => 9_000_000_000,
            1 => *[9_000_000_001, i64::MAX].choose(&mut self.rng).expect("not empty"),
            _ => self.rng.random_range(10_000..10_000_000),
        };
        Op::LeaseGrant(pb::LeaseGrantRequest { ttl, id })
    }

    /// A term that is raised to the shortest one, and the lease's end before that is over.
    fn grant_short(&mut self) -> Op {
        let id = self.rng.random_range(1 << 50..1 << 51);
        let ttl = *[0, -1, 1, i64::MIN].choose(&mut self.rng).expect("not empty");
        self.queue.push_back(Op::LeaseRevoke(pb::LeaseRevokeRequest { id }));
        Op::LeaseGrant(pb::LeaseGrantRequest { ttl, id })
    }

    fn lease_or_not(&mut self) -> i64 {
        if self.rng.random_bool(0.15) { self.extreme() } else { self.some_lease() }
    }
}
