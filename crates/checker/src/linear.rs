//! Linearizability: is there one order of the operations, each somewhere between its call and its
//! return, that explains every answer (Herlihy and Wing)?
//!
//! The search is Wing and Gong's with Lowe's memory of configurations already met ("Testing for
//! linearizability", 2017). An operation without an answer may stand anywhere after its call or
//! nowhere; such are tried last, when no answered operation fits, so that they cost little.
//!
//! [`check`] is for any [`Model`]; [`check_history`] splits a history into groups of keys that no
//! operation joins, which are linearizable together if each is (Herlihy and Wing's locality).

mod search;

use std::hash::Hash;

use crate::{
    history::{Consistency, History, Operation, Outcome},
    model::{EtcdModel, compile},
    partition,
    verdict::{Verdict, Violation},
};

/// A sequential specification. It may be nondeterministic: an operation without an answer can have
/// had several effects.
pub trait Model {
    /// All that later answers depend on.
    type State: Clone + Eq + Hash;
    /// One operation with its answer, if it has one.
    type Op;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// Adds to `next` every state that `op` may leave behind when it happens in `state`: none when
    /// its answer cannot be explained. With `answered` false the answer is to be disregarded.
    fn step(&self, state: &Self::State, op: &Self::Op, answered: bool, next: &mut Vec<Self::State>);

    /// A number by which answered operations must be placed in order, when the model knows one
    /// from their answers: in no state can one come after another with a higher number. It spares
    /// the search what [`Model::step`] would refuse in the end.
    fn rank(&self, _op: &Self::Op) -> Option<u64> {
        None
    }
}

/// An operation in time.
#[derive(Clone, Copy, Debug)]
pub struct Timed<'a, Op> {
    /// When it was sent.
    pub invoked: u64,
    /// When it was answered; `None`: never, and it may not have happened at all.
    pub returned: Option<u64>,
    /// What it is.
    pub op: &'a Op,
}

/// Bounds of one search.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Attempts to place an operation.
    pub steps: u64,
    /// Bytes of remembered configurations.
    pub memory: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { steps: 3_000_000, memory: 512 << 20 }
    }
}

/// The end of a search; operations are indexes into what was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// An order exists.
    Order,
    /// None does.
    None(Window),
    /// A limit was met.
    Unknown(String),
}

/// The shortest beginning of a history that has no order, and where it fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The operation whose return makes the beginning fail.
    pub last: usize,
    /// Operations that no longest order can place, and all concurrent with them up to the return
    /// of `last`, with the last three placed before: enough to see why.
    pub operations: Vec<usize>,
}

