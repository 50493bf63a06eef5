//! What clients asked and were told, and what the cluster committed; and whether the two agree.
//!
//! The committed log is the witness of linearizability (Herlihy and Wing 1990): it orders all writes,
//! and every read says how much of the log it had seen. It remains to check that each answer is the
//! model's at that point, and that the order respects time: what ended before something else began
//! comes before it. Such a history is strictly linearizable, and no search is needed.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    etcdserverpb::{InternalRaftRequest, RangeRequest},
    raftpb::{Entry, EntryType},
};
use apply::{Applied, Response};
use model::Model;
pub(super) use model::Who;
use mvcc::RangeAnswer;
use prost::Message;
use storage::{Bucket, Op};

use super::lockers::{COUNT, Claim};

/// Clocks of members that drift run up to 5 % fast or slow: leases may end so much early, in per mille.
const DRIFT: u64 = 60;

/// What a client asks for.
pub(super) enum Asked {
    /// Something that goes through the log.
    Change(Box<InternalRaftRequest>),
    /// A read of the latest state.
    Read(RangeRequest),
    /// A read of whatever the asked member has.
    LocalRead(RangeRequest),
    /// The whole time of a lease again.
    Renewal(i64),
}

/// A renewal, at a member that had applied the log up to `position`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renewal {
    pub(super) lease: i64,
    pub(super) at_us: u64,
    pub(super) position: u64,
    /// Whether a later leader had been elected before the member was asked: then no round of
    /// ReadIndex can confirm that it leads.
    pub(super) replaced: bool,
}

/// A lessor's decision that a lease has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expiry {
    pub(super) lease: i64,
    pub(super) member: u64,
    pub(super) decided_us: u64,
    /// What the member had applied by then: it knows of no later grant.
    pub(super) applied: u64,
}

/// What a client was told.
pub(super) enum Told {
    /// The answer to a change.
    Changed(Box<Result<Response, apply::ApplyError>>),
    /// The answer to a read, by a member that had applied the log up to an index.
    Read { position: u64, answer: Result<RangeAnswer, String> },
    /// A lease lives on.
    Renewed(Renewal),
    /// There is no such lease, said by a member that had applied the log up to an index.
    Gone { lease: i64, position: u64 },
    /// It will never happen, or the client has given up.
    Refused,
}

/// One operation of a client.
pub(super) struct Operation {
    pub(super) asked: Asked,
    /// In whose name.
    who: Who,
    pub(super) began_us: u64,
    /// When the answer came, and what it was; none for one that nobody knows the outcome of.
    pub(super) ended: Option<(u64, Told)>,
}

/// What a replay of the log has met so far.
#[derive(Default)]
struct Seen {
    /// The ids of requests.
    ids: BTreeSet<u64>,
    /// Where each lease was granted last.
    grants: BTreeMap<i64, u64>,
}

/// One committed entry.
struct Committed {
    entry: Entry,
    /// What it did to the store.
    ops: u64,
    /// When the first member applied it.
    at_us: u64,
}

/// Everything that was seen of a run.
#[derive(Default)]
pub(super) struct History {
    operations: Vec<Operation>,
    log: Vec<Committed>,
    /// Changes by the id of their request.
    pub(super) by_id: BTreeMap<u64, usize>,
    /// Revokes that a lessor asked for, by request id.
    pub(super) expiries: BTreeMap<u64, Expiry>,
    /// Jumps of clocks: the member, when, and how far in milliseconds.
    pub(super) jumps: Vec<(u64, u64, u64)>,
    /// Whether clocks drift.
    drift: bool,
    /// What must hold where an operation was answered.
    claims: BTreeMap<usize, Vec<Claim>>,
}

impl History {
    /// An empty one, of a run in which clocks drift or not.
    pub(super) fn new(drift: bool) -> History {
        History { drift, ..History::default() }
    }

    pub(super) fn begin(&mut self, asked: Asked, who: Who, began_us: u64) -> usize {
        self.operations.push(Operation { asked, who, began_us, ended: None });
        self.operations.len() - 1
    }

