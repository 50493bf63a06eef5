//! `tree`: a prefix and everything below it.

use std::io::Write;

use super::{
    View,
    children::{Below, Child, Children, prefix_of, top},
    keyspace::{Read, count},
    ls::{REV, keys_text},
    nothing_at, path_argument,
};
use crate::{
    cli::{
        Command, Group, Invocation,
        flag::{Flag, Kind},
    },
    decode::paint::Screen,
    exit::{Failure, Outcome},
    session::Session,
};

/// Levels that are shown at the most.
const MAX_DEPTH: usize = 64;

/// `tree`.
pub(crate) static COMMAND: Command = Command {
    usage: "tree [options] [prefix]",
    short: "Shows the keys below a prefix as a tree",
    long: "Shows the keys below a prefix as a tree: keys are read as paths whose parts '/' \
           separates. Values are not read.\n\n\
           With --depth, prefixes at that level are shown with the number of keys below them.",
    group: Some(Group::Own),
    flags: &[Flag::new("depth", Kind::Uint, "levels to show (0: all)").short('L'), REV],
    run: Some(run),
    ..Command::BASE
};

fn run(invocation: &Invocation) -> Outcome {
    let path = path_argument(invocation)?;
    let session = Session::open(invocation)?;
    let view = View::open(&session, session.flags.int("rev"))?;
    if view.look.json {
        return Err(Failure::bad_feature("json not supported as output format"));
    }
    let depth = depth(session.flags.uint("depth"));
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let outcome = session.run(async {
        let path = match path {
            Some(path) => path.to_vec(),
            None => top(&view.keys, 0).await?,
        };
        tree(&view.keys, &path, depth, view.look.screen, &mut out).await
    });
    out.flush()?;
    outcome
}

/// The meaning of `--depth`.
pub(crate) fn depth(flag: u64) -> usize {
    match usize::try_from(flag) {
        Ok(depth @ 1..MAX_DEPTH) => depth,
        _ => MAX_DEPTH,
    }
}

/// A level that is being shown: what is left of it.
struct Level<'a, R> {
    children: Children<'a, R>,
    next: Option<(Child, Below)>,
}

impl<'a, R: Read> Level<'a, R> {
    async fn open(children: Children<'a, R>) -> Result<Level<'a, R>, Failure> {
        let mut level = Level { children, next: None };
        level.advance().await?;
        Ok(level)
    }

    async fn advance(&mut self) -> Outcome {
        self.next = self.children.next().await?.map(|child| (child, self.children.take_below()));
        Ok(())
    }

    async fn take(&mut self) -> Result<Option<(Child, Below)>, Failure> {
        let Some(child) = self.next.take() else { return Ok(None) };
        self.advance().await?;
        Ok(Some(child))
    }
}

/// Shows what is below `path`, as of one revision.
pub(crate) async fn tree<'a, R: Read>(
    reader: &'a R,
    path: &[u8],
    depth: usize,
    screen: Screen,
    out: &mut dyn Write,
) -> Outcome {
    let prefix = prefix_of(path);
    let sized = |children: Children<'a, R>| match depth {
        MAX_DEPTH => children.all(),
        _ => children,
    };
    let level = Level::open(sized(Children::new(reader, &prefix, 0))).await?;
    if level.next.is_none() && !path.is_empty() {
        return Err(nothing_at(path));
    }
    let revision = level.children.revision();
    if !prefix.is_empty() {
        out.write_all(&screen.prefix(&prefix))?;
        out.write_all(b"\n")?;
    }
    let (mut prefixes, mut keys) = (0_u64, 0_u64);
    let mut levels = vec![level];
    while let Some(level) = levels.last_mut() {
        let Some((child, read)) = level.take().await? else {
            levels.pop();
            continue;
        };
        let below = level.children.prefix().to_vec();
        let bars = bars(&levels);
        out.write_all(screen.paint.faint(&bars).as_bytes())?;
        match child {
            Child::Key { name, .. } => {
                keys += 1;
                let name = if name.is_empty() { b".".to_vec() } else { name };
                out.write_all(&screen.key(&name))?;
            }
            Child::Prefix(name) => {
                prefixes += 1;
                out.write_all(&screen.prefix(&name))?;
                let below = [below, name].concat();
                if levels.len() < depth {
                    let children = sized(Children::after(reader, &below, revision, read));
                    levels.push(Level::open(children).await?);
                } else {
                    let count = match read.count() {
                        Some(count) => count,
                        None => count(reader, &below, revision).await?,
                    };
                    let count = screen.paint.faint(&format!(" ({})", keys_text(count)));
                    out.write_all(count.as_bytes())?;
                }
            }
        }
        out.write_all(b"\n")?;
    }
    let prefixes = match prefixes {
        1 => "1 prefix".to_owned(),
        prefixes => format!("{prefixes} prefixes"),
    };
    let keys = keys_text(i64::try_from(keys).unwrap_or(i64::MAX));
    Ok(writeln!(out, "\n{prefixes}, {keys} shown")?)
}

/// The lines before a name: a bar for each level that goes on.
fn bars<R>(levels: &[Level<'_, R>]) -> String {
    let (last, above) = levels.split_last().expect("a name belongs to a level");
    let mut bars: String =
        above.iter().map(|level| if level.next.is_some() { "│   " } else { "    " }).collect();
    bars.push_str(if last.next.is_some() { "├── " } else { "└── " });
    bars
}
