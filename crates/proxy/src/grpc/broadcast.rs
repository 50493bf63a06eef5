//! Watches of the cluster, each shared by the watchers of clients that watch the same range.
//!
//! A watcher joins a watch that is not ahead of it; a watch that caught up with another gives its
//! watchers to that. A client that reads too slowly delays nobody: its watcher leaves for a watch of
//! its own, which waits for it. Watchers share with those of the same token only.
//!
//! Invariants: what a watcher is sent is decided under one lock, in the order of revisions; after it
//! left, it is sent nothing.

use std::{collections::HashMap, sync::Arc};

use api::etcdserverpb::{ResponseHeader, WatchCreateRequest, WatchResponse};
use bytes::Bytes;
use client::watch::Watcher;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::{
    caller::Caller,
    metrics::Metrics,
    receiver::{Receiver, Shared},
    upstream::Upstream,
};

/// A watch with so many watchers is not given up for another.
const POPULAR: usize = 5;

/// What is watched, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) key: Bytes,
    pub(crate) end: Bytes,
    pub(crate) identity: Bytes,
}

/// All watches.
pub(crate) struct Broadcasts {
    upstream: Arc<Upstream>,
    metrics: Arc<Metrics>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next_number: u64,
    places: HashMap<Place, Vec<Broadcast>>,
}

/// One watch of the cluster.
struct Broadcast {
    number: u64,
    /// The first revision that was not sent; 0 for the present.
    next_revision: i64,
    responses: u64,
    /// Whether watchers are still to be told that they were made.
    announce: bool,
    /// It waits for its only watcher.
    waiting: bool,
    header: ResponseHeader,
    receivers: Vec<Receiver>,
    task: JoinHandle<()>,
}

/// What a watch does after a response.
enum Step {
    Go,
    /// Its only watcher must take this first.
    Wait(Arc<super::receiver::Outlet>, Box<WatchResponse>),
    /// It is not needed any more.
    End,
}

impl Broadcasts {
    /// No watches yet.
    pub(crate) fn new(upstream: Arc<Upstream>, metrics: Arc<Metrics>) -> Arc<Broadcasts> {
        Arc::new(Broadcasts { upstream, metrics, inner: Mutex::default() })
    }

    /// Adds a watcher to a watch that fits, or makes one.
    pub(crate) fn add(self: &Arc<Self>, place: &Place, caller: &Caller, mut receiver: Receiver) {
        let mut inner = self.inner.lock();
        let next = receiver.next_revision;
        for broadcast in inner.places.entry(place.clone()).or_default() {
            let ahead =
                broadcast.next_revision > next || (broadcast.next_revision == 0 && next != 0);
            if ahead || broadcast.waiting {
                continue;
            }
            if broadcast.responses > 0 {
                let response = WatchResponse {
                    header: Some(broadcast.header),
                    watch_id: receiver.watch_id,
                    created: true,
                    ..WatchResponse::default()
                };
                if receiver.outlet.try_send(response).is_err() {
                    receiver.outlet.overrun.notify_one();
                    return;
                }
                receiver.header = Some(broadcast.header);
            } else if !broadcast.announce {
                continue;
            }
            broadcast.receivers.push(receiver);
            return;
        }
        self.begin(&mut inner, place, caller, receiver, true);
    }

    /// Makes a watch for one watcher.
    fn begin(
        self: &Arc<Self>,
        inner: &mut Inner,
        place: &Place,
        caller: &Caller,
        receiver: Receiver,
        announce: bool,
    ) {
        inner.next_number += 1;
        let number = inner.next_number;
        let request = WatchCreateRequest {
            key: place.key.clone(),
            range_end: place.end.clone(),
            start_revision: receiver.next_revision,
            progress_notify: true,
            prev_kv: true,
            ..WatchCreateRequest::default()
        };
        let next_revision = receiver.next_revision;
        let (all, place_, caller) = (self.clone(), place.clone(), caller.clone());
        let task = tokio::spawn(async move {
            all.run(&place_, &caller, number, request).await;
        });
        inner.places.entry(place.clone()).or_default().push(Broadcast {
            number,
            next_revision,
            responses: 0,
            announce,
            waiting: false,
            header: ResponseHeader::default(),
            receivers: vec![receiver],
            task,
        });
    }

