//! `sim [--seeds N] [--from SEED] [--threads N]`: runs seeds and sums up what they did. A seed that
//! fails is named, and running it alone shows the same failure again.
//!
//! With the feature `switch`: `--mutant NAME` runs them with an old sin, and `--table FILE` looks for
//! the first seed that catches each of all and writes the table.

use std::process::ExitCode;

use sim::runner::{remember_panics, run_many};

#[derive(Default)]
struct Options {
    seeds: u64,
    from: u64,
    threads: usize,
    mutant: Option<String>,
    table: Option<String>,
}

fn options() -> Result<Options, String> {
    let mut options = Options { seeds: 100, threads: 2, ..Options::default() };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} wants a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{name} wants a number"));
        match name.as_str() {
            "--seeds" => options.seeds = number()?,
            "--from" => options.from = number()?,
            "--threads" => options.threads = usize::try_from(number()?).unwrap_or(1).max(1),
            "--mutant" => options.mutant = Some(value),
            "--table" => options.table = Some(value),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let done = options().and_then(|options| {
        remember_panics();
        match options.mutant.is_some() || options.table.is_some() {
            true => with_mutants(&options),
            false => plain(&options),
        }
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(what) => {
            eprintln!("sim: {what}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all seeds ran clean.
fn plain(options: &Options) -> Result<bool, String> {
    let failed = |what: &str| println!("FAILED {what}");
    let sums = run_many(options.from, options.seeds, options.threads, failed);
    println!("{}", sums.summary());
    Ok(sums.failures.is_empty())
}

#[cfg(not(feature = "switch"))]
fn with_mutants(_: &Options) -> Result<bool, String> {
    Err("built without mutants; use `cargo xtask mutants`".to_owned())
}

/// Whether all mutants that were asked for are caught.
#[cfg(feature = "switch")]
fn with_mutants(options: &Options) -> Result<bool, String> {
    use std::sync::Mutex;

    use mutants::Mutant;
    use sim::{sins, verdict};

    let named = |mutant: &&Mutant| {
        options.mutant.as_ref().is_none_or(|names| names.split(',').any(|n| n == mutant.name()))
    };
    let asked: Vec<Mutant> = Mutant::ALL.iter().filter(named).copied().collect();
    let (queue, rows) = (Mutex::new(asked.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("nobody panics while holding it").next();
                    let Some(mutant) = next else { return };
                    let row = sins::hunt(*mutant, options.from, options.seeds);
                    let name = mutant.name();
                    match &row.caught {
                        // Of one mutant everything is told.
                        Some((.., what)) if asked.len() == 1 => println!("{name}: {what}"),
                        Some((.., what)) => {
                            let line = what.lines().next().unwrap_or_default();
                            let line: String = line.chars().take(200).collect();
                            println!("{name}: {} ({line})", verdict::checker(what));
                        }
                        None => println!("{name}: NOT CAUGHT by {} seeds", options.seeds),
                    }
                    rows.lock().expect("nobody panics while holding it").push(row);
                }
            });
        }
    });
    let mut rows = rows.into_inner().expect("nobody panics while holding it");
    rows.sort_by_key(|row| row.mutant);
    if let Some(file) = &options.table {
        std::fs::write(file, sins::table(&rows, options.seeds))
            .map_err(|error| format!("{file}: {error}"))?;
    }
    let caught = rows.iter().filter(|row| row.caught.is_some()).count();
    println!("{caught} of {} mutants are caught", rows.len());
    Ok(caught == rows.len())
}
