//! How a call failed: the status that the server sent, or the connection under it.

use crate::grpc::frame::FrameError;
use http::HeaderMap;

/// The code under which failures are counted that are no answers of the server.
pub(crate) const TRANSPORT: &str = "Transport";

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// The server answered with a gRPC status other than OK.
    Status {
        /// gRPC code, 1 to 16.
        code: u32,
        /// The status message, decoded.
        text: String,
    },
    /// The connection or the protocol on it broke; the channel is of no further use.
    Transport(String),
}

impl Failure {
    /// The name under which failures of this kind are counted.
    pub(crate) fn code_name(&self) -> &'static str {
        match self {
            Self::Status { code, .. } => code_name(*code),
            Self::Transport(_) => TRANSPORT,
        }
    }

    /// The text under which failures of this kind are counted.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Status { text, .. } | Self::Transport(text) => text,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code_name(), self.text())
    }
}

impl std::error::Error for Failure {}

impl From<h2::Error> for Failure {
    fn from(error: h2::Error) -> Self {
        Self::Transport(error.to_string())
    }
}

impl From<FrameError> for Failure {
    fn from(error: FrameError) -> Self {
        Self::Transport(error.to_string())
    }
}

/// Reads `grpc-status` of trailers (or of headers, when the answer is trailers alone). `None` when
/// there is none.
pub(crate) fn of_headers(headers: &HeaderMap) -> Option<Result<(), Failure>> {
    let raw = headers.get("grpc-status")?;
    let code = raw.to_str().ok().and_then(|text| text.parse::<u32>().ok());
    Some(match code {
        Some(0) => Ok(()),
        Some(code) => {
            let text = headers.get("grpc-message").map(|value| percent_decode(value.as_bytes()));
            Err(Failure::Status { code, text: text.unwrap_or_default() })
        }
        None => Err(Failure::Transport(format!("grpc-status {raw:?}"))),
    })
}

/// Undoes the percent encoding of `grpc-message`; a malformed escape is kept as it is.
pub(crate) fn percent_decode(raw: &[u8]) -> String {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = tail.first_chunk::<2>().filter(|_| first == b'%').and_then(|pair| {
            let text = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(text, 16).ok()
        });
        match escaped {
            Some(byte) => {
                out.push(byte);
                rest = &tail[2..];
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// gRPC's name of a status code.
pub(crate) fn code_name(code: u32) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    NAMES.get(code as usize).copied().unwrap_or("UnknownCode")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(status: &'static str, message: Option<&'static str>) -> HeaderMap {
        let mut map = HeaderMap::new();
        map.insert("grpc-status", HeaderValue::from_static(status));
        if let Some(message) = message {
            map.insert("grpc-message", HeaderValue::from_static(message));
        }
        map
    }

    #[test]
    fn reads_status_and_message() {
        assert_eq!(of_headers(&HeaderMap::new()), None);
        assert_eq!(of_headers(&headers("0", None)), Some(Ok(())));
        let failure = of_headers(&headers("8", Some("etcdserver: too many%20requests")))
            .expect("status present")
            .expect_err("not OK");
        assert_eq!(failure.code_name(), "ResourceExhausted");
        assert_eq!(failure.text(), "etcdserver: too many requests");
        assert!(matches!(
            of_headers(&headers("x", None)),
            Some(Err(Failure::Transport(text))) if text.contains("grpc-status")
        ));
    }

    #[test]
    fn percent_decoding_keeps_what_is_malformed() {
        assert_eq!(percent_decode(b"a%41%e2%82%ac"), "aA\u{20ac}");
        assert_eq!(percent_decode(b"100%"), "100%");
        assert_eq!(percent_decode(b"%zz%4"), "%zz%4");
    }

    #[test]
    fn code_names_follow_grpc() {
        assert_eq!(code_name(0), "OK");
        assert_eq!(code_name(14), "Unavailable");
        assert_eq!(code_name(16), "Unauthenticated");
        assert_eq!(code_name(99), "UnknownCode");
    }
}