    pub(super) fn end(&mut self, operation: usize, ended_us: u64, told: Told) {
        let operation = &mut self.operations[operation];
        assert!(operation.ended.is_none(), "sim: an operation is answered once");
        operation.ended = Some((ended_us, told));
    }

    pub(super) fn asked(&self, operation: usize) -> &Asked {
        &self.operations[operation].asked
    }

    pub(super) fn who(&self, operation: usize) -> &Who {
        &self.operations[operation].who
    }

    /// Notes what must hold where an operation is answered.
    pub(super) fn claim(&mut self, operation: usize, claim: Claim) {
        self.claims.entry(operation).or_default().push(claim);
    }

    /// How many operations there were, and how many of them were answered.
    pub(super) fn counts(&self) -> (u64, u64) {
        let answered = self.operations.iter().filter(|op| op.ended.is_some()).count();
        (self.operations.len() as u64, answered as u64)
    }

    /// How many operations there were of each kind.
    pub(super) fn kinds(&self) -> BTreeMap<&'static str, u64> {
        let mut kinds = BTreeMap::new();
        for operation in &self.operations {
            let kind = match operation.asked {
                Asked::Change(_) => "changes",
                Asked::Read(_) => "linearizable reads",
                Asked::LocalRead(_) => "serializable reads",
                Asked::Renewal(_) => "renewals of leases",
            };
            *kinds.entry(kind).or_default() += 1;
        }
        kinds
    }

    /// How long the committed log is.
    pub(super) fn committed(&self) -> u64 {
        self.log.len() as u64
    }

    /// A member has applied an entry: all members must apply the same ones, with the same effect.
    pub(super) fn applied(
        &mut self,
        member: u64,
        entry: Entry,
        applied: &Applied,
        at_us: u64,
    ) -> Result<(), String> {
        let ops = hash_ops(&applied.ops);
        let index = entry.index;
        match (index as usize).checked_sub(1).and_then(|at| self.log.get(at)) {
            Some(known) if known.entry != entry => {
                Err(format!("member {member} applied another entry {index} than others before"))
            }
            Some(known) if known.ops != ops => Err(format!(
                "entry {index} has another effect on member {member} than on others: {:?}",
                applied.ops
            )),
            Some(_) => Ok(()),
            None if index == self.log.len() as u64 + 1 => {
                self.log.push(Committed { entry, ops, at_us });
                Ok(())
            }
            None => Err(format!("member {member} applied entry {index} before those under it")),
        }
    }

    /// Checks everything that clients were told against the committed log.
    /// Returns the model after all of it.
    pub(super) fn check(&self) -> Result<Model, String> {
        let (model, positions) = self.check_answers()?;
        self.check_order(&positions)?;
        Ok(model)
    }

    /// Replays the log on the model. Returns it, and the place in the log of each operation that was
    /// answered and has one.
    fn check_answers(&self) -> Result<(Model, BTreeMap<usize, u64>), String> {
        let mut positions = BTreeMap::new();
        let mut reads: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (at, operation) in self.operations.iter().enumerate() {
            match &operation.ended {
                Some((_, Told::Read { position, .. } | Told::Gone { position, .. })) => {
                    reads.entry(*position).or_default().push(at);
                }
                Some((_, Told::Renewed(renewal))) => {
                    reads.entry(renewal.position).or_default().push(at);
                }
                _ => {}
            }
        }
        let mut model = Model::new();
        let mut seen = Seen::default();
        for at in reads.get(&0).into_iter().flatten() {
            self.check_read(*at, &mut model)?;
        }
        for committed in &self.log {
            let index = committed.entry.index;
            if committed.entry.r#type == EntryType::EntryNormal as i32
                && !committed.entry.data.is_empty()
            {
                self.check_entry(committed, &mut model, &mut seen, &mut positions)?;
            }
            for at in reads.get(&index).into_iter().flatten() {
                self.check_read(*at, &mut model)?;
                positions.insert(*at, index);
            }
        }
        self.check_acknowledged(&positions)?;
        Ok((model, positions))
    }

    fn check_entry(
        &self,
        committed: &Committed,
        model: &mut Model,
        seen: &mut Seen,
        positions: &mut BTreeMap<usize, u64>,
    ) -> Result<(), String> {
        let index = committed.entry.index;
        let request = InternalRaftRequest::decode(committed.entry.data.clone())
            .map_err(|error| format!("entry {index} is no request: {error}"))?;
        let id = request.header.as_ref().map_or(0, |header| header.id);
        if !seen.ids.insert(id) {
            return Err(format!("request {id} was applied twice, again at entry {index}"));
        }
        if let Some(expiry) = self.expiries.get(&id) {
            self.check_expiry(*expiry, model, &seen.grants)?;
        }

        let operation = self.by_id.get(&id).copied();
        if let Some(at) = operation {
            for claim in self.claims.get(&at).into_iter().flatten() {
                check_claim(claim, model, committed)?;
            }
        }
        let expected = model.apply(&request, committed.at_us / 1000);
        if let (Some(grant), Ok(_)) = (&request.lease_grant, &expected) {
            seen.grants.insert(grant.id, index);
        }
        let Some(at) = operation else { return Ok(()) };
        if let Some(before) = positions.insert(at, index) {
            return Err(format!("one operation took effect at entry {before} and at {index}"));
        }
        let Some((_, told)) = &self.operations[at].ended else { return Ok(()) };
        let Told::Changed(got) = told else {
            return Err(format!("request {id} was refused and yet applied"));
        };
        if !crate::against_model::same_answer(&expected, got) {
            return Err(format!("answer to entry {index}: expected {expected:?}, got {got:?}"));
        }
        Ok(())
    }

    /// No lease ends early by the clock of the member that decided it.
    fn check_expiry(
        &self,
        Expiry { lease, member, decided_us, applied }: Expiry,
        model: &Model,
        grants: &BTreeMap<i64, u64>,
    ) -> Result<(), String> {
        let leases = model.leases();
        let Some((since_ms, ttl)) = leases.since_ms(lease).zip(leases.ttl(lease)) else {
            return Ok(());
        };
        // The lease that had expired was revoked meanwhile, and another one has its id. In etcd that
        // one ends, too.
        if grants.get(&lease).is_some_and(|granted| *granted > applied) {
            return Ok(());
        }
        let jumped =
            |(who, at_us, _): &&(u64, u64, u64)| *who == member && at_us / 1000 >= since_ms;
        let jumps: u64 = self.jumps.iter().filter(jumped).map(|(.., ms)| ms).sum();
        let drift = if self.drift { DRIFT } else { 0 };
        let slack_ms = ttl.unsigned_abs() * drift + jumps + 5;
        if leases.may_expire(lease, decided_us / 1000 + slack_ms) {
            return Ok(());
        }
        Err(format!(
            "lease {lease} of {ttl} s, granted or renewed at {since_ms} ms, was ended early, by a \
             decision of member {member} at {decided_us} us"
        ))
    }

    /// Whatever was acknowledged is in the log.
    fn check_acknowledged(&self, positions: &BTreeMap<usize, u64>) -> Result<(), String> {
        for (at, operation) in self.operations.iter().enumerate() {
            if let (Asked::Change(request), Some((_, Told::Changed(_)))) =
                (&operation.asked, &operation.ended)
                && !positions.contains_key(&at)
            {
                return Err(format!("an acknowledged change is lost: {request:?}"));
            }
        }
        Ok(())
    }

    fn check_read(&self, at: usize, model: &mut Model) -> Result<(), String> {
        let operation = &self.operations[at];
        if let Some((_, Told::Renewed(renewal))) = &operation.ended {
            if renewal.replaced {
                return Err(format!("a lease was renewed by a replaced leader: {renewal:?}"));
            }
            return match model.renewed(renewal.lease, renewal.at_us / 1000) {
                true => Ok(()),
                false => Err(format!("a lease that is not there was renewed: {renewal:?}")),
            };
        }
        if let Some((_, Told::Gone { lease, position })) = &operation.ended {
            return match model.leases().exists(*lease) {
                false => Ok(()),
                true => Err(format!("lease {lease} was said to be gone at entry {position}")),
            };
        }
        let (Asked::Read(request) | Asked::LocalRead(request)) = &operation.asked else {
            return Err("a change was answered as a read".to_owned());
        };
        let Some((_, Told::Read { position, answer })) = &operation.ended else { return Ok(()) };
        if let Some(Claim::Holds { key, created }) =
            self.claims.get(&at).and_then(|claims| claims.first())
            && model.keys().get(key).is_none_or(|kv| kv.create_revision != *created)
        {
            return Err(format!(
                "a lock was given at entry {position} to one whose lease has ended"
            ));
        }
        let (key, end) = (&request.key, &request.range_end);
        let permitted = model.auth().check_read(&operation.who, key, end);
        let expected = permitted.and_then(|()| model.range(request));
        let same = match (&expected, answer) {
            (Ok(expected), Ok(got)) => {
                expected.kvs == got.kvs
                    && expected.count == got.count
                    && expected.more == got.more
                    && expected.header.as_ref().is_some_and(|h| h.revision == got.revision)
            }
            (Err(expected), Err(got)) => expected.message() == got,
            _ => false,
        };
        if same {
            return Ok(());
        }
        Err(format!("read {request:?} at entry {position}: expected {expected:?}, got {answer:?}"))
    }

    /// What ended before something else began stands before it in the log. A read may stand at the
    /// same place.
    fn check_order(&self, positions: &BTreeMap<usize, u64>) -> Result<(), String> {
        let mut ends: Vec<(u64, u64)> = Vec::new();
        let mut begins: Vec<(u64, usize)> = Vec::new();
        for (at, operation) in self.operations.iter().enumerate() {
            // A renewal stands where it was asked for; that a lease is gone is read.
            match (&operation.asked, &operation.ended) {
                (Asked::Renewal(_), Some((_, Told::Gone { .. }))) => {}
                (Asked::LocalRead(_) | Asked::Renewal(_), _) => continue,
                _ => {}
            }
            let Some(position) = positions.get(&at) else { continue };
            begins.push((operation.began_us, at));
            if let Some((ended_us, _)) = operation.ended {
                ends.push((ended_us, *position));
            }
        }
        ends.sort_unstable();
        begins.sort_unstable();
        let mut ends = ends.into_iter().peekable();
        let mut floor = 0;
        for (began_us, at) in begins {
            while let Some((_, position)) = ends.next_if(|(ended_us, _)| *ended_us < began_us) {
                floor = floor.max(position);
            }
            let position = positions[&at];
            let is_read = !matches!(self.operations[at].asked, Asked::Change(_));
            let in_order = if is_read { position >= floor } else { position > floor };
            if !in_order {
                return Err(format!(
                    "not linearizable: an operation begun at {began_us} us is at entry {position}, \
                     after one at entry {floor} had ended"
                ));
            }
        }
        Ok(())
    }
}

