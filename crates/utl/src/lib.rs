//! The `etcdutl` command line: work on the files of a member that does not run.
//!
//! It reads and writes etcd's own files (`member/snap/db`, the log, `.snap`), so what it makes can be
//! started by etcd and by oxetcd; what works on a data dir in use by oxetcd also knows its store.
//! Nothing is written before the input has been read and checked as a whole.
//!
//! Source: etcdutl 3.7.1 (spec ctl.md section 4, storage.md section 9).

pub mod backup;
pub mod check;
mod cli;
mod console;
mod copy;
mod defrag;
mod exit;
mod file_store;
mod hashkv;
mod migrate;
mod open;
mod print;
mod progress;
pub mod rebuild;
pub mod snapshot;

use std::{ffi::OsString, process::ExitCode};

pub use exit::Failure;

/// Runs a command line; the first argument is the program's name.
pub fn main(args: Vec<OsString>) -> ExitCode {
    cli::run(args)
}
