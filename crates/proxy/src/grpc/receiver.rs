//! One watcher of one client, and what it is sent of the responses that it shares with others.

use std::sync::Arc;

use api::{
    etcdserverpb::{
        ResponseHeader, WatchCreateRequest, WatchResponse, watch_create_request::FilterType,
    },
    mvccpb::{Event, event::EventType},
};
use prost::Message as _;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, mpsc::error::TrySendError};

/// The watch id of answers about no watcher.
pub(crate) const NO_WATCH: i64 = -1;

/// Responses that wait for one client.
const QUEUE: usize = 1024;
/// Bytes of responses that wait for one client; a larger one waits alone.
const QUEUE_BYTES: usize = 16 << 20;

/// A response that waits, and its share of the bytes that may.
pub(crate) type Waiting = (WatchResponse, OwnedSemaphorePermit);

/// Where the responses of a client's stream go.
pub(crate) struct Outlet {
    /// Numbers streams within this process.
    pub(crate) stream: u64,
    queue: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    /// The stream has to end: its client does not read.
    pub(crate) overrun: Notify,
}

impl Outlet {
    /// The outlet of a stream, and where its client reads.
    pub(crate) fn new(stream: u64) -> (Arc<Outlet>, mpsc::Receiver<Waiting>) {
        let (queue, responses) = mpsc::channel(QUEUE);
        let room = Arc::new(Semaphore::new(QUEUE_BYTES));
        (Arc::new(Outlet { stream, queue, room, overrun: Notify::new() }), responses)
    }

    /// Adds a response; gives it back if it does not fit. To a client that is gone it is sent too.
    pub(crate) fn try_send(&self, response: WatchResponse) -> Result<(), Box<WatchResponse>> {
        let room = self.room.clone().try_acquire_many_owned(share(&response));
        let Ok(room) = room else { return Err(Box::new(response)) };
        match self.queue.try_send((response, room)) {
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            Err(TrySendError::Full((response, _))) => Err(Box::new(response)),
        }
    }

    /// Adds a response once it fits.
    pub(crate) async fn send(&self, response: WatchResponse) {
        let room = self.room.clone().acquire_many_owned(share(&response));
        let room = tokio::select! {
            room = room => room.expect("the semaphore stays open"),
            () = self.queue.closed() => return,
        };
        // To a client that is gone, or will be.
        let _ = self.queue.send((response, room)).await;
    }
}

/// The bytes that a response counts for.
fn share(response: &WatchResponse) -> u32 {
    u32::try_from(response.encoded_len().min(QUEUE_BYTES)).unwrap_or(u32::MAX)
}

/// A response of the cluster, before it is cut to what each watcher wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared {
    pub(crate) header: ResponseHeader,
    pub(crate) events: Vec<(i64, Event)>,
    pub(crate) created: bool,
    pub(crate) canceled: bool,
    pub(crate) compact_revision: i64,
    pub(crate) reason: String,
}

impl Shared {
    pub(crate) fn is_progress(&self) -> bool {
        self.events.is_empty()
            && !self.canceled
            && !self.created
            && self.compact_revision == 0
            && self.header.revision != 0
    }
}

/// A watcher.
pub(crate) struct Receiver {
    pub(crate) outlet: Arc<Outlet>,
    pub(crate) watch_id: i64,
    /// The first revision that it has not been sent; 0 for the present.
    pub(crate) next_revision: i64,
    /// Of the last response that it was sent.
    pub(crate) header: Option<ResponseHeader>,
    progress: bool,
    prev_kv: bool,
    without: Vec<EventType>,
}

impl Receiver {
    /// The watcher that a request asks for.
    pub(crate) fn new(
        outlet: Arc<Outlet>,
        watch_id: i64,
        request: &WatchCreateRequest,
    ) -> Receiver {
        let without = request.filters().map(|filter| match filter {
            FilterType::Noput => EventType::Put,
            FilterType::Nodelete => EventType::Delete,
        });
        Receiver {
            outlet,
            watch_id,
            next_revision: request.start_revision,
            header: None,
            progress: request.progress_notify,
            prev_kv: request.prev_kv,
            without: without.collect(),
        }
    }

