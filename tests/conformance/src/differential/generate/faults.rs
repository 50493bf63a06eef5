//! Requests that must fail, each with its own error.

use api::etcdserverpb::{self as pb, request_op::Request};
use bytes::Bytes;
use rand::Rng;

use super::Generator;
use crate::differential::op::Op;

impl Generator {
    /// A request with one fault.
    pub(super) fn fault(&mut self) -> Op {
        match self.rng.random_range(0..60) {
            0..5 => self.without_key(),
            5..10 => Op::Txn(self.overlapping()),
            10..14 => Op::Txn(self.crowded()),
            14..17 => self.unknown_lease(),
            17..21 => self.ignoring(),
            21..24 => Op::Txn(success(vec![pb::RequestOp { request: None }])),
            // Large requests cost time: few of them.
            24 => self.large(1_573_500),
            25 => self.large(2_097_200),
            26 => self.large(1_570_000),
            27..33 => {
                let mut range = self.range(false);
                range.revision = self.extreme();
                Op::Range(range)
            }
            33..36 => {
                // Unknown orders are read by one version and refused by the next; the pair of
                // answers is a known difference.
                let mut range = self.range(false);
                range.sort_order = [3, -1, i32::MAX][self.rng.random_range(0..3)];
                Op::Range(range)
            }
            36..42 => Op::Txn(self.failing_inside()),
            42..48 => {
                let mut txn = self.txn();
                let mut compare = self.compare();
                compare.key = Bytes::new();
                txn.compare.push(compare);
                Op::Txn(txn)
            }
            _ => Op::LeaseRevoke(pb::LeaseRevokeRequest { id: self.extreme() }),
        }
    }

    fn without_key(&mut self) -> Op {
        match self.rng.random_range(0..4) {
            0 => Op::Put(pb::PutRequest { key: Bytes::new(), ..self.put() }),
            1 => {
                Op::DeleteRange(pb::DeleteRangeRequest { key: Bytes::new(), ..self.delete_range() })
            }
            2 => Op::Range(pb::RangeRequest { key: Bytes::new(), ..self.range(false) }),
            _ => {
                let put = pb::PutRequest { key: Bytes::new(), ..self.put() };
                Op::Txn(success(vec![op(Request::RequestPut(put))]))
            }
        }
    }

    /// Two changes of a key in one transaction.
    fn overlapping(&mut self) -> pb::TxnRequest {
        let put = op(Request::RequestPut(pb::PutRequest {
            key: self.key(),
            value: self.value(),
            ..Default::default()
        }));
        let Some(Request::RequestPut(inner)) = &put.request else { unreachable!("made above") };
        let delete = op(Request::RequestDeleteRange(pb::DeleteRangeRequest {
            key: inner.key.clone(),
            ..Default::default()
        }));
        let nested = op(Request::RequestTxn(success(vec![put.clone()])));
        let ops = match self.rng.random_range(0..5) {
            0 => vec![put.clone(), put],
            1 => vec![put, delete],
            2 => vec![delete, nested],
            3 => vec![nested.clone(), nested],
            _ => vec![nested, put],
        };
        if self.rng.random() {
            pb::TxnRequest { failure: ops, ..Default::default() }
        } else {
            success(ops)
        }
    }

    /// At the limit of 128 operations, and one beyond.
    fn crowded(&mut self) -> pb::TxnRequest {
        let count = self.rng.random_range(127..130);
        let range = || {
            op(Request::RequestRange(pb::RangeRequest {
                key: "a/001".into(),
                ..Default::default()
            }))
        };
        match self.rng.random_range(0..4) {
            0 => success((0..count).map(|_| range()).collect()),
            1 => pb::TxnRequest {
                failure: (0..count).map(|_| range()).collect(),
                ..Default::default()
            },
            2 => pb::TxnRequest {
                compare: (0..count).map(|_| self.compare()).collect(),
                ..Default::default()
            },
            _ => {
                let inner = success((0..count - 1).map(|_| range()).collect());
                success(vec![op(Request::RequestTxn(inner))])
            }
        }
    }

    fn unknown_lease(&mut self) -> Op {
        let lease = 4_242_424_242;
        Op::Put(pb::PutRequest { lease, ignore_lease: false, ..self.put() })
    }

    fn ignoring(&mut self) -> Op {
        let put = pb::PutRequest { key: self.key(), ..Default::default() };
        Op::Put(match self.rng.random_range(0..3) {
            0 => pb::PutRequest { ignore_value: true, value: "v".into(), ..put },
            1 => pb::PutRequest { ignore_lease: true, lease: self.extreme(), ..put },
            _ => {
                let key = format!("never/{}", self.rng.random_range(0..1000)).into();
                pb::PutRequest { ignore_value: true, ignore_lease: true, key, ..put }
            }
        })
    }

    /// A value of about so many bytes.
    fn large(&mut self, size: usize) -> Op {
        let key = self.key();
        Op::Put(pb::PutRequest { key, value: vec![b'L'; size].into(), ..Default::default() })
    }

    /// A transaction whose chosen branch cannot be executed: nothing of it may happen.
    fn failing_inside(&mut self) -> pb::TxnRequest {
        let mut txn = self.txn();
        let request = match self.rng.random_range(0..3) {
            0 => {
                let mut range = self.range(false);
                range.revision = self.revision + 1;
                Request::RequestRange(range)
            }
            1 => Request::RequestPut(pb::PutRequest {
                key: "unknown lease".into(),
                lease: 4_242_424_242,
                ..Default::default()
            }),
            _ => Request::RequestPut(pb::PutRequest {
                key: "never there".into(),
                ignore_value: true,
                ..Default::default()
            }),
        };
        // Both kinds of branch must be free of deletions up to the last key, as puts are in them.
        if super::deletes_to_the_end(&txn) {
            txn = pb::TxnRequest { compare: txn.compare, ..Default::default() };
        }
        txn.success.push(op(request.clone()));
        txn.failure.insert(0, op(request));
        txn
    }
}

fn op(request: Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

fn success(success: Vec<pb::RequestOp>) -> pb::TxnRequest {
    pb::TxnRequest { success, ..Default::default() }
}
