//! The shell's own verbs, as tables, and what each does.

use std::io::Write;

use api::etcdserverpb::RangeRequest;

use super::{place::Place, read, watching, write};
use crate::{
    cli::{
        Command, Invocation,
        flag::{Flag, Kind},
    },
    commands::{get, put},
    decode::print::{MANAGED_FIELDS, REVEAL},
    exit::{Failure, Outcome},
    history::{diff, log},
    tree::{
        View,
        children::{prefix_of, top},
        du,
        keyspace::{Keyspace, Read, range_of},
        ls, nothing_at, walk,
    },
};

const FORCE: Flag =
    Flag::new("force", Kind::Bool, "do not ask, and replace keys that are there").short('f');
const RECURSIVE: Flag = Flag::new("recursive", Kind::Bool, "all keys below the prefix").short('r');

macro_rules! verb {
    ($name:ident, $usage:literal, $short:literal $(, $flag:expr)*) => {
        static $name: Command =
            Command { usage: $usage, short: $short, flags: &[$($flag),*], ..Command::BASE };
    };
}

verb!(CD, "cd [prefix]", "Goes to a prefix; `cd -` goes back, `cd` to where all keys begin");
verb!(PWD, "pwd", "Shows where the shell is");
verb!(
    CAT,
    "cat [options] <key>...",
    "Shows values: Kubernetes objects and JSON as YAML",
    Flag::new("json", Kind::Bool, "as JSON").short('j'),
    Flag::new("raw", Kind::Bool, "as they are stored"),
    REVEAL,
    MANAGED_FIELDS
);
verb!(
    RM,
    "rm [options] <key>...",
    "Deletes keys, after saying how many and asking",
    RECURSIVE,
    FORCE
);
verb!(
    CP,
    "cp [options] <from> <to>",
    "Copies a key, or all below a prefix (leases are not copied)",
    RECURSIVE,
    FORCE
);
verb!(
    MV,
    "mv [options] <from> <to>",
    "Moves a key, or all below a prefix, each in one transaction",
    RECURSIVE,
    FORCE
);
verb!(
    WATCH,
    "watch [options] [key or prefix]",
    "Shows changes as they come, until Ctrl-C",
    Flag::new("values", Kind::Bool, "show what changed in the values").short('v'),
    Flag::new("count", Kind::Uint, "end after so many changes").short('n'),
    Flag::new("rev", Kind::Int, "begin at this revision"),
    REVEAL,
    MANAGED_FIELDS
);
verb!(
    FIND,
    "find <pattern> [prefix]",
    "Lists keys that contain the pattern, or match it if it has * or ?"
);
verb!(
    GREP,
    "grep [options] <text> [prefix]",
    "Shows the lines of decoded values that contain the text",
    Flag::new("ignore-case", Kind::Bool, "letters match in both cases").short('i'),
    Flag::new("keys", Kind::Bool, "show keys only").short('l'),
    REVEAL,
    MANAGED_FIELDS
);
verb!(
    REV,
    "rev [revision | now]",
    "Looks at the keys as they were; without an argument, shows now"
);
verb!(HELP, "help [verb]", "Shows the verbs, or the flags of one");
verb!(EXIT, "exit", "Ends the shell (also quit and Ctrl-D)");

/// Every verb, in the order of the help.
pub(super) static VERBS: &[&Command] = &[
    &ls::COMMAND,
    &CD,
    &PWD,
    &walk::COMMAND,
    &du::COMMAND,
    &CAT,
    &get::COMMAND,
    &FIND,
    &GREP,
    &put::COMMAND,
    &CP,
    &MV,
    &RM,
    &WATCH,
    &log::COMMAND,
    &diff::COMMAND,
    &REV,
    &HELP,
    &EXIT,
];

/// Short words for commands of etcdctl.
pub(super) const ALIASES: &[(&str, &[&str])] = &[
    ("status", &["endpoint", "status", "--cluster", "--write-out=table"]),
    ("health", &["endpoint", "health", "--cluster"]),
    ("members", &["member", "list", "--write-out=table"]),
    ("leases", &["lease", "list"]),
];

/// What is left to do after a verb.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing.
    Done,
    /// The shell ends.
    Exit,
    /// These ranges are deleted if the answer is yes.
    Confirm(write::Deletion),
}

