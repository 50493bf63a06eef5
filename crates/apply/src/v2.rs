//! Entries as members of etcd up to 3.5 write them about the cluster: a request of the former v2
//! API, alone or inside of an `InternalRaftRequest`.
//!
//! Only two of them mean something to the membership: a member publishing itself and the version of
//! the cluster. Everything else is about v2 keys, which this release does not have.

use api::{etcdserverpb::InternalRaftRequest, membershippb};
use bytes::Bytes;
use membership::V2Put;
use prost::Message;

use crate::{Effect, Response, Shared, cluster, outcome::Traces};

/// What is read of a v2 request.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct V2Request {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    method: String,
    #[prost(string, tag = "3")]
    path: String,
    #[prost(string, tag = "4")]
    val: String,
}

/// The place of a v2 request in an `InternalRaftRequest`.
#[derive(Clone, PartialEq, Message)]
struct Wrapped {
    #[prost(message, optional, tag = "2")]
    v2: Option<V2Request>,
}

/// What the data of a normal entry is.
pub(crate) enum Data {
    /// A request of today.
    Request(Box<InternalRaftRequest>),
    /// A request of the v2 API.
    V2(V2Request),
}

/// Reads an entry, as etcd 3.5 does: what is no `InternalRaftRequest` is a v2 request. (The path of
/// one is never a valid `range`.) The error is that of the former.
pub(crate) fn read(data: &Bytes) -> Result<Data, prost::DecodeError> {
    match InternalRaftRequest::decode(data.clone()) {
        // Those of today have a header.
        Ok(request) if request.header.is_some() => Ok(Data::Request(Box::new(request))),
        Ok(request) => match Wrapped::decode(data.clone()) {
            Ok(Wrapped { v2: Some(v2) }) => Ok(Data::V2(v2)),
            _ => Ok(Data::Request(Box::new(request))),
        },
        Err(error) => match V2Request::decode(data.clone()) {
            Ok(v2) if !v2.method.is_empty() => Ok(Data::V2(v2)),
            _ => Err(error),
        },
    }
}

/// Carries out a v2 request, as far as it is about the cluster. Returns its id.
pub(crate) fn apply(shared: &Shared, request: V2Request, traces: &mut Traces) -> (u64, Response) {
    let put = (request.method == "PUT").then(|| V2Put::read(&request.path, &request.val)).flatten();
    let response = match put {
        Some(V2Put::Attributes { id, name, client_urls }) => {
            let attributes = membershippb::Attributes { name, client_urls };
            let set = membershippb::ClusterMemberAttrSetRequest {
                member_id: id.0,
                member_attributes: Some(attributes),
            };
            cluster::set_attributes(shared, set, traces)
        }
        Some(V2Put::Version(ver)) => {
            cluster::set_version(shared, &membershippb::ClusterVersionSetRequest { ver }, traces)
        }
        None => {
            traces.effects.push(Effect::UnknownRequest);
            Response::Empty
        }
    };
    (request.id, response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, path: &str) -> V2Request {
        V2Request { id: 7, method: method.into(), path: path.into(), val: "3.5.0".into() }
    }

    #[test]
    fn a_bare_v2_request_is_told_from_one_of_today() {
        let bare = request("PUT", "/0/version").encode_to_vec().into();
        assert!(matches!(read(&bare), Ok(Data::V2(v2)) if v2 == request("PUT", "/0/version")));
        let wrapped = Wrapped { v2: Some(request("SYNC", "")) }.encode_to_vec().into();
        assert!(matches!(read(&wrapped), Ok(Data::V2(v2)) if v2.method == "SYNC"));
        let today =
            InternalRaftRequest { put: Some(Default::default()), ..InternalRaftRequest::default() };
        let today = today.encode_to_vec().into();
        assert!(matches!(read(&today), Ok(Data::Request(_))));
        assert!(read(&Bytes::from_static(b"\xff\xff\xff")).is_err());
    }
}
