//! Help pages in the shape of 3.4's; the descriptions are our own.

use super::{
    app::{Command, GLOBAL_FLAGS, HELP_FLAG, ROOT_NAME, ROOT_USAGE, VERSION, VERSION_FLAG},
    flags::{Flag, Kind},
};

/// The page of the whole tool.
pub(super) fn root(commands: &[&Command]) -> String {
    let flags: Vec<&Flag> = GLOBAL_FLAGS.iter().chain([&HELP_FLAG, &VERSION_FLAG]).collect();
    app(ROOT_NAME, ROOT_USAGE, commands, &flags)
}

/// The page of a group of commands, as the `help` command of the group shows it.
pub(super) fn group(command: &Command) -> String {
    let commands: Vec<&Command> = command.commands.iter().collect();
    app(&full_name(command.name), command.usage, &commands, &[&HELP_FLAG])
}

fn app(name: &str, usage: &str, commands: &[&Command], flags: &[&Flag]) -> String {
    let mut page = format!("NAME:\n   {name} - {usage}\n\nUSAGE:\n   {name} [global options] ");
    page += "command [command options] [arguments...]";
    page += &format!("\n\nVERSION:\n   {VERSION}\n\nCOMMANDS:{}", list(commands));
    let flags: Vec<_> = flags.iter().map(|flag| line(flag)).collect();
    page += &format!("\n\nGLOBAL OPTIONS:\n   {}\n", flags.join("\n   "));
    columns(&page)
}

/// The page of a group of commands.
pub(super) fn subcommands(command: &Command) -> String {
    let name = full_name(command.name);
    let mut page = format!("NAME:\n   {name} - {}\n\nUSAGE:\n   {name} command ", command.usage);
    page += "[command options] [arguments...]\n\nCOMMANDS:";
    page += &list(&command.commands.iter().collect::<Vec<_>>());
    page += &format!("\n\nOPTIONS:\n   {}\n   \n", line(&HELP_FLAG));
    columns(&page)
}

/// The page of one command, whose full name is `name`.
pub(super) fn command(name: &str, command: &Command) -> String {
    let mut page = format!("NAME:\n   {name} - {}\n\nUSAGE:\n   {name}", command.usage);
    if !command.flags.is_empty() {
        page += " [command options]";
    }
    page.push(' ');
    page += command.args_usage;
    if !command.description.is_empty() {
        page += &format!("\n\nDESCRIPTION:\n   {}", command.description);
    }
    if !command.flags.is_empty() {
        page += "\n\nOPTIONS:\n   ";
        for flag in command.flags {
            page += &format!("{}\n   ", line(flag));
        }
    }
    page.push('\n');
    columns(&page)
}

/// `etcdctl name`.
pub(super) fn full_name(name: &str) -> String {
    format!("{ROOT_NAME} {name}")
}

fn list(commands: &[&Command]) -> String {
    commands.iter().fold(String::new(), |list, command| {
        let names = command.names().collect::<Vec<_>>().join(", ");
        format!("{list}\n   {names}\t{}", command.usage)
    })
}

fn line(flag: &Flag) -> String {
    let names = flag.names.iter().map(|name| {
        let dashes = if name.len() == 1 { "-" } else { "--" };
        let value =
            if flag.kind == Kind::Bool { String::new() } else { format!(" {}", flag.placeholder) };
        format!("{dashes}{name}{value}")
    });
    let names = names.collect::<Vec<_>>().join(", ");
    let default = match flag.kind {
        Kind::Int | Kind::Duration => format!(" (default: {})", flag.default),
        Kind::Text if !flag.default.is_empty() => format!(" (default: \"{}\")", flag.default),
        _ => String::new(),
    };
    format!("{names}\t{}{default}", flag.usage)
}

/// Lines of two columns that follow each other get columns of the same width.
fn columns(text: &str) -> String {
    let lines: Vec<&str> = text.split('\n').collect();
    let mut out: Vec<String> = Vec::with_capacity(lines.len());
    for block in lines.chunk_by(|first, second| first.contains('\t') == second.contains('\t')) {
        let cells = || block.iter().filter_map(|line| line.split_once('\t'));
        let width = cells().map(|(left, _)| left.chars().count()).max().unwrap_or(0) + 2;
        match block[0].contains('\t') {
            true => out.extend(cells().map(|(left, right)| format!("{left:width$}{right}"))),
            false => out.extend(block.iter().map(|line| (*line).to_owned())),
        }
    }
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_their_own_widths() {
        assert_eq!(columns("a\n  b\tc\n  ddd\te\n\nf\tg\n"), "a\n  b    c\n  ddd  e\n\nf  g\n");
    }

    #[test]
    fn flags_tell_their_defaults() {
        assert_eq!(line(&Flag::new(&["sort"], Kind::Bool, "sorts")), "--sort\tsorts");
        let ttl = Flag::new(&["ttl"], Kind::Int, "seconds");
        assert_eq!(line(&ttl), "--ttl value\tseconds (default: 0)");
        let output = Flag::new(&["output", "o"], Kind::Text, "format").default("simple");
        assert_eq!(line(&output), "--output value, -o value\tformat (default: \"simple\")");
    }
}
