//! `put`: writes a key.

use std::io::Read;

use api::etcdserverpb::PutRequest;

use crate::{
    cli::{
        Command, Group, Invocation,
        flag::{Flag, Flags, Kind},
    },
    exit::{Failure, Outcome},
    gotext::number,
    printer::Answer,
    session::Session,
};

/// `put`.
pub(crate) static COMMAND: Command = Command {
    usage: "put [options] <key> <value> (<value> can also be given from stdin)",
    short: "Writes a key",
    long: "Writes a key.\n\n\
           A value that begins with '-' must follow '--', or it is read as a flag:\n\n\
           $ etcdctl put <key> -- <value>\n\n\
           Without a value, and without --ignore-value, the value is read from standard input:\n\n\
           $ cat file | etcdctl put <key>",
    group: Some(Group::KeyValue),
    flags: &[
        Flag::new("lease", Kind::Text, "lease (in hex) to attach the key to").default("0"),
        Flag::new("prev-kv", Kind::Bool, "show the key and value from before"),
        Flag::new("ignore-value", Kind::Bool, "keep the key's value"),
        Flag::new("ignore-lease", Kind::Bool, "keep the key's lease"),
    ],
    run: Some(run),
    ..Command::BASE
};

fn run(invocation: &Invocation) -> Outcome {
    let request = request(&invocation.flags, &invocation.args)?;
    let session = Session::open(invocation)?;
    let answer = session.run(session.timed_client()?.put(request))?;
    session.print(&Answer::Put(&answer))
}

/// The request that flags and arguments make; also a line of a transaction.
pub(crate) fn request(flags: &Flags, args: &[Vec<u8>]) -> Result<PutRequest, Failure> {
    let usage = "put command needs 1 argument and input from stdin or 2 arguments";
    let ignore_value = flags.bool("ignore-value");
    let (key, value) = match (args, ignore_value) {
        ([], _) => return Err(Failure::bad_args(usage)),
        ([_, _, ..], true) => {
            let text = "put command needs only 1 argument when 'ignore-value' is set";
            return Err(Failure::bad_args(text));
        }
        ([key], true) => (key, Vec::new()),
        ([key, value, ..], false) => (key, value.clone()),
        ([key], false) => (key, standard_input().ok_or_else(|| Failure::bad_args(usage))?),
    };
    let lease = number::parse_int(flags.text("lease"), 16)
        .map_err(|why| Failure::bad_args(format!("bad lease ID ({why}), expecting ID in Hex")))?;
    Ok(PutRequest {
        key: key.clone().into(),
        value: value.into(),
        lease,
        prev_kv: flags.bool("prev-kv"),
        ignore_value,
        ignore_lease: flags.bool("ignore-lease"),
    })
}

/// Everything that standard input has, when it has anything.
fn standard_input() -> Option<Vec<u8>> {
    let mut value = Vec::new();
    std::io::stdin().lock().read_to_end(&mut value).ok()?;
    (!value.is_empty()).then_some(value)
}
