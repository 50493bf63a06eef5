//! Draws the steps of a run: mostly sound requests over few keys, so that they meet each other,
//! and a steady part of absurd ones.
//!
//! The generator knows what a client knows: the revision of the last answer, the leases it was
//! granted, the revisions it compacted. It steers clear of what a real etcd leaves to chance or
//! dies of, each with a comment where it does.

mod faults;
mod kv;
mod lease;
mod pool;
mod txn;
mod watch;

use std::collections::{BTreeSet, VecDeque};

use api::etcdserverpb as pb;
use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::op::{Answer, Op};

/// What the pair of servers allows.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Both servers report one version, so requests that versions treat differently may change
    /// the store too.
    pub same_version: bool,
}

/// Draws steps. See the module.
pub struct Generator {
    rng: StdRng,
    options: Options,
    /// Steps that must come next.
    queue: VecDeque<Op>,
    keys: Vec<Bytes>,
    revision: i64,
    /// Revisions that were compacted at, oldest first.
    compactions: Vec<i64>,
    /// No compaction is under way.
    settled: bool,
    leases: BTreeSet<i64>,
    /// Revisions at which the store may have held no key.
    bare: BTreeSet<i64>,
    counter: u64,
}

/// A key that is put again after every deletion that may have left nothing.
const ANCHOR: &str = "!anchor";

/// Every kind of step with its weight.
const WEIGHTS: &[(Kind, u32)] = &[
    (Kind::Put, 270),
    (Kind::Range, 280),
    (Kind::RangeStream, 20),
    (Kind::Delete, 60),
    (Kind::Txn, 200),
    (Kind::Lease, 70),
    (Kind::Fault, 40),
    (Kind::Compact, 8),
    (Kind::Hash, 5),
    (Kind::Replay, 5),
    (Kind::Standing, 8),
    (Kind::Gather, 6),
    (Kind::Look, 8),
];

/// A kind of step.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Put,
    Range,
    RangeStream,
    Delete,
    Txn,
    Lease,
    Fault,
    Compact,
    Hash,
    Replay,
    Standing,
    Gather,
    Look,
}

impl Generator {
    /// A generator whose steps depend on the seed and the answers alone.
    pub fn new(seed: u64, options: Options) -> Generator {
        let mut rng = StdRng::seed_from_u64(seed);
        let keys = pool::keys(&mut rng);
        let mut generator = Generator {
            rng,
            options,
            queue: VecDeque::new(),
            keys,
            revision: 1,
            compactions: Vec::new(),
            settled: true,
            leases: BTreeSet::new(),
            bare: BTreeSet::from([1]),
            counter: 0,
        };
        generator.queue_anchor();
        generator
    }

    /// The next step.
    pub fn next_op(&mut self) -> Op {
        if let Some(op) = self.queue.pop_front() {
            return op;
        }
        let (kind, _) = WEIGHTS
            .choose_weighted(&mut self.rng, |(_, weight)| *weight)
            .expect("the weights are positive");
        match kind {
            Kind::Put => Op::Put(self.put()),
            Kind::Range => Op::Range(self.range(self.options.same_version)),
            Kind::RangeStream => Op::RangeStream(self.streamed_range()),
            Kind::Delete => Op::DeleteRange(self.delete_range()),
            Kind::Txn => Op::Txn(self.txn()),
            Kind::Lease => self.lease(),
            Kind::Fault => self.fault(),
            Kind::Compact => self.compact(),
            Kind::Hash => self.hash(),
            Kind::Replay => Op::Replay(self.replay()),
            Kind::Standing => self.standing(),
            Kind::Gather => Op::Gather,
            Kind::Look => self.look(),
        }
    }

    /// Learns from an answer.
    pub fn observe(&mut self, op: &Op, answer: &Answer) {
        if let Some(revision) = answer.revision() {
            self.revision = self.revision.max(revision);
        }
        match (op, answer) {
            (Op::LeaseGrant(request), Answer::LeaseGrant(_)) => {
                self.leases.insert(request.id);
            }
            (Op::LeaseRevoke(request), Answer::LeaseRevoke(_)) => {
                self.leases.remove(&request.id);
            }
            (Op::Compact(request), answer) => {
                if matches!(answer, Answer::Compact(_)) {
                    self.compactions.push(request.revision);
                    self.settled = request.physical;
                } else if request.physical {
                    self.settled = true;
                }
            }
            (Op::DeleteRange(request), _) if open_ended(&request.range_end) => self.bared(),
            (Op::Txn(request), _) if deletes_to_the_end(request) => self.bared(),
            _ => {}
        }
    }

