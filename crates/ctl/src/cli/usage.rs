//! Help and usage in cobra's shape.

use super::{
    Command, Group,
    find::{Unknown, child},
    flag::{Flag, HELP, Kind},
    path_text,
};

/// What ends the help of every command.
const OPTIONS_HINT: &str = "Use \"etcdctl options\" for a list of global command-line options \
                            (applies to all commands).\n";

/// The help of the last command of `path`.
pub(crate) fn help(path: &[&'static Command]) -> String {
    let command = path.last().expect("a path begins with the root");
    let about = if command.long.is_empty() { command.short } else { command.long };
    format!("{}\n\n{}{OPTIONS_HINT}", about.trim_end(), usage(path))
}

/// The usage of the last command of `path`.
pub(crate) fn usage(path: &[&'static Command]) -> String {
    let command = path.last().expect("a path begins with the root");
    let mut out = String::from("Usage:");
    if command.run.is_some() {
        out.push_str("\n  ");
        out.push_str(&use_line(path));
    }
    if !command.children.is_empty() {
        out.push_str(&format!("\n  {} [command]", path_text(path)));
    }
    if !command.example.is_empty() {
        out.push_str(&format!("\n\nExamples:\n{}", command.example));
    }
    if !command.children.is_empty() {
        out.push_str(&children(command));
    }
    // The root's flags stay out of the help: `options` lists them.
    if path.len() > 1 {
        let flags: Vec<_> = own(command).collect();
        out.push_str("\n\nFlags:\n");
        out.push_str(flag_usages(&flags, command.name()).trim_end());
        let above: Vec<_> =
            path[1..path.len() - 1].iter().flat_map(|command| command.persistent).collect();
        if !above.is_empty() {
            out.push_str("\n\nGlobal Flags:\n");
            out.push_str(flag_usages(&above, command.name()).trim_end());
        }
    }
    if !command.children.is_empty() {
        out.push_str(&format!(
            "\n\nUse \"{} [command] --help\" for more information about a command.",
            path_text(path)
        ));
    }
    out.push('\n');
    out
}

fn own(command: &'static Command) -> impl Iterator<Item = &'static Flag> {
    command.flags.iter().chain(command.persistent).chain(std::iter::once(&HELP))
}

/// How the command is called: names, arguments, and that it has flags.
fn use_line(path: &[&'static Command]) -> String {
    let (command, above) = path.split_last().expect("a path begins with the root");
    let line = format!("{} {}", path_text(above), command.usage);
    // A command with fixed choices is written as it is.
    if command.choices.is_empty() { format!("{line} [flags]") } else { line }
}

fn children(command: &'static Command) -> String {
    let mut sorted: Vec<_> = command.children.iter().map(|child| (child.name(), *child)).collect();
    sorted.sort_by_key(|(name, _)| *name);
    let width = sorted.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(11);
    let list = |group: Option<Group>| {
        sorted
            .iter()
            .filter(|(_, child)| child.group == group)
            .map(|(name, child)| format!("\n  {name:width$} {}", child.short))
            .collect::<String>()
    };
    if sorted.iter().all(|(_, child)| child.group.is_none()) {
        return format!("\n\nAvailable Commands:{}", list(None));
    }
    let groups =
        Group::ALL.into_iter().map(|group| format!("\n\n{}{}", group.title(), list(Some(group))));
    groups.collect()
}

/// A line for each flag, sorted by name, descriptions in a column.
pub(crate) fn flag_usages(flags: &[&Flag], command: &str) -> String {
    let mut flags = flags.to_vec();
    flags.sort_by_key(|flag| flag.name);
    let heads: Vec<_> = flags.iter().map(|flag| head(flag)).collect();
    let width = heads.iter().map(String::len).max().unwrap_or(0);
    let mut out = String::new();
    for (flag, head) in flags.iter().zip(heads) {
        let about = match flag.name {
            "help" => format!("help for {command}"),
            _ => flag.help.to_owned(),
        };
        out.push_str(&format!("{head:width$}   {about}{}\n", default(flag)));
    }
    out
}

fn head(flag: &Flag) -> String {
    let dashes = match flag.short {
        Some(short) => format!("  -{short}, --{}", flag.name),
        None => format!("      --{}", flag.name),
    };
    let kind = match flag.kind {
        Kind::Bool => "",
        Kind::Text => " string",
        Kind::Int => " int",
        Kind::Uint => " uint",
        Kind::Duration => " duration",
        Kind::List => " strings",
    };
    dashes + kind
}

fn default(flag: &Flag) -> String {
    match flag.kind {
        _ if flag.default.is_empty() => String::new(),
        Kind::Text => format!(" (default \"{}\")", flag.default),
        Kind::List => format!(" (default [{}])", flag.default),
        _ => format!(" (default {})", flag.default),
    }
}

/// What is said of a word that names no command.
pub(crate) fn unknown(root: &Command, unknown: &Unknown) -> String {
    let mut out = format!("unknown command \"{}\" for \"{}\"", unknown.word, root.name());
    if !unknown.similar.is_empty() {
        out.push_str("\n\nDid you mean this?\n");
        for name in &unknown.similar {
            out.push_str(&format!("\t{name}\n"));
        }
    }
    out
}

/// The path that `help WORDS` asks about; `None` when there is no such command.
pub(crate) fn topic(root: &'static Command, words: &[Vec<u8>]) -> Option<Vec<&'static Command>> {
    let mut path = vec![root];
    for word in words {
        let command = path.last().expect("a path begins with the root");
        match child(command, &String::from_utf8_lossy(word)) {
            Some(child) => path.push(child),
            None if path.len() == 1 => return None,
            None => break,
        }
    }
    Some(path)
}

/// Every flag of the root, for the `options` command.
pub(crate) fn global_flags(root: &'static Command) -> String {
    flag_usages(&root.persistent.iter().collect::<Vec<_>>(), root.name())
}
