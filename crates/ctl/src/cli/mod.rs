//! A command line as cobra reads it, from tables: commands by name or unambiguous prefix, flags
//! anywhere after the command that knows them, usage and errors in cobra's shape.
//!
//! A command is a [`Command`] in a table; nothing else registers it. What a command line means is
//! an [`Invocation`].

pub(crate) mod completion;
mod find;
pub(crate) mod flag;
mod parse;
pub(crate) mod usage;

use std::process::ExitCode;

use crate::exit::Outcome;
use flag::{Flag, Flags};

pub(crate) use find::find;
pub(crate) use parse::parse;

/// Headings under which the root lists its commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Reading and writing keys.
    KeyValue,
    /// Members and their storage.
    Maintenance,
    /// Locks and elections.
    Concurrency,
    /// Users and roles.
    Authentication,
    /// Everything else.
    Utility,
    /// What etcdctl does not have. Their names may not be shortened, so that whatever was
    /// unambiguous for etcdctl still is.
    Own,
}

impl Group {
    /// All groups in the order of the help.
    pub(crate) const ALL: [Group; 6] = [
        Group::KeyValue,
        Group::Maintenance,
        Group::Concurrency,
        Group::Authentication,
        Group::Utility,
        Group::Own,
    ];

    /// The heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Group::KeyValue => "Key-value commands",
            Group::Maintenance => "Cluster maintenance commands",
            Group::Concurrency => "Concurrency commands",
            Group::Authentication => "Authentication commands",
            Group::Utility => "Utility commands",
            Group::Own => "Exploring commands (not in etcd's etcdctl)",
        }
    }
}

/// Runs words that another tool understands.
pub(crate) type Forward = fn(Vec<Vec<u8>>) -> ExitCode;

/// One command. [`Command::BASE`] has the rest of what most leave alone.
pub(crate) struct Command {
    /// Name and arguments: `get [options] <key> [range_end]`.
    pub(crate) usage: &'static str,
    /// One line for lists of commands.
    pub(crate) short: &'static str,
    /// For the command's own help; empty when `short` will do.
    pub(crate) long: &'static str,
    /// Examples for the help.
    pub(crate) example: &'static str,
    /// The heading at the root.
    pub(crate) group: Option<Group>,
    /// Flags of this command.
    pub(crate) flags: &'static [Flag],
    /// Flags of this command and all below it.
    pub(crate) persistent: &'static [Flag],
    /// Commands below it.
    pub(crate) children: &'static [&'static Command],
    /// What it does; none when it only has children.
    pub(crate) run: Option<fn(&Invocation) -> Outcome>,
    /// What takes all its words as they stand, flags included, instead of `run`.
    pub(crate) forward: Option<Forward>,
    /// The only words that its single argument may be; empty for any arguments.
    pub(crate) choices: &'static [&'static str],
}

impl Command {
    /// A command without anything.
    pub(crate) const BASE: Command = Command {
        usage: "",
        short: "",
        long: "",
        example: "",
        group: None,
        flags: &[],
        persistent: &[],
        children: &[],
        run: None,
        forward: None,
        choices: &[],
    };

    /// The first word of the usage.
    pub(crate) fn name(&self) -> &'static str {
        self.usage.split(' ').next().unwrap_or(self.usage)
    }
}

/// A command line that was understood.
pub(crate) struct Invocation {
    /// From the root to the command.
    pub(crate) path: Vec<&'static Command>,
    /// Values of the flags, the root's included.
    pub(crate) flags: Flags,
    /// Arguments without flags.
    pub(crate) args: Vec<Vec<u8>>,
    /// How many of the arguments stood before `--`, if it was given.
    pub(crate) before_dash: Option<usize>,
}

impl Invocation {
    /// The command.
    pub(crate) fn command(&self) -> &'static Command {
        self.path.last().expect("a path begins with the root")
    }
}

/// The names of a path: `etcdctl member add`.
pub(crate) fn path_text(path: &[&'static Command]) -> String {
    path.iter().map(|command| command.name()).collect::<Vec<_>>().join(" ")
}
