//! Messages posted one by one: the way while no stream is up, and the only way to a remote.

use std::sync::Arc;

use api::{
    ids::MemberId,
    raftpb::{Message, MessageType},
};
use bytes::Bytes;
use prost::Message as _;
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::Instant,
};

use crate::{
    config::{Config, PIPELINE_CONNECTIONS, PIPELINE_MESSAGES_MAX},
    exchange::{Exchange, ExchangeError, full_body, within},
    post::{PostError, check_answer, post_request},
    quiet::Quiet,
    sink::Sink,
    stats::PeerStats,
    status::{Failure, Status},
    url::{PeerUrl, Picker},
};

const PATH: &str = "/raft";

/// What posts to one peer need.
#[derive(Clone)]
pub(crate) struct Pipe {
    pub(crate) peer: MemberId,
    pub(crate) config: Arc<Config>,
    pub(crate) picker: Arc<Picker>,
    pub(crate) status: Arc<Status>,
    pub(crate) stats: Arc<PeerStats>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) quiet: Arc<Quiet>,
}

/// The queue of messages to post to one peer. Dropping it ends its connections.
pub(crate) struct Pipeline {
    queue: mpsc::Sender<Message>,
    _workers: JoinSet<()>,
}

impl Pipeline {
    pub(crate) fn start(pipe: &Pipe) -> Pipeline {
        let (queue, messages) = mpsc::channel(PIPELINE_MESSAGES_MAX);
        let messages = Arc::new(Mutex::new(messages));
        let mut workers = JoinSet::new();
        for _ in 0..PIPELINE_CONNECTIONS {
            let worker = Worker { pipe: pipe.clone(), kept: None };
            workers.spawn_on(worker.run(messages.clone()), &pipe.config.runtime);
        }
        Pipeline { queue, _workers: workers }
    }

    /// Queues a message; `false` when there is no room.
    pub(crate) fn push(&self, message: Message) -> bool {
        self.queue.try_send(message).is_ok()
    }
}

/// One connection of a pipeline.
struct Worker {
    pipe: Pipe,
    /// The connection of the last post, to which URL, and when it was last used.
    kept: Option<(Exchange, Arc<PeerUrl>, Instant)>,
}

impl Worker {
    async fn run(mut self, messages: Arc<Mutex<mpsc::Receiver<Message>>>) {
        loop {
            let next = messages.lock().await.recv().await;
            let Some(message) = next else { return };
            let is_snapshot = message.r#type == MessageType::MsgSnap as i32;
            let bytes = Bytes::from(message.encode_to_vec());
            let size = bytes.len() as u64;
            let posted = self.post(bytes).await;
            let Pipe { peer, status, stats, sink, .. } = &self.pipe;
            if let Err(error) = &posted {
                status.deactivate(Failure { action: "write", source: "pipeline" }, error);
                if matches!(error, PostError::Removed) {
                    sink.removed();
                }
                sink.unreachable(*peer);
                stats.sent_failures.add(1);
            } else {
                status.activate();
                stats.sent_bytes.add(size);
            }
            if is_snapshot {
                sink.snapshot_status(*peer, posted.is_ok());
            }
        }
    }

    /// Posts to the URL in use and moves on to the next one when that fails.
    async fn post(&mut self, message: Bytes) -> Result<(), PostError> {
        let url = self.pipe.picker.pick();
        let posted = self.post_to(&url, message).await;
        if posted.is_err() {
            self.pipe.picker.unreachable(&url);
        }
        posted
    }

    /// Posts on the kept connection, or on a new one when there is none or it turns out closed.
    async fn post_to(&mut self, url: &Arc<PeerUrl>, message: Bytes) -> Result<(), PostError> {
        if let Some(exchange) = self.take_kept(url) {
            match self.post_on(exchange, url, message.clone()).await {
                Err(PostError::Exchange(ExchangeError::Http(_))) => {}
                posted => return posted,
            }
        }
        let config = &self.pipe.config;
        let exchange = Exchange::open(config, url).await?;
        self.post_on(exchange, url, message).await
    }

    /// The kept connection, unless it leads elsewhere or the peer has closed it for being idle.
    fn take_kept(&mut self, url: &PeerUrl) -> Option<Exchange> {
        let (exchange, kept_url, used) = self.kept.take()?;
        let fresh = used.elapsed() < self.pipe.config.timing.probe;
        (fresh && *kept_url == *url && exchange.is_reusable()).then_some(exchange)
    }

    async fn post_on(
        &mut self,
        mut exchange: Exchange,
        url: &Arc<PeerUrl>,
        message: Bytes,
    ) -> Result<(), PostError> {
        let config = self.pipe.config.clone();
        let body = full_body(message);
        let request = post_request(&config, url, PATH, "application/protobuf", body)?;
        let limit = config.timing.post;
        let (answer, body) = within(limit, "read", exchange.send(request)).await?.into_parts();
        let body = within(limit, "read", exchange.collect(body)).await?;
        let checked = check_answer(&self.pipe, (url, PATH), &answer, &body);
        if exchange.is_reusable() {
            self.kept = Some((exchange, url.clone(), Instant::now()));
        }
        checked
    }
}
