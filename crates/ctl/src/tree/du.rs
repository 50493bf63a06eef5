//! `du`: how many bytes the keys below a prefix and their values have.
//!
//! What is counted are keys and values as they are at one revision. The database has more: older
//! revisions until they are compacted, and what its pages cost.

use std::io::Write;

use api::kv::KeyValue;

use super::{
    Look, View,
    children::{SEPARATOR, prefix_of, top},
    keyspace::{Pages, Read, What, get},
    ls::{REV, keys_text, name_node},
    nothing_at, path_argument,
};
use crate::{
    cli::{
        Command, Group, Invocation,
        flag::{Flag, Flags, Kind},
    },
    decode::{json, node::Node},
    exit::Outcome,
    gotext::size,
    session::Session,
};

/// Keys of the first page.
const FIRST_PAGE: i64 = 16;
/// The most keys of a page: large values may follow any number of small ones.
const LAST_PAGE: i64 = 256;
/// Bytes that a page should have.
const PAGE_BYTES: u64 = 4 << 20;

/// `du`.
pub(crate) static COMMAND: Command = Command {
    usage: "du [options] [prefix]",
    short: "Counts the bytes of keys and values by prefix",
    long: "Counts the bytes of keys and values by prefix, largest first: those of the newest \
           revision (or of --rev), not what older revisions and the database's pages take.",
    group: Some(Group::Own),
    flags: &[
        Flag::new("depth", Kind::Uint, "levels of prefixes to count").short('L').default("1"),
        Flag::new("bytes", Kind::Bool, "show sizes in bytes").short('b'),
        REV,
    ],
    run: Some(run),
    ..Command::BASE
};

fn run(invocation: &Invocation) -> Outcome {
    let path = path_argument(invocation)?;
    let session = Session::open(invocation)?;
    let view = View::open(&session, session.flags.int("rev"))?;
    let options = Options::from_flags(&session.flags);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let outcome = session.run(async {
        let path = match path {
            Some(path) => path.to_vec(),
            None => top(&view.keys, 0).await?,
        };
        du(&view.keys, view.look, &path, options, &mut out).await
    });
    out.flush()?;
    outcome
}

/// What is shown.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    /// Levels below the prefix.
    pub(crate) depth: usize,
    /// Exact numbers.
    pub(crate) bytes: bool,
}

impl Options {
    /// What the flags ask for.
    pub(crate) fn from_flags(flags: &Flags) -> Options {
        Options {
            depth: usize::try_from(flags.uint("depth")).unwrap_or(usize::MAX),
            bytes: flags.bool("bytes"),
        }
    }
}

/// What one prefix has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) name: Vec<u8>,
    pub(super) keys: i64,
    pub(super) bytes: u64,
}

impl Usage {
    fn add(&mut self, kv: &KeyValue) {
        self.keys += 1;
        self.bytes += (kv.key.len() + kv.value.len()) as u64;
    }
}

/// Shows what is below `path`.
pub(crate) async fn du<R: Read>(
    reader: &R,
    look: Look,
    path: &[u8],
    options: Options,
    out: &mut dyn Write,
) -> Outcome {
    let (mut parts, total) = measure(reader, path, options.depth).await?;
    if total.keys == 0 && !path.is_empty() {
        return Err(nothing_at(path));
    }
    parts.sort_by(|one, other| other.bytes.cmp(&one.bytes).then(one.name.cmp(&other.name)));
    for (usage, is_total) in parts.iter().map(|part| (part, false)).chain([(&total, true)]) {
        if look.json {
            let name = if is_total { "total" } else { "prefix" };
            let members = [
                (name, name_node(&usage.name)),
                ("bytes", Node::Int(i64::try_from(usage.bytes).unwrap_or(i64::MAX))),
                ("keys", Node::Int(usage.keys)),
            ];
            let members = members.map(|(name, node)| (name.to_owned(), node)).to_vec();
            writeln!(out, "{}", json::write_line(&Node::Map(members)))?;
            continue;
        }
        let bytes = match options.bytes {
            true => usage.bytes.to_string(),
            false => size::bytes(usage.bytes),
        };
        write!(out, "{bytes:>12} {:>14}  ", keys_text(usage.keys))?;
        match is_total {
            true => out.write_all(look.screen.paint.strong("total").as_bytes())?,
            false => out.write_all(&look.screen.prefix(&usage.name))?,
        }
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// The usage of each prefix down to `depth` levels below `path`, and of all of it with the key of
/// that name.
pub(super) async fn measure<R: Read>(
    reader: &R,
    path: &[u8],
    depth: usize,
) -> Result<(Vec<Usage>, Usage), client::error::Error> {
    let prefix = prefix_of(path);
    let mut total = Usage { name: prefix.clone(), ..Usage::default() };
    let mut parts: Vec<Usage> = Vec::new();
    // Parts of the current key, outermost first: indices into `parts`.
    let mut open: Vec<usize> = Vec::new();
    let mut pages = Pages::new(reader, &prefix, 0);
    let mut limit = FIRST_PAGE;
    loop {
        let page = pages.next(limit, What::Values).await?;
        if page.is_empty() {
            break;
        }
        let before = total.bytes;
        for kv in &page {
            total.add(kv);
            open.retain(|at| kv.key.starts_with(&parts[*at].name));
            let known = open.last().map_or(prefix.len(), |at| parts[*at].name.len());
            let ends = kv.key.iter().enumerate().skip(known).filter(|(_, b)| **b == SEPARATOR);
            for (end, _) in ends.take(depth - open.len()) {
                let name = kv.key[..=end].to_vec();
                open.push(parts.len());
                parts.push(Usage { name, ..Usage::default() });
            }
            for at in &open {
                parts[*at].add(kv);
            }
        }
        // As many keys as make a page of the wanted size, if they go on as they were.
        let each = (total.bytes - before) / page.len() as u64;
        let fitting = i64::try_from(PAGE_BYTES / each.max(1)).unwrap_or(LAST_PAGE);
        limit = fitting.clamp(FIRST_PAGE, LAST_PAGE.min(limit * 4));
    }
    if path != prefix
        && let Some(kv) = get(reader, path, pages.revision()).await?
    {
        total.add(&kv);
    }
    Ok((parts, total))
}
