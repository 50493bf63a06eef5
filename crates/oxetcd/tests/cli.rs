//! The binary as a user calls it.

use std::process::{Command, Output};

fn oxetcd(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_oxetcd")).args(args).output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

#[test]
fn version_has_the_four_lines_of_etcd() {
    let output = oxetcd(&["--version"]);
    let stdout = text(&output.stdout);
    let starts: Vec<_> = stdout.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(starts, ["etcd Version", "Git SHA", "Go Version", "Go OS/Arch"]);
    assert!(stdout.starts_with("etcd Version: 3.7.1\n"), "{stdout}");
    assert!(output.status.success());
}

#[test]
fn an_unknown_flag_ends_with_2() {
    let output = oxetcd(&["--no-such-flag"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("flag provided but not defined: -no-such-flag"), "{stderr}");
}

#[test]
fn what_is_not_built_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("d");
    let output = oxetcd(&["--data-dir", data.to_str().unwrap(), "--memory-mlock"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("memory-mlock") && stderr.contains("not built"), "{stderr}");
    assert!(!data.exists(), "a refused start leaves nothing behind");
}

#[test]
fn ctl_is_in_the_binary() {
    let output = oxetcd(&["ctl", "version"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "etcdctl version: 3.7.1\nAPI version: 3.7\n");
    let output = oxetcd(&["ctl", "get"]);
    assert_eq!(output.status.code(), Some(128));
    let usage = "get command needs one argument as key and an optional argument as range_end";
    assert_eq!(text(&output.stderr), format!("Error: {usage}\n"));
}

#[test]
fn utl_is_in_the_binary() {
    let output = oxetcd(&["utl", "version"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "etcdutl version: 3.7.1\nAPI version: 3.7\n");
    let output = oxetcd(&["utl", "snapshot", "status"]);
    assert_eq!(output.status.code(), Some(128));
    assert_eq!(text(&output.stderr), "Error: snapshot status requires exactly one argument\n");
}
