//! `diff`: what changed below a prefix between two revisions.
//!
//! Both revisions are read in order, without values; values are read for the keys that changed.

use std::{collections::VecDeque, io::Write};

use api::kv::KeyValue;

use super::{get::revision, lines};
use crate::{
    cli::{
        Command, Group, Invocation,
        flag::{Flag, Flags, Kind},
    },
    decode::{
        Show, json,
        node::Node,
        print::{MANAGED_FIELDS, REVEAL},
        value_node,
    },
    exit::{Failure, Outcome},
    session::Session,
    tree::{
        Look, View,
        keyspace::{Pages, Read, What, get},
        ls::name_node,
    },
};

/// Keys that are read at once.
const PAGE: i64 = 1000;

/// `diff`.
pub(crate) static COMMAND: Command = Command {
    usage: "diff [options] [prefix]",
    short: "Shows what changed between two revisions",
    long: "Shows which of the keys that begin with the prefix were added (+), removed (-) and \
           changed (~) between two revisions, and how the values changed.",
    example: "  etcdctl diff --rev 100 --rev 120 /registry/pods/\n  \
              etcdctl diff --rev 100 /registry/   # until now",
    group: Some(Group::Own),
    flags: &[
        Flag::new("rev", Kind::List, "the two revisions; the second is now, if not given")
            .short('r'),
        Flag::new("brief", Kind::Bool, "show keys only").short('b'),
        REVEAL,
        MANAGED_FIELDS,
    ],
    run: Some(run),
    ..Command::BASE
};

fn run(invocation: &Invocation) -> Outcome {
    let prefix = match &invocation.args[..] {
        [] => &[][..],
        [prefix] => prefix,
        _ => return Err(Failure::bad_args("diff takes one prefix at most")),
    };
    let span = span(&invocation.flags)?
        .ok_or_else(|| Failure::bad_args("diff needs a revision: --rev"))?;
    let session = Session::open(invocation)?;
    let view = View::open(&session, 0)?;
    let options = Options::from_flags(&session.flags);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let outcome = session.run(diff(&view.keys, view.look, prefix, span, options, &mut out));
    out.flush()?;
    outcome
}

/// The revisions that `--rev` names; 0 for now.
pub(crate) fn span(flags: &Flags) -> Result<Option<(i64, i64)>, Failure> {
    let revisions: Result<Vec<_>, _> =
        flags.list("rev").iter().map(|text| revision(text)).collect();
    match revisions?[..] {
        [] => Ok(None),
        [from] => Ok(Some((from, 0))),
        [from, to] => Ok(Some((from, to))),
        _ => Err(Failure::bad_args("diff takes two revisions")),
    }
}

/// What is shown.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    brief: bool,
    show: Show,
}

impl Options {
    /// What the flags ask for.
    pub(crate) fn from_flags(flags: &Flags) -> Options {
        Options { brief: flags.bool("brief"), show: Show::from_flags(flags) }
    }
}

/// The keys of one revision, in order.
struct Side<'a, R> {
    pages: Pages<'a, R>,
    read: VecDeque<KeyValue>,
}

impl<'a, R: Read> Side<'a, R> {
    fn new(reader: &'a R, prefix: &[u8], revision: i64) -> Side<'a, R> {
        Side { pages: Pages::new(reader, prefix, revision), read: VecDeque::new() }
    }

    async fn peek(&mut self) -> Result<Option<&KeyValue>, Failure> {
        if self.read.is_empty() {
            self.read = self.pages.next(PAGE, What::Keys).await?.into();
        }
        Ok(self.read.front())
    }
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Added,
    Removed,
    Changed,
}

/// Shows the differences between the two revisions of `span`.
pub(crate) async fn diff<R: Read>(
    reader: &R,
    look: Look,
    prefix: &[u8],
    (from, to): (i64, i64),
    options: Options,
    out: &mut dyn Write,
) -> Outcome {
    let mut before = Side::new(reader, prefix, from);
    let mut after = Side::new(reader, prefix, to);
    let mut counts = [0_u64; 3];
    loop {
        let (one, other) = (before.peek().await?.cloned(), after.peek().await?.cloned());
        let change = match (&one, &other) {
            (None, None) => break,
            (Some(_), None) => Change::Removed,
            (None, Some(_)) => Change::Added,
            (Some(one), Some(other)) => match one.key.cmp(&other.key) {
                std::cmp::Ordering::Less => Change::Removed,
                std::cmp::Ordering::Greater => Change::Added,
                std::cmp::Ordering::Equal => Change::Changed,
            },
        };
        if change != Change::Added {
            before.read.pop_front();
        }
        if change != Change::Removed {
            after.read.pop_front();
        }
        let same = change == Change::Changed
            && one.as_ref().map(|kv| kv.mod_revision) == other.as_ref().map(|kv| kv.mod_revision);
        if same {
            continue;
        }
        counts[change as usize] += 1;
        let kv = if change == Change::Removed { one } else { other };
        let key = kv.map(|kv| kv.key).unwrap_or_default();
        let revisions = (before.pages.revision(), after.pages.revision());
        show(reader, look, change, &key, revisions, options, out).await?;
    }
    if !look.json {
        let [added, removed, changed] = counts;
        writeln!(out, "{added} added, {removed} removed, {changed} changed")?;
    }
    Ok(())
}

async fn show(
    reader: &impl Read,
    look: Look,
    change: Change,
    key: &[u8],
    (from, to): (i64, i64),
    options: Options,
    out: &mut dyn Write,
) -> Outcome {
    let value = async |revision, wanted: bool| match wanted && !options.brief {
        true => get(reader, key, revision).await.map(|kv| kv.map(|kv| kv.value)),
        false => Ok(None),
    };
    if look.json {
        let name = format!("{change:?}").to_lowercase();
        let mut members = vec![("change", Node::text(name)), ("key", name_node(key))];
        let before = value(from, change != Change::Added).await?;
        let after = value(to, change != Change::Removed).await?;
        for (name, value) in [("before", before), ("after", after)] {
            members.extend(value.map(|value| (name, value_node(&value, options.show))));
        }
        let members = members.into_iter().map(|(name, node)| (name.to_owned(), node)).collect();
        return Ok(writeln!(out, "{}", json::write_line(&Node::Map(members)))?);
    }
    let paint = look.screen.paint;
    let mark = match change {
        Change::Added => paint.added("+ "),
        Change::Removed => paint.removed("- "),
        Change::Changed => paint.changed("~ "),
    };
    out.write_all(mark.as_bytes())?;
    out.write_all(&look.screen.key(key))?;
    out.write_all(b"\n")?;
    if change == Change::Changed
        && let (Some(before), Some(after)) = (value(from, true).await?, value(to, true).await?)
    {
        lines::changed(&before, &after, options.show, paint, out)?;
    }
    Ok(())
}
