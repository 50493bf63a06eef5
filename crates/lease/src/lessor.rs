//! The lessor: every lease, the keys attached to it and, on the primary, its deadline.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    etcdserverpb::LeaseCheckpoint,
    ids::{LeaseId, Term},
    leasepb,
};
use bytes::Bytes;
use mutants::{Mutant, is_on};
use storage::{Op, schema};

use crate::expiry::{Deadlines, pace};

/// The longest time to live that can be granted, in seconds.
const MAX_TTL_S: i64 = 9_000_000_000;

/// How a lessor behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The shortest time to live in seconds; smaller wishes are raised to it.
    pub min_ttl_s: i64,
    /// How often the remaining time of a long lease is recorded; `None` turns checkpoints off.
    pub checkpoint_interval_ms: Option<u64>,
    /// After this time a lease that was to be revoked and is still there is asked for again.
    pub revoke_retry_ms: u64,
}

impl Options {
    /// etcd's defaults beside the minimum, which follows from the election timeout.
    pub fn new(min_ttl_s: i64) -> Options {
        Options { min_ttl_s, checkpoint_interval_ms: None, revoke_retry_ms: 7000 }
    }
}

/// What the primary wants to have proposed.
#[derive(Clone, Debug, PartialEq)]
pub enum LeaseAction {
    /// These leases have expired: at most 500.
    Revoke(Vec<LeaseId>),
    /// Record the remaining time of these leases: at most 1000.
    Checkpoint(Vec<LeaseCheckpoint>),
}

/// Why a grant or a revoke was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such lease.
    #[error("lease not found")]
    NotFound,
    /// A lease with this id is there.
    #[error("lease already exists")]
    Exists,
    /// The wished time to live is above 9,000,000,000 s.
    #[error("lease TTL too large")]
    TtlTooLarge,
}

impl From<Error> for api::error::Error {
    fn from(error: Error) -> api::error::Error {
        match error {
            Error::NotFound => api::error::Error::LeaseNotFound,
            Error::Exists => api::error::Error::LeaseExist,
            Error::TtlTooLarge => api::error::Error::LeaseTtlTooLarge,
        }
    }
}

/// Why a lease was not renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    /// Only the primary renews; ask it.
    #[error("not a primary lessor")]
    NotPrimary,
    /// No such lease.
    #[error("lease not found")]
    NotFound,
    /// The lease has expired and its revocation is under way: wait for that, then answer.
    #[error("lease expired")]
    Expired,
    /// A shorter remaining time is on record, and would count after a change of leader: propose a
    /// checkpoint of 0 for the lease, wait until it is applied, then renew again.
    #[error("lease has a recorded remaining time")]
    Checkpointed,
}

/// What a lease has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeToLive {
    /// Granted time to live in seconds.
    pub granted_ttl: i64,
    /// Whole seconds left, not above 0 when expired; `None` when this member is not the primary.
    pub remaining_ttl: Option<i64>,
}

/// One lease.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Granted time to live in seconds.
    pub(crate) ttl: i64,
    /// Recorded remaining time in seconds; 0 when none is recorded.
    pub(crate) remaining_ttl: i64,
    /// When it expires; holds on the primary only.
    pub(crate) expiry: u64,
    /// Where it stands in the expiry queue: its expiry, or when to ask again for its revocation.
    pub(crate) due: u64,
    /// Where it stands in the checkpoint queue, if it does.
    pub(crate) checkpoint_due: Option<u64>,
    keys: BTreeSet<Bytes>,
}

impl Lease {
    fn new(ttl: i64, remaining_ttl: i64) -> Lease {
        let keys = BTreeSet::new();
        Lease { ttl, remaining_ttl, expiry: 0, due: 0, checkpoint_due: None, keys }
    }

    /// Milliseconds that the lease lives from a promotion on.
    fn life_ms(&self) -> u64 {
        let seconds = if self.remaining_ttl > 0 { self.remaining_ttl } else { self.ttl };
        to_ms(seconds)
    }
}

