//! `POST /raft/snapshot`: a MsgSnap and the database that belongs to it.

use std::{io, time::Instant};

use api::{
    ids::{MemberId, RaftIndex},
    raftpb::{Message, MessageType},
};
use bytes::{Buf, Bytes};
use http::{Method, Request, StatusCode};
use prost::Message as _;
use tokio::sync::mpsc;

use super::{
    Response,
    answer::{no_content, of_cluster, text},
    check_compatible, check_method, chunk, note_sender,
    places::Patience,
};
use crate::{
    codec::{Input, MessageDecoder, SNAPSHOT_MESSAGE_BYTES_MAX},
    headers::{self, SERVER_FROM},
    inbound::Inbound,
    stats::PeerStats,
    transport::Transport,
};

/// Chunks between the connection and the thread that writes the file.
const CHUNKS_WAITING_MAX: usize = 4;

impl Transport {
    pub(super) async fn serve_snapshot<B>(&self, request: Request<B>) -> Response
    where
        B: hyper::body::Body + Unpin,
        B::Data: Buf,
        B::Error: std::fmt::Display,
    {
        let failures = &self.shared.inbound.stats.unknown_snapshot_failures;
        if let Err(refused) = check_method(request.method(), Method::POST) {
            failures.add(1);
            return refused;
        }
        let answered = match check_compatible(&self.shared, request.headers()) {
            Ok(()) => {
                let from = headers::parse_id(&headers::text(request.headers(), &SERVER_FROM));
                let member = from.filter(|id| self.peer(*id).is_some());
                note_sender(self, request.headers());
                self.take_snapshot(member, request.into_body()).await
            }
            Err(refused) => {
                failures.add(1);
                Err(refused.answer())
            }
        };
        of_cluster(answered.unwrap_or_else(|refused| refused), self.shared.config.cluster)
    }

