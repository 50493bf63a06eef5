//! Linearizable reads and renewals of leases, as the server answers them.
//!
//! A member without others serves its readers at once. Of any other one round of ReadIndex at a time
//! serves all readers that came before it began; it asks
//! again with another id when it gets no answer, and ends with a change of leaders. A leader renews a
//! lease in its memory and answers when a round has confirmed that it leads; so it does when it has no
//! such lease.

use api::ids::{LeaseId, MemberId, Term};
use lease::RenewError;
use mutants::{Mutant, is_on};
use mvcc::RangeQuery;
use replica::Input;

use super::{
    Event, World,
    history::{Asked, Renewal, Told, Who},
};

/// How long an attempt waits for its answer.
const RETRY_US: u64 = 500_000;
/// So many attempts make a round.
const ATTEMPTS_MAX: usize = 10;

/// Who waits for a round.
pub(super) enum Waits {
    Read(usize),
    Renewal {
        operation: usize,
        term: Term,
        renewal: Renewal,
    },
    /// Whether a lease is really not there.
    Gone {
        operation: usize,
        term: Term,
        lease: i64,
    },
}

/// The readers of a member.
#[derive(Default)]
pub(super) struct Gate {
    waiting: Vec<Waits>,
    round: Option<Round>,
    rounds: u64,
}

struct Round {
    number: u64,
    ids: Vec<u64>,
    waits: Vec<Waits>,
    index: Option<u64>,
}

impl World {
    /// Waits for a round that begins after this call.
    pub(super) fn pass(&mut self, member: u64, waits: Waits) -> Result<(), String> {
        let live = self.slot(member).live.as_ref();
        let alone = live.is_some_and(|live| live.node.serves_reads_alone());
        if let (Waits::Read(operation), true) = (&waits, alone) {
            return self.answer_read(member, *operation);
        }
        let gate = &mut self.slot(member).gate;
        gate.waiting.push(waits);
        if gate.round.is_none() { self.begin_round(member) } else { Ok(()) }
    }

    fn begin_round(&mut self, member: u64) -> Result<(), String> {
        let gate = &mut self.slot(member).gate;
        if gate.waiting.is_empty() {
            return Ok(());
        }
        gate.rounds += 1;
        let (number, waits) = (gate.rounds, std::mem::take(&mut gate.waiting));
        gate.round = Some(Round { number, ids: Vec::new(), waits, index: None });
        self.ask_index(member, number)
    }

    /// Asks raft for an index, the first time or again.
    pub(super) fn ask_index(&mut self, member: u64, number: u64) -> Result<(), String> {
        let id = match is_on(Mutant::ReadIdReused) {
            true => u64::MAX - member,
            false => self.id(),
        };
        let slot = self.slot(member);
        let life = slot.life;
        let Some(round) = slot.gate.round.as_mut().filter(|round| round.number == number) else {
            return Ok(());
        };
        if round.index.is_some() {
            return Ok(());
        }
        if round.ids.len() == ATTEMPTS_MAX {
            return self.fail_round(member);
        }
        round.ids.push(id);
        self.after(RETRY_US, Event::AskIndex { member, life, number });
        self.feed(member, Input::ReadIndex { id })
    }

    /// Raft has answered an attempt.
    pub(super) fn read_index(&mut self, member: u64, id: u64, index: u64) -> Result<(), String> {
        let round = self.slot(member).gate.round.as_mut();
        if let Some(round) = round.filter(|round| round.ids.contains(&id)) {
            round.index.get_or_insert(index);
        }
        self.serve_reads(member)
    }

    /// Another leader: nobody may answer the round that is under way.
    pub(super) fn leader_changed(&mut self, member: u64, leader: MemberId) -> Result<(), String> {
        let live = self.slots[&member].live.as_ref().filter(|live| live.leads);
        if let Some(live) = live {
            self.newest_term = self.newest_term.max(live.node.status().term);
        }
        let waits = self.slot(member).gate.round.as_ref().is_some_and(|r| r.index.is_none());
        if leader.0 != 0 && waits { self.fail_round(member) } else { Ok(()) }
    }

    fn fail_round(&mut self, member: u64) -> Result<(), String> {
        let Some(round) = self.slot(member).gate.round.take() else { return Ok(()) };
        for waits in round.waits {
            match waits {
                Waits::Read(operation)
                | Waits::Renewal { operation, .. }
                | Waits::Gone { operation, .. } => {
                    self.end(operation, Told::Refused);
                }
            }
        }
        self.begin_round(member)
    }

