//! One member's state machine without raft: log, window and store in memory.

use std::sync::Arc;

use api::{
    error::Error,
    etcdserverpb::{InternalRaftRequest, RangeRequest},
    ids::{ClusterId, MemberId, RaftIndex, Term},
    raftpb::{Entry, EntryType},
};
use apply::{Applied, ApplyError, Context, Effect, Response, StateMachine};
use model::{Answer, Model};
use mvcc::{Compaction, RangeQuery, ReadError};
use prost::Message;
use storage::{Backend, Window, mem::MemBackend};

pub(crate) struct Member {
    machine: StateMachine,
    backend: MemBackend,
    window: Window,
    log: Vec<Entry>,
    compacting: bool,
}

impl Member {
    pub(crate) fn new() -> Member {
        Member::open(MemBackend::new(), Vec::new())
    }

    fn open(backend: MemBackend, log: Vec<Entry>) -> Member {
        let config = apply::Config {
            member_id: MemberId(1),
            cluster_id: ClusterId(7),
            max_learners: 1,
            quota_bytes: -1,
            lease: lease::Options::new(2),
            store_checkpoints: false,
            token_ttl_ms: 300_000,
        };
        let shared: Arc<dyn Backend> = Arc::new(backend.clone());
        let opened = StateMachine::open(shared, config);
        let (machine, _) = opened.map_err(|error| error.to_string()).expect("a store is read back");
        let compacting = machine.shared().store.compacting().is_some();
        Member { machine, backend, window: Window::new(), log, compacting }
    }

    pub(crate) fn apply(&mut self, request: &InternalRaftRequest, now_ms: u64) -> Applied {
        let index = self.log.len() as u64 + 1;
        let data = request.encode_to_vec().into();
        let entry = Entry { term: 1, index, r#type: EntryType::EntryNormal as i32, data };
        self.log.push(entry.clone());
        self.apply_entry(&entry, now_ms)
    }

    fn apply_entry(&mut self, entry: &Entry, now_ms: u64) -> Applied {
        let context = Context { now_ms, has_waiter: true, size_in_use: 0, unix_ns: 0 };
        let applied = self.machine.apply(entry, context);
        let at = (RaftIndex(entry.index), Term(entry.term));
        self.window.append(applied.ops.clone(), at, self.machine.shared().store.revision());
        let compacts = |effect: &Effect| matches!(effect, Effect::Compact { .. });
        self.compacting |= applied.effects.iter().any(compacts);
        applied
    }

    pub(crate) fn flush(&mut self) {
        let flushed = self.window.flush(&self.backend);
        if let Some(flushed) = flushed.expect("a store in memory does not fail") {
            self.machine.shared().store.committed(flushed.revision);
        }
    }

    pub(crate) fn compaction_step(&mut self, batch: usize) {
        if !self.compacting {
            return;
        }
        let mut ops = Vec::new();
        let step = self.machine.shared().store.compaction_step(batch.max(1), &mut ops);
        let step = step.expect("a store in memory does not fail");
        self.window.append_background(ops);
        self.compacting = matches!(step, Compaction::More);
    }

    /// What a crash leaves: what was flushed, and the whole log.
    pub(crate) fn crash(self, now_ms: u64) -> Member {
        let log = self.log;
        let mut member = Member::open(self.backend.fork(), log.clone());
        let applied = member.machine.applied();
        for entry in log.iter().filter(|entry| RaftIndex(entry.index) > applied) {
            member.apply_entry(entry, now_ms);
        }
        member
    }

    /// A read beside apply, against the model.
    pub(crate) fn compare_range(&self, model: &Model, request: &RangeRequest) {
        let expected = model.range(request).map_err(|error| error.message());
        let got = self.machine.shared().store.range(&RangeQuery::from(request));
        let got = got.map_err(|error| match error {
            ReadError::Compacted => Error::Compacted.message(),
            ReadError::Future => Error::FutureRev.message(),
            ReadError::Storage(error) => panic!("the store cannot be read: {error}"),
        });
        let same = match (&expected, &got) {
            (Ok(expected), Ok(got)) => {
                expected.kvs == got.kvs && expected.count == got.count && expected.more == got.more
            }
            (Err(expected), Err(got)) => expected == got,
            _ => false,
        };
        assert!(same, "{request:?}: expected {expected:?}, got {got:?}");
    }
}

/// Compares a member's answer with the model's.
pub(crate) fn compare(
    expected: &Result<Answer, Error>,
    got: &Result<Response, ApplyError>,
    request: &InternalRaftRequest,
) {
    let revision = |header: &Option<api::etcdserverpb::ResponseHeader>| {
        header.as_ref().map_or(0, |header| header.revision)
    };
    let same = match (expected, got) {
        (Err(expected), Err(got)) => {
            expected.message() == got.message && expected.code() == got.code
        }
        (Ok(Answer::Range(expected)), Ok(Response::Range(got))) => expected == got,
        (Ok(Answer::Put(expected)), Ok(Response::Put(got))) => expected == got,
        (Ok(Answer::DeleteRange(expected)), Ok(Response::DeleteRange(got))) => expected == got,
        (Ok(Answer::Txn(expected)), Ok(Response::Txn(got))) => expected == got,
        (Ok(Answer::Compaction(expected)), Ok(Response::Compaction(got))) => {
            *expected == revision(&got.header)
        }
        (Ok(Answer::LeaseGrant(expected)), Ok(Response::LeaseGrant(got))) => expected == got,
        (Ok(Answer::LeaseRevoke(expected)), Ok(Response::LeaseRevoke(got))) => {
            *expected == revision(&got.header)
        }
        _ => false,
    };
    assert!(same, "{request:?}\nexpected {expected:?}\ngot {got:?}");
}
