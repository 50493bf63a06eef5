//! What can go wrong, in the words of 3.4's client, and how commands end by it.

/// How a command ended.
pub(crate) type Outcome = Result<(), Ended>;

/// A command that failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The exit code.
    pub(crate) code: u8,
    /// What goes to standard error, line ends included.
    pub(crate) message: String,
}

/// Exit codes with a meaning of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Code {
    /// Unusable arguments.
    BadArgs = 1,
    /// No member can be reached.
    BadConnection = 2,
    /// The cluster refused, or answered something unusable.
    Server = 4,
    /// `cluster-health` found a member that is not healthy.
    NotHealthy = 5,
}

impl Ended {
    /// Says `Error:  why`, and what each member answered.
    pub(super) fn error(code: Code, why: &Error) -> Ended {
        let mut message = format!("Error:  {why}\n");
        if let Error::Cluster(errors) = why {
            message += &format!("{}\n", details(errors));
        }
        Ended { code: code as u8, message }
    }

    /// Says that an argument is missing.
    pub(super) fn missing(what: &str) -> Ended {
        Ended { code: Code::BadArgs as u8, message: format!("Error:  {what}\n") }
    }

    /// Says a line, and ends with exit code 1.
    pub(super) fn line(line: impl std::fmt::Display) -> Ended {
        Ended { code: 1, message: format!("{line}\n") }
    }
}

/// Standard output failed: as when a pipe's reader goes, the tool ends quietly.
impl From<std::io::Error> for Ended {
    fn from(error: std::io::Error) -> Ended {
        match error.kind() {
            // What a shell reports of a process that SIGPIPE ended.
            std::io::ErrorKind::BrokenPipe => Ended { code: 141, message: String::new() },
            _ => Ended::line(format!("write to standard output: {error}")),
        }
    }
}

/// Why a request has no good answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// The command took too long.
    #[error("context deadline exceeded")]
    Deadline,
    /// A connection could not be opened, or broke.
    #[error("{0}")]
    Connection(String),
    /// A member did not begin to answer in time.
    #[error("exceeded header timeout")]
    HeaderTimeout,
    /// Anything else.
    #[error("{0}")]
    Other(String),
    /// No member gave a good answer.
    #[error("client: etcd cluster is unavailable or misconfigured{}", marked(.0))]
    Cluster(Vec<Error>),
    /// The members have told no client URL.
    #[error("client: no endpoints available")]
    NoEndpoints,
    /// A watch's answer came to its end without an event.
    #[error("client: response body is empty")]
    EmptyBody,
}

impl Error {
    pub(super) fn other(text: impl Into<String>) -> Error {
        Error::Other(text.into())
    }

    /// Whether nobody could be reached.
    pub(super) fn is_connection(&self) -> bool {
        match self {
            Error::Deadline | Error::Connection(_) => true,
            Error::Cluster(errors) => errors.iter().all(Error::is_connection),
            _ => false,
        }
    }
}

fn details(errors: &[Error]) -> String {
    errors.iter().zip(0..).map(|(error, at)| format!("error #{at}: {error}\n")).collect()
}

fn marked(errors: &[Error]) -> String {
    errors.iter().zip(0..).map(|(error, at)| format!("; error #{at}: {error}\n")).collect()
}

/// Why `body` is not the JSON that was expected, nearly as Go says it.
pub(super) fn json_error(body: &[u8], error: &serde_json::Error) -> String {
    let body = String::from_utf8_lossy(body);
    let first = body.trim_start_matches([' ', '\t', '\r', '\n']).chars().next();
    match first {
        None => "unexpected end of JSON input".to_owned(),
        Some(c) if !("{[\"-tfn".contains(c) || c.is_ascii_digit()) => {
            format!("invalid character '{c}' looking for beginning of value")
        }
        _ if error.is_eof() => "unexpected end of JSON input".to_owned(),
        _ => format!("json: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_members_are_listed() {
        let refused = Error::Connection("dial tcp a: refused".to_owned());
        let cluster = Error::Cluster(vec![refused.clone(), Error::other("no")]);
        let text = "client: etcd cluster is unavailable or misconfigured; error #0: dial tcp a: \
                    refused\n; error #1: no\n";
        assert_eq!(cluster.to_string(), text);
        let ended = Ended::error(Code::Server, &cluster);
        let details = "error #0: dial tcp a: refused\nerror #1: no\n\n";
        assert_eq!(ended, Ended { code: 4, message: format!("Error:  {text}\n{details}") });
        assert!(!cluster.is_connection() && Error::Cluster(vec![refused]).is_connection());
    }

    #[test]
    fn bodies_that_are_no_json() {
        for (body, text) in [
            ("", "unexpected end of JSON input"),
            (" page", "invalid character 'p' looking for beginning of value"),
            ("{", "unexpected end of JSON input"),
        ] {
            let error = serde_json::from_str::<serde_json::Value>(body).unwrap_err();
            assert_eq!(json_error(body.as_bytes(), &error), text);
        }
    }
}
