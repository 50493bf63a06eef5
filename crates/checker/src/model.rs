//! etcd's keyspace as a model for the search: a group of keys, and the floor below which no later
//! revision may be.
//!
//! A write without an answer has a revision nobody was told. Such a revision is 0 here until a
//! read tells it; every comparison with it may go either way.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::{
    history::{
        Compare, Kv, Operation, Outcome, Relation, Request, Response, Step, StepResult, Target,
    },
    linear::Model,
    partition::Group,
};

/// The model of a group of keys.
pub(crate) struct EtcdModel<'a> {
    pub(crate) group: &'a Group,
}

/// All keys of the group at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// The highest revision that is known to have passed.
    floor: i64,
    cells: Box<[Option<Cell>]>,
}

/// A present key. Revisions are 0 while unknown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Cell {
    value: Bytes,
    create: i64,
    modified: i64,
    version: i64,
    lease: i64,
}

/// An operation with places instead of keys.
pub(crate) struct Compiled<'a> {
    group: &'a Group,
    request: &'a Request,
    outcome: &'a Outcome,
    compares: Vec<usize>,
    branches: [Vec<std::ops::Range<usize>>; 2],
}

/// Looks up the keys of an operation.
pub(crate) fn compile<'a>(operation: &'a Operation, group: &'a Group) -> Compiled<'a> {
    let request = &operation.request;
    let place = |key: &Bytes| group.position(key).expect("a group has the keys it was made of");
    let branch = |steps: &[Step]| -> Vec<std::ops::Range<usize>> {
        let places = steps.iter().map(|step| match step {
            Step::Put { key, .. } => place(key)..place(key) + 1,
            Step::Range { key, end } | Step::Delete { key, end } => group.range(key, end),
        });
        places.collect()
    };
    Compiled {
        group,
        request,
        outcome: &operation.outcome,
        compares: request.compares.iter().map(|compare| place(&compare.key)).collect(),
        branches: [branch(&request.failure), branch(&request.success)],
    }
}

impl<'a> Model for EtcdModel<'a> {
    type State = State;
    type Op = Compiled<'a>;

    fn initial(&self) -> State {
        State { floor: 1, cells: vec![None; self.group.keys.len()].into() }
    }

    fn rank(&self, op: &Compiled<'a>) -> Option<u64> {
        match op.outcome {
            Outcome::Done(response) => Some(response.revision as u64),
            Outcome::Seen { revision } => Some(*revision as u64),
            Outcome::Unknown | Outcome::Never => None,
        }
    }

    fn step(&self, state: &State, op: &Compiled<'a>, answered: bool, next: &mut Vec<State>) {
        let unknown = Outcome::Unknown;
        let outcome = if answered { op.outcome } else { &unknown };
        match outcome {
            Outcome::Done(response) => {
                next.extend(op.explain(state, response.succeeded, Some(response), None));
            }
            Outcome::Seen { revision } => {
                for branch in [true, false] {
                    next.extend(op.explain(state, branch, None, Some(*revision)));
                }
            }
            // The search leaves out what never happened.
            Outcome::Never => {}
            Outcome::Unknown => {
                for branch in [true, false] {
                    // Without a change it might as well not have happened.
                    let after = op.explain(state, branch, None, None);
                    next.extend(after.filter(|after| after.floor > state.floor));
                }
            }
        }
    }
}

impl Compiled<'_> {
    /// The state after the operation took this branch; `None` when that cannot be, by the state or
    /// by the answer. `seen` is the revision of an operation that others saw.
    fn explain(
        &self,
        state: &State,
        succeeded: bool,
        response: Option<&Response>,
        seen: Option<i64>,
    ) -> Option<State> {
        let mut after = state.clone();
        if !after.compare(&self.request.compares, &self.compares, succeeded) {
            return None;
        }
        let steps = self.request.branch(succeeded);
        let places = &self.branches[usize::from(succeeded)];
        let writes = steps.iter().zip(places).any(|(step, places)| match step {
            Step::Range { .. } => false,
            Step::Put { .. } => true,
            Step::Delete { .. } => after.cells[places.clone()].iter().any(Option::is_some),
        });
        let told = response.map(|response| response.revision).or(seen);
        let least = state.floor + i64::from(writes);
        if told.is_some_and(|revision| revision < least) || (seen.is_some() && !writes) {
            return None;
        }
        let results = response.map(|response| &response.results[..]);
        if results.is_some_and(|results| results.len() != steps.len()) {
            return None;
        }
        after.floor = told.unwrap_or(least);
        for (i, (step, places)) in steps.iter().zip(places).enumerate() {
            let result = results.map(|results| &results[i]);
            let fits = match (step, result) {
                (Step::Range { .. }, None) => true,
                (Step::Range { .. }, Some(StepResult::Range(kvs))) => {
                    after.read(self, places.clone(), kvs)
                }
                (Step::Put { value, lease, .. }, None | Some(StepResult::Put { .. })) => {
                    after.put(places.start, value, *lease, told.unwrap_or(0), result)
                }
                (Step::Delete { .. }, None) => {
                    after.delete(places.clone());
                    true
                }
                (Step::Delete { .. }, Some(StepResult::Delete { deleted })) => {
                    after.delete(places.clone()) == *deleted
                }
                _ => false,
            };
            if !fits {
                return None;
            }
        }
        Some(after)
    }
}

