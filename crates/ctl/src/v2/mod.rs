//! `ETCDCTL_API=2`: the command line of etcdctl 3.4 for the v2 store, which people's scripts still
//! call. It has flags, commands, output, errors and exit codes of its own, and speaks HTTP.
//!
//! What a script reads (standard output, standard error, exit codes) is that of etcdctl 3.4 to the
//! byte; descriptions in help pages are our own. `cargo xtask interop ctl-v2` compares them.
//!
//! Source: behaviour of etcdctl 3.4 (spec ctl.md section 5).

mod app;
mod auth;
mod cluster;
mod commands;
mod error;
mod flags;
mod help;
mod keys;
mod members;
mod settings;
mod tables;
mod transport;
mod url;

use std::{ffi::OsString, io::Write, os::unix::ffi::OsStringExt, process::ExitCode};

pub(crate) use error::{Ended, Outcome};

/// Runs the command line; the first of `args` is the program's name.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    let words: Vec<_> = args.into_iter().skip(1).map(OsString::into_vec).collect();
    match app::run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ended { code, message }) => {
            // Without standard error there is nobody to tell.
            let _ = std::io::stderr().write_all(message.as_bytes());
            ExitCode::from(code)
        }
    }
}

/// Writes a line to standard output.
fn say(line: impl AsRef<[u8]>) -> Outcome {
    print(&[line.as_ref(), b"\n"].concat())
}

/// Writes to standard output.
fn print(text: &[u8]) -> Outcome {
    let mut out = std::io::stdout();
    out.write_all(text)?;
    Ok(out.flush()?)
}