/// Searches for an order.
pub fn check<M: Model>(model: &M, operations: &[Timed<'_, M::Op>], limits: Limits) -> Found {
    match search::run(model, operations, u64::MAX, limits, false).outcome {
        search::Outcome::Order => Found::Order,
        search::Outcome::Limit(why) => Found::Unknown(why),
        search::Outcome::None => explain(model, operations, limits),
    }
}

/// Finds the shortest beginning without an order: if a beginning has none, no longer one has.
fn explain<M: Model>(model: &M, operations: &[Timed<'_, M::Op>], limits: Limits) -> Found {
    let mut returns: Vec<u64> = operations.iter().filter_map(|op| op.returned).collect();
    returns.sort_unstable();
    returns.dedup();
    let (mut good, mut bad) = (0, returns.len() - 1);
    while good < bad {
        let middle = (good + bad) / 2;
        match search::run(model, operations, returns[middle], limits, false).outcome {
            search::Outcome::None => bad = middle,
            // A limit met here only makes the window longer than it could be.
            search::Outcome::Order | search::Outcome::Limit(_) => good = middle + 1,
        }
    }
    let end = returns[bad];
    let placed = search::run(model, operations, end, limits, true).longest;
    Found::None(window(operations, end, &placed))
}

fn window<Op>(operations: &[Timed<'_, Op>], end: u64, placed: &[usize]) -> Window {
    let mut is_placed = vec![false; operations.len()];
    placed.iter().for_each(|&op| is_placed[op] = true);
    let returned_by = |i: usize| operations[i].returned.is_some_and(|at| at <= end);
    let stuck = (0..operations.len()).filter(|&i| returned_by(i) && !is_placed[i]);
    let start = stuck.map(|i| operations[i].invoked).min().unwrap_or(end);
    let tail = &placed[placed.len().saturating_sub(3)..];
    let mut shown: Vec<usize> = (0..operations.len())
        .filter(|&i| {
            let Timed { invoked, returned, .. } = operations[i];
            // Of those that never returned, only such as the longest order made use of.
            let concerns = returned.is_some() || is_placed[i];
            let overlaps = invoked <= end && returned.unwrap_or(end) >= start;
            (overlaps && concerns) || tail.contains(&i)
        })
        .collect();
    shown.sort_by_key(|&i| operations[i].invoked);
    let last = (0..operations.len()).find(|&i| operations[i].returned == Some(end));
    Window { last: last.expect("end is the return of an operation"), operations: shown }
}

/// What [`check_history`] found.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Groups of keys that were judged apart.
    pub groups: usize,
    /// Operations in them.
    pub operations: usize,
    /// Operations in them without an answer.
    pub unanswered: usize,
    /// Those without an order, up to a bound.
    pub violations: crate::verdict::Violations,
    /// Groups that met a limit, with the reason.
    pub undecided: Vec<String>,
}

impl Summary {
    /// The worst of all groups.
    pub fn verdict(&self) -> Verdict {
        match (self.violations.verdict(), self.undecided.first()) {
            (Verdict::Ok, Some(why)) => Verdict::Unknown(why.clone()),
            (verdict, _) => verdict,
        }
    }
}

/// Judges the linearizable operations of a history against etcd's keyspace, group by group.
///
/// Give it what [`crate::serial::check`] resolved, so that fewer outcomes are open.
pub fn check_history(history: &History, limits: Limits) -> Summary {
    let mut summary = Summary::default();
    for group in partition::groups(&history.operations) {
        if summary.undecided.len() + summary.violations.count() >= HARD_GROUPS {
            summary.undecided.push(format!("{}: enough was found before", group.name()));
            continue;
        }
        judge(&history.operations, &group, limits, &mut summary);
    }
    summary
}

/// After so many groups without an order or a decision the rest is not searched: each can take as
/// long as the limits allow.
const HARD_GROUPS: usize = 16;

/// Whether the search has to place this operation.
pub(crate) fn counts(operation: &Operation) -> bool {
    let may_matter = match operation.outcome {
        Outcome::Done(_) | Outcome::Seen { .. } => true,
        Outcome::Unknown => operation.request.may_write(),
        Outcome::Never => false,
    };
    may_matter && operation.request.consistency == Consistency::Linearizable
}

fn judge(all: &[Operation], group: &partition::Group, limits: Limits, summary: &mut Summary) {
    let compiled: Vec<_> = group.operations.iter().map(|&i| compile(&all[i], group)).collect();
    let timed: Vec<Timed<'_, _>> = group
        .operations
        .iter()
        .zip(&compiled)
        .map(|(&i, op)| {
            let returned = all[i].returned;
            let returned = (returned != u64::MAX).then_some(returned);
            Timed { invoked: all[i].invoked, returned, op }
        })
        .collect();
    summary.groups += 1;
    summary.operations += timed.len();
    summary.unanswered += timed.iter().filter(|op| op.returned.is_none()).count();
    let name = group.name();
    match check(&EtcdModel { group }, &timed, limits) {
        Found::Order => {}
        Found::Unknown(why) => summary.undecided.push(format!("{name}: {why}")),
        Found::None(window) => {
            let operations: Vec<usize> =
                window.operations.iter().map(|&i| group.operations[i]).collect();
            let last = &all[group.operations[window.last]];
            let from = operations.iter().map(|&i| all[i].invoked).min().unwrap_or_default();
            let to = last.returned;
            let mut message = format!("no order explains the operations on {name}; they end with");
            message.push_str(&format!("\n    {last}"));
            message.push_str("\n  of these:");
            for &i in operations.iter().take(40) {
                message.push_str(&format!("\n    {}", all[i]));
            }
            summary.violations.push(Violation {
                rule: "linearizable",
                message,
                window: (from, to),
                operations,
            });
        }
    }
}
