//! The replay: every revision's changes applied in order, every answer compared.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::{
    history::{Consistency, Event, History, Operation, Outcome, Response, Step, StepResult},
    serial::{Change, Expiry, Fate, Serial, seen::Seen},
    verdict::Violation,
};

/// Replays all that is known.
pub(super) fn run(history: &History, seen: BTreeMap<i64, Seen>, serial: &mut Serial) {
    let mut replay = Replay::new(history, seen, serial);
    let last = replay.last();
    replay.answers_at(1);
    for revision in 2..=last {
        if !replay.change_at(revision) {
            replay.serial.undecided =
                Some(format!("nothing is known of revision {revision} of {last}"));
            return;
        }
        replay.answers_at(revision);
    }
    replay.rest_never_happened();
}

struct Replay<'a> {
    history: &'a History,
    serial: &'a mut Serial,
    seen: BTreeMap<i64, Seen>,
    /// Answered writes by revision.
    writers: BTreeMap<i64, usize>,
    /// Other answers by the revision of the state they tell, in order.
    readers: Vec<(i64, usize)>,
    read: usize,
    /// Writes without an answer, by what could be seen of them.
    open_puts: HashMap<(Bytes, Bytes), Vec<usize>>,
    open_deletes: HashMap<Bytes, Vec<usize>>,
    /// Those that delete ranges: their first key need not be one that is deleted.
    open_ranges: Vec<usize>,
    used: Vec<bool>,
}

impl<'a> Replay<'a> {
    fn new(history: &'a History, seen: BTreeMap<i64, Seen>, serial: &'a mut Serial) -> Self {
        let used = vec![false; history.operations.len()];
        let mut replay = Replay {
            history,
            serial,
            seen,
            writers: BTreeMap::new(),
            readers: Vec::new(),
            read: 0,
            open_puts: HashMap::new(),
            open_deletes: HashMap::new(),
            open_ranges: Vec::new(),
            used,
        };
        for (i, operation) in history.operations.iter().enumerate() {
            match operation.response() {
                Some(response) if response.wrote() => replay.add_writer(i, response),
                Some(response) => replay.readers.push((state_of(operation, response), i)),
                None if operation.outcome == Outcome::Never => {}
                None => replay.add_open(i),
            }
        }
        replay.readers.sort_unstable();
        replay
    }

    /// The last revision that anything tells of.
    fn last(&self) -> i64 {
        let seen = self.seen.keys().next_back().copied().unwrap_or(1);
        let written = self.writers.keys().next_back().copied().unwrap_or(1);
        let read = self.readers.last().map_or(1, |(revision, _)| *revision);
        seen.max(written).max(read)
    }

    fn add_writer(&mut self, index: usize, response: &Response) {
        if let Some(&other) = self.writers.get(&response.revision) {
            let operations = &self.history.operations;
            let message = format!(
                "revision {} was answered to two writes:\n    {}\n    {}",
                response.revision, operations[other], operations[index]
            );
            let at = operations[index].returned;
            let violation = Violation::new("one write a revision", at, message);
            self.serial.violations.push(violation.with(&[other, index]));
            return;
        }
        self.writers.insert(response.revision, index);
    }

    fn add_open(&mut self, index: usize) {
        let request = &self.history.operations[index].request;
        for step in request.success.iter().chain(&request.failure) {
            match step {
                Step::Range { .. } => {}
                Step::Put { key, value, .. } => {
                    self.open_puts.entry((key.clone(), value.clone())).or_default().push(index);
                }
                Step::Delete { key, end } if end.is_empty() => {
                    self.open_deletes.entry(key.clone()).or_default().push(index);
                }
                Step::Delete { .. } => self.open_ranges.push(index),
            }
        }
    }

    /// Makes the changes of a revision; false when nothing is known of it.
    fn change_at(&mut self, revision: i64) -> bool {
        let seen = self.seen.remove(&revision);
        let first = seen.as_ref().map_or(u64::MAX, |seen| seen.first);
        let observed = seen.map_or_else(Vec::new, |seen| seen.events);
        let events = match self.writers.get(&revision) {
            Some(&writer) => self.answered(writer, &observed, first),
            None if observed.is_empty() => return false,
            None => self.unanswered(revision, observed, first),
        };
        self.serial.state.commit(revision, &events);
        self.serial.timeline.changes.push(Change { events, seen: first });
        true
    }

    /// The changes of an answered write, after a comparison with its answer and what was seen.
    fn answered(&mut self, writer: usize, observed: &[Event], first: u64) -> Vec<Event> {
        let operation = &self.history.operations[writer];
        let response = operation.response().expect("writers have answers");
        let plan = self.serial.state.plan(&operation.request);
        self.serial.answers += 1;
        if !same_answer(response, &plan.response) {
            self.wrong_answer(writer, &plan.response);
        }
        for event in observed {
            if !plan.events.contains(event) {
                let message = format!(
                    "watchers were told {} at a revision that belongs to\n    {operation}",
                    event
                );
                let violation = Violation::new("changes are those of writes", first, message);
                self.serial.violations.push(violation.with(&[writer]));
            }
        }
        // When the two disagree watchers are believed: they saw what was stored.
        let disagree = observed.iter().any(|event| !plan.events.contains(event));
        if disagree || plan.events.is_empty() { observed.to_vec() } else { plan.events }
    }

