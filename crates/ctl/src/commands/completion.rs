//! `completion`: scripts that let a shell complete commands and flags.

use std::io::Write;

use super::ROOT;
use crate::{
    cli::{Command, Group, Invocation, completion},
    exit::Outcome,
};

/// `completion`.
pub(crate) static COMMAND: Command = Command {
    usage: "completion [bash|zsh|fish|powershell]",
    short: "Prints a completion script for a shell",
    long: "Prints a completion script.\n\n\
           bash:        $ source <(etcdctl completion bash)\n\
           zsh:         $ etcdctl completion zsh > \"${fpath[1]}/_etcdctl\"\n\
           fish:        $ etcdctl completion fish | source\n\
           PowerShell:  PS> etcdctl completion powershell | Out-String | Invoke-Expression",
    group: Some(Group::Utility),
    choices: &["bash", "zsh", "fish", "powershell"],
    run: Some(run),
    ..Command::BASE
};

fn run(invocation: &Invocation) -> Outcome {
    let shell = String::from_utf8_lossy(&invocation.args[0]);
    let script = completion::script(&ROOT, &shell);
    std::io::stdout().write_all(&script)?;
    Ok(())
}
