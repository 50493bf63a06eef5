//! Completion scripts, made by clap_complete from the tables of commands.

use clap::{Arg, ArgAction, Command as Clap, builder::PossibleValuesParser};
use clap_complete::{Shell, generate};

use super::{
    Command,
    flag::{Flag, Kind},
};

/// The script for a shell that the command's choices name.
pub(crate) fn script(root: &'static Command, shell: &str) -> Vec<u8> {
    let shell = match shell {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        _ => Shell::PowerShell,
    };
    let mut out = Vec::new();
    generate(shell, &mut described(root), root.name(), &mut out);
    out
}

/// The command as clap describes it. Only names, values and help texts matter here.
fn described(command: &'static Command) -> Clap {
    let mut clap = Clap::new(command.name()).about(command.short);
    clap = clap.args(command.flags.iter().map(|flag| argument(flag, false)));
    clap = clap.args(command.persistent.iter().map(|flag| argument(flag, true)));
    if !command.choices.is_empty() {
        let choices = PossibleValuesParser::new(command.choices);
        clap = clap.arg(Arg::new("choice").value_parser(choices));
    }
    // `help` is a command of ours.
    clap = clap.disable_help_subcommand(true);
    clap.subcommands(command.children.iter().map(|child| described(child)))
}

fn argument(flag: &'static Flag, global: bool) -> Arg {
    let mut argument = Arg::new(flag.name).long(flag.name).help(flag.help).global(global);
    if let Some(short) = flag.short {
        argument = argument.short(short);
    }
    argument = match flag.kind {
        Kind::Bool => argument.action(ArgAction::SetTrue),
        _ => argument.action(ArgAction::Set),
    };
    match flag.hints {
        [] => argument,
        hints => argument.value_parser(PossibleValuesParser::new(hints)),
    }
}
