//! `watch` and `watch-latency`: events delivered to watchers.
//!
//! Each value carries the time its put was meant to start; an event's latency counts from there to
//! its arrival. Operations are events; the puts' own latencies are kept beside as `put`.
//!
//! Invariant: a putter ends only after every event it caused was delivered, or a watch broke, or
//! the load was found stalled.

use crate::{
    args::load::WatchArgs,
    grpc::{
        channel::{Channel, Keep},
        frame,
        method::Method,
        status::Failure,
        stream::{self, Receiver, Sender},
    },
    load::{
        fleet::Fleet,
        payload::{KeyPicker, KeySpace, Order, STAMP_BYTES, Values, stamp_of},
        run::{Load, Run},
    },
};
use anyhow::{Context as _, Result, ensure};
use api::etcdserverpb::{
    PutRequest, WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion,
};
use bytes::{Bytes, BytesMut};
use prost::Message as _;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{sync::Notify, task::JoinSet, time::timeout};

/// How watchers are spread over keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread {
    /// All watch one key: each put is delivered to all.
    OneKey,
    /// Each watches a key of its own: each put is delivered to one.
    OwnKeys,
}

/// Watchers and the putters that feed them.
pub(crate) struct WatchLoad {
    spread: Spread,
    watchers: usize,
    streams: usize,
    putters: usize,
    lockstep: bool,
    space: KeySpace,
    feed: Rc<RefCell<Feed>>,
    deliveries: Rc<Deliveries>,
    /// One task per stream; they end with the load.
    readers: JoinSet<()>,
}

/// What is put next.
#[derive(Debug)]
struct Feed {
    picker: KeyPicker,
    values: Values,
}

impl WatchLoad {
    /// The load of a command line.
    pub(crate) fn new(args: &WatchArgs, spread: Spread) -> Result<Self> {
        ensure!(args.watchers > 0, "--watchers must be above zero");
        ensure!(args.values.val_size >= STAMP_BYTES, "--val-size must be at least {STAMP_BYTES}");
        let streams = args.streams.unwrap_or(args.load.connections).min(args.watchers);
        ensure!(streams > 0, "--streams must be above zero");
        let keys = match spread {
            Spread::OneKey => 1,
            Spread::OwnKeys => args.watchers as u64,
        };
        let seed = args.load.seed;
        let feed = Feed {
            picker: KeyPicker::new(Order::Random, keys, seed),
            values: args.values.values(seed),
        };
        Ok(Self {
            spread,
            watchers: args.watchers,
            streams,
            putters: args.load.clients,
            lockstep: args.load.rate.is_none(),
            space: KeySpace::new("", args.key_size, keys)?,
            feed: Rc::new(RefCell::new(feed)),
            deliveries: Rc::new(Deliveries::new()),
            readers: JoinSet::new(),
        })
    }

    /// Events that one put causes.
    fn fan_out(&self) -> u64 {
        match self.spread {
            Spread::OneKey => self.watchers as u64,
            Spread::OwnKeys => 1,
        }
    }
}

impl Load for WatchLoad {
    async fn prepare(&mut self, fleet: &Fleet, stall: Duration) -> Result<()> {
        for index in 0..self.streams {
            let mut channel = fleet.channel(index);
            let (mut sender, mut receiver) =
                stream::open(&mut channel, Method::Watch).await.context("open a watch stream")?;
            for watcher in (index..self.watchers).step_by(self.streams) {
                let number = if self.spread == Spread::OneKey { 0 } else { watcher as u64 };
                let created = watch(&mut sender, &mut receiver, self.space.key(number));
                timeout(stall, created).await.context("create a watcher in time")??;
            }
            let deliveries = Rc::clone(&self.deliveries);
            self.readers.spawn_local(async move { read(sender, receiver, &deliveries).await });
        }
        Ok(())
    }

    fn spawn(&mut self, fleet: &Fleet, run: &Rc<Run>, clients: &mut JoinSet<()>) {
        self.deliveries.attach(Rc::clone(run));
        for index in 0..self.putters {
            let putter = Putter {
                channel: fleet.channel(index),
                space: self.space.clone(),
                feed: Rc::clone(&self.feed),
                deliveries: Rc::clone(&self.deliveries),
                run: Rc::clone(run),
                fan_out: self.fan_out(),
                lockstep: self.lockstep,
            };
            clients.spawn_local(putter.run());
        }
    }
}

/// Creates one watcher and waits until the server says it is there.
async fn watch(sender: &mut Sender, receiver: &mut Receiver, key: Bytes) -> Result<()> {
    let create = WatchCreateRequest { key, ..WatchCreateRequest::default() };
    let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let mut framed = BytesMut::new();
    frame::encode(&request, &mut framed);
    sender.send(framed.freeze()).context("send a watch")?;
    let message = receiver.next().await.context("create a watcher")?;
    let answer = WatchResponse::decode(message.context("the watch stream ended")?)?;
    ensure!(answer.created && !answer.canceled, "watch refused: {}", answer.cancel_reason);
    Ok(())
}

