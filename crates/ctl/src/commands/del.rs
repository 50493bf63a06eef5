//! `del`: deletes keys.

use std::time::Duration;

use api::etcdserverpb::DeleteRangeRequest;

use super::get::{range, refuse_both};
use crate::{
    cli::{
        Command, Group, Invocation,
        flag::{Flag, Flags, Kind},
    },
    exit::{Failure, Outcome},
    gotext::quote::quote,
    printer::Answer,
    session::Session,
};

/// Time to change one's mind before a range is deleted.
const PAUSE: Duration = Duration::from_secs(2);

/// `del`.
pub(crate) static COMMAND: Command = Command {
    usage: "del [options] <key> [range_end]",
    short: "Deletes a key or the keys of a range [key, range_end)",
    group: Some(Group::KeyValue),
    flags: &[
        Flag::new("prefix", Kind::Bool, "delete all keys with this prefix"),
        Flag::new("prev-kv", Kind::Bool, "show what was deleted"),
        Flag::new("from-key", Kind::Bool, "delete all keys from this one on, in byte order"),
        Flag::new("range", Kind::Bool, "delete a range without a pause"),
    ],
    run: Some(run),
    ..Command::BASE
};

fn run(invocation: &Invocation) -> Outcome {
    let request = request(&invocation.flags, &invocation.args)?;
    let session = Session::open(invocation)?;
    let answer = session.run(session.timed_client()?.delete_range(request))?;
    session.print(&Answer::Del(&answer))
}

/// The request that flags and arguments make; also a line of a transaction.
pub(crate) fn request(flags: &Flags, args: &[Vec<u8>]) -> Result<DeleteRangeRequest, Failure> {
    let ([key] | [key, _]) = args else {
        return Err(Failure::bad_args(
            "del command needs one argument as key and an optional argument as range_end",
        ));
    };
    refuse_both(flags, "prefix", "from-key")?;
    let (start, range_end) = range(flags, key, &args[1..])?;
    if args.len() == 2 && !flags.bool("range") {
        eprintln!(
            "Warning: Keys between {} and {} will be deleted. Please interrupt the command within \
             next 2 seconds to cancel. You can provide `--range` flag to avoid the delay.",
            quote(key),
            quote(&args[1]),
        );
        std::thread::sleep(PAUSE);
    }
    Ok(DeleteRangeRequest { key: start, range_end, prev_kv: flags.bool("prev-kv") })
}
