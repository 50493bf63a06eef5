//! Faults planted into a recorded history, to show that the checkers find such.

use checker::{
    History,
    history::{Outcome, StepResult},
    lease, watch,
};
use rand::{Rng, rngs::SmallRng};

/// A fault of a server, as a history would show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A read answers the version before the newest.
    StaleRead,
    /// A write was answered though it never happened: nobody sees it.
    LostWrite,
    /// An answered write happened at another revision.
    WrongRevision,
    /// A comparison that held is answered as one that did not.
    WrongBranch,
    /// A value nobody wrote is read.
    Corruption,
    /// An event is left out.
    LostEvent,
    /// An event comes twice.
    RepeatedEvent,
    /// Two messages change places.
    SwappedMessages,
    /// The events of one revision come in two messages.
    TornRevision,
    /// A progress message runs ahead of the events.
    EarlyBookmark,
    /// Keys of a lease go before its time.
    EarlyExpiry,
}

/// All kinds.
pub const ALL: &[Planted] = &[
    Planted::StaleRead,
    Planted::LostWrite,
    Planted::WrongRevision,
    Planted::WrongBranch,
    Planted::Corruption,
    Planted::LostEvent,
    Planted::RepeatedEvent,
    Planted::SwappedMessages,
    Planted::TornRevision,
    Planted::EarlyBookmark,
    Planted::EarlyExpiry,
];

/// Plants a fault somewhere; false when the history has no place for it.
pub fn plant(what: Planted, history: &mut History, rng: &mut SmallRng) -> bool {
    match what {
        Planted::StaleRead => stale_read(history, rng),
        Planted::LostWrite => lost_write(history, rng),
        Planted::WrongRevision => answers(history, rng, |request_writes, response| {
            response.revision += 1;
            request_writes
        }),
        Planted::WrongBranch => wrong_branch(history, rng),
        Planted::Corruption => answers(history, rng, |_, response| {
            let kv = response.results.iter_mut().find_map(|result| match result {
                StepResult::Range(kvs) => kvs.first_mut(),
                _ => None,
            });
            kv.map(|kv| kv.value = "never written".into()).is_some()
        }),
        Planted::EarlyExpiry => early_expiry(history, rng),
        _ => stream(what, history, rng),
    }
}

/// Changes an answer that `change` accepts, beginning at a random one.
fn answers(
    history: &mut History,
    rng: &mut SmallRng,
    change: impl Fn(bool, &mut checker::history::Response) -> bool,
) -> bool {
    let count = history.operations.len();
    let from = rng.random_range(0..count.max(1));
    (0..count).map(|i| (from + i) % count).any(|i| {
        let Outcome::Done(response) = &mut history.operations[i].outcome else { return false };
        let mut changed = response.clone();
        let wrote = changed.wrote();
        let done = change(wrote, &mut changed);
        if done {
            *response = changed;
        }
        done
    })
}

/// Gives a read the answer that an earlier read of the same key had, when that is older than a
/// write that was answered in between.
fn stale_read(history: &mut History, rng: &mut SmallRng) -> bool {
    let from = rng.random_range(0..history.operations.len().max(1));
    let later = from..history.operations.len();
    for new in later.chain(0..from) {
        let operation = &history.operations[new];
        let Some(response) = operation.response() else { continue };
        let [StepResult::Range(kvs)] = &response.results[..] else { continue };
        let [kv] = &kvs[..] else { continue };
        if operation.request.may_write() {
            continue;
        }
        let older = history.operations.iter().find(|other| {
            let same = other.request == operation.request && other.returned < operation.invoked;
            let reads = other.response().map(|response| &response.results[..]);
            let Some([StepResult::Range(others)]) = reads else { return false };
            same && others.first().is_some_and(|other| other.mod_revision < kv.mod_revision)
        });
        if let Some(stale) = older.map(|older| older.outcome.clone()) {
            history.operations[new].outcome = stale;
            return operation_is_linearizable(history, new);
        }
    }
    false
}

