//! What can go wrong, in the words of Go's `crypto/tls` and `crypto/x509`, which stand in etcd's log.

use std::{io, path::Path};

use rustls::{AlertDescription, CertificateError, PeerIncompatible, pki_types::UnixTime};

/// A failure of the set-up or of a connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The options contradict each other or name something unknown; the text is etcd's.
    #[error("{0}")]
    Options(String),
    /// A file cannot be read, or holds something else.
    #[error("{0}")]
    File(String),
    /// The connection ended before the handshake did.
    #[error("EOF")]
    Closed,
    /// A handshake took too long, or its place was needed for another one.
    #[error("tls: handshake timed out")]
    HandshakeTimeout,
    /// A connection could not be opened in time.
    #[error("dial tcp {0}: i/o timeout")]
    DialTimeout(String),
    /// A connection could not be opened.
    #[error("dial tcp {address}: {reason}")]
    Dial {
        /// Where to.
        address: String,
        /// Why not.
        reason: String,
    },
    /// A client spoke TLS to a listener that does not.
    #[error("a TLS handshake on a listener without TLS")]
    TlsWithoutConfig,
    /// The handshake failed.
    #[error("{}", handshake_text(.0))]
    Handshake(rustls::Error),
    /// A client's certificate does not name the address that it connects from.
    #[error("{0}")]
    Address(String),
    /// The connection failed during the handshake.
    #[error("{}", io_text(.0))]
    Io(io::Error),
}

impl Error {
    /// Whether the other side just went away, which is not worth a warning.
    pub fn is_closed(&self) -> bool {
        matches!(self, Error::Closed)
    }

    /// A file that could not be read, as Go says it.
    pub(crate) fn reading(path: &Path, error: &io::Error) -> Error {
        let verb = if error.kind() == io::ErrorKind::IsADirectory { "read" } else { "open" };
        Error::File(format!("{verb} {}: {}", path.display(), io_text(error)))
    }

    /// The first byte is not that of a handshake.
    pub(crate) fn not_tls() -> Error {
        let reason = rustls::InvalidMessage::InvalidContentType;
        Error::Handshake(rustls::Error::InvalidMessage(reason))
    }

    /// What a handshake ended with.
    pub(crate) fn of_handshake(error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Error::Closed;
        }
        match error.downcast::<rustls::Error>() {
            Ok(error) => Error::Handshake(error),
            Err(error) => Error::Io(error),
        }
    }
}

/// Why a certificate that its chain allows is refused all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It is on the list of revoked ones; the serial number in hexadecimal.
    #[error("transport: certificate serial {0} revoked")]
    Revoked(String),
    /// Neither its common name nor its names are on the list of those allowed.
    #[error("client certificate authentication failed")]
    NotAllowed,
    /// Another reason from the verification of chains.
    #[error("x509: {0}")]
    Chain(String),
}

/// An operating system's error in the words that C and Go have for it.
pub(crate) fn io_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| {
        let second_is_upper = letters.as_str().starts_with(|letter: char| letter.is_uppercase());
        let first = if second_is_upper { first } else { first.to_ascii_lowercase() };
        format!("{first}{}", letters.as_str())
    })
}

fn handshake_text(error: &rustls::Error) -> String {
    match error {
        rustls::Error::NoCertificatesPresented => {
            "tls: client didn't provide a certificate".to_owned()
        }
        rustls::Error::InvalidCertificate(error) => certificate_text(error),
        rustls::Error::AlertReceived(alert) => {
            format!("remote error: tls: {}", alert_text(*alert))
        }
        rustls::Error::InvalidMessage(_) => {
            "tls: first record does not look like a TLS handshake".to_owned()
        }
        rustls::Error::PeerIncompatible(
            // Of a client that is as old the extension is missing first.
            PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => "tls: client offered only unsupported versions".to_owned(),
        rustls::Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
            "tls: no cipher suite supported by both client and server".to_owned()
        }
        other => format!("tls: {other}"),
    }
}

fn certificate_text(error: &CertificateError) -> String {
    const PREFIX: &str = "tls: failed to verify certificate: x509: ";
    let reason = match error {
        CertificateError::Other(other) => {
            return match other.0.downcast_ref::<Refusal>() {
                Some(refusal @ (Refusal::Revoked(_) | Refusal::NotAllowed)) => refusal.to_string(),
                Some(Refusal::Chain(text)) => format!("{PREFIX}{text}"),
                _ => format!("tls: failed to verify certificate: {}", other.0),
            };
        }
        CertificateError::BadSignature => {
            return "tls: invalid signature by the client certificate".to_owned();
        }
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
        CertificateError::Expired => "certificate has expired or is not yet valid".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => format!(
            "certificate has expired or is not yet valid: current time {} is after {}",
            utc(time),
            utc(not_after)
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "certificate has expired or is not yet valid: current time {} is before {}",
            utc(time),
            utc(not_before)
        ),
        CertificateError::InvalidPurposeContext { .. } | CertificateError::InvalidPurpose => {
            "certificate specifies an incompatible key usage".to_owned()
        }
        CertificateError::UnhandledCriticalExtension => "unhandled critical extension".to_owned(),
        CertificateError::BadEncoding => "malformed certificate".to_owned(),
        other => other.to_string(),
    };
    format!("{PREFIX}{reason}")
}

/// A time as Go shows it, in UTC.
fn utc(time: &UnixTime) -> String {
    let (days, second) = (time.as_secs() / 86_400, time.as_secs() % 86_400);
    // Years begin in March here, so that leap days come last; 719,468 days before 1970 began year 0.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let year = era * 400 + year + later;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Go's names of the alerts that a client answers with.
fn alert_text(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::BadCertificate => "bad certificate",
        AlertDescription::UnknownCA => "unknown certificate authority",
        AlertDescription::CertificateUnknown => "unknown certificate",
        AlertDescription::CertificateExpired => "expired certificate",
        AlertDescription::CertificateRevoked => "revoked certificate",
        AlertDescription::CertificateRequired => "certificate required",
        AlertDescription::UnsupportedCertificate => "unsupported certificate",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::HandshakeFailure => "handshake failure",
        AlertDescription::ProtocolVersion => "protocol version not supported",
        AlertDescription::NoApplicationProtocol => "no application protocol",
        AlertDescription::DecryptError => "error decrypting message",
        AlertDescription::InternalError => "internal error",
        other => return format!("{other:?}"),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_shown_as_in_go() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_609_459_200, "2021-01-01T00:00:00Z"),
            (1_795_285_839, "2026-11-21T18:30:39Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(&UnixTime::since_unix_epoch(Duration::from_secs(seconds))), text);
        }
    }

    #[test]
    fn clients_without_a_common_version_are_named_so() {
        let text = |why| handshake_text(&rustls::Error::PeerIncompatible(why));
        let unsupported = "tls: client offered only unsupported versions";
        assert_eq!(text(PeerIncompatible::Tls12NotOffered), unsupported);
        assert_eq!(text(PeerIncompatible::SignatureAlgorithmsExtensionRequired), unsupported);
    }
}
