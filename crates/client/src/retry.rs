//! Which failed calls may be made again. Pure decisions; the loop is in [`crate::client`].
//!
//! etcd's rules: reads and calls that do no harm twice are repeated while the cluster is
//! unavailable; a write is repeated only when it surely was not applied. A request that never
//! left the client does not even come here: [`crate::channel`] sends it over another connection.

use std::time::Duration;

use rand::Rng;
use tonic::Code;

use crate::{channel::NOT_SENT, error::Error};

/// Attempts for one unary call.
pub(crate) const MAX_ATTEMPTS: usize = 100;
/// Pause after each round over a quorum of endpoints.
const PAUSE: Duration = Duration::from_millis(25);
/// Share by which a pause varies.
const JITTER: f64 = 0.1;

/// Whether a call may be applied twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Reads, and changes that are the same twice.
    Repeatable,
    /// Writes: at most once.
    Once,
}

/// What to do about a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Give the failure to the caller.
    Fail,
    /// Try again.
    Again,
    /// Fetch a new token, then try again.
    Authenticate,
}

/// What the decision depends on besides the failure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation {
    /// Whether the call may be applied twice.
    pub(crate) policy: Policy,
    /// The client has a name and password.
    pub(crate) has_password: bool,
    /// The client has a token that was signed elsewhere.
    pub(crate) has_token: bool,
    /// How many endpoints there are.
    pub(crate) endpoints: usize,
}

/// The rule for one failed attempt.
pub(crate) fn next(error: &Error, situation: Situation) -> Next {
    use api::error::Error as Etcd;
    if !situation.has_token {
        if error.is(Etcd::UserEmpty) && situation.has_password {
            return Next::Authenticate;
        }
        // The request was refused before anything was done. Without a password (identity from a
        // certificate) there is no token to fetch: the request alone is made again.
        if error.is(Etcd::InvalidAuthToken) || error.is(Etcd::AuthOldRevision) {
            return if situation.has_password { Next::Authenticate } else { Next::Again };
        }
    }
    // A learner refused; a voter may be among the others.
    if error.is(Etcd::NotSupportedForLearner) && situation.endpoints > 1 {
        return Next::Again;
    }
    if error.code() == Code::Unavailable && error.message() == NOT_SENT {
        return Next::Again;
    }
    match (situation.policy, error.code()) {
        // The deadline of the server, or of a proxy; the caller's own never comes here.
        (Policy::Repeatable, Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled) => {
            Next::Again
        }
        _ => Next::Fail,
    }
}

/// The pause before attempt number `attempt` (the first is 0).
pub(crate) fn pause(attempt: usize, endpoints: usize) -> Option<Duration> {
    let quorum = endpoints / 2 + 1;
    let due = attempt > 0 && attempt.is_multiple_of(quorum);
    due.then(|| jitter(PAUSE))
}

/// `duration` give or take a tenth.
pub(crate) fn jitter(duration: Duration) -> Duration {
    duration.mul_f64(1.0 + JITTER * rand::rng().random_range(-1.0..1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: Code, message: &str) -> Error {
        Error::Status { code, message: message.to_owned() }
    }

    fn situation(policy: Policy) -> Situation {
        Situation { policy, has_password: false, has_token: false, endpoints: 3 }
    }

    #[test]
    fn a_write_that_may_be_applied_is_never_repeated() {
        for (code, message) in [
            (Code::Unavailable, "error reading from server: EOF"),
            (Code::Unavailable, "etcdserver: leader changed"),
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::DeadlineExceeded, "context deadline exceeded"),
            (Code::Cancelled, "context canceled"),
            (Code::Unknown, "?"),
            (Code::Internal, "?"),
        ] {
            let error = status(code, message);
            assert_eq!(next(&error, situation(Policy::Once)), Next::Fail, "{error}");
        }
    }

    #[test]
    fn what_was_not_processed_is_sent_again() {
        let refused = status(Code::Unavailable, NOT_SENT);
        assert_eq!(next(&refused, situation(Policy::Once)), Next::Again);
    }

    #[test]
    fn reads_wait_out_unavailability_only() {
        let read = situation(Policy::Repeatable);
        let again = status(Code::Unavailable, "etcdserver: no leader");
        assert_eq!(next(&again, read), Next::Again);
        let compacted = api::error::Error::Compacted.message();
        assert_eq!(next(&status(Code::OutOfRange, compacted), read), Next::Fail);
        assert_eq!(next(&status(Code::Internal, "?"), read), Next::Fail);
    }

    #[test]
    fn refused_tokens_are_fetched_again_unless_signed_elsewhere() {
        let refused = status(Code::Unauthenticated, "etcdserver: invalid auth token");
        let write = situation(Policy::Once);
        let by_password = Situation { has_password: true, ..write };
        let by_token = Situation { has_token: true, ..write };
        assert_eq!(next(&refused, by_password), Next::Authenticate);
        assert_eq!(next(&refused, write), Next::Again);
        assert_eq!(next(&refused, by_token), Next::Fail);
        let empty = status(Code::InvalidArgument, "etcdserver: user name is empty");
        assert_eq!(next(&empty, by_password), Next::Authenticate);
        assert_eq!(next(&empty, write), Next::Fail);
    }

    #[test]
    fn a_learner_is_passed_over_when_there_are_others() {
        let learner = status(Code::FailedPrecondition, "etcdserver: rpc not supported for learner");
        assert_eq!(next(&learner, situation(Policy::Once)), Next::Again);
        let alone = Situation { endpoints: 1, ..situation(Policy::Once) };
        assert_eq!(next(&learner, alone), Next::Fail);
    }

    #[test]
    fn there_is_a_pause_after_each_round_over_a_quorum() {
        let pauses: Vec<_> = (0..7).map(|attempt| pause(attempt, 3).is_some()).collect();
        assert_eq!(pauses, [false, false, true, false, true, false, true]);
        assert!(pause(1, 1).is_some_and(|pause| pause < Duration::from_millis(28)));
    }
}
