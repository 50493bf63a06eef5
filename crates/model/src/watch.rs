//! What a watcher has to be sent.

use api::{
    etcdserverpb::{WatchCreateRequest, watch_create_request::FilterType},
    kv::KeyValue,
    range::KeyRange,
};
use bytes::Bytes;

use crate::keyspace::{Change, Keyspace};

/// One event as a watcher has to receive it.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// The change.
    pub change: Change,
    /// What was there before the change's transaction, if the watcher asked for it and it had not
    /// been compacted: then it may be missing.
    pub previous: Option<KeyValue>,
}

/// The events of the revisions from `first` to `last` that a watcher must receive: all of them,
/// once, in this order.
pub fn expected_events(
    keys: &Keyspace,
    request: &WatchCreateRequest,
    first: i64,
    last: i64,
) -> Vec<Watched> {
    let range = watched_range(request);
    let filtered = |kind: FilterType| request.filters.contains(&(kind as i32));
    let mut events = Vec::new();
    for revision in first.max(2)..=last {
        for change in keys.changes(revision) {
            let unwanted = if change.deleted {
                filtered(FilterType::Nodelete)
            } else {
                filtered(FilterType::Noput)
            };
            if unwanted || !range.contains(&change.kv.key) {
                continue;
            }
            let creates = !change.deleted && change.kv.create_revision == revision;
            let previous = match request.prev_kv && !creates {
                true => keys.get_at(&change.kv.key, revision - 1).cloned(),
                false => None,
            };
            events.push(Watched { change: change.clone(), previous });
        }
    }
    events
}

/// The range of a watcher: an empty key is the smallest one.
fn watched_range(request: &WatchCreateRequest) -> KeyRange {
    let smallest = Bytes::from_static(&[0]);
    let key = if request.key.is_empty() { smallest } else { request.key.clone() };
    KeyRange::new(key, request.range_end.clone())
}
