//! What can go wrong with a call, and how etcd's clients say it.

use tonic::{Code, Status};

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A status, from the server or made where the connection failed.
    Status {
        /// The gRPC code.
        code: Code,
        /// The text.
        message: String,
    },
    /// The deadline of the call passed; with why no connection was ready, if none was.
    DeadlineExceeded {
        /// What the last attempt to connect failed with.
        connecting: Option<String>,
    },
    /// The caller or the end of the client stopped the call.
    Canceled,
    /// A client without endpoints.
    NoEndpoints,
    /// A client whose settings contradict each other or cannot be used.
    Config(String),
    /// A watch that the server did not make, in the server's words.
    Refused(String),
    /// A recipe (session, lock, election, mirror) could not go on.
    Recipe(&'static str),
}

impl Error {
    /// The gRPC code of the failure.
    pub fn code(&self) -> Code {
        match self {
            Error::Status { code, .. } => *code,
            Error::DeadlineExceeded { .. } => Code::DeadlineExceeded,
            Error::Canceled => Code::Cancelled,
            Error::NoEndpoints | Error::Config(_) | Error::Refused(_) | Error::Recipe(_) => {
                Code::Unknown
            }
        }
    }

    /// The status's text, without the frame that [`Display`](std::fmt::Display) may add.
    pub fn message(&self) -> String {
        match self {
            Error::Status { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }

    /// Whether this is `error` of the table of client-visible errors. As etcd's clients do, only
    /// the text is compared.
    pub fn is(&self, error: api::error::Error) -> bool {
        matches!(self, Error::Status { message, .. } if message == error.message())
    }

    /// The error of the table that this is, if any.
    pub fn etcd(&self) -> Option<api::error::Error> {
        api::error::Error::ALL.iter().copied().find(|error| self.is(*error))
    }

    /// How a gRPC library writes the failure: code and text.
    pub fn rpc_text(&self) -> String {
        format!("rpc error: code = {} desc = {}", code_name(self.code()), self.message())
    }
}

impl std::fmt::Display for Error {
    /// As etcd's clients print it: the text alone for errors of etcd's table, the end of the
    /// call's context in Go's words, any other status framed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Status { message, .. } if self.etcd().is_some() => f.write_str(message),
            Error::Status { .. } => f.write_str(&self.rpc_text()),
            Error::DeadlineExceeded { .. } => f.write_str("context deadline exceeded"),
            Error::Canceled => f.write_str("context canceled"),
            Error::NoEndpoints => f.write_str("etcdclient: no available endpoints"),
            Error::Config(text) | Error::Refused(text) => f.write_str(text),
            Error::Recipe(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

impl From<Status> for Error {
    fn from(status: Status) -> Error {
        Error::Status { code: status.code(), message: status.message().to_owned() }
    }
}

/// A code's name as gRPC's Go library writes it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_texts_stand_alone_and_others_are_framed() {
        let known = Error::from(Status::invalid_argument("etcdserver: key is not provided"));
        assert_eq!(known.to_string(), "etcdserver: key is not provided");
        assert!(known.is(api::error::Error::EmptyKey));
        let unknown = Error::from(Status::unknown("auth: no"));
        assert_eq!(unknown.to_string(), "rpc error: code = Unknown desc = auth: no");
        assert_eq!(unknown.etcd(), None);
        let late = Error::DeadlineExceeded { connecting: None };
        assert_eq!(late.to_string(), "context deadline exceeded");
    }
}
