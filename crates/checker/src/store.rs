//! A keyspace as etcd defines it, in its simplest form: a map and a revision. The oracle of
//! [`crate::serial`].

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::history::{Compare, Event, Kv, Request, Response, Step, StepResult, Target, in_range};

/// All keys at one revision.
#[derive(Clone, Debug)]
pub struct Store {
    revision: i64,
    keys: BTreeMap<Bytes, Kv>,
}

impl Default for Store {
    fn default() -> Store {
        Store { revision: 1, keys: BTreeMap::new() }
    }
}

/// What a request would do: the answer, and the changes in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The answer. Every put answers the pair before it.
    pub response: Response,
    /// The changes; empty for a read.
    pub events: Vec<Event>,
}

impl Store {
    /// The revision of the last change; 1 when there was none.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// One key.
    pub fn get(&self, key: &[u8]) -> Option<&Kv> {
        self.keys.get(key)
    }

    /// What `request` would be answered now, and what it would change.
    pub fn plan(&self, request: &Request) -> Plan {
        let succeeded = request.compares.iter().all(|compare| self.holds(compare));
        let steps = request.branch(succeeded);
        let writes = steps.iter().any(|step| match step {
            Step::Range { .. } => false,
            Step::Put { .. } => true,
            Step::Delete { key, end } => self.range(key, end).next().is_some(),
        });
        let revision = self.revision + i64::from(writes);
        let mut events: Vec<Event> = Vec::new();
        let results = steps.iter().map(|step| self.step(step, revision, &mut events)).collect();
        Plan { response: Response { revision, succeeded, results }, events }
    }

    /// Makes changes of one revision, whatever they are.
    pub fn commit(&mut self, revision: i64, events: &[Event]) {
        self.revision = revision;
        for event in events {
            if event.deleted {
                self.keys.remove(&event.kv.key);
            } else {
                self.keys.insert(event.kv.key.clone(), event.kv.clone());
            }
        }
    }

    /// The deletions of the end of a lease: its keys, in order.
    pub fn revocation(&self, lease: i64) -> Vec<Event> {
        let attached = self.keys.values().filter(|kv| kv.lease == lease);
        attached.map(|kv| Event::delete(kv.key.clone(), self.revision + 1)).collect()
    }

    /// All keys that are attached to a lease.
    pub fn leased(&self) -> impl Iterator<Item = &Kv> {
        self.keys.values().filter(|kv| kv.lease != 0)
    }

    fn range<'a>(&'a self, key: &'a [u8], end: &'a [u8]) -> impl Iterator<Item = &'a Kv> {
        let from = self
            .keys
            .range::<[u8], _>((std::ops::Bound::Included(key), std::ops::Bound::Unbounded));
        from.map(|(_, kv)| kv).take_while(move |kv| in_range(&kv.key, key, end))
    }

    fn step(&self, step: &Step, revision: i64, events: &mut Vec<Event>) -> StepResult {
        match step {
            Step::Range { key, end } => StepResult::Range(self.read(key, end, events)),
            Step::Put { key, value, lease } => {
                let prev = self.read(key, b"", events).pop();
                events.push(Event::put(Kv {
                    key: key.clone(),
                    value: value.clone(),
                    create_revision: prev.as_ref().map_or(revision, |kv| kv.create_revision),
                    mod_revision: revision,
                    version: prev.as_ref().map_or(1, |kv| kv.version + 1),
                    lease: *lease,
                }));
                StepResult::Put { prev: Some(prev) }
            }
            Step::Delete { key, end } => {
                let found = self.read(key, end, events);
                events.extend(found.iter().map(|kv| Event::delete(kv.key.clone(), revision)));
                StepResult::Delete { deleted: found.len() as i64 }
            }
        }
    }

    /// A range as the steps before in the same transaction left it.
    fn read(&self, key: &[u8], end: &[u8], events: &[Event]) -> Vec<Kv> {
        let mut found: BTreeMap<&Bytes, &Kv> =
            self.range(key, end).map(|kv| (&kv.key, kv)).collect();
        for event in events.iter().filter(|event| in_range(&event.kv.key, key, end)) {
            if event.deleted {
                found.remove(&event.kv.key);
            } else {
                found.insert(&event.kv.key, &event.kv);
            }
        }
        found.into_values().cloned().collect()
    }

    fn holds(&self, compare: &Compare) -> bool {
        let kv = self.keys.get(&compare.key);
        let number = |of: fn(&Kv) -> i64, given: i64| kv.map_or(0, of).cmp(&given);
        let order = match &compare.target {
            Target::Version(given) => number(|kv| kv.version, *given),
            Target::Create(given) => number(|kv| kv.create_revision, *given),
            Target::Mod(given) => number(|kv| kv.mod_revision, *given),
            Target::Lease(given) => number(|kv| kv.lease, *given),
            Target::Value(given) => match kv {
                Some(kv) => kv.value.cmp(given),
                // An absent key has no value: no relation holds.
                None => return false,
            },
        };
        compare.relation.holds(order)
    }
}
