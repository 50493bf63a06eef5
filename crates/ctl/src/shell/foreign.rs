//! Commands of etcdctl that are no verbs of the shell. They run in a process of their own, with the
//! flags that the shell was started with: what ends them, as a signal does, does not end the shell.

use std::{
    ffi::OsString,
    os::unix::{ffi::OsStringExt, process::CommandExt},
    path::PathBuf,
    process::Command,
};

use client::config::Credentials;

use super::output::Output;
use crate::{
    cli::{Invocation, flag::Kind},
    exit::{Code, Failure, Outcome},
    global::variable,
    session::Session,
};

/// How etcdctl is run again.
pub(super) struct Foreign {
    program: Option<PathBuf>,
    /// Flags that were given to the shell.
    flags: Vec<OsString>,
    /// The password that was asked for.
    password: Option<String>,
}

impl Foreign {
    /// With what the shell was called with.
    pub(super) fn new(invocation: &Invocation, session: &Session) -> Foreign {
        let given = invocation.flags.inherited().into_iter().filter(|(_, given)| *given);
        let flags = given.map(|(flag, _)| {
            let value = match flag.kind {
                Kind::List => invocation.flags.list(flag.name).join(","),
                _ => invocation.flags.shown(flag.name),
            };
            format!("--{}={value}", flag.name).into()
        });
        let asked =
            session.flags.text("password").is_empty() && !session.flags.text("user").contains(':');
        let password = match &session.spec.credentials {
            Some(Credentials::Password { password, .. }) if asked => Some(password.clone()),
            _ => None,
        };
        Foreign { program: std::env::current_exe().ok(), flags: flags.collect(), password }
    }

    /// Runs a command to its end.
    pub(super) fn run(&self, words: &[Vec<u8>], output: &mut Output) -> Outcome {
        let Some(program) = &self.program else {
            return Err(Failure::new(Code::Error, "the tool's own file is not known"));
        };
        let mut command = Command::new(program);
        command.arg0("etcdctl").args(&self.flags);
        command.args(words.iter().map(|word| OsString::from_vec(word.clone())));
        if let Some(password) = &self.password {
            command.env(variable("password"), password);
        }
        if let Some(input) = output.take() {
            command.stdout(input);
        }
        let status = command.status().map_err(|error| Failure::new(Code::Error, error))?;
        match status.code() {
            Some(0) => Ok(()),
            // It has told why.
            Some(code) => Err(Failure::silent(code.to_le_bytes()[0])),
            None => Err(Failure::silent(Code::Interrupted as u8)),
        }
    }
}
