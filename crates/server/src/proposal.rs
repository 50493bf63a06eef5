//! What is proposed to raft, and how it is encoded: as an `InternalRaftRequest`, without making one
//! where that costs something. One has room for every kind of request and is large to move about.

use api::etcdserverpb::{
    DeleteRangeRequest, InternalRaftRequest, PutRequest, RequestHeader, TxnRequest,
};
use prost::{Message, encoding::message};

/// The numbers of fields of `InternalRaftRequest`.
const PUT: u32 = 4;
const DELETE_RANGE: u32 = 5;
const TXN: u32 = 6;
const HEADER: u32 = 100;

/// A request for raft, without its header.
#[derive(Debug)]
pub(crate) enum Proposal {
    /// Sets a key.
    Put(PutRequest),
    /// Deletes keys.
    DeleteRange(DeleteRangeRequest),
    /// A transaction.
    Txn(TxnRequest),
    /// Anything else.
    Other(Box<InternalRaftRequest>),
}

impl From<InternalRaftRequest> for Proposal {
    fn from(request: InternalRaftRequest) -> Proposal {
        Proposal::Other(Box::new(request))
    }
}

impl Proposal {
    /// Whether it revokes a lease.
    pub(crate) fn revokes(&self) -> bool {
        matches!(self, Proposal::Other(request) if request.lease_revoke.is_some())
    }

    /// Encodes it with its header, unless that takes more than `bytes_max`.
    pub(crate) fn encode(self, header: RequestHeader, bytes_max: usize) -> Option<Vec<u8>> {
        match self {
            Proposal::Put(put) => encode(PUT, &put, &header, bytes_max),
            Proposal::DeleteRange(delete) => encode(DELETE_RANGE, &delete, &header, bytes_max),
            Proposal::Txn(txn) => encode(TXN, &txn, &header, bytes_max),
            Proposal::Other(mut request) => {
                request.header = Some(header);
                let size = request.encoded_len();
                (size <= bytes_max).then(|| request.encode_to_vec())
            }
        }
    }
}

fn encode(
    number: u32,
    request: &impl Message,
    header: &RequestHeader,
    bytes_max: usize,
) -> Option<Vec<u8>> {
    let size = message::encoded_len(number, request) + message::encoded_len(HEADER, header);
    if size > bytes_max {
        return None;
    }
    let mut data = Vec::with_capacity(size);
    message::encode(number, request, &mut data);
    message::encode(HEADER, header, &mut data);
    Some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposals_are_encoded_as_the_message_that_they_are() {
        let header = RequestHeader { id: 7 << 50, username: "who".into(), auth_revision: 3 };
        let put = PutRequest { key: "k".into(), value: "v".into(), lease: 5, ..Default::default() };
        let delete = DeleteRangeRequest { key: "k".into(), prev_kv: true, ..Default::default() };
        let txn = TxnRequest::default();
        let whole = InternalRaftRequest { header: Some(header.clone()), ..Default::default() };
        let pairs = [
            (Proposal::Put(put.clone()), InternalRaftRequest { put: Some(put), ..whole.clone() }),
            (
                Proposal::DeleteRange(delete.clone()),
                InternalRaftRequest { delete_range: Some(delete), ..whole.clone() },
            ),
            (Proposal::Txn(txn.clone()), InternalRaftRequest { txn: Some(txn), ..whole.clone() }),
            (Proposal::from(InternalRaftRequest::default()), whole),
        ];
        for (proposal, request) in pairs {
            let bytes = request.encode_to_vec();
            assert_eq!(proposal.encode(header.clone(), bytes.len()), Some(bytes));
        }
        let large = Proposal::Put(PutRequest { value: vec![0; 90].into(), ..Default::default() });
        assert_eq!(large.encode(header, 90), None);
    }
}
