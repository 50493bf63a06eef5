//! What goes on beside a load, to see what it does to the load: lists, a compaction, a snapshot, a
//! defragmentation.
//!
//! It has a thread and connections of its own, so that it costs the load nothing but the server's
//! attention, as far as there are cores.

use crate::{
    args::load::Beside,
    grpc::{
        channel::{Channel, Keep},
        frame,
        method::Method,
        status::Failure,
        target::Target,
    },
    load::{
        payload::{KeySpace, Values},
        unary::UnaryLoad,
    },
    runtime,
    verbs::{Filling, range::bounds, txn},
};
use anyhow::{Context as _, Result, bail};
use api::etcdserverpb::{
    CompactionRequest, DefragmentRequest, RangeRequest, RangeResponse, SnapshotRequest,
};
use bytes::{Bytes, BytesMut};
use prost::Message;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// What the keys begin with that are there for this alone.
const PREFIX: &str = "beside/";
/// Bytes of such a key, and of its value.
const KEY_BYTES: usize = 20;
const VALUE_BYTES: usize = 256;
/// Keys put in one transaction while filling.
const FILL_OPS: u64 = 100;
/// Connections that fill.
const FILL_CONNECTIONS: usize = 4;
/// Clients that fill.
const FILL_CLIENTS: usize = 16;
/// How long a fill may stand still.
const FILL_STALL: Duration = Duration::from_secs(30);
/// Clients that list.
const LISTERS: usize = 10;

/// Something that is ready to be done beside a load.
pub(crate) struct Disturbance {
    kind: Beside,
    space: KeySpace,
    targets: Vec<Target>,
}

/// It is being done.
pub(crate) struct Disturbing {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Disturbance {
    /// Puts the keys it needs: `keys` of them, or for a compaction so many revisions of a tenth as
    /// many keys.
    pub(crate) async fn prepare(kind: Beside, keys: u64, targets: &[Target]) -> Result<Self> {
        let rounds = if kind == Beside::Compaction { 10 } else { 1 };
        let space = KeySpace::new(PREFIX, KEY_BYTES, keys.div_ceil(rounds).max(FILL_OPS))?;
        for round in 0..rounds {
            let values = Values::new(VALUE_BYTES, round);
            let puts = txn::Puts::filling(space.clone(), values, FILL_OPS);
            let filling = Filling { targets, connections: FILL_CONNECTIONS, stall: FILL_STALL };
            let count = space.len().div_ceil(FILL_OPS);
            filling.run(UnaryLoad::new(puts, FILL_CLIENTS), count).await?;
        }
        Ok(Self { kind, space, targets: targets.to_vec() })
    }

    /// Begins.
    pub(crate) fn begin(self) -> Result<Disturbing> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let work = move || runtime::block_on(self.run(&seen)).and_then(|done| done);
        let thread = std::thread::Builder::new().name("beside".to_owned());
        Ok(Disturbing { stop, thread: thread.spawn(work).context("start a thread")? })
    }

    /// Does it until told to stop; how often it was done.
    async fn run(self, stop: &AtomicBool) -> Result<u64> {
        let target = self.targets.first().context("a server")?;
        let mut done = 0;
        match self.kind {
            Beside::Lists => return self.list(stop).await,
            Beside::Compaction => {
                let mut channel = Channel::connect(target).await?;
                let key = self.space.key(0);
                let range = RangeRequest { key, ..RangeRequest::default() };
                let answer = call(&mut channel, Method::Range, &range, Keep::Message).await?;
                let header = RangeResponse::decode(answer).context("read an answer")?.header;
                let revision = header.context("an answer has a header")?.revision;
                let compaction = CompactionRequest { revision, physical: true };
                call(&mut channel, Method::Compact, &compaction, Keep::Nothing).await?;
                done += 1;
            }
            Beside::Snapshot => {
                while !stop.load(Ordering::Relaxed) {
                    let mut channel = Channel::connect(target).await?;
                    let request = SnapshotRequest::default();
                    call(&mut channel, Method::Snapshot, &request, Keep::Nothing).await?;
                    done += 1;
                }
            }
            Beside::Defrag => {
                let mut channel = Channel::connect(target).await?;
                let request = DefragmentRequest::default();
                call(&mut channel, Method::Defragment, &request, Keep::Nothing).await?;
                done += 1;
            }
        }
        Ok(done)
    }

    async fn list(&self, stop: &AtomicBool) -> Result<u64> {
        let mut listers = tokio::task::JoinSet::new();
        let stopping = Arc::new(AtomicBool::new(false));
        for index in 0..LISTERS {
            let target = &self.targets[index % self.targets.len()];
            let mut channel = Channel::connect(target).await?;
            let (key, range_end) = bounds(&self.space, 0, self.space.len());
            let range = RangeRequest { key, range_end, ..RangeRequest::default() };
            let stopping = Arc::clone(&stopping);
            listers.spawn_local(async move {
                let mut done = 0;
                while !stopping.load(Ordering::Relaxed) {
                    call(&mut channel, Method::Range, &range, Keep::Nothing).await?;
                    done += 1;
                }
                anyhow::Ok(done)
            });
        }
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stopping.store(true, Ordering::Relaxed);
        let mut done = 0;
        while let Some(ended) = listers.join_next().await {
            done += ended.context("a client that lists")??;
        }
        Ok(done)
    }
}

impl Disturbing {
    /// Ends it; how often it was done.
    pub(crate) fn end(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// One call of `method`.
async fn call(
    channel: &mut Channel,
    method: Method,
    request: &impl Message,
    keep: Keep,
) -> Result<Bytes> {
    let mut message = BytesMut::new();
    frame::encode(request, &mut message);
    match channel.unary(method, message.freeze(), keep).await {
        Ok(answer) => Ok(answer.message),
        Err(failure @ Failure::Status { .. }) => bail!("{}: {failure}", method.path()),
        Err(failure) => Err(failure).with_context(|| method.path().to_owned()),
    }
}
