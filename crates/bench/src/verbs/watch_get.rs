//! `watch-get`: watchers that begin in the past, and what reads take meanwhile.
//!
//! One key is put a number of times. Then each client opens a watcher from the first of these
//! revisions on, and an operation is done when it has seen the last. Reads of the key go on beside,
//! one at a time, as the series `get`.

use crate::{
    args::load::WatchGetArgs,
    grpc::{
        channel::{Channel, Keep},
        frame,
        method::Method,
        status::Failure,
        stream,
    },
    load::{
        fleet::Fleet,
        payload::Values,
        run::{Load, Run},
    },
};
use anyhow::{Context as _, Result, ensure};
use api::etcdserverpb::{
    PutRequest, PutResponse, RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse,
    watch_request::RequestUnion,
};
use bytes::{Bytes, BytesMut};
use prost::Message;
use std::{
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{task::JoinSet, time::timeout};

/// The key that is watched.
const KEY: &[u8] = b"watch-get";

/// Watchers that catch up, and one client that reads.
pub(crate) struct CatchUps {
    clients: usize,
    events: u64,
    values: Values,
    get_interval: Duration,
    /// The first revision to watch from.
    from: i64,
}

impl CatchUps {
    /// The load of a command line.
    pub(crate) fn new(args: &WatchGetArgs) -> Result<Self> {
        ensure!(args.events > 0, "--events must be above zero");
        Ok(Self {
            clients: args.load.clients,
            events: args.events,
            values: args.values.values(args.load.seed),
            get_interval: args.get_interval,
            from: 0,
        })
    }
}

impl Load for CatchUps {
    async fn prepare(&mut self, fleet: &Fleet, stall: Duration) -> Result<()> {
        let mut channel = fleet.channel(0);
        for number in 0..self.events {
            let (key, value) = (Bytes::from_static(KEY), self.values.next());
            let message = framed(&PutRequest { key, value, ..PutRequest::default() });
            let put = channel.unary(Method::Put, message, Keep::Message);
            let answer = timeout(stall, put).await.context("put in time")?.context("put")?;
            if number == 0 {
                let answer = PutResponse::decode(answer.message).context("read an answer")?;
                self.from = answer.header.context("an answer has a header")?.revision;
            }
        }
        Ok(())
    }

    fn spawn(&mut self, fleet: &Fleet, run: &Rc<Run>, clients: &mut JoinSet<()>) {
        for index in 0..self.clients {
            let (channel, run) = (fleet.channel(index), Rc::clone(run));
            let (from, events) = (self.from, self.events);
            clients.spawn_local(async move {
                if let Err(failure) = watch(channel, from, events, &run).await {
                    run.failed(failure);
                }
            });
        }
        let (channel, run, interval) = (fleet.channel(0), Rc::clone(run), self.get_interval);
        // No client of the load: it ends when they have.
        tokio::task::spawn_local(async move {
            if let Err(failure) = get(channel, interval, &run).await {
                run.failed(failure);
            }
        });
    }
}

fn framed(message: &impl Message) -> Bytes {
    let mut framed = BytesMut::new();
    frame::encode(message, &mut framed);
    framed.freeze()
}

/// Opens watcher after watcher, each of which catches up.
async fn watch(mut channel: Channel, from: i64, events: u64, run: &Run) -> Result<(), Failure> {
    let broken = |what: String| Failure::Transport(format!("watch: {what}"));
    let create = WatchCreateRequest {
        key: Bytes::from_static(KEY),
        start_revision: from,
        ..WatchCreateRequest::default()
    };
    let message =
        framed(&WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) });
    while let Some(start) = run.pacer.next_start().await {
        let (mut sender, mut receiver) = stream::open(&mut channel, Method::Watch).await?;
        sender.send(message.clone())?;
        let (mut seen, mut bytes) = (0, 0);
        while seen < events {
            let Some(message) = receiver.next().await? else {
                return Err(broken("the stream ended".into()));
            };
            bytes += message.len() + frame::HEADER_LEN;
            let answer =
                WatchResponse::decode(message).map_err(|error| broken(error.to_string()))?;
            if answer.canceled {
                return Err(broken(format!("canceled: {}", answer.cancel_reason)));
            }
            seen += answer.events.len() as u64;
        }
        sender.close()?;
        run.done(start, bytes);
    }
    Ok(())
}

/// Reads the key until the load is over.
async fn get(mut channel: Channel, interval: Duration, run: &Rc<Run>) -> Result<(), Failure> {
    let range = RangeRequest { key: Bytes::from_static(KEY), ..RangeRequest::default() };
    let message = framed(&range);
    // The watchers hold the run; when they are done, this is the last to hold it.
    while Rc::strong_count(run) > 2 {
        let start = Instant::now();
        channel.unary(Method::Range, message.clone(), Keep::Nothing).await?;
        run.recorder.borrow_mut().beside("get", start.elapsed());
        tokio::time::sleep(interval).await;
    }
    Ok(())
}
