//! What watchers were told, put together by revision.

use std::collections::BTreeMap;

use crate::{
    history::Event,
    verdict::{Violation, Violations},
    watch::Record,
};

/// The changes of one revision as far as watchers saw them.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) events: Vec<Event>,
    pub(super) first: u64,
}

/// Joins the records; two watchers that were told different things are a violation.
pub(super) fn collect(records: &[Record], violations: &mut Violations) -> BTreeMap<i64, Seen> {
    let mut all: BTreeMap<i64, Seen> = BTreeMap::new();
    for record in records {
        for message in &record.messages {
            for watched in &message.events {
                let event = &watched.event;
                let seen = all
                    .entry(event.revision())
                    .or_insert_with(|| Seen { events: Vec::new(), first: message.at });
                seen.first = seen.first.min(message.at);
                match seen.events.iter().find(|other| other.kv.key == event.kv.key) {
                    None => seen.events.push(event.clone()),
                    Some(other) if other == event => {}
                    Some(other) => violations.push(Violation::new(
                        "watchers agree",
                        message.at,
                        format!("{} was told {event:?}, another {other:?}", record.name),
                    )),
                }
            }
        }
    }
    all
}
