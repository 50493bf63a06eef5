//! Asking a peer for a stream and reading it, again and again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use api::{ids::MemberId, raftpb::Message};
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};

use crate::{
    codec::{self, Input, MessageDecoder, MsgAppV2Decoder},
    config::Config,
    exchange::{Exchange, ExchangeError, no_body, request, within},
    headers,
    inbound::Inbound,
    quiet::Quiet,
    stats::PeerStats,
    status::{Failure, Status},
    stream::StreamKind,
    url::Picker,
};

/// One stream that this member asks of a peer.
pub(crate) struct Reader {
    pub(crate) kind: StreamKind,
    pub(crate) peer: MemberId,
    pub(crate) config: Arc<Config>,
    pub(crate) picker: Arc<Picker>,
    pub(crate) status: Arc<Status>,
    pub(crate) stats: Arc<PeerStats>,
    pub(crate) inbound: Inbound,
    pub(crate) quiet: Quiet,
    /// Received messages are dropped while this is set (tests of partitions).
    pub(crate) paused: Arc<AtomicBool>,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("{0}")]
    Exchange(#[from] ExchangeError),
    #[error("unsupported stream type")]
    Unsupported,
    #[error("the member has been permanently removed from the cluster")]
    Removed,
    #[error("peer {0} failed to find local node {1}")]
    NotFound(MemberId, MemberId),
    #[error("incompatible version")]
    Incompatible,
    #[error("cluster ID mismatch")]
    ClusterMismatch,
    #[error("unhandled error {0:?} when precondition failed")]
    Precondition(String),
    #[error("unhandled http status {0}")]
    Status(u16),
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    /// The peer ended it properly.
    #[error("EOF")]
    End,
    #[error("{0}")]
    Exchange(#[from] ExchangeError),
    #[error("{0}")]
    Codec(#[from] codec::Error),
}

enum Decoder {
    MsgAppV2(MsgAppV2Decoder),
    Message(MessageDecoder),
}

impl Decoder {
    fn decode(&mut self, input: &mut Input) -> Result<Option<Message>, codec::Error> {
        match self {
            Decoder::MsgAppV2(decoder) => decoder.decode(input),
            Decoder::Message(decoder) => decoder.decode(input),
        }
    }
}

impl Reader {
    /// Keeps the stream up until the task is ended.
    pub(crate) async fn run(self) {
        let kind = self.kind.as_str();
        loop {
            let started = Instant::now();
            match self.dial().await {
                Ok((exchange, body)) => {
                    self.status.activate();
                    tracing::info!(
                        "stream-reader-type" = kind,
                        "local-member-id" = %self.config.member,
                        "remote-peer-id" = %self.peer,
                        "established TCP streaming connection with remote peer"
                    );
                    let error = self.read(exchange, body).await;
                    tracing::warn!(
                        "stream-reader-type" = kind,
                        "local-member-id" = %self.config.member,
                        "remote-peer-id" = %self.peer,
                        %error,
                        "lost TCP streaming connection with remote peer"
                    );
                    if !matches!(error, ReadError::End) {
                        let failure = Failure { action: "read", source: kind };
                        self.status.deactivate(failure, &error);
                    }
                }
                Err(DialError::Unsupported) => {}
                Err(error) => {
                    self.status.deactivate(Failure { action: "dial", source: kind }, &error);
                }
            }
            sleep_until(started + self.config.timing.redial).await;
        }
    }

    async fn dial(&self) -> Result<(Exchange, Incoming), DialError> {
        let url = self.picker.pick();
        let dialed = self.ask(&url).await;
        if let Err(error) = &dialed {
            self.picker.unreachable(&url);
            if matches!(error, DialError::Removed) {
                self.inbound.sink.removed();
            }
        }
        dialed
    }

    async fn ask(&self, url: &crate::url::PeerUrl) -> Result<(Exchange, Incoming), DialError> {
        let config = &self.config;
        let path = format!("{}/{}", self.kind.path(), config.member);
        let mut request = request(Method::GET, url, &path, no_body())?;
        headers::of_request(config, request.headers_mut());
        request.headers_mut().insert(headers::RAFT_TO, headers::id_value(self.peer.0));
        let mut exchange = Exchange::open(config, url).await?;
        let stalled = config.timing.stalled;
        let answer = within(stalled, "read", exchange.send(request)).await?;
        let version = headers::version(answer.headers(), &headers::SERVER_VERSION);
        if !version.is_some_and(|version| version.has_streams()) {
            return Err(DialError::Unsupported);
        }
        match answer.status() {
            StatusCode::OK => Ok((exchange, answer.into_body())),
            StatusCode::GONE => Err(DialError::Removed),
            StatusCode::NOT_FOUND => Err(DialError::NotFound(self.peer, config.member)),
            StatusCode::PRECONDITION_FAILED => Err(self.refused(exchange, answer, stalled).await),
            status => Err(DialError::Status(status.as_u16())),
        }
    }

    /// Tells a precondition from the other by its text.
    async fn refused(
        &self,
        mut exchange: Exchange,
        answer: Response<Incoming>,
        limit: Duration,
    ) -> DialError {
        let cluster = headers::text(answer.headers(), &headers::CLUSTER_ID);
        let body = match within(limit, "read", exchange.collect(answer.into_body())).await {
            Ok(body) => body,
            Err(error) => return error.into(),
        };
        let text = String::from_utf8_lossy(&body);
        match text.trim_end_matches('\n') {
            "incompatible version" => {
                if self.quiet.may_log() {
                    tracing::warn!(
                        "local-member-id" = %self.config.member,
                        "remote-peer-id" = %self.peer,
                        "request sent was ignored by remote peer due to server version \
                         incompatibility"
                    );
                }
                DialError::Incompatible
            }
            "cluster ID mismatch" => {
                if self.quiet.may_log() {
                    tracing::warn!(
                        "remote-peer-id" = %self.peer,
                        "remote-peer-cluster-id" = cluster,
                        "local-member-id" = %self.config.member,
                        "local-member-cluster-id" = %self.config.cluster,
                        "request sent was ignored by remote peer due to cluster ID mismatch"
                    );
                }
                DialError::ClusterMismatch
            }
            other => DialError::Precondition(other.to_owned()),
        }
    }

    /// Reads until the stream ends.
    async fn read(&self, mut exchange: Exchange, mut body: Incoming) -> ReadError {
        let mut decoder = match self.kind {
            StreamKind::MsgAppV2 => {
                Decoder::MsgAppV2(MsgAppV2Decoder::new(self.config.member, self.peer))
            }
            StreamKind::Message => Decoder::Message(MessageDecoder::default()),
        };
        let mut input = Input::new();
        let stalled = self.config.timing.stalled;
        let mut heard = Instant::now();
        // The timer is moved only when it fires, not with each read.
        let mut timer = std::pin::pin!(sleep_until(heard + stalled));
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = exchange.chunk(&mut body) => chunk,
                () = &mut timer => {
                    if heard + stalled <= Instant::now() {
                        return ExchangeError::TimedOut("read").into();
                    }
                    timer.as_mut().reset(heard + stalled);
                    continue;
                }
            };
            match chunk {
                None => return ReadError::End,
                Some(Err(error)) => return error.into(),
                Some(Ok(bytes)) => {
                    self.stats.received_bytes.add(bytes.len() as u64);
                    input.push(bytes);
                }
            }
            heard = Instant::now();
            let mut batch = Vec::new();
            let decoded = loop {
                match decoder.decode(&mut input) {
                    Ok(Some(message)) => batch.push(message),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            if !batch.is_empty() && !self.paused.load(Relaxed) {
                self.inbound.stream(batch);
            }
            if let Err(error) = decoded {
                return error.into();
            }
        }
    }
}
