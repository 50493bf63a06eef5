//! etcd's promises to watchers, each checked for each stream against the timeline of changes.
//!
//! - **ordered**: events come by revision, those of one revision in the order of its changes;
//! - **unique**: no event comes twice;
//! - **atomic**: the events of one revision come in one message (or its fragments);
//! - **resumable**: a watch from a revision on gets every event since;
//! - **reliable**: no event between two that came is missing;
//! - **bookmarkable**: a progress message at revision R means that all up to R has come.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    history::{Event, History, Kv, in_range},
    serial::Timeline,
    verdict::{Verdict, Violation, Violations},
};

/// What one watcher asked for and was sent, until its stream ended.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// For messages: which watcher of which member.
    pub name: String,
    /// First key.
    pub key: Bytes,
    /// First key behind the range, as in a [`crate::history::Step`].
    pub end: Bytes,
    /// From which revision on; 0: from the moment of its creation.
    pub start_revision: i64,
    /// Puts were not asked for.
    pub no_put: bool,
    /// Deletions were not asked for.
    pub no_delete: bool,
    /// The pairs before changes were asked for.
    pub prev_kv: bool,
    /// What came, in order.
    pub messages: Vec<Message>,
    /// The recorder waited until the watcher had to have everything up to this revision; 0: it did
    /// not.
    pub complete_to: i64,
}

/// One message of a watch stream.
#[derive(Clone, Debug)]
pub struct Message {
    /// When it came.
    pub at: u64,
    /// The revision in its header.
    pub revision: i64,
    /// What it is.
    pub kind: Kind,
    /// The events, of [`Kind::Events`] only.
    pub events: Vec<Watched>,
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The watcher exists now.
    Created,
    /// Events; with `more` the rest of the last revision comes in the next message.
    Events {
        /// Whether this is a fragment that others follow.
        more: bool,
    },
    /// Everything up to the revision in the header has come.
    Progress,
    /// The end; `compacted` is not 0 when the wanted revisions are gone.
    Canceled {
        /// The revision up to which history is gone.
        compacted: i64,
    },
}

/// An event with the pair before it, when that was asked for and known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The event.
    pub event: Event,
    /// What was there before.
    pub prev: Option<Kv>,
}

/// What the check of all streams found.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Streams judged.
    pub streams: usize,
    /// Events in them.
    pub events: usize,
    /// Events behind the end of the timeline, not judged.
    pub beyond: usize,
    /// Broken promises.
    pub violations: Violations,
}

impl Summary {
    /// The worst of all streams.
    pub fn verdict(&self) -> Verdict {
        match self.violations.verdict() {
            Verdict::Ok if self.beyond > 0 => {
                Verdict::Unknown(format!("{} events behind the known timeline", self.beyond))
            }
            verdict => verdict,
        }
    }
}

/// Checks every stream of a history. `compacted` is the newest revision that history was compacted
/// at: pairs before older changes may be gone.
pub fn check(history: &History, timeline: &Timeline, compacted: i64) -> Summary {
    let mut summary = Summary::default();
    let prevs = Prevs::new(timeline, history.watches.iter().any(|record| record.prev_kv));
    for record in &history.watches {
        summary.streams += 1;
        let mut stream = Stream {
            record,
            timeline,
            prevs: &prevs,
            compacted,
            next: record.start_revision,
            last_sent: 0,
            open_fragment: Vec::new(),
            summary: &mut summary,
        };
        stream.run();
    }
    summary
}

/// The pair that each change replaced.
struct Prevs<'a>(BTreeMap<&'a [u8], Vec<&'a Event>>);

impl<'a> Prevs<'a> {
    fn new(timeline: &'a Timeline, wanted: bool) -> Prevs<'a> {
        let mut of: BTreeMap<&[u8], Vec<&Event>> = BTreeMap::new();
        if wanted {
            for event in timeline.iter().flat_map(|(_, change)| &change.events) {
                of.entry(&event.kv.key).or_default().push(event);
            }
        }
        Prevs(of)
    }

    fn before(&self, event: &Event) -> Option<&'a Kv> {
        let versions = self.0.get(&event.kv.key[..])?;
        let at = versions.partition_point(|other| other.revision() < event.revision());
        let prev = versions[..at].last()?;
        (!prev.deleted).then_some(&prev.kv)
    }
}

