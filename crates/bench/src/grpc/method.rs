//! The methods that the generator calls, and their prepared request heads.

use http::{HeaderValue, Request, Version, header};

/// A gRPC method of etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// `KV.Put`
    Put,
    /// `KV.Range`
    Range,
    /// `KV.RangeStream`, a stream of answers.
    RangeStream,
    /// `KV.Compact`
    Compact,
    /// `Auth.Authenticate`
    Authenticate,
    /// `Maintenance.Snapshot`, a stream of answers.
    Snapshot,
    /// `Maintenance.Defragment`
    Defragment,
    /// `KV.Txn`
    Txn,
    /// `Watch.Watch`, a stream both ways.
    Watch,
    /// `Lease.LeaseGrant`
    LeaseGrant,
    /// `Lease.LeaseKeepAlive`, a stream both ways.
    LeaseKeepAlive,
    /// `Lease.LeaseTimeToLive`
    LeaseTimeToLive,
}

impl Method {
    /// All methods, in the order of their discriminants.
    const ALL: [Self; 12] = [
        Self::Put,
        Self::Range,
        Self::RangeStream,
        Self::Compact,
        Self::Authenticate,
        Self::Snapshot,
        Self::Defragment,
        Self::Txn,
        Self::Watch,
        Self::LeaseGrant,
        Self::LeaseKeepAlive,
        Self::LeaseTimeToLive,
    ];

    /// The `:path` of the method.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Put => "/etcdserverpb.KV/Put",
            Self::Range => "/etcdserverpb.KV/Range",
            Self::RangeStream => "/etcdserverpb.KV/RangeStream",
            Self::Compact => "/etcdserverpb.KV/Compact",
            Self::Authenticate => "/etcdserverpb.Auth/Authenticate",
            Self::Snapshot => "/etcdserverpb.Maintenance/Snapshot",
            Self::Defragment => "/etcdserverpb.Maintenance/Defragment",
            Self::Txn => "/etcdserverpb.KV/Txn",
            Self::Watch => "/etcdserverpb.Watch/Watch",
            Self::LeaseGrant => "/etcdserverpb.Lease/LeaseGrant",
            Self::LeaseKeepAlive => "/etcdserverpb.Lease/LeaseKeepAlive",
            Self::LeaseTimeToLive => "/etcdserverpb.Lease/LeaseTimeToLive",
        }
    }
}

/// Request heads for one authority, one per method: a call clones a head, it builds none.
#[derive(Debug)]
pub(crate) struct Heads([Request<()>; Method::ALL.len()]);

impl Heads {
    /// Heads of requests to `authority` (`host:port`), with the token of a user.
    pub(crate) fn new(
        scheme: &str,
        authority: &str,
        token: Option<&HeaderValue>,
    ) -> Result<Self, http::Error> {
        // Parsed once for its error; the same text cannot fail below.
        http::uri::Authority::try_from(authority).map_err(http::Error::from)?;
        Ok(Self(Method::ALL.map(|method| {
            let mut head = Request::new(());
            *head.method_mut() = http::Method::POST;
            *head.version_mut() = Version::HTTP_2;
            *head.uri_mut() = http::Uri::builder()
                .scheme(scheme)
                .authority(authority)
                .path_and_query(method.path())
                .build()
                .expect("the authority parsed and the path is a constant");
            let headers = head.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            if let Some(token) = token {
                headers.insert("token", token.clone());
            }
            head
        })))
    }

    /// A head for a call of `method`.
    pub(crate) fn of(&self, method: Method) -> Request<()> {
        self.0[method as usize].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_match_their_methods() {
        let token = HeaderValue::from_static("t.1");
        let heads = Heads::new("http", "127.0.0.1:2379", Some(&token)).expect("an authority");
        for method in Method::ALL {
            let head = heads.of(method);
            assert_eq!(head.uri().path(), method.path());
            assert_eq!(head.headers()["token"], "t.1");
            assert_eq!(head.uri().authority().expect("set").as_str(), "127.0.0.1:2379");
        }
        assert!(Heads::new("http", "not a host", None).is_err());
    }
}