/// All leases of one member.
#[derive(Debug)]
pub struct Lessor {
    pub(crate) options: Options,
    pub(crate) leases: BTreeMap<LeaseId, Lease>,
    /// The term in which this member is the primary, if it is.
    pub(crate) primary: Option<Term>,
    /// On the primary holds every lease exactly once, at its `due`; empty elsewhere.
    pub(crate) expiries: Deadlines,
    /// On the primary holds the leases with a `checkpoint_due`; empty elsewhere.
    pub(crate) checkpoints: Deadlines,
}

impl Lessor {
    /// A lessor without leases that is not the primary.
    pub fn new(options: Options) -> Lessor {
        Lessor {
            options,
            leases: BTreeMap::new(),
            primary: None,
            expiries: Deadlines::default(),
            checkpoints: Deadlines::default(),
        }
    }

    /// Replaces all leases by stored ones, and demotes. Attachments to unknown leases are dropped.
    pub fn restore(
        &mut self,
        stored: impl IntoIterator<Item = leasepb::Lease>,
        attachments: impl IntoIterator<Item = (LeaseId, Bytes)>,
    ) {
        *self = Lessor::new(self.options.clone());
        for lease in stored {
            let ttl = lease.ttl.max(self.options.min_ttl_s);
            self.leases.insert(LeaseId(lease.id), Lease::new(ttl, lease.remaining_ttl));
        }
        for (id, key) in attachments {
            if is_on(Mutant::AttachmentsLost) {
                break;
            }
            self.attach(id, &key);
        }
    }

    /// Creates a lease and returns the granted time to live in seconds.
    pub fn grant(
        &mut self,
        id: LeaseId,
        ttl_s: i64,
        now: u64,
        ops: &mut Vec<Op>,
    ) -> Result<i64, Error> {
        if id.0 == 0 {
            return Err(Error::NotFound);
        }
        if ttl_s > MAX_TTL_S {
            return Err(Error::TtlTooLarge);
        }
        if self.leases.contains_key(&id) {
            return Err(Error::Exists);
        }
        let ttl = ttl_s.max(self.options.min_ttl_s);
        let mut lease = Lease::new(ttl, 0);
        if self.is_primary() {
            lease.expiry = now.saturating_add(lease.life_ms());
            lease.due = lease.expiry;
            self.expiries.insert(lease.due, id);
        }
        self.leases.insert(id, lease);
        ops.push(put(id, ttl, 0));
        self.schedule_checkpoint(id, now);
        Ok(ttl)
    }

    /// Removes a lease and returns the keys to delete, in ascending order.
    pub fn revoke(&mut self, id: LeaseId, ops: &mut Vec<Op>) -> Result<Vec<Bytes>, Error> {
        let lease = self.leases.remove(&id).ok_or(Error::NotFound)?;
        if self.is_primary() {
            self.expiries.remove(lease.due, id);
        }
        if let Some(at) = lease.checkpoint_due {
            self.checkpoints.remove(at, id);
        }
        ops.push(schema::lease::delete(id));
        Ok(lease.keys.into_iter().collect())
    }

    /// Attaches a key; an unknown lease is left unknown. The key is copied, so that a lease never
    /// keeps a whole raft entry in memory.
    pub fn attach(&mut self, id: LeaseId, key: &[u8]) {
        if let Some(lease) = self.leases.get_mut(&id)
            && !lease.keys.contains(key)
        {
            lease.keys.insert(Bytes::copy_from_slice(key));
        }
    }