    /// Finds who made the changes of a revision that no answer tells of.
    fn unanswered(&mut self, revision: i64, observed: Vec<Event>, first: u64) -> Vec<Event> {
        for candidate in self.candidates(&observed) {
            let operation = &self.history.operations[candidate];
            let plan = self.serial.state.plan(&operation.request);
            let explains = observed.iter().all(|event| plan.events.contains(event));
            if explains && plan.response.revision == revision && operation.invoked <= first {
                self.used[candidate] = true;
                self.serial.fates.push((candidate, Fate::Seen { revision, at: first }));
                return plan.events;
            }
        }
        if let Some(expiry) = self.revocation(revision, &observed, first) {
            let events = self.serial.state.revocation(expiry.lease);
            self.serial.expiries.push(expiry);
            return events;
        }
        let mut message = format!("nobody asked for the change at revision {revision}:");
        for event in &observed {
            message.push_str(&format!(" {event}"));
        }
        let mut operations = Vec::new();
        if let Some((index, told)) = self.origin(&observed) {
            message.push_str(&format!("; {told}\n    {}", self.history.operations[index]));
            operations.push(index);
        }
        let violation = Violation::new("changes are those of writes", first, message);
        self.serial.violations.push(violation.with(&operations));
        observed
    }

    /// Operations without an answer that could have made these changes, the oldest first.
    fn candidates(&self, observed: &[Event]) -> Vec<usize> {
        let of_event = |event: &Event| {
            let of_put = self.open_puts.get(&(event.kv.key.clone(), event.kv.value.clone()));
            let of_delete = self.open_deletes.get(&event.kv.key);
            if event.deleted { of_delete } else { of_put }
        };
        // All changes of a revision are of one operation: any of them tells it.
        let by_key = observed.iter().find_map(of_event).into_iter().flatten();
        let all = by_key.chain(&self.open_ranges).copied();
        let mut found: Vec<usize> = all.filter(|&i| !self.used[i]).collect();
        found.sort_by_key(|&i| self.history.operations[i].invoked);
        found
    }

    fn revocation(&self, revision: i64, observed: &[Event], first: u64) -> Option<Expiry> {
        let lease = self.serial.state.get(&observed.first()?.kv.key)?.lease;
        if lease == 0 {
            return None;
        }
        let expected = self.serial.state.revocation(lease);
        let all = observed.iter().all(|event| expected.contains(event));
        all.then_some(Expiry { lease, revision, seen: first })
    }

    /// A write that had this effect already, for the message.
    fn origin(&self, observed: &[Event]) -> Option<(usize, &'static str)> {
        let event = observed.iter().find(|event| !event.deleted)?;
        let writes = |operation: &Operation| {
            let request = &operation.request;
            request.success.iter().chain(&request.failure).any(|step| {
                matches!(step, Step::Put { key, value, .. }
                    if *key == event.kv.key && *value == event.kv.value)
            })
        };
        let index = self.history.operations.iter().position(writes)?;
        Some((index, "this asked for it, yet had its effect elsewhere or was sent later"))
    }

    /// Compares the answers that tell of the state at a revision.
    fn answers_at(&mut self, revision: i64) {
        while let Some(&(at, reader)) = self.readers.get(self.read) {
            if at > revision {
                return;
            }
            self.read += 1;
            let operation = &self.history.operations[reader];
            let response = operation.response().expect("readers have answers");
            let plan = self.serial.state.plan(&operation.request);
            self.serial.answers += 1;
            let mut expected = plan.response;
            if operation.request.consistency != Consistency::Linearizable {
                // A read at a revision tells the newest one in its header.
                expected.revision = response.revision;
            }
            if !plan.events.is_empty() || !same_answer(response, &expected) {
                self.wrong_answer(reader, &expected);
            }
        }
    }

    fn wrong_answer(&mut self, index: usize, expected: &Response) {
        let operation = &self.history.operations[index];
        let message = format!("\n    {operation}\n  should have been answered\n    {expected}");
        let mut violation = Violation::new("answers fit revisions", operation.returned, message);
        violation.window = (operation.invoked, operation.returned);
        self.serial.violations.push(violation.with(&[index]));
    }

    /// Every change is explained: an operation without one had none.
    fn rest_never_happened(&mut self) {
        for (i, operation) in self.history.operations.iter().enumerate() {
            if operation.outcome == Outcome::Unknown && !self.used[i] {
                self.serial.fates.push((i, Fate::Never));
            }
        }
    }
}

/// The revision of the state that an answer tells of.
fn state_of(operation: &Operation, response: &Response) -> i64 {
    match operation.request.consistency {
        Consistency::At(revision) if revision > 0 => revision,
        _ => response.revision,
    }
}

/// Whether an answer is the expected one; what was not asked for is not compared.
fn same_answer(given: &Response, expected: &Response) -> bool {
    let same_result = |(given, expected): (&StepResult, &StepResult)| match (given, expected) {
        (StepResult::Put { prev: None }, StepResult::Put { .. }) => true,
        (given, expected) => given == expected,
    };
    given.revision == expected.revision
        && given.succeeded == expected.succeeded
        && given.results.len() == expected.results.len()
        && given.results.iter().zip(&expected.results).all(same_result)
}