    /// `member` is who sends, if it is known as a member.
    async fn take_snapshot<B>(
        &self,
        member: Option<MemberId>,
        mut body: B,
    ) -> Result<Response, Response>
    where
        B: hyper::body::Body + Unpin,
        B::Data: Buf,
        B::Error: std::fmt::Display,
    {
        let started = Instant::now();
        let inbound = &self.shared.inbound;
        let Some(_place) = self.shared.receiving.take(member) else {
            inbound.stats.unknown_snapshot_failures.add(1);
            let reason = "failed to save KV snapshot (too many are being received)";
            return Err(text(StatusCode::SERVICE_UNAVAILABLE, reason));
        };
        let mut input = Input::new();
        let mut patience = Patience::default();
        let read = self.read_message(&mut body, &mut input, &mut patience).await;
        let message = read.map_err(|error| {
            tracing::warn!(
                "local-member-id" = %inbound.member,
                error,
                "failed to decode Raft message"
            );
            inbound.stats.unknown_received_failures.add(1);
            inbound.stats.peer(MemberId(0)).snapshot_receive_failures.add(1);
            text(StatusCode::BAD_REQUEST, &format!("failed to decode raft message ({error})"))
        })?;
        let from = MemberId(message.from);
        let stats = inbound.stats.peer(from);
        stats.received_bytes.add(message.encoded_len() as u64);
        if message.r#type() != MessageType::MsgSnap {
            tracing::warn!(
                "local-member-id" = %inbound.member,
                "remote-snapshot-sender-id" = %from,
                "message-type" = message.r#type().as_str_name(),
                "unexpected Raft message type"
            );
            stats.snapshot_receive_failures.add(1);
            return Err(text(StatusCode::BAD_REQUEST, "wrong raft message type"));
        }
        let refused = |reason: &str| {
            tracing::warn!(
                "local-member-id" = %inbound.member,
                "remote-snapshot-sender-id" = %from,
                error = reason,
                "failed to process Raft message"
            );
            stats.snapshot_receive_failures.add(1);
            let reason = format!("failed to process raft message ({reason})");
            text(StatusCode::INTERNAL_SERVER_ERROR, &reason)
        };
        let Some(index) = index_of(&message) else { return Err(refused("no snapshot in it")) };
        // Not only behind the database, as in etcd: a stranger's would be saved before.
        inbound.check(&message).map_err(|error| refused(&error.to_string()))?;
        let _inflight = Inflight::begin(&stats);
        let received = self.receive(&message, index, body, input, patience).await;
        let bytes = received.inspect_err(|_| stats.snapshot_receive_failures.add(1))?;
        stats.received_bytes.add(bytes);
        inbound.post(message).map_err(|error| refused(&error.to_string()))?;
        stats.snapshot_receive_success.add(1);
        stats.snapshot_receive_took.observe(started.elapsed());
        Ok(no_content())
    }

    /// The message in front of the database; what was read beyond it stays in `input`.
    async fn read_message<B>(
        &self,
        body: &mut B,
        input: &mut Input,
        patience: &mut Patience,
    ) -> Result<Message, String>
    where
        B: hyper::body::Body + Unpin,
        B::Data: Buf,
        B::Error: std::fmt::Display,
    {
        let mut decoder = MessageDecoder::with_limit(SNAPSHOT_MESSAGE_BYTES_MAX);
        loop {
            if let Some(message) = decoder.decode(input).map_err(|error| error.to_string())? {
                return Ok(message);
            }
            match self.patient_chunk(body, patience).await {
                Some(chunk) => input.push(chunk?),
                None if input.is_empty() => return Err("EOF".to_owned()),
                None => return Err("unexpected EOF".to_owned()),
            }
        }
    }

    /// Saves the database; its size.
    async fn receive<B>(
        &self,
        message: &Message,
        index: RaftIndex,
        body: B,
        input: Input,
        patience: Patience,
    ) -> Result<u64, Response>
    where
        B: hyper::body::Body + Unpin,
        B::Data: Buf,
        B::Error: std::fmt::Display,
    {
        let inbound = &self.shared.inbound;
        let from = MemberId(message.from);
        let started = Instant::now();
        tracing::info!(
            "local-member-id" = %inbound.member,
            "remote-snapshot-sender-id" = %from,
            "incoming-snapshot-index" = index.0,
            "incoming-snapshot-message-size-bytes" = message.encoded_len(),
            "receiving database snapshot"
        );
        let saved = self.save(from, index, body, input, patience).await;
        match saved {
            Ok(bytes) => {
                tracing::info!(
                    "local-member-id" = %inbound.member,
                    "remote-snapshot-sender-id" = %from,
                    "incoming-snapshot-index" = index.0,
                    "incoming-snapshot-size-bytes" = bytes,
                    "download-took" = ?started.elapsed(),
                    "received and saved database snapshot"
                );
                Ok(bytes)
            }
            Err(error) => {
                tracing::warn!(
                    "local-member-id" = %inbound.member,
                    "remote-snapshot-sender-id" = %from,
                    "incoming-snapshot-index" = index.0,
                    %error,
                    "failed to save incoming database snapshot"
                );
                let reason = format!("failed to save KV snapshot ({error})");
                Err(text(StatusCode::INTERNAL_SERVER_ERROR, &reason))
            }
        }
    }

    /// The next bytes of a body, which must not come too slowly.
    async fn patient_chunk<B>(
        &self,
        body: &mut B,
        patience: &mut Patience,
    ) -> Option<Result<Bytes, String>>
    where
        B: hyper::body::Body + Unpin,
        B::Data: Buf,
        B::Error: std::fmt::Display,
    {
        let began = Instant::now();
        match chunk(body, self.shared.config.timing.stalled).await {
            Some(Ok(bytes)) if !patience.is_left(began, bytes.len()) => {
                Some(Err("read: too slow".to_owned()))
            }
            next => next,
        }
    }

    /// Hands chunks to a thread that may block, no faster than it writes them.
    async fn save<B>(
        &self,
        from: MemberId,
        index: RaftIndex,
        mut body: B,
        input: Input,
        mut patience: Patience,
    ) -> io::Result<u64>
    where
        B: hyper::body::Body + Unpin,
        B::Data: Buf,
        B::Error: std::fmt::Display,
    {
        let (sender, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
        let inbound = self.shared.inbound.clone();
        let writer = tokio::task::spawn_blocking(move || write(&inbound, from, index, receiver));
        let mut early = input.into_chunks();
        loop {
            let next = match early.next() {
                Some(bytes) => Part::Bytes(bytes),
                None => match self.patient_chunk(&mut body, &mut patience).await {
                    Some(Ok(bytes)) => Part::Bytes(bytes),
                    Some(Err(error)) => Part::Broken(io::Error::other(error)),
                    None => Part::End,
                },
            };
            let is_last = !matches!(next, Part::Bytes(_));
            // A writer that has failed takes no more parts and tells why below.
            if sender.send(next).await.is_err() || is_last {
                break;
            }
        }
        drop(sender);
        writer.await.map_err(io::Error::other)?
    }
}

/// The index up to which the database holds everything.
fn index_of(message: &Message) -> Option<RaftIndex> {
    let metadata = message.snapshot.as_ref()?.metadata.as_ref()?;
    (metadata.index > 0).then_some(RaftIndex(metadata.index))
}

/// A piece of a database on its way to the file.
enum Part {
    Bytes(Bytes),
    Broken(io::Error),
    End,
}

/// Writes what comes; the file is kept only when its end has come too.
fn write(
    inbound: &Inbound,
    from: MemberId,
    index: RaftIndex,
    mut parts: mpsc::Receiver<Part>,
) -> io::Result<u64> {
    let mut file = inbound.sink.receive_snapshot(from, index)?;
    let mut size = 0;
    loop {
        match parts.blocking_recv() {
            Some(Part::Bytes(bytes)) => {
                size += bytes.len() as u64;
                file.write(bytes)?;
            }
            Some(Part::End) => {
                file.finish()?;
                return Ok(size);
            }
            Some(Part::Broken(error)) => return Err(error),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Counts a transfer for as long as it lasts, also when its connection is dropped.
struct Inflight<'a>(&'a PeerStats);

impl Inflight<'_> {
    fn begin(stats: &PeerStats) -> Inflight<'_> {
        stats.snapshot_receive_inflight.add(1);
        Inflight(stats)
    }
}

impl Drop for Inflight<'_> {
    fn drop(&mut self) {
        self.0.snapshot_receive_inflight.add(-1);
    }
}
