//! Clients that count under a lock: a lease, a key of the lock with it, and work that the key guards
//! (etcd's recipe of a lock; Jepsen's report on etcd 3.4.3 says what goes wrong without the guards).
//!
//! Checked: who believes to hold the lock has a key there at that moment, and no count is lost.

use api::etcdserverpb::{
    Compare, InternalRaftRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest,
    RequestOp, TxnRequest, compare::TargetUnion, request_op::Request,
};
use apply::Response;
use bytes::Bytes;
use mutants::{Mutant, is_on};
use rand::Rng;

use super::{
    Event, World,
    history::{Asked, Told, Who},
};

/// Below this key are the keys of the lock.
const LOCK: &[u8] = b"~lock/";
/// The key that is counted in.
pub(super) const COUNT: &[u8] = b"~count";

/// What a locker does next, with what it has so far.
#[derive(Clone, Debug, Default)]
pub(super) enum Step {
    #[default]
    Grant,
    Queue,
    /// Waits until nobody is before it. The create revision of its key.
    Wait(i64),
    /// Looks whether its key is still there.
    Check(i64),
    /// Reads the count.
    Read(i64),
    /// Works; then writes the count after this one.
    Write(i64, i64),
    Revoke,
}

/// The state of a locker.
#[derive(Clone, Debug, Default)]
pub(super) struct Locker {
    lease: i64,
    step: Step,
}

impl Locker {
    fn key(&self) -> Bytes {
        [LOCK, format!("{:08}", self.lease).as_bytes()].concat().into()
    }
}

/// What must hold in the state that an answer came from.
#[derive(Clone, Debug)]
pub(super) enum Claim {
    /// This key has this create revision: its owner holds the lock.
    Holds { key: Bytes, created: i64 },
    /// The count was this before it was written, unless it was deleted meanwhile.
    Counted { before: i64 },
}

impl World {
    /// A locker that waits for nothing does its next step.
    pub(super) fn locker_acts(&mut self, client: usize, member: u64) -> Result<(), String> {
        let Some(locker) = &mut self.clients[client].locker else { return Ok(()) };
        if let Step::Grant = locker.step {
            self.next_lease += 1;
            locker.lease = self.next_lease;
        }
        let (locker, key) = (locker.clone(), locker.key());
        let lease = locker.lease;
        let mut request = InternalRaftRequest::default();
        match locker.step {
            Step::Grant => {
                let ttl = self.rng.random_range(2..5);
                request.lease_grant = Some(LeaseGrantRequest { id: lease, ttl });
            }
            Step::Queue => {
                request.put = Some(PutRequest { key, lease, ..PutRequest::default() });
            }
            Step::Wait(created) => {
                let range = RangeRequest {
                    key: Bytes::from_static(LOCK),
                    range_end: api::range::prefix_end(LOCK),
                    max_create_revision: created - 1,
                    limit: 1,
                    keys_only: true,
                    ..RangeRequest::default()
                };
                return self.locker_reads(client, member, range);
            }
            Step::Check(_) => {
                let range = RangeRequest { key, ..RangeRequest::default() };
                return self.locker_reads(client, member, range);
            }
            Step::Read(_) => {
                let range =
                    RangeRequest { key: Bytes::from_static(COUNT), ..RangeRequest::default() };
                return self.locker_reads(client, member, range);
            }
            Step::Write(created, before) => {
                let value = (before + 1).to_string().into();
                let put =
                    PutRequest { key: Bytes::from_static(COUNT), value, ..PutRequest::default() };
                let guard = Compare {
                    target: 1,
                    key,
                    target_union: Some(TargetUnion::CreateRevision(created)),
                    ..Compare::default()
                };
                let guarded = !is_on(Mutant::LockNotFenced);
                request.txn = Some(TxnRequest {
                    compare: if guarded { vec![guard] } else { Vec::new() },
                    success: vec![RequestOp { request: Some(Request::RequestPut(put)) }],
                    failure: Vec::new(),
                });
            }
            Step::Revoke => request.lease_revoke = Some(LeaseRevokeRequest { id: lease }),
        }
        let operation = self.ask_change(client, member, request, Who::default())?;
        if let Step::Write(_, before) = locker.step {
            self.history.claim(operation, Claim::Counted { before });
        }
        Ok(())
    }

    fn locker_reads(
        &mut self,
        client: usize,
        member: u64,
        range: RangeRequest,
    ) -> Result<(), String> {
        let operation = self.begin(client, Asked::Read(range), Who::default());
        self.pass(member, super::reads::Waits::Read(operation))
    }

    /// What a locker does after an answer. It begins anew after anything that it did not hope for.
    pub(super) fn locker_told(&mut self, client: usize, operation: usize, told: &Told) {
        let Some(locker) = self.clients[client].locker.clone() else { return };
        let key = locker.key();
        let mut claim = None;
        let mut acquire = |created| {
            claim = Some(Claim::Holds { key: key.clone(), created });
            Step::Read(created)
        };
        let step = match (&locker.step, told) {
            (Step::Grant, Told::Changed(answer)) if answer.is_ok() => Step::Queue,
            (Step::Queue, Told::Changed(answer)) => match &**answer {
                Ok(Response::Put(put)) => {
                    Step::Wait(put.header.as_ref().map_or(0, |header| header.revision))
                }
                _ => Step::Grant,
            },
            (Step::Wait(created), Told::Read { answer: Ok(answer), .. }) => {
                match (answer.kvs.is_empty(), is_on(Mutant::LockNotChecked)) {
                    (false, _) => Step::Wait(*created),
                    (true, false) => Step::Check(*created),
                    (true, true) => acquire(*created),
                }
            }
            (Step::Check(created), Told::Read { answer: Ok(answer), .. }) => {
                let own = answer.kvs.first().and_then(|kv| kv.decode().ok());
                match own.is_some_and(|own| own.create_revision == *created) {
                    true => acquire(*created),
                    false => Step::Grant,
                }
            }
            (Step::Read(created), Told::Read { answer: Ok(answer), .. }) => {
                let count = answer.kvs.first().and_then(|kv| kv.decode().ok());
                let count = count.and_then(|kv| String::from_utf8(kv.value.to_vec()).ok());
                Step::Write(*created, count.and_then(|text| text.parse().ok()).unwrap_or(0))
            }
            (Step::Write(..), Told::Changed(_)) => Step::Revoke,
            _ => Step::Grant,
        };
        let works = matches!(step, Step::Write(..));
        self.clients[client].locker = Some(Locker { step, ..locker });
        if let Some(claim) = claim {
            self.history.claim(operation, claim);
        }
        let pause = match works {
            true => self.rng.random_range(1_000..3_000_000),
            false => self.rng.random_range(1_000..100_000),
        };
        self.after(pause, Event::Client(client));
    }
}