    /// Takes a watcher away; what was sent to it last, once nothing more will be.
    pub(crate) async fn remove(
        &self,
        place: &Place,
        stream: u64,
        id: i64,
    ) -> Option<ResponseHeader> {
        let (header, ended) = self.inner.lock().remove(place, stream, id)?;
        if let Some(task) = ended {
            task.abort();
            // Cancelled, or at its end anyway.
            let _ = task.await;
        }
        header
    }

    /// Counts the watchers that share the watch of another, for the metrics.
    pub(crate) fn count(&self) {
        let inner = self.inner.lock();
        let all = inner.places.values().flatten();
        let shared: usize = all.map(|one| one.receivers.len().saturating_sub(1)).sum();
        self.metrics.watchers_coalescing.set(i64::try_from(shared).unwrap_or(i64::MAX));
    }

    /// Runs one watch to its end.
    async fn run(
        self: Arc<Self>,
        place: &Place,
        caller: &Caller,
        number: u64,
        request: WatchCreateRequest,
    ) {
        // A client's own wish for a leader is seen to at its stream.
        let mut watcher = self.upstream.watch(&caller.without_leader(), request).await;
        let header = watcher.header();
        let mut created = header.revision != 0;
        if created {
            let shared = Shared { header, created, ..Shared::default() };
            if self.deliver(place, caller, number, shared).await.is_err() {
                return;
            }
        }
        while let Some(mut shared) = self.next(&mut watcher).await {
            shared.created = shared.canceled && !created;
            created = true;
            if self.deliver(place, caller, number, shared).await.is_err() {
                return;
            }
        }
        let gone = "the watch was canceled by the server".to_owned();
        let end = Shared { header, canceled: true, reason: gone, ..Shared::default() };
        let _ended = self.deliver(place, caller, number, end).await;
    }

    /// The next response of the cluster, as clients see it.
    async fn next(&self, watcher: &mut Watcher) -> Option<Shared> {
        let response = watcher.next().await?;
        let reason = match (response.compact_revision, &response.failure) {
            (0, Some(failure)) => failure.to_string(),
            _ => String::new(),
        };
        let mut events = response.events;
        let revision = |event: &api::mvccpb::Event| {
            let kv = event.kv.as_ref().and_then(|kv| kv.decode().ok());
            kv.map_or(response.header.revision, |kv| kv.mod_revision)
        };
        let revisions: Vec<i64> = events.iter().map(revision).collect();
        self.upstream.namespace.leave_events(&mut events);
        Some(Shared {
            header: response.header,
            events: revisions.into_iter().zip(events).collect(),
            created: false,
            canceled: response.canceled,
            compact_revision: response.compact_revision,
            reason,
        })
    }

    /// Hands a response to the watchers; an error when the watch has to end.
    async fn deliver(
        self: &Arc<Self>,
        place: &Place,
        caller: &Caller,
        number: u64,
        shared: Shared,
    ) -> Result<(), ()> {
        let step = self.share(&mut self.inner.lock(), place, caller, number, &shared);
        match step {
            Step::Go => Ok(()),
            Step::End => Err(()),
            Step::Wait(outlet, response) => {
                outlet.send(*response).await;
                match self.inner.lock().find(place, number) {
                    Some(one) => one.waiting = false,
                    None => return Err(()),
                }
                Ok(())
            }
        }
    }

