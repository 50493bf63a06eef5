//! `get`: reads keys.

use api::{
    etcdserverpb::{
        RangeRequest,
        range_request::{SortOrder, SortTarget},
    },
    range::prefix_end,
};
use bytes::Bytes;

use crate::{
    cli::{
        Command, Group, Invocation,
        flag::{Flag, Flags, Kind},
    },
    decode::print::{DECODE, MANAGED_FIELDS, REVEAL},
    exit::{Failure, Outcome},
    gotext::quote::quote,
    history,
    printer::{Answer, Format},
    session::{Display, Session},
};

/// `get`.
pub(crate) static COMMAND: Command = Command {
    usage: "get [options] <key> [range_end]",
    short: "Reads a key or a range of keys",
    group: Some(Group::KeyValue),
    flags: &[
        CONSISTENCY,
        Flag::new("order", Kind::Text, "order of the results: ASCEND (the default) or DESCEND")
            .hints(&["ASCEND", "DESCEND"]),
        Flag::new("sort-by", Kind::Text, "what to sort by: CREATE, KEY, MODIFY, VALUE or VERSION")
            .hints(&["CREATE", "KEY", "MODIFY", "VALUE", "VERSION"]),
        Flag::new("limit", Kind::Int, "largest number of results"),
        Flag::new("prefix", Kind::Bool, "read all keys with this prefix"),
        Flag::new("from-key", Kind::Bool, "read all keys from this one on, in byte order"),
        Flag::new("rev", Kind::Int, "read at this revision"),
        Flag::new("keys-only", Kind::Bool, "read keys without their values"),
        Flag::new("count-only", Kind::Bool, "read the number of keys only"),
        Flag::new("print-value-only", Kind::Bool, "print values without keys (simple format)"),
        Flag::new("min-create-rev", Kind::Int, "only keys created at this revision or later"),
        Flag::new("max-create-rev", Kind::Int, "only keys created at this revision or earlier"),
        Flag::new("min-mod-rev", Kind::Int, "only keys modified at this revision or later"),
        Flag::new("max-mod-rev", Kind::Int, "only keys modified at this revision or earlier"),
        Flag::new("stream", Kind::Bool, "read as a stream of pieces (RangeStream)"),
        DECODE,
        REVEAL,
        MANAGED_FIELDS,
        history::get::AT_REV,
    ],
    run: Some(run),
    ..Command::BASE
};

/// Whether an answer may be stale.
pub(crate) const CONSISTENCY: Flag =
    Flag::new("consistency", Kind::Text, "l: linearizable, s: serializable, perhaps stale")
        .default("l")
        .hints(&["l", "s"]);

fn run(invocation: &Invocation) -> Outcome {
    let request = request(&invocation.flags, &invocation.args)?;
    let session = Session::open(invocation)?;
    if history::get::is_asked(&session.flags) {
        return history::get::run(&session, request);
    }
    let client = session.timed_client()?;
    let answer = match session.flags.bool("stream") {
        true => session.run(client.range_collected(request))?,
        false => session.run(client.range(request))?,
    };
    if session.flags.bool("count-only") && session.format != Format::Fields {
        return Err(Failure::bad_args("--count-only is only for `--write-out=fields`"));
    }
    let value_only = session.flags.bool("print-value-only");
    if value_only && session.format != Format::Simple {
        return Err(Failure::bad_args("print-value-only is only for `--write-out=simple`"));
    }
    let display = Display { value_only, ..session.display() };
    display.print(&Answer::Get(&answer))
}

