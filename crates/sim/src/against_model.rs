//! One member's state machine against the model: the same requests, everything compared.

use std::{ops::ControlFlow, sync::Arc};

use api::{
    etcdserverpb::{InternalRaftRequest, RequestHeader},
    event::{Changes, EventKind},
    ids::{ClusterId, LeaseId, MemberId, RaftIndex, Term},
    raftpb::{Entry, EntryType},
};
use apply::{Applied, Context, Effect, Response, StateMachine};
use model::{Answer, Model};
use mvcc::{Compaction, RangeQuery};
use prost::Message;
use rand::{Rng, SeedableRng, rngs::StdRng};
use storage::{Backend, Window, mem::MemBackend};

use crate::requests;

/// What one run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Requests applied.
    pub requests: u64,
    /// Of those, refused.
    pub refused: u64,
    /// Times the member crashed and was opened again.
    pub crashes: u64,
    /// The store's last revision.
    pub revision: i64,
}

/// A member without raft: log, window and store.
struct Member {
    machine: StateMachine,
    backend: MemBackend,
    window: Window,
    log: Vec<Entry>,
    /// Whether a compaction's removals are under way.
    compacting: bool,
}

/// Runs `steps` random requests from `seed`. An error tells what differed, and after which step.
pub fn run(seed: u64, steps: u64) -> Result<Report, String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut member = Member::new();
    let mut model = Model::new();
    let mut report = Report::default();
    for step in 0..steps {
        let told = |what: String| format!("seed {seed}, step {step}: {what}");
        let now_ms = step * 10;
        let request = request(&mut rng, &model, step + 1, seed.is_multiple_of(2));
        let expected = model.apply(&request, now_ms);
        let applied = member.apply(&request, now_ms);
        compare_answers(&expected, &applied).map_err(|what| {
            told(format!("{what}\nrequest {request:?}\nexpected {expected:?}\ngot {applied:?}"))
        })?;
        compare_changes(&model, applied.changes.as_ref()).map_err(told)?;
        report.requests += 1;
        report.refused += u64::from(expected.is_err());
        if rng.random_bool(0.05) {
            member.flush();
        }
        if rng.random_bool(0.2) {
            member.compaction_step(rng.random_range(1..20));
        }
        if rng.random_bool(0.01) {
            member = member.crash(now_ms);
            report.crashes += 1;
        }
        compare_reads(&mut rng, &model, &member).map_err(told)?;
    }
    report.revision = model.keys().revision();
    Ok(report)
}

/// A request by somebody; with `auth` users and roles change, too.
fn request(rng: &mut StdRng, model: &Model, id: u64, auth: bool) -> InternalRaftRequest {
    let mut request = match auth && rng.random_bool(0.15) {
        true => requests::auth_change(rng),
        false => requests::request(rng, model.keys().revision(), id),
    };
    let (username, auth_revision) = match auth {
        true => requests::sender(rng, model.auth().revision()),
        false => Default::default(),
    };
    request.header = Some(RequestHeader { id, username, auth_revision });
    request
}

impl Member {
    fn new() -> Member {
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
        let (machine, _) = StateMachine::open(shared, config).unwrap_or_else(|error| {
            panic!("sim: a store that was written cannot be read: {error}")
        });
        let compacting = machine.shared().store.compacting().is_some();
        Member { machine, backend, window: Window::new(), log, compacting }
    }

    fn apply(&mut self, request: &InternalRaftRequest, now_ms: u64) -> Applied {
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
        self.compacting |=
            applied.effects.iter().any(|effect| matches!(effect, Effect::Compact { .. }));
        applied
    }

    fn flush(&self) {
        let flushed = self.window.flush(&self.backend);
        if let Some(flushed) = flushed.expect("a store in memory does not fail") {
            self.machine.shared().store.committed(flushed.revision);
        }
    }

    fn compaction_step(&mut self, batch: usize) {
        if !self.compacting {
            return;
        }
        let mut ops = Vec::new();
        let step = self.machine.shared().store.compaction_step(batch, &mut ops);
        let step = step.expect("a store in memory does not fail");
        self.window.append_background(ops);
        self.compacting = matches!(step, Compaction::More);
    }

    /// What a crash leaves: what was flushed, and the whole log.
    fn crash(self, now_ms: u64) -> Member {
        let log = self.log;
        let mut member = Member::open(self.backend.fork(), log.clone());
        let applied = member.machine.applied();
        for entry in log.iter().filter(|entry| RaftIndex(entry.index) > applied) {
            member.apply_entry(entry, now_ms);
        }
        member
    }
}

fn compare_answers(
    expected: &Result<Answer, api::error::Error>,
    applied: &Applied,
) -> Result<(), String> {
    let same = same_answer(expected, &applied.result);
    if same { Ok(()) } else { Err("the answers differ".to_owned()) }
}

