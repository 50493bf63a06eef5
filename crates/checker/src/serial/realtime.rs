//! Revisions against real time: what is known at a moment binds everything sent after it.

use crate::{
    history::{Consistency, History, Operation},
    serial::Fate,
    verdict::{Violation, Violations},
};

/// Somebody knew at `at` that the store had reached `revision`.
struct Known {
    at: u64,
    revision: i64,
    /// The operation whose answer told; `None`: a watcher's message.
    operation: Option<usize>,
}

/// An operation with its revision.
struct Placed {
    invoked: u64,
    revision: i64,
    wrote: bool,
    operation: usize,
}

/// Checks every linearizable operation against the newest revision known before it was sent.
pub(super) fn check(history: &History, fates: &[(usize, Fate)], violations: &mut Violations) {
    let mut known = knowledge(history);
    known.sort_by_key(|known| known.at);
    let mut placed = placed(history, fates);
    placed.sort_by_key(|placed| placed.invoked);
    let mut newest: Option<&Known> = None;
    let mut rest = known.iter().peekable();
    for op in placed {
        // Equal times count as concurrent.
        while let Some(next) = rest.next_if(|known| known.at < op.invoked) {
            if newest.is_none_or(|newest| newest.revision < next.revision) {
                newest = Some(next);
            }
        }
        let Some(newest) = newest else { continue };
        let least = newest.revision + i64::from(op.wrote);
        if op.revision < least {
            violations.push(violation(history, &op, newest));
        }
    }
}

fn violation(history: &History, op: &Placed, newest: &Known) -> Violation {
    let operation = &history.operations[op.operation];
    let kind = if op.wrote { "write" } else { "read" };
    let told = match newest.operation {
        Some(earlier) => format!("the answer of\n    {}", history.operations[earlier]),
        None => "a watcher's message".to_owned(),
    };
    let message = format!(
        "a {kind} at revision {} was sent after revision {} was known:\n    {operation}\n  from {told}",
        op.revision, newest.revision
    );
    let mut violation = Violation::new("revisions follow real time", newest.at, message);
    violation.window = (newest.at, operation.returned.min(u64::MAX - 1));
    violation.operations.extend(newest.operation);
    violation.operations.push(op.operation);
    violation
}

fn knowledge(history: &History) -> Vec<Known> {
    let mut known = Vec::with_capacity(history.operations.len());
    for (i, operation) in history.operations.iter().enumerate() {
        if let Some(response) = operation.response() {
            let at = operation.returned;
            known.push(Known { at, revision: response.revision, operation: Some(i) });
        }
    }
    for message in history.watches.iter().flat_map(|record| &record.messages) {
        let last = message.events.iter().map(|watched| watched.event.revision()).max();
        if let Some(revision) = last {
            known.push(Known { at: message.at, revision, operation: None });
        }
    }
    known
}

fn placed(history: &History, fates: &[(usize, Fate)]) -> Vec<Placed> {
    let linearizable =
        |operation: &Operation| operation.request.consistency == Consistency::Linearizable;
    let mut placed = Vec::with_capacity(history.operations.len());
    for (operation, op) in history.operations.iter().enumerate() {
        let Some(response) = op.response() else { continue };
        if linearizable(op) {
            let (revision, wrote) = (response.revision, response.wrote());
            placed.push(Placed { invoked: op.invoked, revision, wrote, operation });
        }
    }
    for &(operation, fate) in fates {
        if let Fate::Seen { revision, .. } = fate {
            let invoked = history.operations[operation].invoked;
            placed.push(Placed { invoked, revision, wrote: true, operation });
        }
    }
    placed
}
