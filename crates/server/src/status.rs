//! The one map from failures to gRPC statuses.

use std::borrow::Cow;

use api::error::{Code, Error};
use apply::ApplyError;
use mvcc::ReadError;

use crate::driver::fatal;

/// Why a request failed, as its client will see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The gRPC code.
    pub(crate) code: Code,
    /// The exact text.
    pub(crate) message: Cow<'static, str>,
}

impl Failure {
    /// What etcd answers when a request's own deadline passed.
    pub(crate) const DEADLINE: Failure = Failure {
        code: Code::DeadlineExceeded,
        message: Cow::Borrowed("context deadline exceeded"),
    };
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { code: error.code(), message: error.message().into() }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Failure {
        match error {
            ReadError::Compacted => Error::Compacted.into(),
            ReadError::Future => Error::FutureRev.into(),
            ReadError::Storage(error) if error.is_damage() => Error::Corrupt.into(),
            // A member whose store cannot be read at all must not go on as if it could.
            ReadError::Storage(error) => fatal("failed to read the store", &error),
        }
    }
}

impl From<ApplyError> for Failure {
    fn from(error: ApplyError) -> Failure {
        Failure { code: error.code, message: error.message }
    }
}

impl From<Failure> for tonic::Status {
    fn from(failure: Failure) -> tonic::Status {
        tonic::Status::new(tonic::Code::from(failure.code as i32), failure.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_keeps_its_code_and_text() {
        for error in Error::ALL {
            let status = tonic::Status::from(Failure::from(*error));
            assert_eq!(status.code() as i32, error.code() as i32);
            assert_eq!(status.message(), error.message());
        }
    }
}
