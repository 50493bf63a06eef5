//! Parsing as cobra does it: its help, its words for what is wrong, and where it shows the usage.

use std::{ffi::OsString, fmt::Write, process::ExitCode};

use clap::{
    Arg, ArgAction, ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// A command line that makes sense.
pub(super) enum Parsed {
    /// Only help is wanted: this text.
    Help(String),
    /// A command is to run.
    Run(ArgMatches),
}

/// A command line that makes none.
#[derive(Debug)]
pub(super) struct Wrong {
    message: String,
    /// What is shown below it.
    usage: String,
}

impl Wrong {
    /// Something is wrong with the arguments of a command.
    pub(super) fn new(root: &Command, path: &[&str], message: String) -> Wrong {
        let usage = usage(root, path, true) + "\n";
        Wrong { message, usage }
    }

    /// Says so twice, as etcdutl does: once with the usage.
    pub(super) fn exit(&self) -> ExitCode {
        eprint!("Error: {}\n{}Error: {}\n", self.message, self.usage, self.message);
        ExitCode::FAILURE
    }
}

/// Parses the words after the program's name.
pub(super) fn parse(root: &Command, words: &[OsString]) -> Result<Parsed, Wrong> {
    let path = path(root, words);
    let path: Vec<&str> = path.iter().map(|name| &name[..]).collect();
    match first_word(root, words) {
        // clap does not know of `help`: a beginning may be that of another command too.
        Some(word) if "help".starts_with(&word) => {
            let is_clear = word == "help" || path.is_empty();
            return if is_clear { help(root, words) } else { Err(unknown_command(root, &word)) };
        }
        _ => {}
    }
    let named = std::iter::once(OsString::from(root.get_name())).chain(words.iter().cloned());
    let matches = root
        .clone()
        .try_get_matches_from(named)
        .map_err(|error| wrong(root, &path, words, &error))?;
    let mut own = &matches;
    let mut wants_help = own.get_flag("help");
    while let Some((_, below)) = own.subcommand() {
        own = below;
        wants_help |= own.get_flag("help");
    }
    let command = descend(root, &path);
    if wants_help {
        return Ok(Parsed::Help(usage(root, &path, true)));
    }
    if !command.has_subcommands() {
        return Ok(Parsed::Run(matches));
    }
    // A command that only has others. The root knows what is none of them.
    match own.get_many::<String>("args").and_then(|mut args| args.next()) {
        Some(word) if path.is_empty() => Err(unknown_command(root, word)),
        _ => Ok(Parsed::Help(usage(root, &path, true))),
    }
}

/// `help [command]`.
fn help(root: &Command, words: &[OsString]) -> Result<Parsed, Wrong> {
    let after = words.iter().position(|word| {
        let word = word.to_string_lossy();
        !word.is_empty() && "help".starts_with(&*word)
    });
    let after = after.map_or(0, |at| at + 1);
    let path = path(root, &words[after..]);
    let path: Vec<&str> = path.iter().map(|name| &name[..]).collect();
    match first_word(root, &words[after..]) {
        Some(word) if path.is_empty() => {
            eprint!("Unknown help topic [`{word}`]\n{}", usage(root, &[], false));
            Ok(Parsed::Help(String::new()))
        }
        _ => Ok(Parsed::Help(usage(root, &path, true))),
    }
}

fn unknown_command(root: &Command, word: &str) -> Wrong {
    let name = root.get_name();
    let mut message = format!("unknown command {word:?} for {name:?}");
    let below = root.get_subcommands().map(Command::get_name);
    let near: Vec<&str> =
        below.filter(|name| name.starts_with(word) || distance(name, word) <= 2).collect();
    if !near.is_empty() {
        message.push_str(&format!("\n\nDid you mean this?\n\t{}\n", near.join("\n\t")));
    }
    Wrong { message, usage: format!("Run '{name} --help' for usage.\n") }
}

/// How many letters must change to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (at, a) in from.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], at + 1);
        for (index, b) in to.chars().enumerate() {
            let changed = corner + usize::from(a != b);
            corner = row[index + 1];
            row[index + 1] = changed.min(corner + 1).min(row[index] + 1);
        }
    }
    row[to.chars().count()]
}

/// What clap does not like, in cobra's words.
fn wrong(root: &Command, path: &[&str], words: &[OsString], error: &clap::Error) -> Wrong {
    let last_word = words.last().and_then(|word| word.to_str());
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let arg = context(ContextKind::InvalidArg);
    // `--rev <int>`, `-w`: the flag alone.
    let flag = arg.split([' ', '[', '=']).next().unwrap_or_default().to_owned();
    let value = context(ContextKind::InvalidValue);
    let short = error_short(root, path, &flag);
    let message = match error.kind() {
        ErrorKind::UnknownArgument if flag.starts_with("--") => format!("unknown flag: {flag}"),
        ErrorKind::UnknownArgument if flag.starts_with('-') => {
            let letter = flag.chars().nth(1).unwrap_or('-');
            format!("unknown shorthand flag: {letter:?} in {flag}")
        }
        ErrorKind::InvalidSubcommand => {
            return unknown_command(root, &context(ContextKind::InvalidSubcommand));
        }
        ErrorKind::InvalidValue if value.is_empty() => match last_word {
            Some(word) if !word.starts_with("--") && word.starts_with('-') => {
                let letter = word.chars().next_back().unwrap_or('-');
                format!("flag needs an argument: {letter:?} in {word}")
            }
            _ => format!("flag needs an argument: {flag}"),
        },
        ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            format!("invalid argument {value:?} for \"{short}{flag}\" flag: {why}")
        }
        _ => error.to_string().lines().next().unwrap_or_default().replace("error: ", ""),
    };
    Wrong::new(root, path, message)
}