/// The answer to a comparison with something that may be unknown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    /// Either.
    Open,
}

impl State {
    /// Whether the comparisons can have had this outcome; learns what it tells.
    fn compare(&mut self, compares: &[Compare], places: &[usize], succeeded: bool) -> bool {
        let mut possible = succeeded;
        for (compare, &place) in compares.iter().zip(places) {
            let answer = answer(compare, self.cells[place].as_ref());
            if succeeded {
                if answer == Answer::No {
                    return false;
                }
                if answer == Answer::Open && compare.relation == Relation::Equal {
                    self.learn(place, &compare.target);
                }
            } else if answer != Answer::Yes {
                possible = true;
            }
        }
        possible
    }

    /// A revision that was unknown equals this one.
    fn learn(&mut self, place: usize, target: &Target) {
        let Some(cell) = &mut self.cells[place] else { return };
        match target {
            Target::Mod(revision) => cell.modified = *revision,
            Target::Create(revision) => cell.create = *revision,
            Target::Version(_) | Target::Value(_) | Target::Lease(_) => {}
        }
    }

    /// Whether a range reads these; learns revisions.
    fn read(&mut self, op: &Compiled<'_>, places: std::ops::Range<usize>, kvs: &[Kv]) -> bool {
        let mut kvs = kvs.iter();
        let floor = self.floor;
        for place in places {
            let Some(cell) = &mut self.cells[place] else { continue };
            let Some(kv) = kvs.next() else { return false };
            if op.group.keys[place] != kv.key || !cell.matches(kv, floor) {
                return false;
            }
        }
        kvs.next().is_none()
    }

    fn put(
        &mut self,
        place: usize,
        value: &Bytes,
        lease: i64,
        revision: i64,
        result: Option<&StepResult>,
    ) -> bool {
        let floor = self.floor;
        let cell = &mut self.cells[place];
        if let Some(StepResult::Put { prev: Some(prev) }) = result {
            let fits = match (&mut *cell, prev) {
                (None, None) => true,
                (Some(cell), Some(kv)) => cell.matches(kv, floor),
                _ => false,
            };
            if !fits {
                return false;
            }
        }
        let (create, version) = match cell {
            Some(cell) => (cell.create, cell.version + 1),
            None => (revision, 1),
        };
        *cell = Some(Cell { value: value.clone(), create, modified: revision, version, lease });
        true
    }

    fn delete(&mut self, places: std::ops::Range<usize>) -> i64 {
        self.cells[places].iter_mut().filter_map(Option::take).count() as i64
    }
}

impl Cell {
    /// Whether this is what was read at revision `floor`; learns revisions.
    fn matches(&mut self, kv: &Kv, floor: i64) -> bool {
        let known = |own: i64, read: i64| own == 0 || own == read;
        let fits = self.value == kv.value
            && self.version == kv.version
            && self.lease == kv.lease
            && known(self.create, kv.create_revision)
            && known(self.modified, kv.mod_revision)
            && kv.mod_revision <= floor;
        self.create = kv.create_revision;
        self.modified = kv.mod_revision;
        fits
    }
}

fn answer(compare: &Compare, cell: Option<&Cell>) -> Answer {
    let number = |of: fn(&Cell) -> i64, given: i64| match cell {
        None => Some(0.cmp(&given)),
        // The unknown revision of a present key.
        Some(cell) if of(cell) == 0 => None,
        Some(cell) => Some(of(cell).cmp(&given)),
    };
    let lease = cell.map_or(0, |cell| cell.lease);
    let order: Option<Ordering> = match &compare.target {
        Target::Version(given) => Some(cell.map_or(0, |cell| cell.version).cmp(given)),
        Target::Lease(given) => Some(lease.cmp(given)),
        Target::Create(given) => number(|cell| cell.create, *given),
        Target::Mod(given) => number(|cell| cell.modified, *given),
        Target::Value(given) => match cell {
            Some(cell) => Some(cell.value.cmp(given)),
            // An absent key has no value: no relation holds.
            None => return Answer::No,
        },
    };
    match order.map(|order| compare.relation.holds(order)) {
        Some(true) => Answer::Yes,
        Some(false) => Answer::No,
        None => Answer::Open,
    }
}
