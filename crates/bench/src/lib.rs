//! `oxetcd bench`: a load generator for etcd and oxetcd that is light enough to share a small
//! machine with the server it loads.
//!
//! One thread; HTTP/2 by the `h2` crate with no gRPC stub on top ([`grpc`]); one task per client
//! ([`load`]); the verbs of etcd's benchmark tool ([`verbs`]); what each load cost the server
//! ([`probe`]); and comparisons of two servers in one run ([`compare`]).
//!
//! **Architecture invariant:** knows the server by its protocol, its `/metrics` and its `/proc`
//! entries alone, so real etcd is measured by the very same code. Of the workspace it uses `api`,
//! `tls` to connect and `priority` for its threads; only the verb `mvcc`, which measures the store
//! without a server, uses the store.

mod args;
mod compare;
mod grpc;
mod launch;
mod load;
mod plot;
mod probe;
mod progress;
mod report;
mod runtime;
mod single;
mod verbs;

use anyhow::{Context as _, Result, bail};
use args::{Cli, Command};
use clap::Parser as _;
use std::{ffi::OsString, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};

/// Runs the generator. `args` begins with the name it was called by, as `std::env::args_os` does.
///
/// Exit codes: 0 when the load ran to its end, even if the server refused some of it; 1 when it did
/// not run, lost its connections, or had no operation go well, or a comparison had such a run; 2 for
/// a command line that makes no sense.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help is an "error" too, with code 0. A closed pipe is no reason to complain.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let outcome = runtime::block_on(async {
        tokio::select! {
            outcome = run(cli.command) => outcome,
            error = interrupted() => error,
        }
    });
    match outcome.and_then(|outcome| outcome) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Verb(verb) => {
            let report = verbs::run(&verb).await?;
            report::emit(&report, &report::text::report(&report), verb.load().json.as_deref())?;
            let worked = report.outcome.ops > 0 && report.outcome.broken().is_none();
            Ok(if worked { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Mvcc(command) => verbs::mvcc::run(&command).map(|()| ExitCode::SUCCESS),
        Command::Plot(args) => plot::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Page(args) => plot::page::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Idle(args) => single::idle::run(&args).await.map(|()| ExitCode::SUCCESS),
        Command::Restart(args) => single::restart::run(&args).await.map(|()| ExitCode::SUCCESS),
        Command::Compare(args) => {
            let worked = compare::run(&args).await?;
            Ok(if worked { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// Returns when the process is told to end, so that what it started is ended in order.
async fn interrupted() -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => bail!("terminated"),
        _ = interrupt.recv() => bail!("interrupted"),
    }
}