fn operation_is_linearizable(history: &History, index: usize) -> bool {
    use checker::history::Consistency;
    history.operations[index].request.consistency == Consistency::Linearizable
}

/// Takes an answered put out of every watcher's messages.
fn lost_write(history: &mut History, rng: &mut SmallRng) -> bool {
    let Some((_, _, revision)) = pick_event(history, rng) else { return false };
    for record in &mut history.watches {
        for message in &mut record.messages {
            message.events.retain(|watched| watched.event.revision() != revision);
        }
        record.messages.retain(|message| {
            !(message.events.is_empty() && matches!(message.kind, watch::Kind::Events { .. }))
        });
    }
    true
}

fn wrong_branch(history: &mut History, rng: &mut SmallRng) -> bool {
    let from = rng.random_range(0..history.operations.len().max(1));
    let count = history.operations.len();
    for i in (0..count).map(|i| (from + i) % count) {
        let operation = &mut history.operations[i];
        if operation.request.compares.is_empty() {
            continue;
        }
        let Outcome::Done(response) = &mut operation.outcome else { continue };
        if response.succeeded && response.wrote() {
            response.succeeded = false;
            response.revision -= 1;
            response.results = vec![StepResult::Range(Vec::new())];
            return true;
        }
    }
    false
}

/// A record, a message and the revision of an event in it, at random.
fn pick_event(history: &History, rng: &mut SmallRng) -> Option<(usize, usize, i64)> {
    let mut places = Vec::new();
    for (r, record) in history.watches.iter().enumerate() {
        for (m, message) in record.messages.iter().enumerate() {
            // Neither the first nor the last: there must be something around it.
            if m > 2 && m + 3 < record.messages.len() && !message.events.is_empty() {
                places.push((r, m, message.events[0].event.revision()));
            }
        }
    }
    (!places.is_empty()).then(|| places[rng.random_range(0..places.len())])
}

fn stream(what: Planted, history: &mut History, rng: &mut SmallRng) -> bool {
    for _ in 0..1000 {
        let Some((r, m, revision)) = pick_event(history, rng) else { return false };
        let messages = &mut history.watches[r].messages;
        let message = messages[m].clone();
        match what {
            Planted::LostEvent => {
                messages[m].events.remove(0);
                if messages[m].events.is_empty() {
                    messages.remove(m);
                }
            }
            Planted::RepeatedEvent => messages.insert(m + 1, message),
            Planted::SwappedMessages => {
                if messages[m + 1].events.is_empty() {
                    continue;
                }
                messages.swap(m, m + 1);
            }
            Planted::TornRevision => {
                let torn =
                    message.events.len() > 1 && message.events[1].event.revision() == revision;
                if !torn {
                    continue;
                }
                let rest = messages[m].events.split_off(1);
                messages.insert(m + 1, watch::Message { events: rest, ..message });
            }
            _ => {
                let progress = watch::Message {
                    at: message.at,
                    revision: message.revision,
                    kind: watch::Kind::Progress,
                    events: Vec::new(),
                };
                messages.insert(m, progress);
            }
        }
        return true;
    }
    false
}

/// Says that a lease was renewed just before its keys went.
fn early_expiry(history: &mut History, rng: &mut SmallRng) -> bool {
    let serial = checker::serial::check(history);
    let expiries = &serial.expiries;
    for _ in 0..expiries.len() * 2 {
        let expiry = &expiries[rng.random_range(0..expiries.len())];
        let record = history.leases.iter_mut().find(|record| record.id == expiry.lease);
        let Some(record) = record else { continue };
        if record.actions.iter().any(|action| action.kind == lease::Kind::Revoked) {
            continue;
        }
        let (invoked, returned) = (expiry.seen - 500_000_000, expiry.seen - 400_000_000);
        let kind = lease::Kind::Lives { ttl: 2_000_000_000 };
        record.actions.push(lease::Action { invoked, returned, kind });
        return true;
    }
    false
}