    /// Detaches a key.
    pub fn detach(&mut self, id: LeaseId, key: &[u8]) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.keys.remove(key);
        }
    }

    /// Gives a lease its full time to live again, and returns that in seconds.
    pub fn renew(&mut self, id: LeaseId, now: u64) -> Result<i64, RenewError> {
        if !self.is_primary() {
            return Err(RenewError::NotPrimary);
        }
        let lease = self.leases.get_mut(&id).ok_or(RenewError::NotFound)?;
        if lease.expiry <= now {
            return Err(RenewError::Expired);
        }
        if lease.remaining_ttl > 0 {
            return Err(RenewError::Checkpointed);
        }
        self.expiries.remove(lease.due, id);
        lease.expiry = now.saturating_add(to_ms(lease.ttl));
        lease.due = lease.expiry;
        self.expiries.insert(lease.due, id);
        let ttl = lease.ttl;
        if lease.checkpoint_due.is_none() {
            self.schedule_checkpoint(id, now);
        }
        Ok(ttl)
    }

    /// Records how long a lease has left; 0 clears the record. Counts from the next promotion on.
    /// Stored only with `persist`, which every member must decide alike. Unknown leases are left.
    pub fn checkpoint(
        &mut self,
        id: LeaseId,
        remaining_ttl: i64,
        persist: bool,
        ops: &mut Vec<Op>,
    ) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        lease.remaining_ttl = remaining_ttl;
        if persist {
            ops.push(put(id, lease.ttl, remaining_ttl));
        }
    }

    /// Makes this member the primary of a term in which it leads: each lease gets its (remaining)
    /// time to live from now on, and `extend_ms` more. Many leases are spread, so that they do not
    /// expire together.
    ///
    /// That happens once in a term: what has expired in it stays so, because the revocations that
    /// were asked for may be on their way.
    pub fn promote(&mut self, term: Term, extend_ms: u64, now: u64) {
        if self.primary == Some(term) && !is_on(Mutant::PromotedAgain) {
            return;
        }
        self.demote();
        self.primary = Some(term);
        let start = now.saturating_add(extend_ms);
        let mut deadlines: Vec<(u64, LeaseId)> = self
            .leases
            .iter()
            .map(|(id, lease)| match is_on(Mutant::PromoteKeepsTime) {
                true => (start.saturating_add(lease.life_ms() / 2), *id),
                false => (start.saturating_add(lease.life_ms()), *id),
            })
            .collect();
        deadlines.sort_unstable();
        pace(&mut deadlines);
        for (at, id) in &deadlines {
            let lease = self.leases.get_mut(id).expect("the deadlines were made from the leases");
            lease.expiry = *at;
            lease.due = *at;
        }
        self.expiries = Deadlines::from_iter(deadlines);
        self.schedule_all_checkpoints(now);
    }

    /// Makes this member a follower: nothing expires here.
    pub fn demote(&mut self) {
        if !self.is_primary() {
            return;
        }
        self.primary = None;
        self.expiries = Deadlines::default();
        self.checkpoints = Deadlines::default();
        for lease in self.leases.values_mut() {
            lease.checkpoint_due = None;
        }
    }

    /// Whether this member expires and renews leases.
    pub fn is_primary(&self) -> bool {
        self.primary.is_some()
    }

    /// The term in which this member is the primary, if it is: what it wants done holds in that term
    /// alone.
    pub fn primary_term(&self) -> Option<Term> {
        self.primary
    }

    /// Whether the lease is there, expired or not.
    pub fn contains(&self, id: LeaseId) -> bool {
        self.leases.contains_key(&id)
    }

    /// How many leases there are.
    pub fn count(&self) -> usize {
        self.leases.len()
    }

    /// What a lease has left.
    pub fn time_to_live(&self, id: LeaseId, now: u64) -> Option<TimeToLive> {
        let lease = self.leases.get(&id)?;
        let left_ms = i128::from(lease.expiry) - i128::from(now);
        let left = i64::try_from(left_ms / 1000).unwrap_or(i64::MAX);
        Some(TimeToLive {
            granted_ttl: lease.ttl,
            remaining_ttl: self.is_primary().then_some(left),
        })
    }

    /// The keys attached to a lease, in ascending order.
    pub fn keys(&self, id: LeaseId) -> Option<Vec<Bytes>> {
        Some(self.leases.get(&id)?.keys.iter().cloned().collect())
    }

    /// All leases: on the primary the one that expires first comes first, elsewhere by id.
    pub fn leases(&self) -> Vec<LeaseId> {
        if !self.is_primary() {
            return self.leases.keys().copied().collect();
        }
        let mut by_expiry: Vec<(u64, LeaseId)> =
            self.leases.iter().map(|(id, lease)| (lease.expiry, *id)).collect();
        by_expiry.sort_unstable();
        by_expiry.into_iter().map(|(_, id)| id).collect()
    }
}

/// The write that stores a lease.
fn put(id: LeaseId, ttl: i64, remaining_ttl: i64) -> Op {
    schema::lease::put(&leasepb::Lease { id: id.0, ttl, remaining_ttl })
}

/// Seconds to milliseconds; granted times are positive and far from overflow.
pub(crate) fn to_ms(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1000)
}

#[cfg(test)]
mod tests;
