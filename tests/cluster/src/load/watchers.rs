//! Watchers: one of everything for each member, always resumed; others that come and go.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use api::etcdserverpb::{self as pb, watch_request::RequestUnion};
use bytes::Bytes;
use checker::{
    history::History,
    watch::{Kind, Record},
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{Shared, convert};
use crate::connection::Connection;

/// How often a watcher looks whether it is to end.
const NAP: Duration = Duration::from_millis(200);
/// A watcher that hears nothing for so long makes another stream: the connection may be cut.
const SILENCE: Duration = Duration::from_secs(6);
/// Watchers of everything give up so long after they should have been told all.
const LAST_CALL: Duration = Duration::from_secs(60);

/// Why a stream was left.
#[derive(PartialEq, Eq)]
enum End {
    /// All that was wanted came.
    Complete,
    /// It broke, was cancelled, or its time was up.
    Left,
}

/// Watches everything through one member, from the beginning to the end of the load.
pub(super) async fn everything(shared: Arc<Shared>, slot: usize) -> History {
    let mut history = History::default();
    let mut next = 1;
    let mut last_call = None;
    loop {
        let mut record = Record {
            name: format!("watcher of everything at {}", shared.servers[slot].address),
            key: Bytes::from_static(b"\0"),
            end: Bytes::from_static(b"\0"),
            start_revision: next,
            prev_kv: slot.is_multiple_of(2),
            ..Record::default()
        };
        let fragment = slot.is_multiple_of(3);
        let end = follow(&shared, slot, &mut record, fragment, None).await;
        next = resume_at(&record, next);
        let complete = end == End::Complete;
        if complete {
            record.complete_to = shared.target.load(Ordering::Relaxed);
        }
        if !record.messages.is_empty() {
            history.watches.push(record);
        }
        if complete {
            return history;
        }
        if shared.target.load(Ordering::Relaxed) > 0 {
            let last_call = *last_call.get_or_insert_with(|| Instant::now() + LAST_CALL);
            if shared.expected.load(Ordering::Relaxed) >> slot & 1 == 0 {
                return history;
            }
            if Instant::now() > last_call {
                // The record of an empty stream that had to be complete fails the check.
                history.watches.push(overdue(&shared, slot, next));
                return history;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A record that says: nothing came from `next` on though it should have.
fn overdue(shared: &Shared, slot: usize, next: i64) -> Record {
    Record {
        name: format!("watcher of everything at {}, given up", shared.servers[slot].address),
        key: Bytes::from_static(b"\0"),
        end: Bytes::from_static(b"\0"),
        start_revision: next,
        complete_to: shared.target.load(Ordering::Relaxed),
        ..Record::default()
    }
}

/// From which revision on to watch after this stream.
fn resume_at(record: &Record, from: i64) -> i64 {
    let mut next = from;
    for message in &record.messages {
        match message.kind {
            // A fragment may have been the last to come: its revision has to come again.
            Kind::Events { more } => {
                let last = message.events.last().map_or(0, |watched| watched.event.revision());
                next = next.max(last + i64::from(!more));
            }
            // A deletion at the compacted revision itself is gone.
            Kind::Canceled { compacted } if compacted > 0 => next = next.max(compacted + 1),
            Kind::Canceled { .. } | Kind::Created | Kind::Progress => {}
        }
    }
    next
}

/// Watches here and there for a while, again and again.
pub(super) async fn come_and_go(shared: Arc<Shared>, number: u32) -> History {
    let mut rng = SmallRng::seed_from_u64(shared.plan.seed ^ (4 << 32 | u64::from(number)));
    let mut history = History::default();
    while !shared.stopped() {
        let slot = rng.random_range(0..shared.servers.len());
        let newest = shared.newest.load(Ordering::Relaxed);
        let start_revision = match rng.random_range(0..3) {
            0 => 0,
            1 => newest + rng.random_range(0..20),
            _ => (newest - rng.random_range(0..2000)).max(1),
        };
        let (key, end) = match rng.random_range(0..3) {
            0 => (format!("k/{:05}", rng.random_range(0..10)), ""),
            1 => ("g/".to_owned(), "g0"),
            _ => ("k/00000".to_owned(), "k/00100"),
        };
        let filter = rng.random_range(0..6);
        let mut record = Record {
            name: format!("watcher {number} at {}", shared.servers[slot].address),
            key: key.into(),
            end: Bytes::from_static(end.as_bytes()),
            start_revision,
            no_put: filter == 0,
            no_delete: filter == 1,
            prev_kv: rng.random_bool(0.3),
            ..Record::default()
        };
        let until = Instant::now() + Duration::from_millis(rng.random_range(200..8000));
        follow(&shared, slot, &mut record, rng.random(), Some(until)).await;
        // Without the moment of creation nothing tells where such a watcher begins.
        let begins = start_revision > 0
            || record.messages.first().is_some_and(|first| first.kind == Kind::Created);
        if begins {
            history.watches.push(record);
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..300))).await;
    }
    history
}

/// Follows one stream into the record until it ends, its time is up, the load stops or, without a
/// time, everything was told.
async fn follow(
    shared: &Shared,
    slot: usize,
    record: &mut Record,
    fragment: bool,
    until: Option<Instant>,
) -> End {
    let Ok(connection) = Connection::to(&shared.servers[slot], shared.plan.patience) else {
        return End::Left;
    };
    let (requests, receiver) = mpsc::unbounded_channel();
    let _ = requests.send(create(record, fragment));
    let mut watch = connection.watch.clone();
    let call = watch.watch(UnboundedReceiverStream::new(receiver));
    let Ok(Ok(answer)) = tokio::time::timeout(shared.plan.patience, call).await else {
        return End::Left;
    };
    let mut stream = answer.into_inner();
    let mut last_heard = Instant::now();
    let mut last_revision = record.start_revision - 1;
    loop {
        let target = shared.target.load(Ordering::Relaxed);
        if until.is_none() && target > 0 && last_revision >= target {
            return End::Complete;
        }
        let over = until.is_some_and(|until| Instant::now() > until || shared.stopped());
        if over || last_heard.elapsed() > SILENCE {
            return End::Left;
        }
        let response = match tokio::time::timeout(NAP, stream.message()).await {
            Err(_) => {
                // Asking for progress keeps a quiet stream honest, and shows a dead one.
                let ask = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
                let _ = requests.send(pb::WatchRequest { request_union: Some(ask) });
                continue;
            }
            Ok(Ok(Some(response))) => response,
            Ok(Ok(None) | Err(_)) => return End::Left,
        };
        last_heard = Instant::now();
        let Ok(message) = convert::watch_message(shared.clock.now(), &response) else {
            return End::Left;
        };
        for watched in &message.events {
            last_revision = last_revision.max(watched.event.revision());
            shared.told(last_revision);
        }
        let canceled = matches!(message.kind, Kind::Canceled { .. });
        record.messages.push(message);
        if canceled {
            return End::Left;
        }
    }
}

fn create(record: &Record, fragment: bool) -> pb::WatchRequest {
    use pb::watch_create_request::FilterType;
    let mut filters = Vec::new();
    if record.no_put {
        filters.push(FilterType::Noput as i32);
    }
    if record.no_delete {
        filters.push(FilterType::Nodelete as i32);
    }
    let create = pb::WatchCreateRequest {
        key: record.key.clone(),
        range_end: record.end.clone(),
        start_revision: record.start_revision,
        progress_notify: true,
        filters,
        prev_kv: record.prev_kv,
        fragment,
        watch_id: 0,
    };
    pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
}
