//! From a command line to a command: which command, its flags, and the pages of help.

use super::{
    error::{Ended, Outcome},
    flags::{self, Flag, Kind, Parsed, Values},
    help, say,
    tables::COMMANDS,
};

pub(super) use super::tables::GLOBAL_FLAGS;

/// The name of the tool.
pub(super) const ROOT_NAME: &str = "etcdctl";
/// What the tool is.
pub(super) const ROOT_USAGE: &str = "A command line for the v2 store of etcd.";
/// The version that is told.
pub(super) const VERSION: &str = api::version::SERVER;

/// `--help`.
pub(super) static HELP_FLAG: Flag = Flag::new(&["help", "h"], Kind::Bool, "print this page");
/// `--version`.
pub(super) static VERSION_FLAG: Flag =
    Flag::new(&["version", "v"], Kind::Bool, "print the version");

/// A command that was found, with its flags and arguments.
#[derive(Debug)]
pub(super) struct Context {
    /// Flags before the command.
    pub(super) global: Values,
    /// Flags of the command.
    pub(super) flags: Values,
    /// Arguments.
    pub(super) args: Vec<Vec<u8>>,
    /// How many plain arguments stand before `--`, if it is there.
    pub(super) before_dash: Option<usize>,
}

impl Context {
    /// An argument as text.
    pub(super) fn arg(&self, at: usize) -> String {
        String::from_utf8_lossy(&self.args[at]).into_owned()
    }
}

/// What a command does.
#[derive(Clone, Copy)]
pub(super) enum Action {
    /// Something.
    Run(fn(&Context) -> Outcome),
    /// One of its own commands.
    Group,
    /// Shows a page of help.
    Help,
}

/// One command.
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) aliases: &'static [&'static str],
    /// One line of what it does.
    pub(super) usage: &'static str,
    /// More of what it does.
    pub(super) description: &'static str,
    /// What its arguments are.
    pub(super) args_usage: &'static str,
    pub(super) flags: &'static [Flag],
    pub(super) action: Action,
    /// The commands of a group.
    pub(super) commands: &'static [Command],
}

impl Command {
    /// All its names.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

/// The command that shows pages of help; each group has it, too.
static HELP: Command = Command {
    name: "help",
    aliases: &["h"],
    usage: "Lists commands, or tells of one",
    description: "",
    args_usage: "[command]",
    flags: &[],
    action: Action::Help,
    commands: &[],
};

fn find<'a>(commands: &[&'a Command], name: &str) -> Option<&'a Command> {
    commands.iter().find(|command| command.names().any(|own| own == name)).copied()
}

/// The flags of a command with `--help`. Leaked: a process runs one command.
fn with_help(flags: &'static [Flag], more: &[&'static Flag]) -> &'static [Flag] {
    let copy = |flag: &Flag| Flag { ..*flag };
    let all: Vec<Flag> = flags.iter().chain(more.iter().copied()).map(copy).collect();
    Box::leak(all.into_boxed_slice())
}

fn no_topic(name: &str) -> Ended {
    Ended { code: 3, message: format!("No help topic for '{name}'\n") }
}

/// Runs the words behind the program's name.
pub(super) fn run(words: &[Vec<u8>]) -> Outcome {
    let commands: Vec<&Command> = COMMANDS.iter().chain([&HELP]).collect();
    let flags = with_help(GLOBAL_FLAGS, &[&HELP_FLAG, &VERSION_FLAG]);
    let Parsed { values, args, error, twice, .. } = flags::parse(flags, words);
    let page = || help::root(&commands);
    if let Some(twice) = twice {
        super::print(format!("{twice}\n{}", page()).as_bytes())?;
        return Err(Ended::line(twice));
    }
    if let Some(error) = error {
        super::print(format!("Incorrect Usage. {error}\n\n{}", page()).as_bytes())?;
        return Err(Ended::line(error));
    }
    if values.bool("help") {
        return super::print(page().as_bytes());
    }
    if values.bool("version") {
        say(format!("etcdctl version: {VERSION}"))?;
        return say("API version: 2");
    }
    let Some((name, rest)) = args.split_first() else { return super::print(page().as_bytes()) };
    let name = String::from_utf8_lossy(name);
    let command = find(&commands, &name).ok_or_else(|| no_topic(&name))?;
    match command.action {
        Action::Group => group(command, values, rest),
        _ => leaf(None, command, &commands, values, rest),
    }
}

/// Runs a command of a group.
fn group(of: &'static Command, global: Values, words: &[Vec<u8>]) -> Outcome {
    let commands: Vec<&Command> = of.commands.iter().chain([&HELP]).collect();
    let Parsed { values, args, error, twice, .. } =
        flags::parse(with_help(&[], &[&HELP_FLAG]), words);
    let page = || help::subcommands(of);
    if let Some(twice) = twice {
        super::print(format!("{twice}\n\n{}", page()).as_bytes())?;
        return Err(Ended::line(twice));
    }
    if let Some(error) = error {
        super::print(format!("Incorrect Usage. {error}\n\n{}", page()).as_bytes())?;
        return Err(Ended::line(error));
    }
    let name = args.first().filter(|_| !values.bool("help"));
    let Some(name) = name else { return super::print(page().as_bytes()) };
    let name = String::from_utf8_lossy(name);
    let command = find(&commands, &name).ok_or_else(|| no_topic(&name))?;
    leaf(Some(of), command, &commands, global, &args[1..])
}

/// Runs one command.
fn leaf(
    group: Option<&'static Command>,
    command: &'static Command,
    siblings: &[&'static Command],
    global: Values,
    words: &[Vec<u8>],
) -> Outcome {
    let flags = with_help(command.flags, &[&HELP_FLAG]);
    let parsed = flags::parse_reordered(flags, words);
    if let Some(error) = parsed.error.or(parsed.twice) {
        let page = page(group, command);
        super::print(format!("Incorrect Usage: {error}\n\n{page}").as_bytes())?;
        return Err(Ended::line(error));
    }
    if parsed.values.bool("help") {
        return super::print(page(group, command).as_bytes());
    }
    match command.action {
        Action::Run(run) => {
            let before_dash = parsed.before_dash;
            run(&Context { global, flags: parsed.values, args: parsed.args, before_dash })
        }
        Action::Help | Action::Group => {
            let shown = match parsed.args.first() {
                None => match group {
                    None => help::root(siblings),
                    Some(group) => help::group(group),
                },
                Some(name) => {
                    let name = String::from_utf8_lossy(name);
                    let topic = find(siblings, &name).ok_or_else(|| no_topic(&name))?;
                    page(group, topic)
                }
            };
            super::print(shown.as_bytes())
        }
    }
}

fn page(group: Option<&Command>, command: &Command) -> String {
    let name = match (command.action, group) {
        // The name of this one was never filled in.
        (Action::Help, None) => String::new(),
        (_, None) => help::full_name(command.name),
        (_, Some(group)) => help::full_name(&format!("{} {}", group.name, command.name)),
    };
    help::command(&name, command)
}
