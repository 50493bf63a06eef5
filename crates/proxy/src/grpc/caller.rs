//! Who calls the proxy, and what they ask of every call.

use std::time::Duration;

use bytes::Bytes;
use client::client::Client;
use http::HeaderMap;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

/// The metadata of a call that reaches the cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    token: Option<MetadataValue<Ascii>>,
    pub(crate) requires_leader: bool,
}

impl Caller {
    /// Reads the metadata of a call.
    pub(crate) fn of(metadata: &MetadataMap) -> Caller {
        let requires_leader = metadata.get("hasleader").is_some_and(|value| value == "true");
        Caller { token: metadata.get("token").cloned(), requires_leader }
    }

    /// Nobody, who wants a leader.
    pub(crate) fn that_requires_leader() -> Caller {
        Caller { token: None, requires_leader: true }
    }

    /// The token as bytes: what one token may see, another may not.
    pub(crate) fn identity(&self) -> Bytes {
        self.token
            .as_ref()
            .map(|token| Bytes::copy_from_slice(token.as_bytes()))
            .unwrap_or_default()
    }

    /// A client that calls in the name of this caller.
    pub(crate) fn client(&self, client: &Client) -> Client {
        let mut own = client.clone();
        if let Some(token) = &self.token {
            own = own.with_token(token.clone());
        }
        if self.requires_leader {
            own = own.require_leader();
        }
        own
    }

    /// The same caller, whose watches and leases do without a leader.
    pub(crate) fn without_leader(&self) -> Caller {
        Caller { token: self.token.clone(), requires_leader: false }
    }
}

/// The `grpc-timeout` of a call: up to eight digits and a unit.
pub(crate) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.len() > 8 {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_in_every_unit() {
        let read = |text: &str| {
            timeout(&HeaderMap::from_iter([(
                "grpc-timeout".parse().unwrap(),
                text.parse().unwrap(),
            )]))
        };
        assert_eq!(read("2M"), Some(Duration::from_secs(120)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("S"), None);
        assert_eq!(read("123456789S"), None);
        assert_eq!(timeout(&HeaderMap::new()), None);
    }

    #[test]
    fn callers_are_told_apart_by_their_tokens() {
        let mut metadata = MetadataMap::new();
        assert_eq!(Caller::of(&metadata).identity(), "");
        metadata.insert("token", "a.1".parse().unwrap());
        metadata.insert("hasleader", "true".parse().unwrap());
        let caller = Caller::of(&metadata);
        assert_eq!(caller.identity(), "a.1");
        assert!(caller.requires_leader && !caller.without_leader().requires_leader);
    }
}
