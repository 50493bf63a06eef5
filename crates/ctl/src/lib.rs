//! etcdctl: the command-line client, with the verbs, flags, output and exit codes of etcd's own.
//!
//! A new command is a table in `commands` and its row in `commands::ROOT`. Commands print through
//! `printer`, speak to the cluster through the `client` crate, and never open a data directory.
//!
//! **Architecture invariant:** what scripts read (standard output, exit codes, `Error:` lines) is
//! etcdctl's to the byte; help texts are our own.

mod cli;
mod commands;
mod decode;
mod exit;
mod global;
mod gotext;
mod history;
mod log;
mod printer;
mod process;
mod progress;
mod prompt;
mod session;
mod shell;
mod tree;
mod v2;

use std::{ffi::OsString, io::Write, os::unix::ffi::OsStringExt, process::ExitCode};

use cli::{Command, usage};
use commands::ROOT;
use exit::Failure;

/// Runs the command line; the first of `args` is the program's name.
///
/// `ETCDCTL_API=2` in the environment asks for the command line of the v2 store.
pub fn main(args: Vec<OsString>) -> ExitCode {
    if std::env::var_os("ETCDCTL_API").is_some_and(|version| version == "2") {
        return v2::main(args);
    }
    let words: Vec<_> = args.into_iter().skip(1).map(OsString::into_vec).collect();
    match run(&ROOT, &words) {
        Ok(code) => code,
        Err(Failure { code, message }) => {
            if let Some(message) = message {
                eprintln!("Error: {message}");
            }
            ExitCode::from(code)
        }
    }
}

fn run(root: &'static Command, words: &[Vec<u8>]) -> Result<ExitCode, Failure> {
    let (path, words) = match cli::find(root, words) {
        Ok(found) => found,
        Err(unknown) => {
            eprintln!("Error: {}", usage::unknown(root, &unknown));
            eprintln!("Run '{} --help' for usage.", root.name());
            return Err(Failure::silent(1));
        }
    };
    if let Some(forward) = path.last().and_then(|command| command.forward) {
        return Ok(forward(words));
    }
    let misused = |path: &[&'static Command], why: String| {
        eprintln!("Error: {why}\n{}", usage::usage(path));
        Failure::silent(1)
    };
    let invocation = match cli::parse(path.clone(), &words) {
        Ok(invocation) => invocation,
        Err(why) => return Err(misused(&path, why)),
    };
    let command = invocation.command();
    let run = match command.run {
        Some(run) if !invocation.flags.bool("help") => run,
        _ => {
            std::io::stdout().write_all(usage::help(&path).as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    if let Some(why) = refused_choice(command, &invocation.args, &path) {
        return Err(misused(&path, why));
    }
    run(&invocation)?;
    Ok(ExitCode::SUCCESS)
}

/// Why the argument of a command with fixed choices is none of them.
fn refused_choice(
    command: &Command,
    args: &[Vec<u8>],
    path: &[&'static Command],
) -> Option<String> {
    if command.choices.is_empty() {
        return None;
    }
    let [argument] = args else {
        return Some(format!("accepts 1 arg(s), received {}", args.len()));
    };
    let argument = String::from_utf8_lossy(argument);
    let known = command.choices.contains(&argument.as_ref());
    (!known).then(|| format!("invalid argument \"{argument}\" for \"{}\"", cli::path_text(path)))
}

#[cfg(test)]
mod tests;
