//! `txn`: a transaction from standard input: comparisons, an empty line, requests for when they
//! hold, an empty line, requests for when they do not, an empty line.

use std::io::{BufRead, Write};

use api::etcdserverpb::{
    Compare, RequestOp, TxnRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
};
use client::kv;

use super::{del, get, put};
use crate::{
    cli::{
        self, Command, Group, Invocation,
        flag::{Flag, Kind},
    },
    exit::{Code, Failure, Outcome},
    gotext::{number, quote::quote, scan, words},
    printer::Answer,
    session::Session,
};

/// `txn`.
pub(crate) static COMMAND: Command = Command {
    usage: "txn [options]",
    short: "Runs several requests as one transaction",
    long: "Reads a transaction from standard input and runs it atomically. It has three parts,\n\
           each ended by an empty line:\n\
           1) comparisons,\n\
           2) requests to run when all comparisons hold,\n\
           3) requests to run when one does not.\n\n\
           A comparison is TARGET(\"key\") OP \"value\": TARGET is ver, create, mod, val or lease, \
           OP is\n=, !=, < or >. A request is a get, put or del command with its flags.\n\n\
           $ etcdctl txn <<< 'mod(\"key1\") > \"0\"\n\n\
           put key1 \"overwrote-key1\"\n\n\
           put key1 \"created-key1\"\n\n'",
    group: Some(Group::KeyValue),
    flags: &[Flag::new("interactive", Kind::Bool, "say what to type").short('i')],
    run: Some(run),
    ..Command::BASE
};

/// What a line of requests may hold.
static REQUESTS: Command =
    Command { children: &[&put::COMMAND, &get::COMMAND, &del::COMMAND], ..Command::BASE };

fn run(invocation: &Invocation) -> Outcome {
    if !invocation.args.is_empty() {
        return Err(Failure::bad_args("txn command does not accept argument"));
    }
    let session = Session::open(invocation)?;
    let client = session.client()?;
    let interactive = session.flags.bool("interactive");
    let prompt = |text: &str| -> Outcome {
        if interactive {
            writeln!(std::io::stdout(), "{text}")?;
        }
        Ok(())
    };
    let mut input = std::io::stdin().lock();
    prompt("compares:")?;
    let compare = part(&mut input, comparison)?;
    prompt("success requests (get, put, del):")?;
    let success = part(&mut input, request)?;
    prompt("failure requests (get, put, del):")?;
    let failure = part(&mut input, request)?;
    let answer = session.run(client.txn(TxnRequest { compare, success, failure }))?;
    session.print(&Answer::Txn(&answer))
}

/// Lines up to an empty one. The input must not end before it.
fn part<T>(
    input: &mut dyn BufRead,
    read: impl Fn(&[u8]) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut items = Vec::new();
    loop {
        let mut line = Vec::new();
        let failed = |error: std::io::Error| Failure::new(Code::InvalidInput, error);
        input.read_until(b'\n', &mut line).map_err(failed)?;
        if line.last() != Some(&b'\n') {
            return Err(Failure::new(Code::InvalidInput, "EOF"));
        }
        match line.trim_ascii() {
            b"" => return Ok(items),
            line => items.push(read(line)?),
        }
    }
}

/// One request.
fn request(line: &[u8]) -> Result<RequestOp, Failure> {
    let invalid = |text: String| Failure::new(Code::InvalidInput, text);
    let shown = String::from_utf8_lossy(line);
    let words = words::split(line).ok_or_else(|| invalid("invalid syntax".to_owned()))?;
    if words.len() < 2 {
        return Err(invalid(format!("invalid txn compare request: {shown}")));
    }
    let bad = || invalid(format!("invalid txn request: {shown}"));
    let (path, rest) = cli::find(&REQUESTS, &words).map_err(|_| bad())?;
    let parsed = cli::parse(path, &rest).map_err(|_| bad())?;
    if parsed.flags.bool("help") {
        return Err(bad());
    }
    Ok(match parsed.command().name() {
        "put" => kv::put_op(put::request(&parsed.flags, &parsed.args)?),
        "get" => kv::range_op(get::request(&parsed.flags, &parsed.args)?),
        "del" => kv::delete_op(del::request(&parsed.flags, &parsed.args)?),
        _ => return Err(bad()),
    })
}

