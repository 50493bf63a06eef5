//! The rules of a watch stream that need neither store nor hub: ids, refusals, order of replies.

use std::collections::BTreeSet;

use api::{
    error::{Code, Error},
    etcdserverpb::{
        ResponseHeader, WatchCreateRequest, WatchRequest, WatchResponse,
        watch_create_request::FilterType, watch_request::RequestUnion,
    },
    range::KeyRange,
};
use bytes::Bytes;

use crate::{
    delivery::NO_WATCH_ID,
    watcher::{Start, WatcherSpec},
};

/// Why a watcher over no keys is refused.
const EMPTY_RANGE: &str = "mvcc: watcher range is empty";
/// Why a watcher with an id in use is refused.
const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";

/// What the service has to do, in this order, each step done before the next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Queue this reply (its header has the revision alone). Replies share the queue with the
    /// stream's deliveries and wait for room.
    Reply(WatchResponse),
    /// Add a watcher to the hub.
    Create {
        /// Its id on the stream.
        watch_id: i64,
        /// What it wants.
        spec: WatcherSpec,
    },
    /// Remove a watcher from the hub.
    Cancel {
        /// Its id on the stream.
        watch_id: i64,
    },
    /// Have the hub report progress.
    Progress,
}

/// What a stream remembers of the requests it has had: the ids in use.
///
/// An id stays in use until the client cancels it, even when the server dropped its watcher because
/// of a compaction, as in etcd.
#[derive(Debug, Default)]
pub struct StreamState {
    ids: BTreeSet<i64>,
    /// Where the search for an unused id begins; only grows.
    next_id: i64,
}

impl StreamState {
    /// A stream without watchers.
    pub fn new() -> StreamState {
        StreamState::default()
    }

    /// Decides about one request. `revision` is the store's current one: the reply shows it, and a
    /// watcher without a start revision begins after it. `permit` says whether the caller may read
    /// the range.
    pub fn handle(
        &mut self,
        request: WatchRequest,
        revision: i64,
        permit: impl FnOnce(&KeyRange) -> Result<(), Error>,
    ) -> Vec<Action> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(request)) => {
                match self.create(request, revision, permit) {
                    Ok((watch_id, spec)) => {
                        let created = WatchResponse { created: true, ..reply(watch_id, revision) };
                        vec![Action::Reply(created), Action::Create { watch_id, spec }]
                    }
                    Err(reason) => vec![Action::Reply(WatchResponse {
                        created: true,
                        canceled: true,
                        cancel_reason: reason,
                        ..reply(NO_WATCH_ID, revision)
                    })],
                }
            }
            Some(RequestUnion::CancelRequest(request)) => {
                let watch_id = request.watch_id;
                if !self.ids.remove(&watch_id) {
                    return Vec::new();
                }
                let canceled = WatchResponse { canceled: true, ..reply(watch_id, revision) };
                vec![Action::Cancel { watch_id }, Action::Reply(canceled)]
            }
            Some(RequestUnion::ProgressRequest(_)) => vec![Action::Progress],
            None => Vec::new(),
        }
    }

    /// Checks a new watcher in etcd's order and gives it an id; the error is the reason to cancel.
    fn create(
        &mut self,
        request: WatchCreateRequest,
        revision: i64,
        permit: impl FnOnce(&KeyRange) -> Result<(), Error>,
    ) -> Result<(i64, WatcherSpec), String> {
        let smallest = || Bytes::from_static(&[0]);
        let key = if request.key.is_empty() { smallest() } else { request.key };
        let range = KeyRange::new(key, request.range_end);
        if request.start_revision < 0 {
            return Err(Error::Compacted.message().to_owned());
        }
        permit(&range).map_err(not_permitted)?;
        if range.is_empty() {
            return Err(EMPTY_RANGE.to_owned());
        }
        let watch_id = self.take_id(request.watch_id)?;
        let filters = |kind: FilterType| request.filters.contains(&(kind as i32));
        let start = match request.start_revision {
            0 => Start::After(revision),
            asked => Start::At(asked),
        };
        let spec = WatcherSpec {
            range,
            start,
            prev_kv: request.prev_kv,
            filter_put: filters(FilterType::Noput),
            filter_delete: filters(FilterType::Nodelete),
            progress_notify: request.progress_notify,
            fragment: request.fragment,
        };
        Ok((watch_id, spec))
    }

    /// The asked id, or for 0 the next one that is not in use.
    fn take_id(&mut self, asked: i64) -> Result<i64, String> {
        let id = if asked == 0 {
            while self.ids.contains(&self.next_id) {
                self.next_id += 1;
            }
            self.next_id += 1;
            self.next_id - 1
        } else {
            asked
        };
        if !self.ids.insert(id) {
            return Err(DUPLICATE_ID.to_owned());
        }
        Ok(id)
    }
}

/// A reply with the header that every reply has.
fn reply(watch_id: i64, revision: i64) -> WatchResponse {
    let header = ResponseHeader { revision, ..ResponseHeader::default() };
    WatchResponse { header: Some(header), watch_id, ..WatchResponse::default() }
}

/// The reason shown to a client that may not watch: a whole gRPC status in text, as etcd has it.
/// What is no matter of authentication is shown as a missing permission.
fn not_permitted(error: Error) -> String {
    let shown = match error {
        Error::InvalidAuthToken | Error::AuthOldRevision | Error::UserEmpty => error,
        _ => Error::PermissionDenied,
    };
    let code = match shown.code() {
        Code::Unauthenticated => "Unauthenticated",
        Code::InvalidArgument => "InvalidArgument",
        _ => "PermissionDenied",
    };
    format!("rpc error: code = {code} desc = {}", shown.message())
}

#[cfg(test)]
mod tests;
