//! `history`: every version of a key that is still there, and what each changed.

use std::{collections::VecDeque, io::Write};

use api::kv::KeyValue;
use similar::ChangeTag;

use super::{
    lines,
    replay::{Version, replay},
};
use crate::{
    cli::{
        Command, Group, Invocation,
        flag::{Flag, Kind},
    },
    decode::{
        Show, json,
        node::Node,
        print::{MANAGED_FIELDS, REVEAL},
        text, value_node,
    },
    exit::{Code, Failure, Outcome},
    gotext::size,
    session::Session,
    tree::{View, ls::REV},
};

/// `history`.
pub(crate) static COMMAND: Command = Command {
    usage: "history [options] <key>",
    short: "Shows every version of a key that is still there",
    long: "Shows every version of a key that is still there, oldest first, with what each \
           changed. Compaction is what removes versions; the one it kept comes first.",
    group: Some(Group::Own),
    flags: FLAGS,
    run: Some(run),
    ..Command::BASE
};

const FLAGS: &[Flag] = &[
    Flag::new("limit", Kind::Uint, "show the newest versions only").short('n'),
    Flag::new("brief", Kind::Bool, "show one line for each version").short('b'),
    REVEAL,
    MANAGED_FIELDS,
    REV,
];

fn run(invocation: &Invocation) -> Outcome {
    let [key] = &invocation.args[..] else {
        return Err(Failure::bad_args("history takes one key"));
    };
    let session = Session::open(invocation)?;
    let view = View::open(&session, session.flags.int("rev"))?;
    let options = Options::from_flags(&session.flags);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let outcome = session.run(history(&view, key, options, &mut out));
    out.flush()?;
    outcome
}

/// What is shown.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    /// The most versions; 0 for all.
    limit: usize,
    /// One line for each.
    brief: bool,
    show: Show,
}

impl Options {
    /// What the flags ask for.
    pub(crate) fn from_flags(flags: &crate::cli::flag::Flags) -> Options {
        Options {
            limit: usize::try_from(flags.uint("limit")).unwrap_or(usize::MAX),
            brief: flags.bool("brief"),
            show: Show::from_flags(flags),
        }
    }
}

/// Shows the versions of `key`.
pub(crate) async fn history(
    view: &View,
    key: &[u8],
    options: Options,
    out: &mut dyn Write,
) -> Outcome {
    let mut shown = Shown { view, options, before: None, any: false };
    if options.limit == 0 {
        replay(&view.keys, key, |version| shown.version(version, out)).await?;
    } else {
        // One more than is shown, for what the first of them changed.
        let mut newest = VecDeque::new();
        replay(&view.keys, key, |version| {
            if newest.len() > options.limit {
                newest.pop_front();
            }
            newest.push_back(version);
            Ok(())
        })
        .await?;
        if newest.len() > options.limit {
            shown.pass(newest.pop_front());
        }
        newest.into_iter().try_for_each(|version| shown.version(version, out))?;
    }
    match shown.any {
        true => Ok(()),
        false => {
            let text = format!("no version of {} is there", text::key(key));
            Err(Failure::new(Code::Error, text))
        }
    }
}

/// Versions as they are shown.
struct Shown<'a> {
    view: &'a View,
    options: Options,
    /// The value before.
    before: Option<Vec<u8>>,
    any: bool,
}

impl Shown<'_> {
    /// Takes notice of a version that is not shown.
    fn pass(&mut self, version: Option<Version>) {
        self.before = match version {
            Some(Version::Put(kv) | Version::Kept { kv, .. }) => Some(kv.value.to_vec()),
            _ => None,
        };
    }

    fn version(&mut self, version: Version, out: &mut dyn Write) -> Outcome {
        self.any = true;
        let (name, revision) = match &version {
            Version::Kept { kv, .. } => ("kept", kv.mod_revision),
            Version::Put(kv) if kv.version == 1 => ("created", kv.mod_revision),
            Version::Put(kv) => ("updated", kv.mod_revision),
            Version::Deleted(revision) => ("deleted", *revision),
        };
        let kv = match &version {
            Version::Kept { kv, .. } | Version::Put(kv) => Some(kv),
            Version::Deleted(_) => None,
        };
        if self.view.look.json {
            writeln!(out, "{}", self.json(name, revision, kv))?;
        } else {
            self.lines(&version, name, revision, kv, out)?;
        }
        self.pass(Some(version));
        Ok(())
    }

    fn json(&self, name: &str, revision: i64, kv: Option<&KeyValue>) -> String {
        let mut members = vec![("revision", Node::Int(revision)), ("event", Node::text(name))];
        if let Some(kv) = kv {
            members.extend([
                ("create_revision", Node::Int(kv.create_revision)),
                ("version", Node::Int(kv.version)),
                ("lease", Node::text(format!("{:016x}", kv.lease))),
            ]);
            if !self.options.brief {
                members.push(("value", value_node(&kv.value, self.options.show)));
            }
        }
        let members = members.into_iter().map(|(name, node)| (name.to_owned(), node)).collect();
        json::write_line(&Node::Map(members))
    }

    fn lines(
        &self,
        version: &Version,
        name: &str,
        revision: i64,
        kv: Option<&KeyValue>,
        out: &mut dyn Write,
    ) -> std::io::Result<()> {
        let paint = self.view.look.screen.paint;
        let name = match name {
            "created" => paint.added(name),
            "deleted" => paint.removed(name),
            "updated" => paint.changed(name),
            name => paint.faint(name),
        };
        write!(out, "{} {name}", paint.strong(&format!("revision {revision}")))?;
        let Some(kv) = kv else { return writeln!(out) };
        write!(out, ", version {}, {}", kv.version, size::bytes(kv.value.len() as u64))?;
        if kv.lease != 0 {
            write!(out, ", lease {:016x}", kv.lease)?;
        }
        if let Version::Kept { compacted, .. } = version {
            write!(out, " (compaction {compacted} removed what was before)")?;
        }
        writeln!(out)?;
        if self.options.brief {
            return Ok(());
        }
        let show = self.options.show;
        match (&self.before, version) {
            (_, Version::Kept { .. }) => {
                lines::whole(&kv.value, ChangeTag::Equal, show, paint, out)
            }
            (Some(before), _) if kv.version > 1 => {
                lines::changed(before, &kv.value, show, paint, out)
            }
            _ => lines::whole(&kv.value, ChangeTag::Insert, show, paint, out),
        }
    }
}
