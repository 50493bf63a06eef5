//! `POST /raft`: one message.

use api::{ids::MemberId, raftpb::Message};
use bytes::{Buf, BytesMut};
use http::{Method, Request, StatusCode};
use prost::Message as _;

use super::{
    Response,
    answer::{no_content, of_cluster, processing_failed, text},
    check_compatible, check_method, chunk, note_sender,
};
use crate::{codec::MESSAGE_BYTES_MAX, transport::Transport};

impl Transport {
    pub(super) async fn serve_post<B>(&self, request: Request<B>) -> Response
    where
        B: hyper::body::Body + Unpin,
        B::Data: Buf,
        B::Error: std::fmt::Display,
    {
        if let Err(refused) = check_method(request.method(), Method::POST) {
            return refused;
        }
        let answered = self.take_message(request).await;
        of_cluster(answered.unwrap_or_else(|refused| refused), self.shared.config.cluster)
    }

    async fn take_message<B>(&self, request: Request<B>) -> Result<Response, Response>
    where
        B: hyper::body::Body + Unpin,
        B::Data: Buf,
        B::Error: std::fmt::Display,
    {
        check_compatible(&self.shared, request.headers()).map_err(super::Refused::answer)?;
        note_sender(self, request.headers());
        let inbound = &self.shared.inbound;
        let failed = |reason: &'static str, log: &'static str, error: String| {
            tracing::warn!("local-member-id" = %inbound.member, error, "{log}");
            inbound.stats.unknown_received_failures.add(1);
            text(StatusCode::BAD_REQUEST, reason)
        };
        let body = self.read_body(request.into_body()).await.map_err(|error| {
            failed("error reading raft message", "failed to read Raft message", error)
        })?;
        let size = body.len() as u64;
        let message = Message::decode(body.freeze()).map_err(|error| {
            let log = "failed to unmarshal Raft message";
            failed("error unmarshalling raft message", log, error.to_string())
        })?;
        inbound.stats.peer(MemberId(message.from)).received_bytes.add(size);
        match inbound.post(message) {
            Ok(()) => Ok(no_content()),
            Err(error) => {
                tracing::warn!(
                    "local-member-id" = %inbound.member,
                    %error,
                    "failed to process Raft message"
                );
                Err(processing_failed("error processing raft message"))
            }
        }
    }

    async fn read_body<B>(&self, mut body: B) -> Result<BytesMut, String>
    where
        B: hyper::body::Body + Unpin,
        B::Data: Buf,
        B::Error: std::fmt::Display,
    {
        let mut all = BytesMut::new();
        while let Some(chunk) = chunk(&mut body, self.shared.config.timing.stalled).await {
            let chunk = chunk?;
            if (all.len() + chunk.len()) as u64 > MESSAGE_BYTES_MAX {
                return Err("the message is too large".to_owned());
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }
}
