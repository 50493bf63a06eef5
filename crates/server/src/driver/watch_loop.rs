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

use api::{etcdserverpb::WatchResponse, event::Changes, ids::Revision, kv::RawKeyValue};
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
use crate::{handle::Handle, inbox::Inbox};

/// Bytes of events that may wait for one slow stream.
const STREAM_BYTES_MAX: usize = 4 << 20;

/// Bytes of changes that wait while nobody has a stream; beyond, the watch thread is woken for them.
const LAZY_BYTES_MAX: usize = 256 << 10;

/// What can happen to the watch thread.
pub(crate) enum WatchCommand {
    /// Apply changed this.
    Changed(Vec<Changes>),
    /// Changes were too many to hand over: read them from history.
    Lagged,
    /// A client opened a stream.
    Open(StreamId, Arc<Outlet>),
    /// A stream ended.
    Close(StreamId),
    /// Add a watcher.
    Create(WatcherKey, Box<WatcherSpec>),
    /// Remove a watcher; the answer says that no more of it will come.
    Cancel(WatcherKey, oneshot::Sender<()>),
    /// A client asks how far its stream is; answered when it has been told, or not.
    Progress(StreamId, oneshot::Sender<()>),
    /// A stream that was full has room again.
    Room(StreamId),
    /// End the thread.
    Stop,
}

/// What the queue of a stream carries, in the order that the client sees.
pub(crate) enum Item {
    /// From the hub.
    Delivery(Delivery),
    /// The answer to a request of the client.
    Reply(Box<WatchResponse>),
    /// What comes next cannot be read: the stream ends.
    Damaged,
}

/// What apply has handed over and the watch thread has not taken yet, in bytes.
#[derive(Default)]
pub(crate) struct Backlog {
    bytes: AtomicUsize,
    lagged: AtomicBool,
}

fn bytes_of(changes: &[Changes]) -> usize {
    let events = changes.iter().flat_map(|changes| changes.events.iter());
    events.map(|event| event.kv.0.len() + size_of::<api::event::Event>()).sum()
}

impl Backlog {
    /// Hands changes over, or, when more than `bytes_max` wait, says so once instead.
    pub(crate) fn hand_over(
        &self,
        inbox: &Inbox<WatchCommand>,
        changes: Vec<Changes>,
        bytes_max: usize,
    ) {
        let bytes = bytes_of(&changes);
        let before = self.bytes.load(Ordering::SeqCst);
        if before <= bytes_max {
            self.bytes.fetch_add(bytes, Ordering::SeqCst);
            let changed = WatchCommand::Changed(changes);
            if before + bytes > LAZY_BYTES_MAX {
                inbox.push_always(changed);
            } else {
                inbox.push_lazily(changed);
            }
        } else if !self.lagged.swap(true, Ordering::SeqCst) {
            inbox.push_always(WatchCommand::Lagged);
        }
    }

    fn taken(&self, changes: &[Changes]) {
        self.bytes.fetch_sub(bytes_of(changes), Ordering::SeqCst);
    }

    /// From now on a further lag is told again.
    fn caught_up(&self) {
        self.lagged.store(false, Ordering::SeqCst);
    }
}

/// The queue of one stream, shared by the hub, the reader of requests and the client's side.
pub(crate) struct Outlet {
    queue: mpsc::Sender<Item>,
    bytes: AtomicUsize,
    full: AtomicBool,
}

impl Outlet {
    /// A queue of at most `limit` messages.
    pub(crate) fn new(limit: usize) -> (Arc<Outlet>, mpsc::Receiver<Item>) {
        let (queue, receiver) = mpsc::channel(limit);
        let (bytes, full) = (AtomicUsize::new(0), AtomicBool::new(false));
        (Arc::new(Outlet { queue, bytes, full }), receiver)
    }

    /// Queues a reply behind what is there, waiting for room; false when the client is gone.
    pub(crate) async fn reply(&self, response: WatchResponse) -> bool {
        self.queue.send(Item::Reply(Box::new(response))).await.is_ok()
    }

    /// Resolves when the client is gone.
    pub(crate) async fn closed(&self) {
        self.queue.closed().await;
    }

    /// The client's side has taken an item, `left` remain; whether the hub is to be told that there
    /// is room.
    pub(crate) fn taken(&self, item: &Item, left: usize) -> bool {
        let size = match item {
            Item::Delivery(delivery) => delivery.size(),
            Item::Reply(_) | Item::Damaged => 0,
        };
        let bytes = self.bytes.fetch_sub(size, Ordering::SeqCst) - size;
        let half = self.queue.max_capacity() / 2;
        let low = left == 0 || (left <= half && bytes <= STREAM_BYTES_MAX);
        low && self.full.swap(false, Ordering::SeqCst)
    }

