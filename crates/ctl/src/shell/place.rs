//! Where the shell is: in which prefix, at which revision, of which cluster.

use crate::{
    decode::text,
    exit::{Failure, Outcome},
    printer::Format,
    tree::View,
};

use super::path::resolve;

/// What the verbs work with.
#[derive(Clone)]
pub(super) struct Place {
    /// The keyspace, at the revision that is looked at, and how answers look.
    pub(super) view: View,
    /// The prefix, empty or with `/` at its end.
    pub(super) at: Vec<u8>,
    /// The prefix before the last `cd`.
    pub(super) before: Vec<u8>,
    /// The output format of answers that are printed as etcdctl does.
    pub(super) format: Format,
    /// `--hex`.
    pub(super) hex: bool,
}

impl Place {
    /// The key or prefix that a word names.
    pub(super) fn resolve(&self, word: &[u8]) -> Vec<u8> {
        resolve(&self.at, word)
    }

    /// The key or prefix of an argument, or where the shell is.
    pub(super) fn argument(&self, args: &[Vec<u8>]) -> Result<Vec<u8>, Failure> {
        match args {
            [] => Ok(self.at.clone()),
            [word] => Ok(self.resolve(word)),
            _ => Err(Failure::bad_args("one prefix at most")),
        }
    }

    /// The prefix as it is shown.
    pub(super) fn shown(&self) -> String {
        match &self.at[..] {
            b"" => "(all keys)".to_owned(),
            at => text::key(at).into_owned(),
        }
    }

    /// The prompt, without colours.
    pub(super) fn prompt(&self) -> String {
        match self.view.keys.revision {
            0 => format!("etcd {}> ", self.shown()),
            revision => format!("etcd {} @{revision}> ", self.shown()),
        }
    }

    /// Nothing is written while the past is looked at.
    pub(super) fn writable(&self) -> Outcome {
        match self.view.keys.revision {
            0 => Ok(()),
            revision => Err(Failure::bad_args(format!(
                "this is revision {revision}, which cannot change: `rev now` comes back"
            ))),
        }
    }
}
