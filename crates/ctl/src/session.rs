//! What a command works with once its arguments are fine: flags with the environment applied, the
//! output format, a runtime, and clients.

use std::{io::Write, time::Duration};

use client::client::Client;
use tokio::runtime::{Builder, Runtime};

use crate::{
    cli::{Invocation, flag::Flags},
    exit::{Code, Failure, Outcome},
    global::{self, Spec},
    log,
    printer::{Answer, Format},
};

/// One command at work.
pub(crate) struct Session {
    /// The flags, with those that the environment sets.
    pub(crate) flags: Flags,
    /// What the flags say of the cluster.
    pub(crate) spec: Spec,
    /// The output format.
    pub(crate) format: Format,
    runtime: Runtime,
}

impl Session {
    /// Reads environment and flags. Fails as etcdctl does, in its order: environment, endpoints,
    /// TLS, credentials, output format.
    pub(crate) fn open(invocation: &Invocation) -> Result<Session, Failure> {
        Session::open_on(invocation, &mut Builder::new_current_thread())
    }

    /// The same, for a command that makes many calls at once.
    pub(crate) fn open_parallel(invocation: &Invocation) -> Result<Session, Failure> {
        Session::open_on(invocation, &mut Builder::new_multi_thread())
    }

    fn open_on(invocation: &Invocation, runtime: &mut Builder) -> Result<Session, Failure> {
        let mut flags = invocation.flags.clone();
        global::apply_environment(&mut flags, invocation.command().name() == "watch")?;
        let debug = flags.bool("debug");
        if debug {
            for (flag, _) in flags.inherited() {
                eprintln!("{}={}", global::variable(flag.name), flags.shown(flag.name));
            }
        }
        log::install(debug);
        let spec = Spec::from_flags(&flags)?;
        let format = Format::named(flags.text("write-out"))?;
        let runtime = runtime.enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(Code::Error, error))?;
        Ok(Session { flags, spec, format, runtime })
    }

    /// A client of the configured endpoints.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        self.client_of(&self.spec)
    }

    /// A client of one endpoint.
    pub(crate) fn client_at(&self, endpoint: &str) -> Result<Client, Failure> {
        self.client_of(&Spec { endpoints: vec![endpoint.to_owned()], ..self.spec.clone() })
    }

    /// A client for `spec`. Unusable settings and refused credentials have exit codes of their
    /// own.
    pub(crate) fn client_of(&self, spec: &Spec) -> Result<Client, Failure> {
        let config = spec.config()?;
        let client = self.runtime.block_on(Client::new(config));
        client.map_err(|error| Failure::new(Code::BadConnection, error))
    }

    /// A client whose calls end after `--command-timeout`.
    pub(crate) fn timed_client(&self) -> Result<Client, Failure> {
        Ok(self.client()?.with_timeout(self.timeout()))
    }

    /// `--command-timeout`.
    pub(crate) fn timeout(&self) -> Duration {
        self.flags.duration("command-timeout")
    }

    /// Runs `work` to its end.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// How answers are printed.
    pub(crate) fn display(&self) -> Display {
        Display { format: self.format, hex: self.flags.bool("hex"), value_only: false }
    }

    /// Prints an answer in the chosen format.
    pub(crate) fn print(&self, answer: &Answer<'_>) -> Outcome {
        self.display().print(answer)
    }
}

/// How answers are printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Display {
    /// The format.
    pub(crate) format: Format,
    /// `--hex`.
    pub(crate) hex: bool,
    /// The simple format leaves out keys.
    pub(crate) value_only: bool,
}

impl Display {
    /// Prints an answer.
    pub(crate) fn print(self, answer: &Answer<'_>) -> Outcome {
        let printer = self.format.printer(self.hex, self.value_only);
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        let outcome = printer.print(answer, &mut out);
        out.flush()?;
        outcome
    }
}

/// Prints a line to standard output.
pub(crate) fn say(line: impl std::fmt::Display) -> Outcome {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