    fn try_offer(&self, delivery: Delivery) -> Result<(), Delivery> {
        if self.bytes.load(Ordering::SeqCst) > STREAM_BYTES_MAX {
            return Err(delivery);
        }
        let size = delivery.size();
        self.bytes.fetch_add(size, Ordering::SeqCst);
        match self.queue.try_send(Item::Delivery(delivery)) {
            // A client that is gone takes everything.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(item)) => {
                self.bytes.fetch_sub(size, Ordering::SeqCst);
                match item {
                    Item::Delivery(delivery) => Err(delivery),
                    Item::Reply(_) | Item::Damaged => unreachable!("a delivery was offered"),
                }
            }
        }
    }

    /// Ends the stream with etcd's "corrupt cluster" behind what is queued; false when there is no
    /// room to say so.
    fn fail(&self) -> bool {
        !matches!(self.queue.try_send(Item::Damaged), Err(mpsc::error::TrySendError::Full(_)))
    }

    /// Offers, and after a refusal has been marked offers once more: the client may have taken
    /// everything in between, without seeing the mark. The mark, the bytes and the queue are read
    /// and written in one order on all threads.
    fn offer(&self, delivery: Delivery) -> Result<(), Full> {
        let Err(delivery) = self.try_offer(delivery) else { return Ok(()) };
        self.full.store(true, Ordering::SeqCst);
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
        match self.0.value(at) {
            Ok(value) => value,
            Err(ReadError::Compacted | ReadError::Future) => None,
            // It is noted; the event goes without what it replaced, as after a compaction.
            Err(ReadError::Storage(error)) if error.is_damage() => None,
            Err(error) => fatal("failed to read a replaced value for watchers", &error),
        }
    }
}

/// Whether history could not be read because stored rows are damaged.
fn is_damage(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let error = error.downcast_ref::<ReadError>();
    matches!(error, Some(ReadError::Storage(error)) if error.is_damage())
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
    let mut eager = true;
    loop {
        let deadline = if more { Some(Instant::now()) } else { watch.next_deadline() };
        let has_streams = !watch.outlets.0.is_empty();
        if std::mem::replace(&mut eager, has_streams) != has_streams {
            handle.watch.set_eager(has_streams);
        }
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
            Err(HistoryError::Failed(error)) if is_damage(&*error) => {
                let Some(stream) = self.hub.unreadable() else {
                    fatal("failed to read history for watchers", &error)
                };
                // Its client is told, and may read on elsewhere; all others go on.
                let told = self.outlets.0.get(&stream).is_none_or(|outlet| outlet.fail());
                if told {
                    self.execute(WatchCommand::Close(stream));
                }
                // Without room it is tried again when something happens.
                told && self.hub.needs_sync()
            }
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
                self.handle.watch_backlog.taken(&changes);
                self.hub.notify(&changes, &history, &mut self.outlets);
            }
            WatchCommand::Lagged => {
                self.handle.watch_backlog.caught_up();
                self.hub.lagged(history.revision());
            }
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
            WatchCommand::Progress(stream, done) => {
                self.hub.progress(stream, &history, &mut self.outlets);
                let _gone = done.send(());
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

#[cfg(test)]
mod tests {
    use api::{
        event::{Event, EventKind},
        ids::Revision,
    };

    use super::*;

    fn changes(bytes: usize) -> Vec<Changes> {
        let event = Event {
            kind: EventKind::Put,
            key: "k".into(),
            kv: RawKeyValue(vec![0; bytes].into()),
            revision: Revision { main: 2, sub: 0 },
            prev: None,
        };
        vec![Changes { revision: 2, events: [event].into() }]
    }

    #[test]
    fn nobody_is_woken_for_what_nobody_watches_unless_it_is_much() {
        let (inbox, backlog) = (Inbox::new(usize::MAX), Backlog::default());
        inbox.set_eager(false);
        for _ in 0..3 {
            backlog.hand_over(&inbox, changes(1 << 10), usize::MAX);
        }
        assert!(!inbox.is_woken());
        backlog.hand_over(&inbox, changes(LAZY_BYTES_MAX), usize::MAX);
        assert!(inbox.is_woken());
        let mut batch = Vec::new();
        inbox.drain(None, &mut batch);
        assert_eq!(batch.len(), 4);
        inbox.set_eager(true);
        backlog.hand_over(&inbox, changes(1), usize::MAX);
        assert!(inbox.is_woken());
    }
}
