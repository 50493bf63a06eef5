//! What of an HTTP request's headers a call gets to see, by the rules of grpc-gateway: its own
//! metadata without their prefix, the standard headers with one, the deadline.

use base64::{Engine as _, alphabet, engine::general_purpose as base64_engines};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tonic::Status;

/// Headers of HTTP itself that are passed on with a prefix.
const STANDARD: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-language",
    "accept-ranges",
    "authorization",
    "cache-control",
    "content-type",
    "cookie",
    "date",
    "expect",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-schedule-tag-match",
    "if-unmodified-since",
    "max-forwards",
    "origin",
    "pragma",
    "referer",
    "user-agent",
    "via",
    "warning",
];

/// The headers of the call that a request makes.
pub(super) fn metadata(request: &HeaderMap) -> Result<HeaderMap, Status> {
    let mut metadata = HeaderMap::new();
    metadata.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if let Some(timeout) = request.get("grpc-timeout").filter(|timeout| !timeout.is_empty()) {
        metadata.insert("grpc-timeout", checked_timeout(timeout)?);
    }
    for (name, value) in request {
        let name = name.as_str();
        if name == "authorization" {
            metadata.append(header::AUTHORIZATION, value.clone());
        }
        let passed = match name.strip_prefix("grpc-metadata-") {
            Some(own) => own.to_owned(),
            None if STANDARD.contains(&name) => format!("grpcgateway-{name}"),
            None => continue,
        };
        let Ok(passed) = HeaderName::try_from(passed) else { continue };
        if name.ends_with("-bin") {
            check_binary(name, value)?;
        } else if !value.as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte)) {
            continue;
        }
        // What belongs to the call itself is not for a client to say.
        if !["content-type", "te", "grpc-encoding", "grpc-timeout"].contains(&passed.as_str()) {
            metadata.append(passed, value.clone());
        }
    }
    Ok(metadata)
}

/// A number and a unit, or the error for anything else.
fn checked_timeout(value: &HeaderValue) -> Result<HeaderValue, Status> {
    let text = String::from_utf8_lossy(value.as_bytes());
    let fine = value.to_str().ok().and_then(|text| {
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        digits.parse::<i64>().ok()?;
        Some(["H", "M", "S", "m", "u", "n"].contains(&unit))
    });
    match fine {
        Some(true) => Ok(value.clone()),
        _ => Err(Status::invalid_argument(format!("invalid grpc-timeout: {text}"))),
    }
}

/// A binary header must be base64, for the call would not get through otherwise.
fn check_binary(name: &str, value: &HeaderValue) -> Result<(), Status> {
    let rules = base64_engines::GeneralPurposeConfig::new()
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent);
    let engine = base64_engines::GeneralPurpose::new(&alphabet::STANDARD, rules);
    match engine.decode(value.as_bytes()) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(Status::invalid_argument(format!("invalid binary header {name}: {error}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(headers: &[(&'static str, &'static str)]) -> Result<Vec<(String, String)>, String> {
        let mut request = HeaderMap::new();
        for (name, value) in headers {
            request.append(*name, HeaderValue::from_static(value));
        }
        let metadata = metadata(&request).map_err(|status| status.message().to_owned())?;
        let mut found: Vec<(String, String)> = metadata
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .filter(|(name, _)| name != "content-type")
            .collect();
        found.sort();
        Ok(found)
    }

    #[test]
    fn tokens_metadata_and_standard_headers_are_passed_on() {
        let pairs = |list: &[(&str, &str)]| {
            Ok(list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
        };
        assert_eq!(
            passed(&[("authorization", "t.1"), ("accept", "*/*"), ("x-other", "1")]),
            pairs(&[
                ("authorization", "t.1"),
                ("grpcgateway-accept", "*/*"),
                ("grpcgateway-authorization", "t.1"),
            ])
        );
        assert_eq!(
            passed(&[("grpc-metadata-hasleader", "true"), ("grpc-metadata-content-type", "x")]),
            pairs(&[("hasleader", "true")])
        );
        assert_eq!(passed(&[("grpc-timeout", "5S")]), pairs(&[("grpc-timeout", "5S")]));
        assert_eq!(passed(&[("grpc-timeout", "x")]), Err("invalid grpc-timeout: x".to_owned()));
        assert_eq!(passed(&[("grpc-timeout", "S")]), Err("invalid grpc-timeout: S".to_owned()));
        assert!(passed(&[("grpc-metadata-a-bin", "*")]).unwrap_err().starts_with("invalid binary"));
    }
}
