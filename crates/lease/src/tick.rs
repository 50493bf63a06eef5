//! The primary's periodic work: which leases to revoke, and whose remaining time to record.
//!
//! One call looks at a bounded number of leases, so a million that expire together drip out at the
//! rate of the ticks and never hold up a write.

use api::{etcdserverpb::LeaseCheckpoint, ids::LeaseId};

use crate::{LeaseAction, Lessor, lessor::Lease};

/// Most leases asked to be revoked by one call; with a call each 500 ms, 1000 per second.
const REVOKES_PER_PASS: usize = 500;
/// Most leases in one checkpoint entry.
const CHECKPOINTS_PER_ENTRY: usize = 1000;
/// Most checkpoint entries of one call.
const CHECKPOINT_ENTRIES_PER_PASS: usize = 500;

impl Lessor {
    /// Says what is due at `now`. Meant to be called every 500 ms; does nothing on a follower. A
    /// lease that was handed out for revocation comes again if it is still there after the retry
    /// time.
    pub fn handle_tick(&mut self, now: u64, out: &mut Vec<LeaseAction>) {
        if !self.is_primary() {
            return;
        }
        let expired = self.take_expired(now);
        if !expired.is_empty() {
            out.push(LeaseAction::Revoke(expired));
        }
        for _ in 0..CHECKPOINT_ENTRIES_PER_PASS {
            let due = self.take_checkpoints(now);
            let last = due.len() < CHECKPOINTS_PER_ENTRY;
            if !due.is_empty() {
                out.push(LeaseAction::Checkpoint(due));
            }
            if last {
                break;
            }
        }
    }

    fn take_expired(&mut self, now: u64) -> Vec<LeaseId> {
        let mut expired = Vec::new();
        while expired.len() < REVOKES_PER_PASS {
            let Some(id) = self.expiries.pop_due(now) else { break };
            let lease = self.leases.get_mut(&id).expect("the expiry queue holds known leases only");
            let retry = match mutants::is_on(mutants::Mutant::ExpiryForgotten) {
                true => u64::MAX >> 1,
                false => self.options.revoke_retry_ms.max(1),
            };
            lease.due = now.saturating_add(retry);
            self.expiries.insert(lease.due, id);
            expired.push(id);
        }
        expired
    }

    fn take_checkpoints(&mut self, now: u64) -> Vec<LeaseCheckpoint> {
        let mut due = Vec::new();
        while due.len() < CHECKPOINTS_PER_ENTRY {
            let Some(id) = self.checkpoints.pop_due(now) else { break };
            let lease = self.leases.get_mut(&id).expect("the checkpoint queue holds known leases");
            lease.checkpoint_due = None;
            if let Some(remaining_ttl) = worth_recording(lease, now) {
                due.push(LeaseCheckpoint { id: id.0, remaining_ttl });
            }
            self.schedule_checkpoint(id, now);
        }
        due
    }

    /// Puts every lease that wants checkpoints in the queue; for a new primary.
    pub(crate) fn schedule_all_checkpoints(&mut self, now: u64) {
        if self.options.checkpoint_interval_ms.is_none() {
            return;
        }
        let ids: Vec<LeaseId> = self.leases.keys().copied().collect();
        for id in ids {
            self.schedule_checkpoint(id, now);
        }
    }

    /// Puts a lease in the checkpoint queue if it has more than one interval left.
    pub(crate) fn schedule_checkpoint(&mut self, id: LeaseId, now: u64) {
        let Some(interval) = self.options.checkpoint_interval_ms else { return };
        if !self.is_primary() {
            return;
        }
        let lease = self.leases.get_mut(&id).expect("checkpoints are scheduled for known leases");
        if lease.expiry.saturating_sub(now) <= interval {
            return;
        }
        let at = now.saturating_add(interval);
        if let Some(old) = lease.checkpoint_due.replace(at) {
            self.checkpoints.remove(old, id);
        }
        self.checkpoints.insert(at, id);
    }
}

/// The remaining seconds of a lease, rounded up, if that is less than it was granted.
fn worth_recording(lease: &Lease, now: u64) -> Option<i64> {
    let left_s = lease.expiry.saturating_sub(now).div_ceil(1000);
    let left_s = i64::try_from(left_s).unwrap_or(i64::MAX);
    (0 < left_s && left_s < lease.ttl).then_some(left_s)
}