    /// What it is sent of a response, and the revision that it waits for afterwards.
    pub(crate) fn cut(&self, shared: &Shared) -> (Option<WatchResponse>, i64) {
        let mut next = self.next_revision;
        if next > shared.header.revision && !shared.events.is_empty() {
            return (None, next);
        }
        if next == 0 {
            next = shared.header.revision + 1;
        }
        if shared.is_progress() && !self.progress {
            return (None, next);
        }
        let new: Vec<&(i64, Event)> =
            shared.events.iter().filter(|(revision, _)| *revision >= next).collect();
        let last = new.last().map(|(revision, _)| revision + 1);
        let events: Vec<Event> = new
            .iter()
            .filter(|(_, event)| !self.without.contains(&event.r#type()))
            .map(|(_, event)| match self.prev_kv {
                true => event.clone(),
                false => Event { r#type: event.r#type, kv: event.kv.clone(), prev_kv: None },
            })
            .collect();
        let next = last.unwrap_or(next);
        let empty = events.is_empty() && !shared.is_progress();
        if empty && !shared.created && !shared.canceled && shared.compact_revision == 0 {
            return (None, next);
        }
        let refused = shared.created && shared.canceled;
        let response = WatchResponse {
            header: Some(shared.header),
            watch_id: if refused { NO_WATCH } else { self.watch_id },
            created: shared.created,
            canceled: shared.canceled,
            compact_revision: shared.compact_revision,
            cancel_reason: shared.reason.clone(),
            fragment: false,
            events,
        };
        (Some(response), next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receiver(request: &WatchCreateRequest) -> Receiver {
        Receiver::new(Outlet::new(1).0, 7, request)
    }

    fn event(revision: i64, kind: EventType) -> (i64, Event) {
        let kv =
            api::kv::KeyValue { key: "k".into(), mod_revision: revision, ..Default::default() };
        let kv = kv.to_raw();
        (revision, Event { r#type: kind.into(), kv: Some(kv.clone()), prev_kv: Some(kv) })
    }

    fn shared(revision: i64, events: Vec<(i64, Event)>) -> Shared {
        let header = ResponseHeader { revision, ..ResponseHeader::default() };
        Shared { header, events, ..Shared::default() }
    }

    #[test]
    fn what_was_sent_before_is_not_sent_again() {
        let request = WatchCreateRequest { start_revision: 5, ..Default::default() };
        let watcher = receiver(&request);
        let events =
            vec![event(4, EventType::Put), event(5, EventType::Put), event(5, EventType::Put)];
        let (sent, next) = watcher.cut(&shared(5, events));
        let sent = sent.unwrap();
        assert_eq!((sent.events.len(), sent.watch_id, next), (2, 7, 6));
        assert!(sent.events.iter().all(|event| event.prev_kv.is_none()));
        assert_eq!(watcher.cut(&shared(4, vec![event(4, EventType::Put)])), (None, 5));
    }

    #[test]
    fn filters_progress_and_previous_values_are_each_watchers_own() {
        let request = WatchCreateRequest {
            start_revision: 2,
            progress_notify: true,
            prev_kv: true,
            filters: vec![FilterType::Noput.into()],
            ..Default::default()
        };
        let picky = receiver(&request);
        assert_eq!(picky.cut(&shared(2, vec![event(2, EventType::Put)])), (None, 3));
        let (sent, _) = picky.cut(&shared(2, vec![event(2, EventType::Delete)]));
        assert!(sent.unwrap().events[0].prev_kv.is_some());
        assert!(picky.cut(&shared(9, Vec::new())).0.is_some());
        let plain = receiver(&WatchCreateRequest::default());
        assert_eq!(plain.cut(&shared(9, Vec::new())), (None, 10));
    }

    #[test]
    fn what_waits_is_bounded_by_number_and_by_bytes() {
        let small = WatchResponse { watch_id: 1, ..WatchResponse::default() };
        let reason = "x".repeat(QUEUE_BYTES * 2 / 3);
        let large = WatchResponse { cancel_reason: reason, ..WatchResponse::default() };
        let (outlet, mut responses) = Outlet::new(1);
        outlet.try_send(large.clone()).unwrap();
        assert_eq!(outlet.try_send(large.clone()).unwrap_err().cancel_reason, large.cancel_reason);
        outlet.try_send(small.clone()).unwrap();
        drop(responses.try_recv().unwrap());
        outlet.try_send(large).unwrap();
        let (outlet, responses) = Outlet::new(2);
        assert_eq!(
            (0..2 * QUEUE).filter(|_| outlet.try_send(small.clone()).is_ok()).count(),
            QUEUE
        );
        drop(responses);
        outlet.try_send(small).unwrap();
    }

    #[test]
    fn the_end_is_told_to_all() {
        let watcher = receiver(&WatchCreateRequest::default());
        let end = Shared { canceled: true, compact_revision: 4, ..Shared::default() };
        let sent = watcher.cut(&end).0.unwrap();
        assert!(sent.canceled && sent.compact_revision == 4 && sent.watch_id == 7);
        let refused = Shared { canceled: true, created: true, ..Shared::default() };
        assert_eq!(watcher.cut(&refused).0.unwrap().watch_id, NO_WATCH);
    }
}
