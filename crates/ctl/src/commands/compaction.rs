//! `compaction`: forgets history.

use api::etcdserverpb::CompactionRequest;

use crate::{
    cli::{
        Command, Group, Invocation,
        flag::{Flag, Kind},
    },
    exit::{Code, Failure, Outcome},
    gotext::number,
    session::{Session, say},
};

/// `compaction`.
pub(crate) static COMMAND: Command = Command {
    usage: "compaction [options] <revision>",
    short: "Forgets the history before a revision",
    group: Some(Group::KeyValue),
    flags: &[Flag::new("physical", Kind::Bool, "wait until old revisions are gone from the disk")],
    run: Some(run),
    ..Command::BASE
};

fn run(invocation: &Invocation) -> Outcome {
    let [revision] = &invocation.args[..] else {
        return Err(Failure::bad_args("compaction command needs 1 argument"));
    };
    let revision = number::parse_int(&String::from_utf8_lossy(revision), 10)
        .map_err(|why| Failure::new(Code::Error, why))?;
    let session = Session::open(invocation)?;
    let physical = session.flags.bool("physical");
    let request = CompactionRequest { revision, physical };
    session.run(session.timed_client()?.compact(request))?;
    say(format_args!("compacted revision {revision}"))
}