    /// The store may be empty at this revision. A hash of nothing depends on how far a compaction
    /// is: remember not to ask for it, and end that state.
    fn bared(&mut self) {
        self.bare.insert(self.revision);
        self.queue_anchor();
    }

    fn queue_anchor(&mut self) {
        let value = self.value();
        let put = pb::PutRequest { key: ANCHOR.into(), value, ..Default::default() };
        self.queue.push_back(Op::Put(put));
    }

    /// The revision below which nothing can be read.
    fn compact_revision(&self) -> i64 {
        self.compactions.last().copied().unwrap_or(0)
    }

    /// A compaction, after everything that it could disturb is looked at.
    fn compact(&mut self) -> Op {
        let physical = self.rng.random_bool(0.5);
        let back = self.rng.random_range(0..150);
        let revision = match self.rng.random_range(0..10) {
            0 => self.compact_revision() - self.rng.random_range(0..3),
            1 => self.revision + self.rng.random_range(1..4),
            2 => *[0, -1, i64::MIN, i64::MAX].choose(&mut self.rng).expect("not empty"),
            3 => self.revision,
            _ => (self.revision - back).max(self.compact_revision() + 1).min(self.revision),
        };
        let op = Op::Compact(pb::CompactionRequest { revision, physical });
        // A previous value is looked up when an event is sent, and is gone after the compaction:
        // standing watchers must have their events before.
        self.queue.push_back(op);
        if self.settled {
            return Op::Gather;
        }
        self.queue.push_front(self.settle());
        Op::Gather
    }

    /// A compaction that fails, but waits for the ones before it.
    fn settle(&self) -> Op {
        let revision = self.compact_revision();
        Op::Compact(pb::CompactionRequest { revision, physical: true })
    }

    /// A hash. Whether the hash at an old compaction's revision is still known depends on whether
    /// the compaction is done, so it must be.
    fn hash(&mut self) -> Op {
        let span = (self.revision - self.compact_revision()).max(1);
        let revision = match self.rng.random_range(0..10) {
            0 => self.revision + self.rng.random_range(1..3),
            1 => self.compact_revision() - 1,
            2 => -self.rng.random_range(1..5),
            3 => *self.compactions.choose(&mut self.rng).unwrap_or(&0),
            4 => self.compactions.iter().rev().nth(self.rng.random_range(0..13)).map_or(1, |r| *r),
            5 | 6 => 0,
            _ => self.revision - self.rng.random_range(0..span),
        };
        let op = if self.bare.contains(&revision) {
            Op::AlarmGet(pb::AlarmRequest::default())
        } else {
            Op::HashKv(pb::HashKvRequest { revision })
        };
        if self.settled {
            return op;
        }
        self.queue.push_back(op);
        self.settle()
    }

    /// Calls that only look.
    fn look(&mut self) -> Op {
        match self.rng.random_range(0..4) {
            0 => Op::MemberList(pb::MemberListRequest { linearizable: self.rng.random() }),
            1 => Op::LeaseLeases,
            _ => {
                let alarm = self.rng.random_range(0..3);
                Op::AlarmGet(pb::AlarmRequest { alarm, ..Default::default() })
            }
        }
    }
}

/// `range_end` is a single zero byte: up to the last key.
fn open_ended(range_end: &[u8]) -> bool {
    range_end == [0]
}

fn deletes_to_the_end(txn: &pb::TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match &op.request {
        Some(pb::request_op::Request::RequestDeleteRange(delete)) => open_ended(&delete.range_end),
        Some(pb::request_op::Request::RequestTxn(txn)) => deletes_to_the_end(txn),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_is_one_sequence() {
        let options = Options { same_version: true };
        let (mut a, mut b) = (Generator::new(7, options), Generator::new(7, options));
        for _ in 0..2000 {
            assert_eq!(a.next_op(), b.next_op());
        }
    }

    #[test]
    fn every_kind_is_drawn() {
        let mut generator = Generator::new(1, Options { same_version: true });
        let kinds: BTreeSet<&str> = (0..5000).map(|_| generator.next_op().kind()).collect();
        assert!(kinds.len() >= 16, "{kinds:?}");
    }
}