/// Whether a count is written over the one that it was made of.
fn check_claim(claim: &Claim, model: &Model, committed: &Committed) -> Result<(), String> {
    let Claim::Counted { before } = claim else { return Ok(()) };
    let Ok(request) = InternalRaftRequest::decode(committed.entry.data.clone()) else {
        return Ok(());
    };
    // Only if its guards let it through.
    let mut after = model.clone();
    let written = after.apply(&request, 0);
    let succeeded = matches!(&written, Ok(model::Answer::Txn(txn)) if txn.succeeded);
    let count = model.keys().get(COUNT).map(|kv| kv.value.clone());
    let Some(count) = count.filter(|_| succeeded) else { return Ok(()) };
    if count[..] == *before.to_string().as_bytes() {
        return Ok(());
    }
    let index = committed.entry.index;
    Err(format!(
        "a count under a lock was lost at entry {index}: {before} was read, {count:?} is there"
    ))
}

/// A hash (FNV-1a) of changes to the store.
fn hash_ops(ops: &[Op]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in (bytes.len() as u32).to_be_bytes().iter().chain(bytes) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    // Members cut their v2 stores at different times; they are no part of what must be equal.
    for op in ops.iter().filter(|op| op.bucket() != Bucket::V2) {
        match op {
            Op::Put { bucket, key, value } => {
                add(bucket.name().as_bytes());
                add(key);
                add(value);
            }
            Op::Delete { bucket, key } => {
                add(bucket.name().as_bytes());
                add(key);
                add(b"deleted");
            }
        }
    }
    hash
}
