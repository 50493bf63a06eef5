//! The methods that the generator calls, and their prepared request heads.

use http::{HeaderValue, Request, Version, header};

/// A gRPC method of etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// `KV.Put`
    Put,
    /// `KV.Range`
    Range,
    /// `KV.Txn`
    Txn,
    /// `Watch.Watch`, a stream both ways.
    Watch,
    /// `Lease.LeaseGrant`
    LeaseGrant,
    /// `Lease.LeaseKeepAlive`, a stream both ways.
    LeaseKeepAlive,
}

impl Method {
    /// All methods, in the order of their discriminants.
    const ALL: [Self; 6] =
        [Self::Put, Self::Range, Self::Txn, Self::Watch, Self::LeaseGrant, Self::LeaseKeepAlive];

    /// The `:path` of the method.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Put => "/etcdserverpb.KV/Put",
            Self::Range => "/etcdserverpb.KV/Range",
            Self::Txn => "/etcdserverpb.KV/Txn",
            Self::Watch => "/etcdserverpb.Watch/Watch",
            Self::LeaseGrant => "/etcdserverpb.Lease/LeaseGrant",
            Self::LeaseKeepAlive => "/etcdserverpb.Lease/LeaseKeepAlive",
        }
    }
}

/// Request heads for one authority, one per method: a call clones a head, it builds none.
#[derive(Debug)]
pub(crate) struct Heads([Request<()>; Method::ALL.len()]);

impl Heads {
    /// Heads of requests to `authority` (`host:port`).
    pub(crate) fn new(authority: &str) -> Result<Self, http::Error> {
        // Parsed once for its error; the same text cannot fail below.
        http::uri::Authority::try_from(authority).map_err(http::Error::from)?;
        Ok(Self(Method::ALL.map(|method| {
            let mut head = Request::new(());
            *head.method_mut() = http::Method::POST;
            *head.version_mut() = Version::HTTP_2;
            *head.uri_mut() = http::Uri::builder()
                .scheme("http")
                .authority(authority)
                .path_and_query(method.path())
                .build()
                .expect("the authority parsed and the path is a constant");
            let headers = head.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
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
        let heads = Heads::new("127.0.0.1:2379").expect("an authority");
        for method in Method::ALL {
            let head = heads.of(method);
            assert_eq!(head.uri().path(), method.path());
            assert_eq!(head.uri().authority().expect("set").as_str(), "127.0.0.1:2379");
        }
        assert!(Heads::new("not a host").is_err());
    }
}