struct Stream<'a> {
    record: &'a Record,
    timeline: &'a Timeline,
    prevs: &'a Prevs<'a>,
    compacted: i64,
    /// The first revision that may still have to come; 0 until known.
    next: i64,
    last_sent: i64,
    open_fragment: Vec<Watched>,
    summary: &'a mut Summary,
}

impl Stream<'_> {
    fn run(&mut self) {
        let record = self.record;
        for message in &record.messages {
            match message.kind {
                Kind::Created => {
                    if self.next == 0 {
                        self.next = message.revision + 1;
                    }
                }
                Kind::Events { more } => self.events(message, more),
                Kind::Progress => {
                    self.nothing_missing(message.revision + 1, "bookmarkable", message.at);
                    self.next = self.next.max(message.revision + 1);
                }
                Kind::Canceled { .. } => return,
            }
        }
        if record.complete_to > 0 && self.next > 0 {
            let at = record.messages.last().map_or(0, |message| message.at);
            self.nothing_missing(record.complete_to + 1, "reliable", at);
        }
    }

    fn events(&mut self, message: &Message, more: bool) {
        self.summary.events += message.events.len();
        let mut all = std::mem::take(&mut self.open_fragment);
        all.extend_from_slice(&message.events);
        let last = all.last().map_or(0, |watched| watched.event.revision());
        if message.revision < last {
            let revision = message.revision;
            self.fail("ordered", message.at, format!("header {revision}, event at {last}"));
        }
        for group in all.chunk_by(|a, b| a.event.revision() == b.event.revision()) {
            let revision = group[0].event.revision();
            if more && revision == last {
                self.open_fragment = group.to_vec();
                return;
            }
            self.revision(revision, group, message.at);
        }
    }

    /// All events that came together for one revision.
    fn revision(&mut self, revision: i64, group: &[Watched], at: u64) {
        if revision > self.timeline.last() {
            self.summary.beyond += group.len();
            return;
        }
        let timeline = self.timeline;
        let expected: Vec<&Event> =
            timeline.at(revision).iter().filter(|event| self.wants(event)).collect();
        if revision == self.last_sent {
            self.fail("atomic or unique", at, format!("revision {revision} came again"));
            return;
        }
        if revision < self.next || revision < self.last_sent {
            let (next, last) = (self.next, self.last_sent);
            let told = format!("revision {revision} came after {last}, {next} was due");
            self.fail("ordered", at, told);
            return;
        }
        let rule = if self.last_sent == 0 { "resumable" } else { "reliable" };
        self.nothing_missing(revision, rule, at);
        let came: Vec<&Event> = group.iter().map(|watched| &watched.event).collect();
        if came != expected {
            let rule = if came.len() < expected.len() { "atomic" } else { "true to the store" };
            self.fail(rule, at, format!("came {came:?}, the changes were {expected:?}"));
        }
        if self.record.prev_kv {
            group.iter().for_each(|watched| self.prev(watched, at));
        }
        self.next = revision + 1;
        self.last_sent = revision;
    }

    fn prev(&mut self, watched: &Watched, at: u64) {
        let expected = self.prevs.before(&watched.event);
        let gone = watched.prev.is_none() && watched.event.revision() - 1 < self.compacted;
        if watched.prev.as_ref() != expected && !gone {
            let message = format!("{:?} came as before {:?}", watched.prev, watched.event);
            self.fail("true to the store", at, message);
        }
    }

    /// No event from `next` on and before `until` was left out.
    fn nothing_missing(&mut self, until: i64, rule: &'static str, at: u64) {
        let until = until.min(self.timeline.last() + 1);
        let missing = (self.next.max(2)..until)
            .find(|&revision| self.timeline.at(revision).iter().any(|event| self.wants(event)));
        if let Some(missing) = missing {
            let message = format!("revision {missing} was left out before {until}");
            self.fail(rule, at, message);
        }
    }

    fn wants(&self, event: &Event) -> bool {
        let record = self.record;
        let filtered = if event.deleted { record.no_delete } else { record.no_put };
        !filtered && in_range(&event.kv.key, &record.key, &record.end)
    }

    fn fail(&mut self, rule: &'static str, at: u64, message: String) {
        let message = format!("{}: {message}", self.record.name);
        self.summary.violations.push(Violation::new(rule, at, message));
    }
}