/// Reads the events of one stream for as long as it lives. `_sender` keeps it open.
async fn read(_sender: Sender, mut receiver: Receiver, deliveries: &Deliveries) {
    loop {
        let outcome = match receiver.next().await {
            Ok(Some(message)) => deliveries.take(message),
            Ok(None) => Err(Failure::Transport("the watch stream ended".into())),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = outcome {
            deliveries.broke(failure);
            return;
        }
    }
}

/// What was put and what arrived.
#[derive(Debug)]
struct Deliveries {
    /// Stamps count nanoseconds from here.
    base: Instant,
    run: RefCell<Option<Rc<Run>>>,
    expected: Cell<u64>,
    delivered: Cell<u64>,
    broken: Cell<bool>,
    changed: Notify,
}

impl Deliveries {
    fn new() -> Self {
        Self {
            base: Instant::now(),
            run: RefCell::default(),
            expected: Cell::new(0),
            delivered: Cell::new(0),
            broken: Cell::new(false),
            changed: Notify::new(),
        }
    }

    /// From now on events are recorded in `run`.
    fn attach(&self, run: Rc<Run>) {
        *self.run.borrow_mut() = Some(run);
    }

    fn stamp(&self, start: Instant) -> u64 {
        start.saturating_duration_since(self.base).as_nanos() as u64
    }

    /// Records the events of one message.
    fn take(&self, message: Bytes) -> Result<(), Failure> {
        let now = Instant::now();
        let broken = |what: String| Failure::Transport(format!("watch: {what}"));
        let mut bytes = message.len() + frame::HEADER_LEN;
        let answer = WatchResponse::decode(message).map_err(|error| broken(error.to_string()))?;
        if answer.canceled {
            return Err(broken(format!("canceled: {}", answer.cancel_reason)));
        }
        for event in answer.events {
            let kv = event.kv.ok_or_else(|| broken("event without a key".into()))?;
            let kv = kv.decode().map_err(|error| broken(error.to_string()))?;
            let stamp = stamp_of(&kv.value).ok_or_else(|| broken("a foreign value".into()))?;
            self.delivered.set(self.delivered.get() + 1);
            if let Some(run) = &*self.run.borrow() {
                let start = self.base + Duration::from_nanos(stamp);
                run.recorder.borrow_mut().done(start, now, bytes);
                bytes = 0;
            }
        }
        if self.delivered.get() >= self.expected.get() {
            self.changed.notify_waiters();
        }
        Ok(())
    }

    fn broke(&self, failure: Failure) {
        if let Some(run) = &*self.run.borrow() {
            run.failed(failure);
        }
        self.broken.set(true);
        self.changed.notify_waiters();
    }

    /// Waits until all expected events arrived; `false` when a watch broke.
    async fn complete(&self) -> bool {
        loop {
            let changed = self.changed.notified();
            if self.broken.get() {
                return false;
            }
            if self.delivered.get() >= self.expected.get() {
                return true;
            }
            changed.await;
        }
    }
}

/// A client that puts.
struct Putter {
    channel: Channel,
    space: KeySpace,
    feed: Rc<RefCell<Feed>>,
    deliveries: Rc<Deliveries>,
    run: Rc<Run>,
    fan_out: u64,
    lockstep: bool,
}

impl Putter {
    async fn run(mut self) {
        while let Some(start) = self.run.pacer.next_start().await {
            let framed = self.put(start);
            match self.channel.unary(Method::Put, framed, Keep::Nothing).await {
                Ok(_answer) => {
                    self.run.recorder.borrow_mut().beside("put", start.elapsed());
                    let expected = &self.deliveries.expected;
                    expected.set(expected.get() + self.fan_out);
                }
                Err(failure) => {
                    let broken = matches!(failure, Failure::Transport(_));
                    self.run.failed(failure);
                    if broken {
                        return;
                    }
                }
            }
            if self.lockstep && !self.deliveries.complete().await {
                return;
            }
        }
        self.deliveries.complete().await;
    }

    fn put(&self, start: Instant) -> Bytes {
        let mut feed = self.feed.borrow_mut();
        let put = PutRequest {
            key: self.space.key(feed.picker.pick()),
            value: feed.values.stamped(self.deliveries.stamp(start)),
            ..PutRequest::default()
        };
        let mut framed = BytesMut::new();
        frame::encode(&put, &mut framed);
        framed.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        load::pace::{Limit, Pacer},
        runtime::block_on,
    };
    use api::{kv::KeyValue, mvccpb};

    fn event(value: Bytes) -> mvccpb::Event {
        let kv = KeyValue { key: Bytes::from_static(b"0"), value, ..KeyValue::default() };
        mvccpb::Event { kv: Some(kv.to_raw()), ..mvccpb::Event::default() }
    }

    #[test]
    fn events_are_timed_by_their_stamps() {
        block_on(async {
            let deliveries = Deliveries::new();
            let run = Run::new(Pacer::begin(Limit::of_total(1), None).expect("closed"));
            deliveries.attach(Rc::clone(&run));
            let stamp = deliveries.stamp(Instant::now());
            let value = Values::new(16, 1).stamped(stamp);
            let answer = WatchResponse {
                events: vec![event(value.clone()), event(value)],
                ..WatchResponse::default()
            };
            deliveries.expected.set(2);
            std::thread::sleep(Duration::from_millis(5));
            deliveries.take(answer.encode_to_vec().into()).expect("read");
            assert!(deliveries.complete().await);
            let outcome = run.recorder.borrow().outcome();
            assert_eq!(outcome.ops, 2);
            assert!(outcome.latency.min_us >= 4_900.0, "{:?}", outcome.latency);
        })
        .expect("runtime");
    }

    #[test]
    fn a_cancelled_watch_breaks_the_load() {
        block_on(async {
            let deliveries = Deliveries::new();
            let answer = WatchResponse {
                canceled: true,
                cancel_reason: "compacted".into(),
                ..WatchResponse::default()
            };
            let failure = deliveries.take(answer.encode_to_vec().into()).expect_err("cancelled");
            assert!(failure.text().contains("compacted"));
            deliveries.expected.set(1);
            deliveries.broke(failure);
            assert!(!deliveries.complete().await);
        })
        .expect("runtime");
    }
}
