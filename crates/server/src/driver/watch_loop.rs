//! The watch thread: owns the hub, feeds it with what apply changed and with requests of streams, and
//! lets watchers that fell behind catch up between the two.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use api::{event::Changes, ids::Revision, kv::RawKeyValue};
use mvcc::{ReadError, Store};
use rand::Rng;
use tokio::sync::{mpsc, oneshot};
use watch::{
    delivery::{Delivery, Full, Sink, StreamId, WatcherKey},
    history::{History, HistoryError},
    hub::{Budget, WatchHub},
    watcher::WatcherSpec,
};

use super::fatal;
use crate::handle::Handle;

/// Bytes of events that may wait for one slow stream.
const STREAM_BYTES_MAX: usize = 4 << 20;

/// What can happen to the watch thread.
pub(crate) enum WatchCommand {
    /// Apply changed this.
    Changed(Vec<Changes>),
    /// Changes from this revision on were too many to hand over: read them from history.
    Lagged {
        /// The first revision that was not handed over.
        from: i64,
    },
    /// A client opened a stream.
    Open(StreamId, Arc<Outlet>),
    /// A stream ended.
    Close(StreamId),
    /// Add a watcher.
    Create(WatcherKey, Box<WatcherSpec>),
    /// Remove a watcher; the answer says that no more of it will come.
    Cancel(WatcherKey, oneshot::Sender<()>),
    /// A client asks how far its stream is.
    Progress(StreamId),
    /// A stream that was full has room again.
    Room(StreamId),
    /// End the thread.
    Stop,
}

/// The queue of one stream, shared by the hub's side and the client's.
pub(crate) struct Outlet {
    queue: mpsc::Sender<Delivery>,
    bytes: AtomicUsize,
    full: AtomicBool,
}

impl Outlet {
    /// A queue of at most `limit` messages.
    pub(crate) fn new(limit: usize) -> (Arc<Outlet>, mpsc::Receiver<Delivery>) {
        let (queue, receiver) = mpsc::channel(limit);
        let (bytes, full) = (AtomicUsize::new(0), AtomicBool::new(false));
        (Arc::new(Outlet { queue, bytes, full }), receiver)
    }

    /// The client's side has taken a message; whether the hub is to be told that there is room.
    pub(crate) fn taken(&self, delivery: &Delivery, left: usize) -> bool {
        let before = self.bytes.fetch_sub(delivery.size(), Ordering::AcqRel);
        let low = left <= self.queue.max_capacity() / 2 && before <= STREAM_BYTES_MAX;
        low && self.full.swap(false, Ordering::AcqRel)
    }

    fn try_offer(&self, delivery: Delivery) -> Result<(), Delivery> {
        if self.bytes.load(Ordering::Acquire) > STREAM_BYTES_MAX {
            return Err(delivery);
        }
        let size = delivery.size();
        self.bytes.fetch_add(size, Ordering::AcqRel);
        match self.queue.try_send(delivery) {
            // A client that is gone takes everything.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(delivery)) => {
                self.bytes.fetch_sub(size, Ordering::AcqRel);
                Err(delivery)
            }
        }
    }

    /// Offers, and after a refusal has been marked offers once more: the client may have taken
    /// everything in between, without seeing the mark.
    fn offer(&self, delivery: Delivery) -> Result<(), Full> {
        let Err(delivery) = self.try_offer(delivery) else { return Ok(()) };
        self.full.store(true, Ordering::Release);
        self.try_offer(delivery).map_err(|_| Full)
    }
}

/// The outlets of all streams, as the hub's sink.
#[derive(Default)]
struct Outlets(BTreeMap<StreamId, Arc<Outlet>>);

impl Sink for Outlets {
    fn offer(&mut self, stream: StreamId, delivery: Delivery) -> Result<(), Full> {
        self.0.get(&stream).map_or(Ok(()), |outlet| outlet.offer(delivery))
    }
}

/// The store as the hub reads it.
struct StoreHistory<'a>(&'a Store);