    fn share(
        self: &Arc<Self>,
        inner: &mut Inner,
        place: &Place,
        caller: &Caller,
        number: u64,
        shared: &Shared,
    ) -> Step {
        let Some(one) = inner.find(place, number) else { return Step::End };
        // The header tells how far the store is, the last event how far this watch is.
        match shared.events.last() {
            Some((last, _)) => one.next_revision = last + 1,
            None if one.next_revision == 0 || shared.is_progress() => {
                one.next_revision = shared.header.revision + 1;
            }
            None => {}
        }
        one.responses += 1;
        if !shared.canceled {
            one.header = shared.header;
        }
        self.metrics.events_coalescing.inc_by(one.receivers.len().saturating_sub(1) as u64);
        if shared.created && !shared.canceled && !one.announce {
            return Step::Go;
        }
        let alone = one.receivers.len() == 1;
        let mut slow = Vec::new();
        for (at, receiver) in one.receivers.iter_mut().enumerate() {
            let (response, next) = receiver.cut(shared);
            if let Some(response) = response {
                let header = response.header;
                match receiver.outlet.try_send(response) {
                    Ok(()) => receiver.header = header,
                    Err(response) if alone => {
                        (receiver.header, receiver.next_revision) = (header, next);
                        one.waiting = true;
                        let outlet = receiver.outlet.clone();
                        if shared.canceled {
                            inner.drop_broadcast(place, number);
                        }
                        return Step::Wait(outlet, response);
                    }
                    Err(_) if shared.created || shared.canceled => {
                        receiver.outlet.overrun.notify_one();
                    }
                    Err(_) => {
                        slow.push(at);
                        continue;
                    }
                }
            }
            receiver.next_revision = next;
        }
        if shared.canceled {
            inner.drop_broadcast(place, number);
            return Step::End;
        }
        let slow: Vec<Receiver> =
            slow.into_iter().rev().map(|at| one.receivers.swap_remove(at)).collect();
        for receiver in slow {
            tracing::debug!(
                watch_id = receiver.watch_id,
                "a slow watcher leaves for its own watch"
            );
            self.begin(inner, place, caller, receiver, false);
        }
        match inner.coalesce(place, number) {
            true => Step::End,
            false => Step::Go,
        }
    }
}

impl Inner {
    fn find(&mut self, place: &Place, number: u64) -> Option<&mut Broadcast> {
        self.places.get_mut(place)?.iter_mut().find(|one| one.number == number)
    }

    fn drop_broadcast(&mut self, place: &Place, number: u64) -> Option<Broadcast> {
        let all = self.places.get_mut(place)?;
        let at = all.iter().position(|one| one.number == number)?;
        let dropped = all.swap_remove(at);
        if all.is_empty() {
            self.places.remove(place);
        }
        Some(dropped)
    }

    /// Takes a watcher away, and its watch if that was its last.
    fn remove(
        &mut self,
        place: &Place,
        stream: u64,
        id: i64,
    ) -> Option<(Option<ResponseHeader>, Option<JoinHandle<()>>)> {
        for one in self.places.get_mut(place)? {
            let is_it = |r: &Receiver| r.outlet.stream == stream && r.watch_id == id;
            let Some(at) = one.receivers.iter().position(is_it) else { continue };
            let receiver = one.receivers.swap_remove(at);
            let (empty, number) = (one.receivers.is_empty(), one.number);
            let ended = if empty { self.drop_broadcast(place, number) } else { None };
            return Some((receiver.header, ended.map(|one| one.task)));
        }
        None
    }

    /// Gives the watchers of a watch to another that is behind it; whether it did.
    fn coalesce(&mut self, place: &Place, number: u64) -> bool {
        let Some(one) = self.find(place, number) else { return true };
        let (count, next) = (one.receivers.len(), one.next_revision);
        if count >= POPULAR {
            return false;
        }
        let fits = |other: &Broadcast| {
            other.number != number
                && !other.waiting
                && other.responses > 0
                && other.next_revision <= next
        };
        let other = self.places.get(place).and_then(|all| all.iter().find(|other| fits(other)));
        let Some(other) = other.map(|other| other.number) else { return false };
        let Some(given_up) = self.drop_broadcast(place, number) else { return false };
        if let Some(other) = self.find(place, other) {
            other.receivers.extend(given_up.receivers);
        }
        true
    }
}
