//! Requests over few keys, made of the bytes of an input.

use api::{
    etcdserverpb::{
        CompactionRequest, Compare, DeleteRangeRequest, InternalRaftRequest, LeaseGrantRequest,
        LeaseRevokeRequest, PutRequest, RangeRequest, RequestHeader, RequestOp, TxnRequest,
        compare::TargetUnion, request_op,
    },
    range::prefix_end,
};
use arbitrary::Arbitrary;
use bytes::Bytes;
use model::Model;

#[derive(Arbitrary, Debug)]
pub(crate) enum Step {
    Request(Request),
    Flush,
    Compact(u8),
    Crash,
    Read(Range),
}

#[derive(Arbitrary, Debug)]
pub(crate) enum Request {
    Put(Put),
    Delete(Span, bool),
    Txn(Txn),
    Range(Range),
    Compact(i8),
    Grant(u8, i8),
    Revoke(u8),
}

#[derive(Arbitrary, Debug)]
pub(crate) struct Put {
    key: Key,
    value: Option<u8>,
    lease: u8,
    flags: u8,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
pub(crate) enum Key {
    A,
    Aa,
    Ab,
    B,
    BZero,
    BMax,
    Zero,
    Max,
}

#[derive(Arbitrary, Debug)]
pub(crate) struct Span(Key, End);

#[derive(Arbitrary, Debug)]
enum End {
    None,
    Prefix,
    Open,
    Key(Key),
}

#[derive(Arbitrary, Debug)]
pub(crate) struct Range {
    span: Span,
    limit: i8,
    /// From the current one.
    back: i8,
    order: u8,
    target: u8,
    flags: u8,
    bounds: Option<[i8; 4]>,
}

#[derive(Arbitrary, Debug)]
pub(crate) struct Txn {
    compare: Vec<Guard>,
    success: Vec<Op>,
    failure: Vec<Op>,
}

#[derive(Arbitrary, Debug)]
struct Guard {
    span: Span,
    result: i8,
    target: i8,
    union: u8,
    number: i8,
}

#[derive(Arbitrary, Debug)]
enum Op {
    Put(Put),
    Delete(Span, bool),
    Range(Range),
    Txn(Box<Txn>),
    Nothing,
}

impl Key {
    fn bytes(self) -> Bytes {
        Bytes::from_static(match self {
            Key::A => b"a",
            Key::Aa => b"aa",
            Key::Ab => b"ab",
            Key::B => b"b",
            Key::BZero => b"b\0",
            Key::BMax => b"b\xff",
            Key::Zero => b"\0",
            Key::Max => b"\xff\xff",
        })
    }
}

impl Span {
    fn bytes(&self) -> (Bytes, Bytes) {
        let start = self.0.bytes();
        let end = match &self.1 {
            End::None => Bytes::new(),
            End::Prefix => prefix_end(&start),
            End::Open => Bytes::from_static(b"\0"),
            End::Key(key) => key.bytes(),
        };
        (start, end)
    }
}

impl Put {
    fn request(&self) -> PutRequest {
        PutRequest {
            key: self.key.bytes(),
            value: self.value.map_or_else(Bytes::new, |byte| Bytes::copy_from_slice(&[byte])),
            lease: i64::from(self.lease % 4),
            prev_kv: self.flags & 1 != 0,
            ignore_value: self.flags & 2 != 0,
            ignore_lease: self.flags & 4 != 0,
        }
    }
}

impl Range {
    pub(crate) fn request(&self, model: &Model) -> RangeRequest {
        self.at(model.keys().revision())
    }

