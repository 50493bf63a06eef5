//! Transactions, up to three levels deep.

use api::etcdserverpb::{self as pb, compare::TargetUnion, request_op::Request};
use rand::Rng;

use super::Generator;

/// Levels below the outermost transaction.
const DEPTH: usize = 2;

impl Generator {
    /// A transaction.
    pub(super) fn txn(&mut self) -> pb::TxnRequest {
        // A deletion up to the last key is not seen to overlap a put of the same transaction. Both
        // changes of one key in one revision then make etcd lose a key at the next compaction, or
        // die when the put reuses the deleted value: no transaction has both.
        let puts = self.rng.random_bool(0.85);
        self.txn_level(DEPTH, puts)
    }

    fn txn_level(&mut self, depth: usize, puts: bool) -> pb::TxnRequest {
        let compares = self.rng.random_range(0..4);
        pb::TxnRequest {
            compare: (0..compares).map(|_| self.compare()).collect(),
            success: self.branch(depth, puts),
            failure: self.branch(depth, puts),
        }
    }

    fn branch(&mut self, depth: usize, puts: bool) -> Vec<pb::RequestOp> {
        let read_only = self.rng.random_bool(0.15);
        let count = if self.rng.random_bool(0.05) {
            self.rng.random_range(5..30)
        } else {
            self.rng.random_range(0..5)
        };
        (0..count).map(|_| self.operation(depth, puts, read_only)).collect()
    }

    fn operation(&mut self, depth: usize, puts: bool, read_only: bool) -> pb::RequestOp {
        let request = match self.rng.random_range(0..20) {
            _ if read_only => Request::RequestRange(self.txn_range()),
            0..5 => Request::RequestRange(self.txn_range()),
            5..8 => Request::RequestDeleteRange(self.txn_delete(puts)),
            8..10 if depth > 0 => Request::RequestTxn(self.txn_level(depth - 1, puts)),
            _ if puts => Request::RequestPut(self.put()),
            _ => Request::RequestDeleteRange(self.txn_delete(puts)),
        };
        pb::RequestOp { request: Some(request) }
    }

    fn txn_range(&mut self) -> pb::RangeRequest {
        let mut range = self.range(self.options.same_version);
        // One range that cannot be read fails the whole transaction: let most succeed.
        if self.rng.random_bool(0.85) {
            range.revision = 0;
        }
        range
    }

    fn txn_delete(&mut self, puts: bool) -> pb::DeleteRangeRequest {
        let prev_kv = self.rng.random_bool(0.3);
        let (key, range_end) = match self.rng.random_range(0..10) {
            0..2 => self.bounded_range(),
            2 if !puts => self.key_range(),
            _ => (self.key(), Default::default()),
        };
        pb::DeleteRangeRequest { key, range_end, prev_kv }
    }

    /// A compare with any target and result; the value may be of another target, or missing.
    pub(super) fn compare(&mut self) -> pb::Compare {
        let (key, range_end) = if self.rng.random_bool(0.15) {
            self.key_range()
        } else {
            (self.key(), Default::default())
        };
        let target = self.any_enum(5);
        let kind = if self.rng.random_bool(0.95) { target } else { self.rng.random_range(0..5) };
        let target_union = match kind {
            0 => Some(TargetUnion::Version(self.version())),
            1 => Some(TargetUnion::CreateRevision(self.near_revision())),
            2 => Some(TargetUnion::ModRevision(self.near_revision())),
            3 => Some(TargetUnion::Value(self.value())),
            4 => Some(TargetUnion::Lease(self.some_lease())),
            _ => None,
        };
        let target_union = target_union.filter(|_| self.rng.random_bool(0.96));
        pb::Compare { result: self.any_enum(4), target, key, range_end, target_union }
    }

    fn version(&mut self) -> i64 {
        match self.rng.random_range(0..10) {
            0 => self.extreme(),
            1..4 => 0,
            _ => self.rng.random_range(1..6),
        }
    }
}
