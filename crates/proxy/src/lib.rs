//! What stands between clients and a cluster: `etcd gateway` passes TCP connections on, `etcd
//! grpc-proxy` understands what it passes on and answers some of it itself.
//!
//! **Architecture invariant:** a client of etcd's API like any other; knows nothing of the
//! server's crates.

mod discover;
mod flags;
mod gateway;
mod grpc;
mod hosts;
mod program;

use std::{ffi::OsString, process::ExitCode};

/// Runs `etcd gateway` or `etcd grpc-proxy` with these arguments, that word first. Returns only
/// when it could not start, or cannot go on.
pub fn main(args: Vec<OsString>) -> ExitCode {
    program::run(&args)
}

/// Whether a first argument of `etcd` is one of the words that [`main`] takes.
pub fn is_command(word: &str) -> bool {
    program::PROGRAMS.iter().any(|program| program.name == word)
}

/// What is printed where etcd's own words for a failure are known: they are all of the message.
#[derive(Debug)]
pub(crate) enum Failure {
    /// To the standard output.
    Out(String),
    /// To the standard error.
    Err(String),
}

impl Failure {
    /// A failure that is told on the standard error.
    pub(crate) fn of(error: impl std::fmt::Display) -> Failure {
        Failure::Err(format!("{error}\n"))
    }
}

/// Tells systemd that connections are served.
pub(crate) fn tell_ready() {
    tracing::info!("notifying init daemon");
    match sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        Ok(()) => tracing::info!("successfully notified init daemon"),
        Err(error) => tracing::error!(%error, "failed to notify systemd for readiness"),
    }
}
