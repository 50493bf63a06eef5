//! The table of old sins: every mutant, and how soon the simulator catches it.

use mutants::Mutant;

use crate::{runner::run_one, verdict::checker};

/// A mutant that was run.
#[derive(Debug)]
pub struct Row {
    /// The mutant.
    pub mutant: Mutant,
    /// The first seed that fails with it, the seeds run until then, and what it says.
    pub caught: Option<(u64, u64, String)>,
}

/// Runs seeds with a mutant until one fails, at most `seeds`. A seed that fails without the mutant
/// does not count.
pub fn hunt(mutant: Mutant, from: u64, seeds: u64) -> Row {
    let mut caught = None;
    for seed in from..from.saturating_add(seeds) {
        mutants::switch(Some(mutant));
        let outcome = run_one(seed);
        mutants::switch(None);
        if let Err(what) = outcome
            && run_one(seed).is_ok()
        {
            caught = Some((seed, seed - from + 1, what));
            break;
        }
    }
    Row { mutant, caught }
}

/// The document of all rows.
pub fn table(rows: &[Row], seeds: u64) -> String {
    let caught = rows.iter().filter(|row| row.caught.is_some()).count();
    let mut text = format!(
        "<!-- Written by `cargo xtask mutants`; do not edit. -->\n\n# Old sins\n\n\
         Bugs of etcd's own record of robustness (issues on GitHub), of Jepsen's reports, and of our \
         past, each\nas a defect of our code (`crates/mutants`) that is switched on in the simulator. \
         Seeds are run from 0 until\none fails, at most {seeds}. A place \"as the simulator has it\" is \
         logic of the server's threads or of a client\nthat the simulator runs in a copy of its own.\n\n\
         {caught} of {} are caught.\n\n\
         | mutant | from | where | what goes wrong | seeds | caught by |\n\
         |---|---|---|---|---|---|\n",
        rows.len()
    );
    for Row { mutant, caught } in rows {
        let (count, by) = match caught {
            Some((_, count, what)) => (count.to_string(), checker(what)),
            None => (format!("> {seeds}"), "**not caught**"),
        };
        let (name, origin) = (mutant.name(), mutant.origin());
        let (place, what) = (mutant.place(), mutant.what());
        text.push_str(&format!("| `{name}` | {origin} | {place} | {what} | {count} | {by} |\n"));
    }
    text
}
