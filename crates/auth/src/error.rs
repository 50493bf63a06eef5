//! Why a request about users and roles is refused, as its client sees it.

use api::error::Code;

/// A refusal. Most are rows of the table of [`api::error`]; a few of etcd's have no row there and
/// reach the client as Unknown, with the text that they have inside the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The gRPC code.
    pub code: Code,
    /// The text.
    pub message: &'static str,
}

impl Error {
    /// A password was given for a user that has none; also a hash that cannot be decoded.
    pub const NO_PASSWORD_USER: Error = Error {
        code: Code::Unknown,
        message: "auth: authentication failed, password was given for no password user",
    };

    /// Whether it is this one of the table.
    pub fn is(&self, error: api::error::Error) -> bool {
        *self == Error::from(error)
    }
}

impl From<api::error::Error> for Error {
    fn from(error: api::error::Error) -> Error {
        Error { code: error.code(), message: error.message() }
    }
}