/// The request that flags and arguments make; also a line of a transaction.
pub(crate) fn request(flags: &Flags, args: &[Vec<u8>]) -> Result<RangeRequest, Failure> {
    let [key, rest @ ..] = args else {
        return Err(Failure::bad_args(
            "get command needs one argument as key and an optional argument as range_end",
        ));
    };
    refuse_both(flags, "prefix", "from-key")?;
    refuse_both(flags, "keys-only", "count-only")?;
    let serializable = serializable(flags)?;
    let (key, range_end) = range(flags, key, rest)?;
    let sort_order = order(flags.text("order"))?;
    let sort_target = target(flags.text("sort-by"))?;
    let (min_create, max_create) = (flags.int("min-create-rev"), flags.int("max-create-rev"));
    let (min_mod, max_mod) = (flags.int("min-mod-rev"), flags.int("max-mod-rev"));
    for (what, min, max) in [("Create", min_create, max_create), ("Mod", min_mod, max_mod)] {
        if max > 0 && min > max {
            return Err(Failure::bad_feature(format!(
                "getMin{what}Rev(={min}) > getMax{what}Rev(={max})"
            )));
        }
    }
    let mut request = RangeRequest {
        key,
        range_end,
        limit: flags.int("limit"),
        revision: flags.int("rev").max(0),
        sort_order: sort_order.into(),
        sort_target: sort_target.into(),
        serializable,
        keys_only: flags.bool("keys-only"),
        count_only: flags.bool("count-only"),
        min_mod_revision: min_mod.max(0),
        max_mod_revision: max_mod.max(0),
        min_create_revision: min_create.max(0),
        max_create_revision: max_create.max(0),
    };
    // Ascending keys are the order of the store: asking for it would make the member sort.
    if sort_order == SortOrder::Ascend && sort_target == SortTarget::Key {
        request.sort_order = SortOrder::None.into();
    }
    Ok(request)
}

/// Key and end of the range: with a prefix or from the key on, the empty key means all keys.
pub(crate) fn range(
    flags: &Flags,
    key: &[u8],
    rest: &[Vec<u8>],
) -> Result<(Bytes, Bytes), Failure> {
    let (prefix, from_key) = (flags.bool("prefix"), flags.bool("from-key"));
    if let Some(end) = rest.first() {
        if prefix || from_key {
            return Err(Failure::bad_args(
                "too many arguments, only accept one argument when `--prefix` or `--from-key` is \
                 set",
            ));
        }
        return Ok((key.to_vec().into(), end.clone().into()));
    }
    let everything = Bytes::from_static(&[0]);
    Ok(match (prefix || from_key, key.is_empty()) {
        (false, _) => (key.to_vec().into(), Bytes::new()),
        (true, true) => (everything.clone(), everything),
        (true, false) if prefix => (key.to_vec().into(), prefix_end(key)),
        (true, false) => (key.to_vec().into(), everything),
    })
}

/// Refuses two flags that exclude each other.
pub(crate) fn refuse_both(flags: &Flags, one: &str, other: &str) -> Outcome {
    if flags.bool(one) && flags.bool(other) {
        return Err(Failure::bad_args(format!(
            "`--{one}` and `--{other}` cannot be set at the same time, choose one"
        )));
    }
    Ok(())
}

/// The meaning of `--consistency`.
pub(crate) fn serializable(flags: &Flags) -> Result<bool, Failure> {
    match flags.text("consistency") {
        "s" => Ok(true),
        "l" => Ok(false),
        other => Err(Failure::bad_feature(format!("unknown consistency flag {}", quote(other)))),
    }
}

fn order(text: &str) -> Result<SortOrder, Failure> {
    Ok(match text.to_uppercase().as_str() {
        "ASCEND" => SortOrder::Ascend,
        "DESCEND" => SortOrder::Descend,
        "" => SortOrder::None,
        _ => return Err(Failure::bad_feature(format!("bad sort order {text}"))),
    })
}

fn target(text: &str) -> Result<SortTarget, Failure> {
    Ok(match text.to_uppercase().as_str() {
        "CREATE" => SortTarget::Create,
        "KEY" | "" => SortTarget::Key,
        "MODIFY" => SortTarget::Mod,
        "VALUE" => SortTarget::Value,
        "VERSION" => SortTarget::Version,
        _ => return Err(Failure::bad_feature(format!("bad sort target {text}"))),
    })
}