/// Does what a verb says.
pub(super) async fn run(
    place: &mut Place,
    invocation: &Invocation,
    out: &mut dyn Write,
) -> Result<Step, Failure> {
    let (flags, args) = (&invocation.flags, &invocation.args[..]);
    let look = place.view.look;
    let name = invocation.command().name();
    let mut keys = place.view.keys.clone();
    if ["ls", "tree", "du", "history"].contains(&name) && flags.changed("rev") {
        keys.revision = flags.int("rev").max(0);
    }
    let keys = &keys;
    match name {
        "ls" => ls::ls(keys, look, &place.argument(args)?, flags.bool("long"), out).await?,
        "tree" => {
            let depth = walk::depth(flags.uint("depth"));
            walk::tree(keys, &place.argument(args)?, depth, look.screen, out).await?;
        }
        "du" => {
            let options = du::Options::from_flags(flags);
            du::du(keys, look, &place.argument(args)?, options, out).await?;
        }
        "cd" => cd(place, args).await?,
        "pwd" => writeln!(out, "{}", place.shown())?,
        "cat" => read::cat(place, flags, args, out).await?,
        "get" => read::get(place, flags, args, out).await?,
        "find" => read::find(place, args, out).await?,
        "grep" => read::grep(place, flags, args, out).await?,
        "put" => write::put(place, flags, args, out).await?,
        "cp" => write::copy(place, flags, args, false, out).await?,
        "mv" => write::copy(place, flags, args, true, out).await?,
        "rm" => return write::rm(place, flags, args, out).await,
        "watch" => watching::watch(place, flags, args, out).await?,
        "history" => {
            let [key] = args else { return Err(Failure::bad_args("history takes one key")) };
            let key = place.resolve(key);
            let view = View { keys: keys.clone(), look };
            log::history(&view, &key, log::Options::from_flags(flags), out).await?;
        }
        "diff" => {
            // In the past, what changed since.
            let past = (keys.revision != 0).then_some((keys.revision, 0));
            let span = diff::span(flags)?
                .or(past)
                .ok_or_else(|| Failure::bad_args("diff needs a revision: --rev"))?;
            let now = Keyspace { revision: 0, ..keys.clone() };
            let options = diff::Options::from_flags(flags);
            diff::diff(&now, look, &place.argument(args)?, span, options, out).await?;
        }
        "rev" => rev(place, args, out).await?,
        "exit" => return Ok(Step::Exit),
        name => unreachable!("{name} is run where its table is known"),
    }
    Ok(Step::Done)
}

async fn cd(place: &mut Place, args: &[Vec<u8>]) -> Outcome {
    let keys = &place.view.keys;
    let to = match args {
        [] => top(keys, 0).await?,
        [word] if word == b"-" => place.before.clone(),
        [word] => prefix_of(&place.resolve(word)),
        _ => return Err(Failure::bad_args("cd takes one prefix")),
    };
    if !to.is_empty() && keys.range(any_key(&to)).await?.kvs.is_empty() {
        return Err(nothing_at(&to));
    }
    place.before = std::mem::replace(&mut place.at, to);
    Ok(())
}

/// Asks whether any key has this prefix.
fn any_key(prefix: &[u8]) -> RangeRequest {
    let (key, range_end) = range_of(prefix);
    RangeRequest { key, range_end, limit: 1, keys_only: true, ..RangeRequest::default() }
}

async fn rev(place: &mut Place, args: &[Vec<u8>], out: &mut dyn Write) -> Outcome {
    let keys = &mut place.view.keys;
    let revision = match args {
        [] => {
            let now = keys.call().range(any_key(&place.at)).await?;
            let now = now.header.unwrap_or_default().revision;
            match keys.revision {
                0 => writeln!(out, "now, revision {now}")?,
                past => writeln!(out, "revision {past}; now is {now}")?,
            }
            return Ok(());
        }
        [word] if word == b"now" => 0,
        [word] => crate::history::get::revision(&String::from_utf8_lossy(word))?,
        _ => return Err(Failure::bad_args("rev takes one revision")),
    };
    // Refused when it is compacted, or yet to come.
    keys.call().range(RangeRequest { revision, ..any_key(&place.at) }).await?;
    keys.revision = revision;
    Ok(())
}