    fn at(&self, revision: i64) -> RangeRequest {
        let (key, range_end) = self.span.bytes();
        let back = i64::from(self.back);
        let bounds = self.bounds.unwrap_or_default().map(i64::from);
        RangeRequest {
            key,
            range_end,
            limit: self.limit.into(),
            revision: if back == 0 { 0 } else { revision - back },
            sort_order: i32::from(self.order % 3),
            sort_target: i32::from(self.target % 5),
            serializable: self.flags & 1 != 0,
            keys_only: self.flags & 2 != 0,
            count_only: self.flags & 4 != 0,
            min_mod_revision: bounds[0],
            max_mod_revision: bounds[1],
            min_create_revision: bounds[2],
            max_create_revision: bounds[3],
        }
    }
}

impl Guard {
    fn compare(&self) -> Compare {
        let (key, range_end) = self.span.bytes();
        let number = i64::from(self.number);
        let target_union = match self.union % 6 {
            0 => Some(TargetUnion::Version(number)),
            1 => Some(TargetUnion::CreateRevision(number)),
            2 => Some(TargetUnion::ModRevision(number)),
            3 => Some(TargetUnion::Value(Bytes::copy_from_slice(&[self.number as u8]))),
            4 => Some(TargetUnion::Lease(number)),
            _ => None,
        };
        let (result, target) = (self.result.into(), self.target.into());
        Compare { result, target, key, range_end, target_union }
    }
}

impl Txn {
    fn request(&self, revision: i64, depth: u32) -> TxnRequest {
        let ops = |ops: &[Op]| ops.iter().take(8).map(|op| op.request(revision, depth)).collect();
        TxnRequest {
            compare: self.compare.iter().take(4).map(Guard::compare).collect(),
            success: ops(&self.success),
            failure: ops(&self.failure),
        }
    }
}

impl Op {
    fn request(&self, revision: i64, depth: u32) -> RequestOp {
        use request_op::Request as Of;
        let request = match self {
            Op::Put(put) => Some(Of::RequestPut(put.request())),
            Op::Delete(span, prev_kv) => Some(Of::RequestDeleteRange(delete(span, *prev_kv))),
            Op::Range(range) => Some(Of::RequestRange(range.at(revision))),
            Op::Txn(txn) if depth < 3 => Some(Of::RequestTxn(txn.request(revision, depth + 1))),
            Op::Txn(_) | Op::Nothing => None,
        };
        RequestOp { request }
    }
}

fn delete(span: &Span, prev_kv: bool) -> DeleteRangeRequest {
    let (key, range_end) = span.bytes();
    DeleteRangeRequest { key, range_end, prev_kv }
}

/// A compaction.
pub(crate) fn compaction(revision: i64) -> InternalRaftRequest {
    let compaction = Some(CompactionRequest { revision, physical: false });
    InternalRaftRequest { compaction, ..InternalRaftRequest::default() }
}

impl Request {
    /// The request, if a service would let it pass.
    pub(crate) fn valid(&self, id: u64, revision: i64) -> Option<InternalRaftRequest> {
        use apply::validate;
        let header = Some(RequestHeader { id, ..RequestHeader::default() });
        let mut request = InternalRaftRequest { header, ..InternalRaftRequest::default() };
        match self {
            Request::Put(put) => {
                let put = put.request();
                validate::check_put(&put).ok()?;
                request.put = Some(put);
            }
            Request::Delete(span, prev_kv) => request.delete_range = Some(delete(span, *prev_kv)),
            Request::Txn(txn) => {
                let txn = txn.request(revision, 0);
                validate::check_txn(&txn, 128).ok()?;
                // Those are answered beside raft.
                if apply::txn::is_read_only(&txn) {
                    return None;
                }
                request.txn = Some(txn);
            }
            Request::Range(range) => {
                let range = range.at(revision);
                validate::check_range(&range).ok()?;
                request.range = Some(range);
            }
            Request::Compact(back) => {
                request.compaction = compaction(revision - i64::from(*back)).compaction;
            }
            Request::Grant(id, ttl) => {
                let (id, ttl) = (i64::from(id % 4) + 1, i64::from(*ttl));
                request.lease_grant = Some(LeaseGrantRequest { id, ttl });
            }
            Request::Revoke(id) => {
                request.lease_revoke = Some(LeaseRevokeRequest { id: i64::from(id % 4) + 1 });
            }
        }
        Some(request)
    }
}
