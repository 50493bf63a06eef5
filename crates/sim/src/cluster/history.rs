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
use mvcc::RangeAnswer;
use prost::Message;
use storage::Op;

/// What a client asks for.
pub(super) enum Asked {
    /// Something that goes through the log.
    Change(Box<InternalRaftRequest>),
    /// A read of the latest state.
    Read(RangeRequest),
    /// A read of whatever the asked member has.
    LocalRead(RangeRequest),
}

/// What a client was told.
pub(super) enum Told {
    /// The answer to a change.
    Changed(Box<Result<Response, apply::ApplyError>>),
    /// The answer to a read, by a member that had applied the log up to an index.
    Read { position: u64, answer: Result<RangeAnswer, String> },
    /// It will never happen.
    Refused,
}

/// One operation of a client.
pub(super) struct Operation {
    pub(super) asked: Asked,
    pub(super) began_us: u64,
    /// When the answer came, and what it was; none for one that nobody knows the outcome of.
    pub(super) ended: Option<(u64, Told)>,
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
    /// Revokes that the lessor asked for: request id to lease and time.
    pub(super) expiries: BTreeMap<u64, (i64, u64)>,
}

impl History {
    pub(super) fn begin(&mut self, asked: Asked, began_us: u64) -> usize {
        self.operations.push(Operation { asked, began_us, ended: None });
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

    /// How many operations there were, and how many of them were answered.
    pub(super) fn counts(&self) -> (u64, u64) {
        let answered = self.operations.iter().filter(|op| op.ended.is_some()).count();
        (self.operations.len() as u64, answered as u64)
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
            Some(known) if known.ops != ops => {
                Err(format!("entry {index} has another effect on member {member} than on others"))
            }
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
            if let Some((_, Told::Read { position, .. })) = &operation.ended {
                reads.entry(*position).or_default().push(at);
            }
        }
        let mut model = Model::new();
        let mut seen = BTreeSet::new();
        for at in reads.get(&0).into_iter().flatten() {
            self.check_read(*at, &model)?;
        }
        for committed in &self.log {
            let index = committed.entry.index;
            if committed.entry.r#type == EntryType::EntryNormal as i32
                && !committed.entry.data.is_empty()
            {
                let request = InternalRaftRequest::decode(committed.entry.data.clone())
                    .map_err(|error| format!("entry {index} is no request: {error}"))?;
                let id = request.header.as_ref().map_or(0, |header| header.id);
                if !seen.insert(id) {
                    return Err(format!("request {id} was applied twice, again at entry {index}"));
                }
                if let Some((lease, asked_us)) = self.expiries.get(&id) {
                    let early = model.leases().exists(*lease)
                        && !model.leases().may_expire(*lease, asked_us / 1000);
                    if early {
                        return Err(format!("lease {lease} was revoked early, at {asked_us} us"));
                    }
                }
                let expected = model.apply(&request, committed.at_us / 1000);
                if let Some(at) = self.by_id.get(&id) {
                    positions.insert(*at, index);
                    let Some((_, told)) = &self.operations[*at].ended else { continue };
                    let Told::Changed(got) = told else {
                        return Err(format!("request {id} was refused and yet applied"));
                    };
                    let same = crate::against_model::same_answer(&expected, got);
                    if !same {
                        return Err(format!(
                            "answer to entry {index}: expected {expected:?}, got {got:?}"
                        ));
                    }
                }
            }
            for at in reads.get(&index).into_iter().flatten() {
                self.check_read(*at, &model)?;
                positions.insert(*at, index);
            }
        }
        self.check_acknowledged(&positions)?;
        Ok((model, positions))
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

    fn check_read(&self, at: usize, model: &Model) -> Result<(), String> {
        let operation = &self.operations[at];
        let (Asked::Read(request) | Asked::LocalRead(request)) = &operation.asked else {
            return Err("a change was answered as a read".to_owned());
        };
        let Some((_, Told::Read { position, answer })) = &operation.ended else { return Ok(()) };
        let expected = model.range(request);
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
            if matches!(operation.asked, Asked::LocalRead(_)) {
                continue;
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
            let is_read = matches!(self.operations[at].asked, Asked::Read(_));
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

/// A hash (FNV-1a) of changes to the store.
fn hash_ops(ops: &[Op]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in (bytes.len() as u32).to_be_bytes().iter().chain(bytes) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for op in ops {
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
