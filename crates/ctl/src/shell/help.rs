//! `help`: the verbs, and the flags of one.

use std::io::Write;

use super::verbs::{ALIASES, VERBS};
use crate::{
    cli::{flag::HELP, usage::flag_usages},
    exit::{Failure, Outcome},
    gotext::quote::quote,
};

/// Helps with one verb, or lists all.
pub(super) fn help(about: &[Vec<u8>], out: &mut dyn Write) -> Outcome {
    let [name, ..] = about else { return all(out) };
    let Some(verb) = VERBS.iter().find(|verb| verb.name().as_bytes() == name) else {
        return Err(Failure::bad_args(format!("no verb {}", quote(name))));
    };
    let text = if verb.long.is_empty() { verb.short } else { verb.long };
    let mut flags: Vec<_> = verb.flags.iter().collect();
    flags.push(&HELP);
    write!(out, "{}\n\n{text}\n\n{}", verb.usage, flag_usages(&flags, verb.name()))?;
    Ok(())
}

fn all(out: &mut dyn Write) -> Outcome {
    for verb in VERBS {
        writeln!(out, "  {:10} {}", verb.name(), verb.short)?;
    }
    for (name, command) in ALIASES {
        let command = command.iter().filter(|word| !word.starts_with('-'));
        let command = command.copied().collect::<Vec<_>>().join(" ");
        writeln!(out, "  {name:10} Runs etcdctl {command}")?;
    }
    out.write_all(
        b"\nEvery other command of etcdctl works too, with keys as they are: lease grant 60.\n\
          One whose name is a verb here is called as in: etcdctl watch --prefix /a.\n\
          Paths begin with '/' or follow the prefix that the shell is in; .. goes up.\n\
          Quotes and backslashes protect blanks; \"\\x00\" is a byte. `| program` takes the output.\n",
    )?;
    Ok(())
}
