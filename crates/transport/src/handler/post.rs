//! `POST /raft`: one message.

use api::{ids::MemberId, raftpb::Message};
use bytes::{Buf, BytesMut};
use http::{Method, Request, StatusCode};
use prost::Message as _;

use super::{
    Response,
    answer::{json_error, no_content, of_cluster, text},
    check_compatible, check_method, chunk, note_sender,
};
use crate::{codec::MESSAGE_BYTES_MAX, inbound::Rejected, transport::Transport};

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
        inbound.post(message).map_err(refusal)?;
        Ok(no_content())
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

/// How a member that must not talk to this one learns of it.
pub(super) fn refusal(rejected: Rejected) -> Response {
    match rejected {
        Rejected::FromRemoved | Rejected::ToOther => {
            json_error(StatusCode::FORBIDDEN, &rejected.to_string())
        }
        Rejected::Local => text(StatusCode::INTERNAL_SERVER_ERROR, "error processing raft message"),
    }
}
