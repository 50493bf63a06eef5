//! Command lines that are understood or refused before anything is asked of a cluster.

use super::*;
use crate::cli::Invocation;

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()
}

fn parse(line: &str) -> Result<Invocation, String> {
    let (path, rest) =
        cli::find(&ROOT, &words(line)).map_err(|unknown| usage::unknown(&ROOT, &unknown))?;
    cli::parse(path, &rest)
}

#[track_caller]
fn check(line: &str, path: &str, args: &[&str]) -> Invocation {
    let parsed = parse(line).unwrap();
    assert_eq!(cli::path_text(&parsed.path), path, "{line}");
    let found: Vec<_> = parsed.args.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
    assert_eq!(found, args, "{line}");
    parsed
}

#[test]
fn flags_stand_anywhere() {
    let parsed =
        check("--endpoints a:1,b:2 get k --prefix=true -wjson e", "etcdctl get", &["k", "e"]);
    assert_eq!(parsed.flags.list("endpoints"), ["a:1", "b:2"]);
    assert_eq!(parsed.flags.text("write-out"), "json");
    assert!(parsed.flags.bool("prefix") && !parsed.flags.bool("keys-only"));
    let parsed = check("member list --hex -w=table", "etcdctl member list", &[]);
    assert!(parsed.flags.bool("hex"));
    let parsed = check("watch -i --rev 5", "etcdctl watch", &[]);
    assert!(parsed.flags.bool("interactive"));
    assert_eq!(parsed.flags.int("rev"), 5);
    let parsed = check("--endpoints a --endpoints b,c get k", "etcdctl get", &["k"]);
    assert_eq!(parsed.flags.list("endpoints"), ["a", "b", "c"]);
    let parsed = check("put k -- -v --x", "etcdctl put", &["k", "-v", "--x"]);
    assert_eq!(parsed.before_dash, Some(1));
}

#[test]
fn names_may_be_cut_short_while_they_are_clear() {
    check("ge k", "etcdctl get", &["k"]);
    check("le time 12", "etcdctl lease timetolive", &["12"]);
    check("-d x snap sa f", "etcdctl snapshot save", &["f"]);
    // What is no name of a child is an argument of the parent.
    check("lease nope", "etcdctl lease", &["nope"]);
}

#[test]
fn what_is_refused_is_refused_in_cobras_words() {
    for (line, message) in [
        ("zzzzz", "unknown command \"zzzzz\" for \"etcdctl\""),
        ("gte", "unknown command \"gte\" for \"etcdctl\"\n\nDid you mean this?\n\tget\n"),
        (
            "e",
            "unknown command \"e\" for \"etcdctl\"\n\nDid you mean this?\n\tdel\n\telect\n\tendpoint\n\t\
             get\n",
        ),
        ("get --nope", "unknown flag: --nope"),
        ("get -x", "unknown shorthand flag: 'x' in -x"),
        ("get --limit", "flag needs an argument: --limit"),
        ("get -w", "flag needs an argument: 'w' in -w"),
        ("get ---x", "bad flag syntax: ---x"),
        (
            "get --limit=x",
            "invalid argument \"x\" for \"--limit\" flag: strconv.ParseInt: parsing \"x\": invalid \
             syntax",
        ),
        (
            "get --dial-timeout=5",
            "invalid argument \"5\" for \"--dial-timeout\" flag: time: missing unit in duration \
             \"5\"",
        ),
    ] {
        assert_eq!(parse(line).err().as_deref(), Some(message), "{line}");
    }
}

#[test]
fn failures_have_etcdctls_codes() {
    let code = |line: &str| run(&ROOT, &words(line)).err().map(|failure| failure.code);
    for (line, expected) in [
        ("nope", 1),
        ("get --nope", 1),
        ("completion", 1),
        ("completion tcsh", 1),
        ("compaction x", 1),
        ("get", 128),
        ("get a --prefix --from-key", 128),
        ("get a --cert=", 128),
        ("get a --cert=/nonexistent --key=/nonexistent", 128),
        ("get a --consistency=x", 4),
        ("get a --sort-by=x", 4),
        ("get a --write-out=x", 4),
        ("get a --max-recv-bytes=1 --max-request-bytes=2", 2),
        ("lease grant x", 128),
        ("member add n", 128),
        ("check perf --load=x", 4),
        ("elect e", 128),
        ("role grant-permission r nope k", 128),
        ("snapshot save", 128),
        ("snapshot save a --endpoints a:1,b:2", 5),
    ] {
        assert_eq!(code(line), Some(expected), "{line}");
    }
    for line in ["version", "options", "help", "help get", "help nope", "lease", "get --help"] {
        assert_eq!(code(line), None, "{line}");
    }
}

#[test]
fn help_has_cobras_shape() {
    let path = parse("endpoint hashkv").unwrap().path;
    let expected = "Shows a hash over the keys of members\n\n\
        Usage:\n  etcdctl endpoint hashkv [flags]\n\n\
        Flags:\n  -h, --help      help for hashkv\n      --rev int   last revision to hash (0: all)\n\n\
        Global Flags:\n      --cluster   go to all members of the cluster\n\
        Use \"etcdctl options\" for a list of global command-line options (applies to all \
        commands).\n";
    assert_eq!(usage::help(&path), expected);
}

#[test]
fn every_command_is_whole() {
    fn walk(command: &'static Command, above: &[&'static Command]) {
        let path = [above, &[command]].concat();
        let text = cli::path_text(&path);
        assert!(!command.short.is_empty(), "{text} has no description");
        let does_something = command.run.is_some() || command.forward.is_some();
        assert_eq!(does_something, command.children.is_empty(), "{text}");
        assert_eq!(command.group.is_some(), path.len() == 2, "{text} and its heading");
        // Defaults are read when a command is.
        let parsed = cli::parse(path.clone(), &[]).unwrap();
        assert!(!parsed.flags.bool("help"));
        usage::help(&path);
        command.children.iter().for_each(|child| walk(child, &path));
    }
    walk(&ROOT, &[]);
}

#[test]
fn completion_knows_commands_and_values() {
    for (shell, marks) in [
        ("bash", ["timetolive", "--endpoints", "DESCEND"]),
        ("zsh", ["timetolive", "--endpoints", "DESCEND"]),
        ("fish", ["timetolive", "-l endpoints", "DESCEND"]),
        ("powershell", ["timetolive", "--endpoints", "grant-permission"]),
    ] {
        let script = String::from_utf8(cli::completion::script(&ROOT, shell)).unwrap();
        for mark in marks {
            assert!(script.contains(mark), "{shell}: {mark}");
        }
    }
}
