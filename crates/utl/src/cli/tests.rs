//! Command lines, and what is said of bad ones; the texts are those of etcdutl 3.7.1.

use std::ffi::OsString;

use super::*;

fn run(words: &[&str]) -> Result<String, Ended> {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    match cobra::parse(&root(), &words) {
        Ok(cobra::Parsed::Help(usage)) => Ok(usage),
        Ok(cobra::Parsed::Run(matches)) => execute(&matches),
        Err(wrong) => Err(Ended::Wrong(wrong)),
    }
}

#[track_caller]
fn output(words: &[&str]) -> String {
    match run(words) {
        Ok(output) => output,
        Err(Ended::Failed(failure)) => panic!("{failure}"),
        Err(Ended::Wrong(wrong)) => panic!("{wrong:?}"),
    }
}

/// The message of a bad command line, which is followed by its usage.
#[track_caller]
fn wrong(words: &[&str]) -> String {
    match run(words) {
        Err(Ended::Wrong(wrong)) => format!("{wrong:?}"),
        Err(Ended::Failed(failure)) => panic!("{failure}"),
        Ok(output) => panic!("{output}"),
    }
}

#[track_caller]
fn failure(words: &[&str]) -> (u8, String) {
    match run(words) {
        Err(Ended::Failed(failure)) => (failure.code, failure.message),
        Err(Ended::Wrong(wrong)) => panic!("{wrong:?}"),
        Ok(output) => panic!("{output}"),
    }
}

#[test]
fn version_is_that_of_etcd() {
    let expected = "etcdutl version: 3.7.1\nAPI version: 3.7\n";
    assert_eq!(output(&["version"]), expected);
    // Beginnings of names will do, and what is not needed is not looked at.
    assert_eq!(output(&["ver", "--timeout", "3s", "more", "-wjson"]), expected);
}

#[test]
fn help_is_that_of_cobra() {
    let hashkv = "\
Usage:
  etcdutl hashkv <filename> [flags]

Flags:
  -h, --help      help for hashkv
      --rev int   maximum revision to hash (default: latest revision)

Global Flags:
      --timeout duration   time to wait to obtain a file lock on db file, 0 to block indefinitely (default 10s)
  -w, --write-out string   set the output format (fields, json, protobuf, simple, table) (default \"simple\")
";
    for words in [&["hashkv", "-h"][..], &["help", "hashkv"], &["-w", "x", "hash", "--help"]] {
        assert_eq!(output(words), hashkv);
    }
    let snapshot = output(&["snapshot"]);
    assert!(snapshot.starts_with("Usage:\n  etcdutl snapshot [command]\n"), "{snapshot}");
    assert_eq!(output(&["sn", "whatever"]), snapshot);
    let root = output(&[]);
    assert!(root.contains("\n  help        Help about any command\n"), "{root}");
    assert_eq!(output(&["hel"]), root);
}

#[test]
fn bad_command_lines_get_cobras_words() {
    let cases: [(&[&str], &str); 14] = [
        (&["hashkv"], "accepts 1 arg(s), received 0"),
        (&["hashkv", "a", "b"], "accepts 1 arg(s), received 2"),
        (
            &["hashkv", "--rev", "x", "f"],
            "invalid argument \"x\" for \"--rev\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (&["hashkv", "--rev"], "flag needs an argument: --rev"),
        (&["-w"], "flag needs an argument: 'w' in -w"),
        (
            &["version", "--timeout", "3"],
            "invalid argument \"3\" for \"--timeout\" flag: time: missing unit in duration \"3\"",
        ),
        (&["version", "--timeout", "1x"], "time: unknown unit \"x\" in duration \"1x\""),
        (
            &["snapshot", "restore", "--bump-revision", "-5", "f"],
            "invalid argument \"-5\" for \"--bump-revision\" flag: strconv.ParseUint: parsing \"-5\": invalid syntax",
        ),
        (&["migrate", "--force=x"], "strconv.ParseBool: parsing \"x\": invalid syntax"),
        (&["--foo"], "unknown flag: --foo"),
        (&["-x"], "unknown shorthand flag: 'x' in -x"),
        (&["migrate"], "required flag(s) \"data-dir\", \"target-version\" not set"),
        (&["defrag"], "required flag(s) \"data-dir\" not set"),
        (&["completion", "tcsh"], "invalid argument \"tcsh\" for \"etcdutl completion\""),
    ];
    for (words, message) in cases {
        let told = wrong(words);
        // `{:?}` of a text escapes its quotes.
        let message = format!("{message:?}");
        assert!(told.contains(message.trim_matches('"')), "{words:?}: {told}");
        assert!(told.contains("Usage:"), "{words:?}: {told}");
    }
    let told = wrong(&["h"]);
    assert!(told.contains("unknown command \\\"h\\\" for") && told.contains("hashkv"), "{told}");
}

#[test]
fn failures_have_their_exit_codes() {
    let cases: [(&[&str], u8, &str); 7] = [
        (&["snapshot", "status"], 128, "snapshot status requires exactly one argument"),
        (&["snapshot", "restore"], 128, "snapshot restore requires exactly one argument"),
        (
            &["snapshot", "restore", "f", "--mark-compacted"],
            128,
            "--mark-compacted required if --revision-bump > 0",
        ),
        (&["snapshot", "status", "/no/f"], 1, "stat /no/f: no such file or directory"),
        (&["hashkv", "/no/f"], 1, "stat /no/f: no such file or directory"),
        (
            &["defrag", "--data-dir", "/no"],
            1,
            "Failed to defragment etcd data[/no] (stat /no/member/snap/db: no such file or directory)",
        ),
        (&["hashkv", "/no/f", "-w", "xml"], 4, "unsupported output format"),
    ];
    for (words, code, message) in cases {
        assert_eq!(failure(words), (code, message.to_owned()));
    }
}

#[test]
fn completions_are_scripts_of_their_shell() {
    for (shell, word) in [
        ("bash", "_etcdutl()"),
        ("zsh", "#compdef etcdutl"),
        ("fish", "complete -c etcdutl"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = output(&["completion", shell]);
        assert!(script.contains(word) && script.contains("skip-hash-check"), "{shell}");
    }
}
