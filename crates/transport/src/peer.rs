//! One other member: its streams, its pipeline, its probes; and a remote, which is a pipeline only.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Waker,
    time::Instant,
};

use api::{
    ids::MemberId,
    raftpb::{Message, MessageType},
};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::{
    config::Config,
    inbound::Inbound,
    outbox::{Outbox, Pushed, StreamBody},
    pipeline::{Pipe, Pipeline},
    probe::{Kind, Prober},
    quiet::Quiet,
    reader::Reader,
    snapshot::{SnapshotBody, Transfer},
    status::Status,
    stream::StreamKind,
    url::{PeerUrl, Picker},
};

/// A member of the cluster. Dropping it ends what it runs.
pub(crate) struct Peer {
    pipe: Pipe,
    msgapp: Arc<Outbox>,
    message: Arc<Outbox>,
    pipeline: Pipeline,
    paused: Arc<AtomicBool>,
    _readers: JoinSet<()>,
    probers: Mutex<JoinSet<()>>,
    transfers: Mutex<JoinSet<()>>,
}

/// What a connection to a member needs, whether it is a peer or a remote.
fn pipe(id: MemberId, urls: Vec<PeerUrl>, config: &Arc<Config>, inbound: &Inbound) -> Pipe {
    let stats = inbound.stats.peer(id);
    Pipe {
        peer: id,
        config: config.clone(),
        picker: Arc::new(Picker::new(urls)),
        status: Arc::new(Status::new(id, stats.clone())),
        stats,
        sink: inbound.sink.clone(),
        quiet: Arc::default(),
    }
}

impl Peer {
    pub(crate) fn start(
        id: MemberId,
        urls: Vec<PeerUrl>,
        config: &Arc<Config>,
        inbound: &Inbound,
    ) -> Peer {
        tracing::info!("remote-peer-id" = %id, "starting remote peer");
        let pipe = pipe(id, urls.clone(), config, inbound);
        let paused = Arc::new(AtomicBool::new(false));
        let mut readers = JoinSet::new();
        for kind in [StreamKind::MsgAppV2, StreamKind::Message] {
            let reader = Reader {
                kind,
                peer: id,
                config: config.clone(),
                picker: pipe.picker.clone(),
                status: pipe.status.clone(),
                stats: pipe.stats.clone(),
                inbound: inbound.clone(),
                quiet: Quiet::default(),
                paused: paused.clone(),
            };
            readers.spawn_on(reader.run(), &config.runtime);
        }
        let peer = Peer {
            msgapp: outbox(StreamKind::MsgAppV2, &pipe),
            message: outbox(StreamKind::Message, &pipe),
            pipeline: Pipeline::start(&pipe),
            paused,
            _readers: readers,
            probers: Mutex::default(),
            transfers: Mutex::default(),
            pipe,
        };
        peer.start_probers(urls);
        tracing::info!("remote-peer-id" = %id, "started remote peer");
        peer
    }

    fn start_probers(&self, urls: Vec<PeerUrl>) {
        let Pipe { peer, config, stats, .. } = &self.pipe;
        let mut probers = JoinSet::new();
        for kind in [Kind::Snapshot, Kind::RaftMessage] {
            let prober = Prober::new(kind, *peer, config.clone(), urls.clone(), stats.clone());
            probers.spawn_on(prober.run(), &config.runtime);
        }
        *self.probers.lock() = probers;
    }

    pub(crate) fn update(&self, urls: Vec<PeerUrl>) {
        self.pipe.picker.update(urls.clone());
        self.start_probers(urls);
    }

    pub(crate) fn attach(&self, kind: StreamKind) -> Option<StreamBody> {
        match kind {
            StreamKind::MsgAppV2 => self.msgapp.attach(),
            StreamKind::Message => self.message.attach(),
        }
    }

    pub(crate) fn has_streams(&self) -> bool {
        self.msgapp.is_attached() && self.message.is_attached()
    }

    pub(crate) fn active_since(&self) -> Option<Instant> {
        self.pipe.status.active_since()
    }

    /// Drops all messages in both directions while set.
    pub(crate) fn pause(&self, paused: bool) {
        self.paused.store(paused, Relaxed);
    }

    /// Sends a message by the best way there is. What waits for a stream is written once the waker
    /// in `wakers` is woken.
    pub(crate) fn send(&self, message: Message, wakers: &mut Vec<Waker>) {
        if self.paused.load(Relaxed) {
            return;
        }
        let kind = message.r#type();
        let mut message = Some(message);
        let streams: &[&Outbox] = match kind {
            MessageType::MsgSnap => &[],
            MessageType::MsgApp => &[&self.msgapp, &self.message],
            _ => &[&self.message],
        };
        let mut way = "pipeline";
        for stream in streams {
            match stream.push(&mut message) {
                Pushed::Queued(waker) => return wakers.extend(waker),
                Pushed::Full => {
                    way = stream.name();
                    message = None;
                    break;
                }
                Pushed::Detached => {}
            }
        }
        if message.is_some_and(|message| self.pipeline.push(message)) {
            return;
        }
        let Pipe { peer, status, stats, sink, .. } = &self.pipe;
        sink.unreachable(*peer);
        if kind == MessageType::MsgSnap {
            sink.snapshot_status(*peer, false);
        }
        stats.sent_failures.add(1);
        if self.pipe.quiet.may_log() {
            tracing::warn!(
                "message-type" = kind.as_str_name(),
                "local-member-id" = %self.pipe.config.member,
                "remote-peer-id" = %peer,
                "remote-peer-name" = way,
                "remote-peer-active" = status.is_active(),
                dropped = stats.sent_failures.get(),
                "dropped internal Raft message since sending buffer is full"
            );
        }
    }

    pub(crate) fn send_snapshot(&self, message: Message, size: u64, database: SnapshotBody) {
        let transfer = Transfer::begin(self.pipe.clone(), &message, size);
        let mut transfers = self.transfers.lock();
        while transfers.try_join_next().is_some() {}
        transfers.spawn_on(transfer.run(message, database), &self.pipe.config.runtime);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.msgapp.stop();
        self.message.stop();
        self.pipe.status.stop();
        tracing::info!("remote-peer-id" = %self.pipe.peer, "stopped remote peer");
    }
}

fn outbox(kind: StreamKind, pipe: &Pipe) -> Arc<Outbox> {
    Arc::new(Outbox::new(
        kind,
        pipe.peer,
        pipe.status.clone(),
        pipe.stats.clone(),
        pipe.sink.clone(),
        pipe.config.timing.link_heartbeat,
    ))
}

/// A member that is not known to be one: it can be answered, and no more. A member which joins
/// learns of the others this way, and they of it.
pub(crate) struct Remote {
    pipe: Pipe,
    pipeline: Pipeline,
    paused: AtomicBool,
}

impl Remote {
    pub(crate) fn start(
        id: MemberId,
        urls: Vec<PeerUrl>,
        config: &Arc<Config>,
        inbound: &Inbound,
    ) -> Remote {
        let pipe = pipe(id, urls, config, inbound);
        let pipeline = Pipeline::start(&pipe);
        Remote { pipe, pipeline, paused: AtomicBool::new(false) }
    }

    pub(crate) fn pause(&self, paused: bool) {
        self.paused.store(paused, Relaxed);
    }

    pub(crate) fn send(&self, message: Message) {
        if !self.paused.load(Relaxed) && !self.pipeline.push(message) {
            self.pipe.stats.sent_failures.add(1);
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.pipe.status.stop();
    }
}
