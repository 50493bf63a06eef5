//! The keyspace as a tree: `ls`, `tree` and `du`. etcd knows no directories; here keys are paths,
//! and `/` separates their parts.
//!
//! **Architecture invariant:** memory grows with what is shown of one level, not with the keys
//! below it.

pub(crate) mod children;
pub(crate) mod du;
pub(crate) mod keyspace;
pub(crate) mod ls;
pub(crate) mod walk;

use crate::{
    cli::Invocation, decode::paint::Screen, exit::Failure, printer::Format, session::Session,
};
use keyspace::Keyspace;

/// What reading verbs work with, as commands and in the shell.
#[derive(Clone)]
pub(crate) struct View {
    /// What they read.
    pub(crate) keys: Keyspace,
    /// How they write.
    pub(crate) look: Look,
}

/// How answers look.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    /// Where they go.
    pub(crate) screen: Screen,
    /// Lines of JSON instead of lines for people.
    pub(crate) json: bool,
}

impl View {
    /// The view of a command, at the revision of its `--rev` if it has one.
    pub(crate) fn open(session: &Session, revision: i64) -> Result<View, Failure> {
        let json = match session.format {
            Format::Simple => false,
            Format::Json => true,
            _ => {
                let format = session.flags.text("write-out");
                let text = format!("{format} not supported as output format");
                return Err(Failure::bad_feature(text));
            }
        };
        let client = session.client()?;
        let keys = Keyspace { client, timeout: session.timeout(), revision: revision.max(0) };
        Ok(View { keys, look: Look { screen: Screen::stdout(), json } })
    }
}

/// The only argument of a command, if it has one.
pub(crate) fn path_argument(invocation: &Invocation) -> Result<Option<&[u8]>, Failure> {
    match &invocation.args[..] {
        [] => Ok(None),
        [path] => Ok(Some(path)),
        _ => {
            let name = invocation.command().name();
            Err(Failure::bad_args(format!("{name} takes one prefix at most")))
        }
    }
}

/// No key has this path, or has it before a separator.
pub(crate) fn nothing_at(path: &[u8]) -> Failure {
    let path = crate::decode::text::key(path);
    Failure::new(crate::exit::Code::Error, format!("no keys at {path}"))
}

#[cfg(test)]
mod tests;
