//! Histories that must pass and histories that must not.

mod broken;
mod random;
mod search;
mod watches;

use crate::{
    History, Options, Report, check,
    history::{Event, Kv, Operation, Outcome, Request, Response, Step, StepResult},
    watch,
};

/// Builds a history with times in milliseconds.
#[derive(Default)]
struct Story {
    history: History,
}

impl Story {
    /// An answered operation.
    fn done(mut self, from: u64, to: u64, request: Request, response: Response) -> Story {
        self.push(from, to * MS, request, Outcome::Done(response));
        self
    }

    /// An operation without an answer.
    fn open(mut self, from: u64, request: Request) -> Story {
        self.push(from, u64::MAX, request, Outcome::Unknown);
        self
    }

    /// A watcher of everything that was told these events, each in a message, at that time.
    fn watched(mut self, at: u64, events: &[Event]) -> Story {
        let mut messages = vec![message(at, 1, watch::Kind::Created, &[])];
        for group in events.chunk_by(|a, b| a.revision() == b.revision()) {
            let kind = watch::Kind::Events { more: false };
            messages.push(message(at, group[0].revision(), kind, group));
        }
        let record = watch::Record { messages, start_revision: 1, ..everything() };
        self.history.watches.push(record);
        self
    }

    fn push(&mut self, from: u64, returned: u64, request: Request, outcome: Outcome) {
        let client = self.history.operations.len() as u32;
        let invoked = from * MS;
        self.history.operations.push(Operation { client, invoked, returned, request, outcome });
    }

    fn check(mut self) -> Report {
        check(&mut self.history, Options::default())
    }

    #[track_caller]
    fn passes(self) {
        let report = self.check();
        assert!(report.is_ok(), "{report}");
    }

    /// Both checks of linearizability must find it.
    #[track_caller]
    fn fails(self) -> Report {
        let report = self.check();
        assert!(!report.serial.violations.is_empty(), "by revisions: {report}");
        assert!(!report.linear.violations.is_empty(), "by search: {report}");
        report
    }
}

const MS: u64 = 1_000_000;

fn everything() -> watch::Record {
    watch::Record {
        name: "all".into(),
        key: "\0".into(),
        end: "\0".into(),
        ..watch::Record::default()
    }
}

fn message(at: u64, revision: i64, kind: watch::Kind, events: &[Event]) -> watch::Message {
    let events = events.iter().map(|event| watch::Watched { event: event.clone(), prev: None });
    watch::Message { at: at * MS, revision, kind, events: events.collect() }
}

fn kv(key: &str, value: &str, create: i64, modified: i64, version: i64) -> Kv {
    Kv {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        create_revision: create,
        mod_revision: modified,
        version,
        lease: 0,
    }
}

fn put(key: &str, value: &str) -> Request {
    Request::put(key.to_owned(), value.to_owned())
}

fn get(key: &str) -> Request {
    Request::get(key.to_owned())
}

fn delete(key: &str) -> Request {
    Request::delete(key.to_owned())
}

fn cas(key: &str, mod_revision: i64, value: &str) -> Request {
    Request::compare_and_put(key.to_owned(), mod_revision, value.to_owned())
}

fn answer(revision: i64, result: StepResult) -> Response {
    Response { revision, succeeded: true, results: vec![result] }
}

/// The answer to a put.
fn ok(revision: i64) -> Response {
    answer(revision, StepResult::Put { prev: None })
}

fn deleted(revision: i64, deleted: i64) -> Response {
    answer(revision, StepResult::Delete { deleted })
}

fn read(revision: i64, kvs: &[Kv]) -> Response {
    answer(revision, StepResult::Range(kvs.to_vec()))
}

/// The answer of a comparison that failed and then read this.
fn lost(revision: i64, kvs: &[Kv]) -> Response {
    Response { succeeded: false, ..read(revision, kvs) }
}

fn put_both(a: &str, b: &str, value: &str) -> Request {
    let step = |key: &str| Step::Put {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        lease: 0,
    };
    Request { success: vec![step(a), step(b)], ..Request::default() }
}
