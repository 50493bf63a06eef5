//! Leases: how long each one is promised to live, at the least.
//!
//! The model does not expire leases by itself: a revoke is a request like any other, and
//! [`Leases::may_expire`] says whether the cluster was allowed to make it.

use std::collections::BTreeMap;

use api::error::Error;

/// The longest time to live that may be asked for, in seconds.
const TTL_MAX: i64 = 9_000_000_000;

/// All leases that are alive.
#[derive(Clone, Debug)]
pub struct Leases {
    /// The least time to live that is granted, in seconds.
    ttl_min: i64,
    alive: BTreeMap<i64, Lease>,
}

#[derive(Clone, Debug)]
struct Lease {
    ttl: i64,
    granted_ms: u64,
    /// When it was granted or last renewed.
    since_ms: u64,
}

impl Default for Leases {
    fn default() -> Leases {
        // One and a half election timeouts of etcd's defaults, in whole seconds.
        Leases { ttl_min: 2, alive: BTreeMap::new() }
    }
}

impl Leases {
    /// Whether a lease is alive.
    pub fn exists(&self, id: i64) -> bool {
        self.alive.contains_key(&id)
    }

    /// The ids of all leases alive.
    pub fn ids(&self) -> Vec<i64> {
        self.alive.keys().copied().collect()
    }

    /// The time to live that a lease was granted.
    pub fn ttl(&self, id: i64) -> Option<i64> {
        self.alive.get(&id).map(|lease| lease.ttl)
    }

    /// When a lease was granted or last renewed.
    pub fn since_ms(&self, id: i64) -> Option<u64> {
        self.alive.get(&id).map(|lease| lease.since_ms)
    }

    /// When a lease was granted.
    pub fn granted_ms(&self, id: i64) -> Option<u64> {
        self.alive.get(&id).map(|lease| lease.granted_ms)
    }

    /// Notes that a lease was renewed; whether it exists.
    pub fn renewed(&mut self, id: i64, now_ms: u64) -> bool {
        let lease = self.alive.get_mut(&id);
        lease.map(|lease| lease.since_ms = lease.since_ms.max(now_ms)).is_some()
    }

    /// Whether its time is over: not before its time to live has passed since the last renewal.
    pub fn may_expire(&self, id: i64, now_ms: u64) -> bool {
        let lease = self.alive.get(&id);
        lease.is_some_and(|lease| now_ms >= lease.since_ms + lease.ttl.unsigned_abs() * 1000)
    }

    pub(crate) fn grant(&mut self, id: i64, ttl: i64, now_ms: u64) -> Result<i64, Error> {
        if ttl > TTL_MAX {
            return Err(Error::LeaseTtlTooLarge);
        }
        if self.exists(id) {
            return Err(Error::LeaseExist);
        }
        let ttl = ttl.max(self.ttl_min);
        self.alive.insert(id, Lease { ttl, granted_ms: now_ms, since_ms: now_ms });
        Ok(ttl)
    }

    pub(crate) fn revoke(&mut self, id: i64) -> Result<(), Error> {
        self.alive.remove(&id).map(|_| ()).ok_or(Error::LeaseNotFound)
    }
}
