//! What a call says about who sends it: a token, or the certificate of its connection.

use std::sync::Arc;

use http::Extensions;
use tonic::{Request, metadata::MetadataMap};

/// The common name of the certificate that a connection's client proved to hold. The listener puts
/// it with every request of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommonName(pub(crate) Arc<str>);

/// The credentials of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The token, good or not.
    pub(super) token: Option<String>,
    /// The name in the client's certificate. Not that of the gateway: it calls for others.
    pub(super) common_name: Option<Arc<str>>,
}

impl Caller {
    /// The credentials of a request, and what it asks.
    pub(crate) fn split<T>(request: Request<T>) -> (Caller, T) {
        let (metadata, extensions, message) = request.into_parts();
        (Caller::new(&metadata, &extensions), message)
    }

    /// A `token`, else an `authorization`; the first value of it, with or without `Bearer`.
    pub(crate) fn new(metadata: &MetadataMap, extensions: &Extensions) -> Caller {
        let given = metadata.get("token").or_else(|| metadata.get("authorization"));
        let token = given.map(|value| {
            let text = String::from_utf8_lossy(value.as_encoded_bytes());
            text.strip_prefix("Bearer ").unwrap_or(&text).to_owned()
        });
        let through_gateway = metadata.contains_key("grpcgateway-accept");
        let named = extensions.get::<CommonName>().filter(|_| !through_gateway);
        Caller { token, common_name: named.map(|CommonName(name)| name.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(headers: &[(&'static str, &str)], name: Option<&str>) -> Caller {
        let mut request = Request::new(());
        for (key, value) in headers {
            request.metadata_mut().append(*key, value.parse().unwrap());
        }
        if let Some(name) = name {
            request.extensions_mut().insert(CommonName(name.into()));
        }
        Caller::split(request).0
    }

    #[test]
    fn the_token_is_the_first_of_two_headers() {
        assert_eq!(caller(&[], None), Caller::default());
        assert_eq!(caller(&[("token", "a.1")], None).token.unwrap(), "a.1");
        assert_eq!(caller(&[("authorization", "Bearer a.1")], None).token.unwrap(), "a.1");
        assert_eq!(caller(&[("authorization", "a.1")], None).token.unwrap(), "a.1");
        let both = caller(&[("authorization", "b"), ("token", "a"), ("token", "c")], None);
        assert_eq!(both.token.unwrap(), "a");
        assert_eq!(caller(&[("token", "")], None).token.unwrap(), "");
    }

    #[test]
    fn cve_2018_16886_the_gateways_certificate_is_not_its_callers() {
        assert_eq!(caller(&[], Some("alice")).common_name.as_deref(), Some("alice"));
        let relayed = caller(&[("grpcgateway-accept", "*/*")], Some("gateway"));
        assert_eq!(relayed.common_name, None);
    }
}
