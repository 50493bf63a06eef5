//! How a command ends: exit codes, and what is said on standard error.

use client::error::Error;

/// How a command ended.
pub(crate) type Outcome = Result<(), Failure>;

/// Exit codes of etcdctl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// Any failure without a code of its own.
    Error = 1,
    /// No usable connection.
    BadConnection = 2,
    /// Unusable standard input of `txn` and `watch`.
    InvalidInput = 3,
    /// A known flag with a value that is not supported.
    BadFeature = 4,
    /// The command was stopped.
    Interrupted = 5,
    /// Unusable arguments.
    BadArgs = 128,
}

/// Why a command failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: u8,
    /// What follows `Error: `; nothing is said without it.
    pub(crate) message: Option<String>,
}

impl Failure {
    /// A failure with this code and message.
    pub(crate) fn new(code: Code, message: impl ToString) -> Failure {
        Failure { code: code as u8, message: Some(message.to_string()) }
    }

    /// A failure about which all was said.
    pub(crate) fn silent(code: u8) -> Failure {
        Failure { code, message: None }
    }

    /// Unusable arguments.
    pub(crate) fn bad_args(message: impl ToString) -> Failure {
        Failure::new(Code::BadArgs, message)
    }

    /// A value that is not supported.
    pub(crate) fn bad_feature(message: impl ToString) -> Failure {
        Failure::new(Code::BadFeature, message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(Code::Error, error)
    }
}

/// Standard output failed: as when a pipe's reader goes, the tool ends quietly.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        match error.kind() {
            // What a shell reports of a process that SIGPIPE ended.
            std::io::ErrorKind::BrokenPipe => Failure::silent(141),
            _ => Failure::new(Code::Error, format!("write to standard output: {error}")),
        }
    }
}
