//! `options`: the flags of every command.

use super::ROOT;
use crate::{
    cli::{Command, Group, Invocation, usage},
    exit::Outcome,
    session::say,
};

/// `options`.
pub(crate) static COMMAND: Command = Command {
    usage: "options",
    short: "Lists the flags of every command",
    group: Some(Group::Utility),
    run: Some(run),
    ..Command::BASE
};

fn run(_: &Invocation) -> Outcome {
    let flags = usage::global_flags(&ROOT);
    say(format_args!("The following options can be passed to any command:\n\n{}", flags.trim_end()))
}
