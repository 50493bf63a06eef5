//! What a check ends with.

use std::fmt;

/// The end of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The history keeps the rule.
    Ok,
    /// It does not.
    Violation(Violation),
    /// Not decided, and why: a limit was met or a part of the history is not known.
    Unknown(String),
}

impl Verdict {
    /// Whether the rule is kept, surely.
    pub fn is_ok(&self) -> bool {
        *self == Verdict::Ok
    }
}

/// A rule that a history breaks, with the operations that show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule, in a word or two.
    pub rule: &'static str,
    /// What was seen and what should have been.
    pub message: String,
    /// From when to when, in the clock of the history.
    pub window: (u64, u64),
    /// Operations of that window, as indexes into [`crate::History::operations`].
    pub operations: Vec<usize>,
}

impl Violation {
    /// A violation that a message tells completely.
    pub fn new(rule: &'static str, at: u64, message: String) -> Violation {
        Violation { rule, message, window: (at, at), operations: Vec::new() }
    }

    /// The same, shown by these operations.
    pub fn with(mut self, operations: &[usize]) -> Violation {
        self.operations.extend_from_slice(operations);
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = self.window;
        write!(f, "{}: {} (", self.rule, self.message)?;
        write!(f, "{}..{} ms", from / 1_000_000, to / 1_000_000)?;
        if !self.operations.is_empty() {
            write!(f, ", operations {:?}", self.operations)?;
        }
        write!(f, ")")
    }
}

/// Violations in order of discovery, up to a bound; the rest is counted.
#[derive(Clone, Debug, Default)]
pub struct Violations {
    kept: Vec<Violation>,
    count: usize,
}

/// How many violations are kept word by word: one fault makes thousands.
const KEPT: usize = 50;

impl Violations {
    /// Adds one.
    pub fn push(&mut self, violation: Violation) {
        self.count += 1;
        if self.kept.len() < KEPT {
            self.kept.push(violation);
        }
    }

    /// Adds all of `others`.
    pub fn extend(&mut self, others: Violations) {
        self.count += others.count - others.kept.len();
        for violation in others.kept {
            self.push(violation);
        }
    }

    /// Those that were kept.
    pub fn kept(&self) -> &[Violation] {
        &self.kept
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first as a verdict; `Ok` without any.
    pub fn verdict(&self) -> Verdict {
        self.kept.first().map_or(Verdict::Ok, |first| Verdict::Violation(first.clone()))
    }
}