/// One comparison.
fn comparison(line: &[u8]) -> Result<Compare, Failure> {
    let invalid = |text: String| Failure::new(Code::InvalidInput, text);
    let line = String::from_utf8_lossy(line);
    let Some((target, rest)) = line.split_once('(') else {
        return Err(invalid(format!("malformed comparison: {line}")));
    };
    let read = scan::comparison(rest);
    if !read.complete {
        let (key, op, value) = (quote(&read.key), &read.op, quote(&read.value));
        let got = format!("{target}({key}) {op} {value}");
        return Err(invalid(format!("malformed comparison: {line}; got {got}")));
    }
    let number = |base: u32| {
        number::parse_int(&String::from_utf8_lossy(&read.value), base)
            .map_err(|_| invalid(format!("invalid txn compare request: {line}")))
    };
    let (kind, value) = match target {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number(10)?)),
        "c" | "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number(10)?)),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number(10)?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(read.value.clone().into())),
        // In hex, as leases are written everywhere else; etcd's own tool fails on these.
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number(16)?)),
        _ => {
            let text = format!("malformed comparison: {line} (unknown target {target})");
            return Err(invalid(text));
        }
    };
    let result = match read.op.as_str() {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        op => return Err(invalid(format!("malformed comparison: {line} (unknown operator {op})"))),
    };
    Ok(Compare {
        result: result.into(),
        target: kind.into(),
        key: read.key.into(),
        range_end: bytes::Bytes::new(),
        target_union: Some(value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_are_read_or_refused() {
        let read = comparison(br#"val("k\n") != "a b""#).unwrap();
        assert_eq!(&read.key[..], b"k\n");
        assert_eq!(read.target_union, Some(TargetUnion::Value("a b".into())));
        assert_eq!(read.result(), CompareResult::NotEqual);
        let lease = comparison(br#"lease("k") = "1f""#).unwrap();
        assert_eq!(lease.target_union, Some(TargetUnion::Lease(31)));
        for (line, message) in [
            ("nothing", "malformed comparison: nothing"),
            ("mod(\"a\") = ", "malformed comparison: mod(\"a\") = ; got mod(\"a\") = \"\""),
            (
                "size(\"a\") = \"1\"",
                "malformed comparison: size(\"a\") = \"1\" (unknown target size)",
            ),
            ("mod(\"a\") = \"x\"", "invalid txn compare request: mod(\"a\") = \"x\""),
            ("mod(\"a\") ~ \"1\"", "malformed comparison: mod(\"a\") ~ \"1\" (unknown operator ~)"),
        ] {
            let failure = comparison(line.as_bytes()).unwrap_err();
            assert_eq!(failure, Failure::new(Code::InvalidInput, message));
        }
    }

    #[test]
    fn requests_are_commands() {
        let put = request(b"put 'a b' \"c\\n\" --lease=10").unwrap();
        let expected = api::etcdserverpb::PutRequest {
            key: "a b".into(),
            value: "c\n".into(),
            lease: 16,
            ..Default::default()
        };
        assert_eq!(put, kv::put_op(expected));
        for line in ["watch a", "get --endpoints=x a", "get --help a"] {
            let failure = request(line.as_bytes()).unwrap_err();
            let message = format!("invalid txn request: {line}");
            assert_eq!(failure, Failure::new(Code::InvalidInput, message));
        }
        assert_eq!(request(b"get").unwrap_err().code, 3);
    }

    #[test]
    fn a_part_ends_with_an_empty_line() {
        let mut input = &b"one\n two \n\nthree\n"[..];
        let read = |line: &[u8]| Ok(line.to_vec());
        assert_eq!(part(&mut input, read).unwrap(), [b"one", b"two"]);
        assert_eq!(part(&mut input, read).unwrap_err(), Failure::new(Code::InvalidInput, "EOF"));
    }
}
