//! Leases: none may end before its time, none may be forgotten.
//!
//! A server counts a lease's time from somewhere between a renewal's call and its return. So a
//! lease that was renewed may not be seen to have ended sooner than its time after the *call*, and
//! must have ended some slack after its time from the last *return*. A change of leaders starts
//! the time again; the recorder tells until when such changes may have happened.

use std::collections::BTreeMap;

use crate::{
    history::History,
    serial::Serial,
    verdict::{Verdict, Violation, Violations},
};

/// What became of one lease.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The lease.
    pub id: i64,
    /// What was done to it, in any order.
    pub actions: Vec<Action>,
}

/// One request about a lease.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    /// When it was sent.
    pub invoked: u64,
    /// When it was answered or given up.
    pub returned: u64,
    /// What it was and how it ended.
    pub kind: Kind,
}

/// What a request about a lease was, and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Granted or renewed, for so many nanoseconds.
    Lives {
        /// The answered time to live.
        ttl: u64,
    },
    /// A grant or a renewal without an answer, which may have had an effect.
    MayLive {
        /// The time to live that was asked for, in nanoseconds.
        ttl: u64,
    },
    /// Answered that there is no such lease.
    Gone,
    /// A revocation was sent, answered or not.
    Revoked,
}

/// When leases must have ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deadline {
    /// When the last disturbance ended that may have made a server start the time of leases again.
    pub calm: u64,
    /// How much later than its time a lease may end, in nanoseconds.
    pub slack: u64,
    /// When the recording ended.
    pub end: u64,
}

/// What the check of all leases found.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Leases judged.
    pub leases: usize,
    /// Ends that no client asked for.
    pub expired: usize,
    /// What broke the rules.
    pub violations: Violations,
}

impl Summary {
    /// The worst of all leases.
    pub fn verdict(&self) -> Verdict {
        self.violations.verdict()
    }
}

/// Checks the leases of a history against the changes that were seen.
pub fn check(history: &History, serial: &Serial, deadline: Deadline) -> Summary {
    let mut summary = Summary { leases: history.leases.len(), ..Summary::default() };
    let ends: BTreeMap<i64, u64> =
        serial.expiries.iter().map(|expiry| (expiry.lease, expiry.seen)).collect();
    let held: BTreeMap<i64, String> =
        serial.state.leased().map(|kv| (kv.lease, crate::history::show(&kv.key))).collect();
    for record in &history.leases {
        if let Some(&seen) = ends.get(&record.id) {
            summary.expired += 1;
            not_early(record, seen, "its keys were deleted", &mut summary.violations);
        }
        for action in record.actions.iter().filter(|action| action.kind == Kind::Gone) {
            not_early(record, action.returned, "it was said to be gone", &mut summary.violations);
        }
        if let Some(key) = held.get(&record.id) {
            not_forgotten(record, key, deadline, &mut summary.violations);
        }
    }
    summary
}

fn not_early(record: &Record, seen: u64, what: &str, violations: &mut Violations) {
    let asked = |action: &&Action| action.kind == Kind::Revoked && action.invoked <= seen;
    if record.actions.iter().any(|action| asked(&action)) {
        return;
    }
    for action in &record.actions {
        let Kind::Lives { ttl } = action.kind else { continue };
        // One answered after the end was seen was on its way when the lease ended.
        let due = action.invoked.saturating_add(ttl);
        if action.returned <= seen && seen < due {
            let early = (due - seen) / 1_000_000;
            let message = format!("lease {:x}: {what} {early} ms early", record.id);
            let mut violation = Violation::new("no lease ends early", seen, message);
            violation.window = (action.invoked, seen);
            violations.push(violation);
        }
    }
}

fn not_forgotten(record: &Record, key: &str, deadline: Deadline, violations: &mut Violations) {
    let lives = record.actions.iter().filter_map(|action| match action.kind {
        Kind::Lives { ttl } | Kind::MayLive { ttl } => Some((action.returned, ttl)),
        Kind::Gone | Kind::Revoked => None,
    });
    let due = lives.map(|(returned, ttl)| returned.max(deadline.calm).saturating_add(ttl)).max();
    let Some(due) = due.map(|due| due.saturating_add(deadline.slack)) else { return };
    if due < deadline.end {
        let late = (deadline.end - due) / 1_000_000;
        let message = format!("lease {:x}: key {key} is there {late} ms too long", record.id);
        violations.push(Violation::new("no lease is forgotten", due, message));
    }
}