/// `-w, ` in front of a flag that has a short form.
fn error_short(root: &Command, path: &[&str], flag: &str) -> String {
    let long = flag.trim_start_matches('-');
    let own = descend(root, path).get_arguments().chain(root.get_arguments());
    let mut named = own.filter(|arg| arg.get_long() == Some(long));
    named.find_map(|arg| arg.get_short().map(|short| format!("-{short}, "))).unwrap_or_default()
}

/// The command that words lead to, by names or beginnings of names that only one command has.
fn path(root: &Command, words: &[OsString]) -> Vec<String> {
    let mut path: Vec<String> = Vec::new();
    let mut command = root;
    let mut words = words.iter().map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        }
        if word.starts_with('-') && word.len() > 1 {
            if takes_next_word(root, command, &word) {
                words.next();
            }
            continue;
        }
        let Some(found) = find(command, &word) else { break };
        path.push(found.get_name().to_owned());
        command = found;
    }
    path
}

/// The first word that is neither a flag nor its value.
fn first_word(root: &Command, words: &[OsString]) -> Option<String> {
    let mut words = words.iter().map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        if !word.starts_with('-') {
            return Some(word.into_owned());
        }
        if takes_next_word(root, root, &word) {
            words.next();
        }
    }
    None
}

fn find<'c>(command: &'c Command, word: &str) -> Option<&'c Command> {
    let exact = command.get_subcommands().find(|below| below.get_name() == word);
    let mut begun = command.get_subcommands().filter(|below| below.get_name().starts_with(word));
    exact.or_else(|| begun.next().filter(|_| begun.next().is_none()))
}

fn takes_next_word(root: &Command, command: &Command, word: &str) -> bool {
    let flags = || command.get_arguments().chain(root.get_arguments());
    let has_value = |arg: &Arg| takes_value(arg) && !arg.is_require_equals_set();
    match word.strip_prefix("--") {
        Some(long) => flags().any(|arg| arg.get_long() == Some(long) && has_value(arg)),
        // `-w json`, but not `-wjson`.
        None => flags().any(|arg| {
            arg.get_short().is_some_and(|short| word[1..] == *short.to_string()) && has_value(arg)
        }),
    }
}

fn takes_value(arg: &Arg) -> bool {
    !arg.is_positional() && matches!(arg.get_action(), ArgAction::Set)
}

fn descend<'c>(root: &'c Command, path: &[&str]) -> &'c Command {
    path.iter().fold(root, |command, name| {
        command.find_subcommand(name).expect("a path names commands that there are")
    })
}

/// The usage of a command, in cobra's layout. `with_help` lists the help flag, which cobra adds to a
/// command when it is about to run.
fn usage(root: &Command, path: &[&str], with_help: bool) -> String {
    let command = descend(root, path);
    let name = root.get_name();
    let mut text = String::from("Usage:\n");
    let line = command.clone().render_usage().to_string();
    let line = line.strip_prefix("Usage: ").unwrap_or(&line);
    writeln!(text, "  {name} {line}").expect("a string takes text");
    if command.has_subcommands() {
        text.push_str("\nAvailable Commands:\n");
        let mut listed: Vec<(String, String)> = command
            .get_subcommands()
            .map(|below| {
                let about = below.get_about().map(ToString::to_string).unwrap_or_default();
                (below.get_name().to_owned(), about)
            })
            .collect();
        if path.is_empty() {
            listed.push(("help".into(), "Help about any command".into()));
        }
        listed.sort();
        for (name, about) in listed {
            writeln!(text, "  {name:11} {about}").expect("a string takes text");
        }
    }
    let own = command.get_arguments().filter(|arg| with_help || arg.get_id() != "help");
    section(&mut text, "Flags", own);
    if !path.is_empty() {
        section(&mut text, "Global Flags", root.get_arguments().filter(|arg| arg.is_global_set()));
    }
    if command.has_subcommands() {
        let words: Vec<&str> = std::iter::once(name).chain(path.iter().copied()).collect();
        let words = words.join(" ");
        writeln!(text, "\nUse \"{words} [command] --help\" for more information about a command.")
            .expect("a string takes text");
    }
    text
}

/// Flags by name, their descriptions in one column.
fn section<'a>(text: &mut String, title: &str, args: impl Iterator<Item = &'a Arg>) {
    let mut args: Vec<&Arg> = args.filter(|arg| !arg.is_positional()).collect();
    if args.is_empty() {
        return;
    }
    args.sort_by_key(|arg| arg.get_long());
    let left: Vec<String> = args
        .iter()
        .map(|arg| {
            let short = arg.get_short().map_or("    ".into(), |short| format!("-{short}, "));
            let kind = arg.get_value_names().and_then(|names| names.first());
            let kind = kind.filter(|_| takes_value(arg) && !arg.is_require_equals_set());
            let kind = kind.map(|kind| format!(" {kind}")).unwrap_or_default();
            format!("  {short}--{}{kind}", arg.get_long().unwrap_or_default())
        })
        .collect();
    let width = left.iter().map(String::len).max().unwrap_or_default();
    writeln!(text, "\n{title}:").expect("a string takes text");
    for (arg, left) in args.iter().zip(left) {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let default = default_of(arg);
        writeln!(text, "{left:width$}   {help}{default}").expect("a string takes text");
    }
}

/// ` (default 10s)`; nothing for what is empty, zero or false.
fn default_of(arg: &Arg) -> String {
    let value = arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
    let kind = arg.get_value_names().and_then(|names| names.first()).map(|kind| kind.as_str());
    match value {
        Some(value) if value.is_empty() || value == "0" || value == "false" => String::new(),
        Some(value) if kind == Some("string") => format!(" (default {value:?})"),
        Some(value) => format!(" (default {value})"),
        None => String::new(),
    }
}
