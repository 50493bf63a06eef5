//! `ls`: the children of a prefix.

use std::io::Write;

use api::{etcdserverpb::RangeRequest, kv::KeyValue};

use super::{
    Look, View,
    children::{Child, Children, prefix_of, top},
    keyspace::{Read, count, decoded, get},
    nothing_at, path_argument,
};
use crate::{
    cli::{
        Command, Group, Invocation,
        flag::{Flag, Kind},
    },
    decode::{json, node::Node, text},
    exit::{Failure, Outcome},
    gotext::size,
    session::Session,
};

/// Keys whose values are measured with one read.
const MEASURED: usize = 16;

/// `ls`.
pub(crate) static COMMAND: Command = Command {
    usage: "ls [options] [prefix]",
    short: "Lists the children of a prefix",
    long: "Lists the children of a prefix: keys are read as paths whose parts '/' separates.\n\n\
           Names that end with '/' have keys below them, which are not read, however many they \
           are. With -l the size of a key is that of its value.",
    group: Some(Group::Own),
    flags: &[LONG, REV],
    run: Some(run),
    ..Command::BASE
};

/// Revisions, leases and sizes.
const LONG: Flag =
    Flag::new("long", Kind::Bool, "show revision, version, lease and size, or a count of keys")
        .short('l');

/// The past.
pub(crate) const REV: Flag = Flag::new("rev", Kind::Int, "read at this revision");

fn run(invocation: &Invocation) -> Outcome {
    let path = path_argument(invocation)?;
    let session = Session::open(invocation)?;
    let view = View::open(&session, session.flags.int("rev"))?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let long = session.flags.bool("long");
    let outcome = session.run(async {
        match path {
            Some(path) => ls(&view.keys, view.look, path, long, &mut out).await,
            None => {
                let top = top(&view.keys, 0).await?;
                ls(&view.keys, view.look, &top, long, &mut out).await
            }
        }
    });
    out.flush()?;
    outcome
}

/// Lists what is at `path`: the key of that name, and the children of the prefix.
pub(crate) async fn ls<R: Read>(
    reader: &R,
    look: Look,
    path: &[u8],
    long: bool,
    out: &mut dyn Write,
) -> Outcome {
    let prefix = prefix_of(path);
    let mut children = Children::new(reader, &prefix, 0);
    let mut next = children.next().await?;
    let mut rows = Rows { reader, revision: children.revision(), look, long, out, some: false };
    if path != prefix
        && let Some(kv) = get(reader, path, rows.revision).await?
    {
        rows.keys(vec![(path.to_vec(), kv)]).await?;
    }
    let mut keys = Vec::new();
    while let Some(child) = next {
        match child {
            Child::Key { name, kv } => keys.push((name, kv)),
            Child::Prefix(name) => {
                rows.keys(std::mem::take(&mut keys)).await?;
                rows.prefix(&prefix, &name).await?;
            }
        }
        if keys.len() == MEASURED {
            rows.keys(std::mem::take(&mut keys)).await?;
        }
        next = children.next().await?;
    }
    rows.keys(keys).await?;
    match rows.some || path.is_empty() {
        true => Ok(()),
        false => Err(nothing_at(path)),
    }
}

/// Rows that are written as they come.
struct Rows<'a, R> {
    reader: &'a R,
    revision: i64,
    look: Look,
    long: bool,
    out: &'a mut dyn Write,
    /// Whether there were any.
    some: bool,
}

impl<R: Read> Rows<'_, R> {
    /// Keys that follow each other in the store.
    async fn keys(&mut self, keys: Vec<(Vec<u8>, KeyValue)>) -> Outcome {
        let (Some((_, first)), Some((_, last))) = (keys.first(), keys.last()) else {
            return Ok(());
        };
        let sizes = match self.long {
            false => vec![0; keys.len()],
            true => {
                // One revision, nothing between the keys: the same keys with their values.
                let request = RangeRequest {
                    range_end: [&last.key[..], &[0]].concat().into(),
                    revision: self.revision,
                    ..client::kv::get(first.key.clone())
                };
                let answer = self.reader.range(request).await?;
                decoded(&answer)?.iter().map(|kv| kv.value.len()).collect()
            }
        };
        for ((name, kv), size) in keys.iter().zip(sizes) {
            self.key(name, kv, size)?;
        }
        Ok(())
    }

    fn key(&mut self, name: &[u8], kv: &KeyValue, size: usize) -> Outcome {
        self.head()?;
        // A key that is the prefix itself.
        let name = if name.is_empty() { b"." } else { name };
        if self.look.json {
            let mut members = vec![("name", name_node(name))];
            if self.long {
                members.extend([
                    ("create_revision", Node::Int(kv.create_revision)),
                    ("mod_revision", Node::Int(kv.mod_revision)),
                    ("version", Node::Int(kv.version)),
                    ("lease", Node::text(format!("{:016x}", kv.lease))),
                    ("size", Node::Int(i64::try_from(size).unwrap_or(i64::MAX))),
                ]);
            }
            return self.line(members);
        }
        if self.long {
            let lease = match kv.lease {
                0 => "-".to_owned(),
                lease => format!("{lease:016x}"),
            };
            let size = size::bytes(size as u64);
            let (revision, version) = (kv.mod_revision, kv.version);
            write!(self.out, "{revision:>10} {version:>8} {lease:>16} {size:>12}  ")?;
        }
        self.out.write_all(&self.look.screen.key(name))?;
        Ok(self.out.write_all(b"\n")?)
    }

    async fn prefix(&mut self, prefix: &[u8], name: &[u8]) -> Outcome {
        self.head()?;
        let keys = match self.long {
            true => count(self.reader, &[prefix, name].concat(), self.revision).await?,
            false => 0,
        };
        if self.look.json {
            let mut members = vec![("prefix", name_node(name))];
            if self.long {
                members.push(("keys", Node::Int(keys)));
            }
            return self.line(members);
        }
        if self.long {
            let keys = keys_text(keys);
            write!(self.out, "{:>10} {:>8} {:>16} {keys:>12}  ", "-", "-", "-")?;
        }
        self.out.write_all(&self.look.screen.prefix(name))?;
        Ok(self.out.write_all(b"\n")?)
    }

    /// What stands above the first row.
    fn head(&mut self) -> Result<(), Failure> {
        if !std::mem::replace(&mut self.some, true) && self.long && !self.look.json {
            let head =
                format!("{:>10} {:>8} {:>16} {:>12}  NAME", "REVISION", "VERSION", "LEASE", "SIZE");
            writeln!(self.out, "{}", self.look.screen.paint.faint(&head))?;
        }
        Ok(())
    }

    fn line(&mut self, members: Vec<(&str, Node)>) -> Outcome {
        let members = members.into_iter().map(|(name, node)| (name.to_owned(), node)).collect();
        Ok(writeln!(self.out, "{}", json::write_line(&Node::Map(members)))?)
    }
}

/// A name in JSON, which has no bytes.
pub(crate) fn name_node(name: &[u8]) -> Node {
    match std::str::from_utf8(name) {
        Ok(name) => Node::text(name),
        Err(_) => Node::text(text::key(name)),
    }
}

/// `1 key`, `2 keys`.
pub(crate) fn keys_text(count: i64) -> String {
    match count {
        1 => "1 key".to_owned(),
        count => format!("{count} keys"),
    }
}
