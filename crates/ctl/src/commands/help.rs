//! `help`: what a command does.

use std::io::Write;

use super::ROOT;
use crate::{
    cli::{Command, Group, Invocation, usage},
    exit::Outcome,
};

/// `help`.
pub(crate) static COMMAND: Command = Command {
    usage: "help [command]",
    short: "Tells about a command",
    long: "Tells about a command: help [path to command]",
    group: Some(Group::Utility),
    run: Some(run),
    ..Command::BASE
};

fn run(invocation: &Invocation) -> Outcome {
    let Some(path) = usage::topic(&ROOT, &invocation.args) else {
        let words: Vec<_> = invocation
            .args
            .iter()
            .map(|word| format!("`{}`", String::from_utf8_lossy(word)))
            .collect();
        eprint!("Unknown help topic [{}]\n{}", words.join(" "), usage::usage(&[&ROOT]));
        return Ok(());
    };
    std::io::stdout().write_all(usage::help(&path).as_bytes())?;
    Ok(())
}
