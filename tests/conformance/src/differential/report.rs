//! Shows where two answers differ, and what a whole run has tried.

use std::{collections::BTreeMap, fmt, fmt::Write};

use super::op::{Answer, Op};

/// How many lines of a request or of a difference are shown.
const LINES: usize = 60;

/// What was tried in a run, for a reader to judge how much it proves.
#[derive(Debug, Default)]
pub struct Summary {
    /// Steps by kind: all, and those that were answered with an error.
    pub kinds: BTreeMap<&'static str, (usize, usize)>,
    /// Errors by text.
    pub errors: BTreeMap<String, usize>,
    /// Known differences that were met.
    pub known: BTreeMap<&'static str, usize>,
    /// Events that watchers were told.
    pub events: usize,
    /// Hashes that were equal on both sides.
    pub hashes: usize,
    /// Differences, as shown by [`difference`].
    pub differences: Vec<String>,
}

impl Summary {
    /// Counts one step that both servers answered alike.
    pub fn count(&mut self, op: &Op, answer: &Answer) {
        let (all, failed) = self.kinds.entry(op.kind()).or_default();
        *all += 1;
        match answer {
            Answer::Error(failure) => {
                *failed += 1;
                let text = format!("{:?} {}", failure.code, failure.message);
                *self.errors.entry(text).or_default() += 1;
            }
            Answer::HashKv(_) => self.hashes += 1,
            Answer::Watched(watched) => self.events += watched.events.len(),
            Answer::Gathered(all) => {
                self.events += all.iter().map(|(_, watched)| watched.events.len()).sum::<usize>();
            }
            _ => {}
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>7} {:>7}  step", "sent", "errors")?;
        for (kind, (all, failed)) in &self.kinds {
            writeln!(f, "{all:>7} {failed:>7}  {kind}")?;
        }
        for (error, count) in &self.errors {
            writeln!(f, "{count:>7}  {error}")?;
        }
        for (name, count) in &self.known {
            writeln!(f, "{count:>7}  known difference: {name}")?;
        }
        writeln!(f, "{:>7}  events of watchers", self.events)?;
        writeln!(f, "{:>7}  equal hashes", self.hashes)?;
        write!(f, "{:>7}  differences", self.differences.len())
    }
}

/// A step in one line.
pub fn brief(op: &Op) -> String {
    cut(&format!("{op:?}"))
}

/// A difference in words: the step, and the lines of the two answers that are not alike.
pub fn difference(number: usize, op: &Op, left: &Answer, right: &Answer) -> String {
    let mut text = format!("step {number}: {}\n", cut(&format!("{op:#?}")));
    let (left, right) = (format!("{left:#?}"), format!("{right:#?}"));
    let (left, right): (Vec<&str>, Vec<&str>) = (left.lines().collect(), right.lines().collect());
    let start = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
    let end = left[start..]
        .iter()
        .rev()
        .zip(right[start..].iter().rev())
        .take_while(|(left, right)| left == right)
        .count();
    // A few lines before show which field it is.
    let before = &left[start.saturating_sub(8)..start];
    before.iter().for_each(|line| _ = writeln!(text, "    {line}"));
    for (mark, lines) in
        [("a", &left[start..left.len() - end]), ("b", &right[start..right.len() - end])]
    {
        lines.iter().take(LINES).for_each(|line| _ = writeln!(text, "  {mark} {line}"));
        if lines.len() > LINES {
            _ = writeln!(text, "  {mark} ... {} more lines", lines.len() - LINES);
        }
    }
    text
}

/// Leaves long things out, such as a value of a megabyte.
fn cut(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .take(LINES)
        .map(|line| match line.char_indices().nth(300) {
            Some((end, _)) => format!("{}...", &line[..end]),
            None => line.to_owned(),
        })
        .collect();
    lines.join("\n")
}