impl History for StoreHistory<'_> {
    fn revision(&self) -> i64 {
        self.0.revision()
    }

    fn compact_revision(&self) -> i64 {
        self.0.compact_revision()
    }

    fn events(
        &self,
        from: i64,
        max_revisions: usize,
        max_bytes: usize,
    ) -> Result<Vec<Changes>, HistoryError> {
        self.0.events(from, max_revisions, max_bytes).map_err(|error| match error {
            ReadError::Compacted => {
                HistoryError::Compacted { compact_revision: self.0.compact_revision() }
            }
            error => HistoryError::Failed(Box::new(error)),
        })
    }

    fn value(&self, at: Revision) -> Option<RawKeyValue> {
        self.0.value(at).unwrap_or_default()
    }
}

struct WatchLoop<'a> {
    handle: &'a Handle,
    hub: WatchHub,
    outlets: Outlets,
    /// When each stream is next told of progress.
    ticks: BTreeSet<(Instant, StreamId)>,
    tick_of: BTreeMap<StreamId, Instant>,
}

/// Runs until [`WatchCommand::Stop`].
pub(crate) fn run(handle: &Handle) {
    let hub = WatchHub::new(handle.shared.store.revision(), Budget::ETCD);
    let (outlets, ticks, tick_of) = (Outlets::default(), BTreeSet::new(), BTreeMap::new());
    let mut watch = WatchLoop { handle, hub, outlets, ticks, tick_of };
    let mut batch = Vec::new();
    let mut more = false;
    loop {
        let deadline = if more { Some(Instant::now()) } else { watch.next_deadline() };
        handle.watch.drain(deadline, &mut batch);
        for command in batch.drain(..) {
            if matches!(command, WatchCommand::Stop) {
                return;
            }
            watch.execute(command);
        }
        watch.tick(Instant::now());
        let history = StoreHistory(&handle.shared.store);
        more = watch.hub.needs_sync() && watch.sync(&history);
        *handle.watch_stats.lock() = Some(watch.hub.stats());
    }
}

impl WatchLoop<'_> {
    /// Lets watchers catch up for a while; whether there is more to do now.
    fn sync(&mut self, history: &StoreHistory<'_>) -> bool {
        match self.hub.sync(history, &mut self.outlets) {
            Ok(state) => state.more,
            Err(error) => fatal("failed to read history for watchers", &error),
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.ticks.first().map(|(at, _)| *at)
    }

    fn execute(&mut self, command: WatchCommand) {
        let history = StoreHistory(&self.handle.shared.store);
        match command {
            WatchCommand::Changed(changes) => {
                let before = self.hub.stats().delivered_events;
                self.hub.notify(&changes, &history, &mut self.outlets);
                let sent = self.hub.stats().delivered_events - before;
                self.handle.metrics.watch_events.inc_by(sent);
            }
            WatchCommand::Lagged { from } => self.hub.lagged(from),
            WatchCommand::Open(stream, outlet) => {
                self.outlets.0.insert(stream, outlet);
                self.hub.open_stream(stream);
                self.schedule(stream);
            }
            WatchCommand::Close(stream) => {
                self.outlets.0.remove(&stream);
                self.hub.close_stream(stream);
                if let Some(at) = self.tick_of.remove(&stream) {
                    self.ticks.remove(&(at, stream));
                }
            }
            WatchCommand::Create(key, spec) => {
                self.hub.create(key, *spec);
            }
            WatchCommand::Cancel(key, done) => {
                self.hub.cancel(key);
                let _gone = done.send(());
            }
            WatchCommand::Progress(stream) => {
                self.hub.progress(stream, &history, &mut self.outlets);
            }
            WatchCommand::Room(stream) => self.hub.stream_has_room(stream),
            WatchCommand::Stop => unreachable!("handled by the loop"),
        }
    }

    /// Sets the next progress notification of a stream: the interval and up to a tenth of it more,
    /// so that streams opened together do not stay together.
    fn schedule(&mut self, stream: StreamId) {
        let interval = self.handle.limits.watch_progress_interval;
        let jitter = interval / 10 * rand::rng().random_range(0..1000) / 1000;
        let at = Instant::now() + interval + jitter;
        self.ticks.insert((at, stream));
        self.tick_of.insert(stream, at);
    }

    fn tick(&mut self, now: Instant) {
        while let Some((at, stream)) = self.ticks.first().copied() {
            if at > now {
                return;
            }
            self.ticks.remove(&(at, stream));
            let history = StoreHistory(&self.handle.shared.store);
            self.hub.progress_tick(stream, &history, &mut self.outlets);
            self.schedule(stream);
        }
    }
}