    /// Answers the readers of the round whose index has been applied.
    pub(super) fn serve_reads(&mut self, member: u64) -> Result<(), String> {
        let slot = self.slot(member);
        let Some(live) = &slot.live else { return Ok(()) };
        let (applied, leads, now) = (live.applied().0, live.leads, live.node.status().term);
        let shared = live.machine.shared().clone();
        let due = |round: &mut Round| round.index.is_some_and(|index| index <= applied);
        let Some(round) = slot.gate.round.take_if(due) else { return Ok(()) };
        for waits in round.waits {
            match waits {
                Waits::Read(operation) => self.answer_read(member, operation)?,
                Waits::Renewal { operation, term, renewal } if leads && term == now => {
                    // What leaders before this one decided has been applied by now.
                    let there = shared.lessor.lock().contains(LeaseId(renewal.lease));
                    let told = match there {
                        true => Told::Renewed(Renewal { position: applied, ..renewal }),
                        false => Told::Refused,
                    };
                    self.end(operation, told);
                }
                Waits::Gone { operation, term, lease } if leads && term == now => {
                    let there = shared.lessor.lock().contains(LeaseId(lease));
                    let gone = Told::Gone { lease, position: applied };
                    self.end(operation, if there { Told::Refused } else { gone });
                }
                Waits::Renewal { operation, .. } | Waits::Gone { operation, .. } => {
                    self.end(operation, Told::Refused);
                }
            }
        }
        self.begin_round(member)
    }

    /// Renews a lease at a member that takes itself for the leader.
    pub(super) fn renew(&mut self, member: u64, operation: usize) -> Result<(), String> {
        let (at_us, now_ms) = (self.now_us, self.clock(member));
        let Asked::Renewal(lease) = *self.history.asked(operation) else { return Ok(()) };
        let Some(live) = &self.slots[&member].live else { return Ok(()) };
        let shared = live.machine.shared();
        let renewed = shared.lessor.lock().renew(LeaseId(lease), now_ms);
        let gone = matches!(renewed, Err(RenewError::NotFound));
        if !live.leads || renewed.is_err() && !gone {
            self.end(operation, Told::Refused);
            return Ok(());
        }
        let term = live.node.status().term;
        let replaced = term < self.newest_term;
        let renewal = Renewal { lease, at_us, position: live.applied().0, replaced };
        let alone = shared.membership.read().members().nth(1).is_none();
        if gone {
            if alone || is_on(Mutant::GoneUnconfirmed) {
                self.end(operation, Told::Gone { lease, position: renewal.position });
                return Ok(());
            }
            return self.pass(member, Waits::Gone { operation, term, lease });
        }
        if alone || is_on(Mutant::RenewalUnconfirmed) {
            self.end(operation, Told::Renewed(renewal));
            return Ok(());
        }
        self.pass(member, Waits::Renewal { operation, term, renewal })
    }

    /// Reads from a member's store, as it is now.
    pub(super) fn answer_read(&mut self, member: u64, operation: usize) -> Result<(), String> {
        let (Asked::Read(request) | Asked::LocalRead(request)) = self.history.asked(operation)
        else {
            return Ok(());
        };
        let (request, who) = (request.clone(), self.history.who(operation).clone());
        let Some(live) = &self.slot(member).live else { return Ok(()) };
        let position = live.applied().0;
        let shared = live.machine.shared();
        let permitted = {
            let Who { user, revision } = who;
            let (auth, who) = (shared.auth.read(), auth::Identity { user, revision });
            apply::Permit { auth: &auth, lessor: &shared.lessor, who: &who }.range(&request)
        };
        let answer = match permitted {
            Err(refusal) => Err(refusal.message.to_string()),
            Ok(()) => match shared.store.range(&RangeQuery::from(&request)) {
                Ok(answer) => Ok(answer),
                Err(mvcc::ReadError::Compacted) => Err(text(api::error::Error::Compacted)),
                Err(mvcc::ReadError::Future) => Err(text(api::error::Error::FutureRev)),
                Err(mvcc::ReadError::Storage(error)) => {
                    self.end(operation, Told::Refused);
                    return self.found_damage(member, &error.to_string());
                }
            },
        };
        self.end(operation, Told::Read { position, answer });
        Ok(())
    }
}

fn text(error: api::error::Error) -> String {
    error.message().to_owned()
}
