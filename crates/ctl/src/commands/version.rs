//! `version`.

use crate::{
    cli::{Command, Group, Invocation},
    exit::Outcome,
    session::say,
};

/// `version`.
pub(crate) static COMMAND: Command = Command {
    usage: "version",
    short: "Prints the version",
    group: Some(Group::Utility),
    run: Some(run),
    ..Command::BASE
};

fn run(_: &Invocation) -> Outcome {
    say(format_args!("etcdctl version: {}", api::version::SERVER))?;
    say(format_args!("API version: {}", api_version()))
}

/// Major and minor number.
fn api_version() -> &'static str {
    let version = api::version::SERVER;
    version.rsplit_once('.').map_or(version, |(minor, _)| minor)
}
