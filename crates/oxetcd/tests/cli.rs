//! The binary as a user calls it.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, Output},
};

/// The right to lock memory beyond the limit.
const CAP_IPC_LOCK: libc::c_ulong = 14;

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
fn memory_that_may_not_be_locked_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("d");
    let mut command = Command::new(env!("CARGO_BIN_EXE_oxetcd"));
    command.args(["--data-dir", data.to_str().unwrap(), "--memory-mlock"]);
    command.args(["--listen-client-urls=http://127.0.0.1:0", "--advertise-client-urls=http://a:1"]);
    command.args(["--listen-peer-urls=http://127.0.0.1:0"]);
    let limited = || {
        let limit = libc::rlimit { rlim_cur: 4096, rlim_max: 4096 };
        // SAFETY: system calls alone, which a child may make before it is another program. A process
        // that has no right to drop one has none to lock memory beyond the limit either.
        match unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) } {
            0 => unsafe {
                libc::prctl(libc::PR_CAPBSET_DROP, CAP_IPC_LOCK);
                Ok(())
            },
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: see there.
    let output = unsafe { command.pre_exec(limited) }.output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("failed to open database"), "{stderr}");
    assert!(stderr.contains("mlock error: cannot allocate memory: the store has"), "{stderr}");
    assert!(stderr.contains("RLIMIT_MEMLOCK"), "{stderr}");
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
