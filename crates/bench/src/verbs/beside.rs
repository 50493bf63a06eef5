//! What goes on beside a load, to see what it does to the load: lists, a compaction, a snapshot, a
//! defragmentation, watchers that catch up, leases that expire.
//!
//! It has a thread and connections of its own, so that it costs the load nothing but the server's
//! attention, as far as there are cores. Where these are taken, the measuring thread is prompt
//! (`priority::Prompt`), quiet or not.

mod catch_up;

use crate::{
    args::load::{Beside, LoadArgs},
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
    verbs::{Filling, lease::Numbered, range::bounds, txn},
};
use anyhow::{Context as _, Result, bail};
use api::etcdserverpb::{
    CompactionRequest, DefragmentRequest, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
    RangeRequest, RangeResponse, SnapshotRequest,
};
use bytes::{Bytes, BytesMut};
use prost::Message;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// What the keys begin with that are there for this alone.
const PREFIX: &str = "beside/";
/// Bytes of such a key.
const KEY_BYTES: usize = 20;
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
/// Clients that grant leases.
const GRANT_CLIENTS: usize = 256;
/// Revisions of each key whose revisions are compacted, or caught up on.
const REVISIONS: u64 = 10;
/// Time between two looks at a lease.
const LEASE_INTERVAL: Duration = Duration::from_millis(100);

/// Something that is ready to be done beside a load.
pub(crate) struct Disturbance {
    kind: Beside,
    space: KeySpace,
    targets: Vec<Target>,
    /// The first revision of its keys.
    from: i64,
    watchers: u64,
    leases: u64,
    ttl: i64,
}

/// What was done beside a load.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    /// How often, or of how many.
    pub(crate) count: u64,
    /// In what time.
    pub(crate) took: Duration,
}

/// It is being done.
pub(crate) struct Disturbing {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Done>>,
}

impl Disturbance {
    /// Puts the keys it needs: as many as are asked for, or so many revisions of fewer keys.
    pub(crate) async fn prepare(kind: Beside, args: &LoadArgs, targets: &[Target]) -> Result<Self> {
        let rounds = match kind {
            Beside::Compaction | Beside::CatchUp => REVISIONS,
            _ => 1,
        };
        let keys = args.beside_keys.div_ceil(rounds).max(FILL_OPS);
        let space = KeySpace::new(PREFIX, KEY_BYTES, keys)?;
        let from = revision(targets, &space).await? + 1;
        let rounds = if kind == Beside::Leases { 0 } else { rounds };
        for round in 0..rounds {
            let values = Values::new(args.beside_val_size, round);
            let puts = txn::Puts::filling(space.clone(), values, FILL_OPS);
            let filling = Filling { targets, connections: FILL_CONNECTIONS, stall: FILL_STALL };
            let count = space.len().div_ceil(FILL_OPS);
            filling.run(UnaryLoad::new(puts, FILL_CLIENTS), count).await?;
        }
        let (watchers, leases, ttl) = (args.beside_watchers, args.beside_keys, args.beside_ttl);
        Ok(Self { kind, space, targets: targets.to_vec(), from, watchers, leases, ttl })
    }

    /// Does what must not be done long before it begins: grants leases.
    pub(crate) async fn arm(&self) -> Result<()> {
        if self.kind != Beside::Leases {
            return Ok(());
        }
        let targets = &self.targets;
        let filling = Filling { targets, connections: FILL_CONNECTIONS, stall: FILL_STALL };
        filling.run(UnaryLoad::new(Numbered::new(self.ttl), GRANT_CLIENTS), self.leases).await
    }

    /// Begins.
    pub(crate) fn begin(self) -> Result<Disturbing> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let work = move || {
            priority::as_usual();
            let begun = Instant::now();
            let count = runtime::block_on(self.run(&seen)).and_then(|done| done)?;
            Ok(Done { count, took: begun.elapsed() })
        };
        let thread = std::thread::Builder::new().name("beside".to_owned());
        Ok(Disturbing { stop, thread: thread.spawn(work).context("start a thread")? })
    }

    /// Does it until it is done, or told to stop; how often it was done.
    async fn run(self, stop: &AtomicBool) -> Result<u64> {
        let target = self.targets.first().context("a server")?;
        let mut done = 0;
        match self.kind {
            Beside::Lists => return self.list(stop).await,
            Beside::CatchUp => {
                return catch_up::run(target, &self.space, self.from, self.watchers, stop).await;
            }
            Beside::Leases => return self.await_expiry(stop).await,
            Beside::Compaction => {
                let revision = revision(&self.targets, &self.space).await?;
                let mut channel = Channel::connect(target).await?;
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

    /// Looks at each lease in turn until it is gone; how many are.
    async fn await_expiry(&self, stop: &AtomicBool) -> Result<u64> {
        let mut channel = Channel::connect(self.targets.first().context("a server")?).await?;
        // The last ones granted go last, though not in the order of their numbers.
        let looked_at = [self.leases / 2, self.leases].into_iter().filter(|id| *id > 0);
        let mut gone = 0;
        for id in looked_at {
            let request = LeaseTimeToLiveRequest { id: id as i64, keys: false };
            while !stop.load(Ordering::Relaxed) {
                let answer =
                    call(&mut channel, Method::LeaseTimeToLive, &request, Keep::Message).await?;
                if LeaseTimeToLiveResponse::decode(answer).context("read an answer")?.ttl < 0 {
                    gone = id;
                    break;
                }
                tokio::time::sleep(LEASE_INTERVAL).await;
            }
        }
        Ok(gone)
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
    /// Ends it; what was done.
    pub(crate) fn end(self) -> Result<Done> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// The revision of the store now.
async fn revision(targets: &[Target], space: &KeySpace) -> Result<i64> {
    let mut channel = Channel::connect(targets.first().context("a server")?).await?;
    let range = RangeRequest { key: space.key(0), ..RangeRequest::default() };
    let answer = call(&mut channel, Method::Range, &range, Keep::Message).await?;
    let header = RangeResponse::decode(answer).context("read an answer")?.header;
    Ok(header.context("an answer has a header")?.revision)
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