/// Whether a member's answer is the model's.
pub(crate) fn same_answer(
    expected: &Result<Answer, api::error::Error>,
    got: &Result<Response, apply::ApplyError>,
) -> bool {
    let revision = |header: &Option<api::etcdserverpb::ResponseHeader>| {
        header.as_ref().map_or(0, |header| header.revision)
    };
    match (expected, got) {
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
        (Ok(Answer::AuthChange(expected)), Ok(Response::AuthChange(got))) => {
            *expected == revision(got)
        }
        _ => false,
    }
}

/// What watchers are told is what the model's last transaction changed.
fn compare_changes(model: &Model, changes: Option<&Changes>) -> Result<(), String> {
    let Some(changes) = changes else { return Ok(()) };
    if changes.revision != model.keys().revision() {
        return Err(format!("changes of revision {}", changes.revision));
    }
    let expected = model.keys().changes(changes.revision);
    let same = changes.events.len() == expected.len()
        && changes.events.iter().zip(expected).all(|(event, change)| {
            (event.kind == EventKind::Delete) == change.deleted && event.kv == change.kv.to_raw()
        });
    if same { Ok(()) } else { Err(format!("events {changes:?}, expected {expected:?}")) }
}

/// Reads at a random revision, leases, history and, now and then, everything.
fn compare_reads(rng: &mut StdRng, model: &Model, member: &Member) -> Result<(), String> {
    let store = &member.machine.shared().store;
    if store.revision() != model.keys().revision()
        || store.compact_revision() != model.keys().compacted()
    {
        return Err(format!(
            "store at {} compacted {}, expected {} and {}",
            store.revision(),
            store.compact_revision(),
            model.keys().revision(),
            model.keys().compacted()
        ));
    }
    let request = requests::range(rng, model.keys().revision());
    let expected = model.range(&request).map_err(|error| error.message());
    let got = store.range(&RangeQuery::from(&request)).map_err(|error| match error {
        mvcc::ReadError::Compacted => api::error::Error::Compacted.message(),
        mvcc::ReadError::Future => api::error::Error::FutureRev.message(),
        mvcc::ReadError::Storage(error) => panic!("sim: the store cannot be read: {error}"),
    });
    let same = match (&expected, &got) {
        (Ok(expected), Ok(got)) => {
            expected.kvs == got.kvs && expected.count == got.count && expected.more == got.more
        }
        (Err(expected), Err(got)) => expected == got,
        _ => false,
    };
    if !same {
        return Err(format!("range {request:?}: expected {expected:?}, got {got:?}"));
    }
    if rng.random_bool(0.02) {
        compare_leases(model, member)?;
        compare_history(model, member)?;
    }
    Ok(())
}

fn compare_leases(model: &Model, member: &Member) -> Result<(), String> {
    let shared = member.machine.shared();
    let lessor = shared.lessor.lock();
    let mut ids: Vec<i64> = lessor.leases().iter().map(|id| id.0).collect();
    ids.sort_unstable();
    if ids != model.leases().ids() {
        return Err(format!("leases {ids:?}, expected {:?}", model.leases().ids()));
    }
    for id in ids {
        let mut keys = lessor.keys(LeaseId(id)).unwrap_or_default();
        keys.sort_unstable();
        let expected = model.keys().attached_to(id);
        if keys != expected {
            return Err(format!("keys of lease {id}: {keys:?}, expected {expected:?}"));
        }
    }
    Ok(())
}

/// The history that is still there, as a watcher would replay it.
fn compare_history(model: &Model, member: &Member) -> Result<(), String> {
    let store = &member.machine.shared().store;
    let mut next = model.keys().compacted().max(2);
    let walk = |next: &mut i64| -> Result<ControlFlow<()>, String> {
        let events = store.events(*next, 7, usize::MAX);
        let events = events.map_err(|error| format!("history from {next}: {error}"))?;
        if events.is_empty() {
            return Ok(ControlFlow::Break(()));
        }
        for changes in &events {
            let expected = model.keys().changes(changes.revision);
            // Of the compacted revision itself only what still counts is left.
            let whole = changes.revision > model.keys().compacted();
            let same = changes
                .events
                .iter()
                .all(|event| expected.iter().any(|change| change.kv.to_raw() == event.kv));
            if !same || (whole && changes.events.len() != expected.len()) {
                return Err(format!("history {changes:?}, expected {expected:?}"));
            }
            *next = changes.revision + 1;
        }
        Ok(ControlFlow::Continue(()))
    };
    while walk(&mut next)?.is_continue() {}
    if next <= model.keys().revision() && model.keys().revision() > model.keys().compacted() {
        return Err(format!("history ends before revision {next}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_machine_answers_as_the_model() {
        for seed in 0..30 {
            let report = run(seed, 400).unwrap_or_else(|what| panic!("{what}"));
            assert!(report.revision > 50 && report.refused > 10, "{report:?}");
        }
    }
}
