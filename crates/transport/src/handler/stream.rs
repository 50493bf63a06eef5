//! `GET /raft/stream/{msgapp,message}/{from}`: a peer asks for the messages to it.

use api::ids::MemberId;
use http::{HeaderMap, Method, Request, StatusCode};

use super::{
    Body, Response,
    answer::{of_cluster, text},
    check_compatible, check_method,
};
use crate::{headers, stream::StreamKind, transport::Transport};

impl Transport {
    pub(super) fn serve_stream<B>(&self, request: &Request<B>) -> Response {
        if let Err(refused) = check_method(request.method(), Method::GET) {
            return refused;
        }
        let config = &self.shared.config;
        let answered = self.open_stream(request.uri().path(), request.headers());
        let response = answered.unwrap_or_else(|refused| refused);
        let mut response = of_cluster(response, config.cluster);
        let version = config.versions.server.as_str();
        let version = version.parse().expect("a version is a header value");
        response.headers_mut().insert(headers::SERVER_VERSION, version);
        response
    }

    fn open_stream(&self, path: &str, request: &HeaderMap) -> Result<Response, Response> {
        check_compatible(&self.shared, request).map_err(super::Refused::answer)?;
        let (kind, from) = parse_path(path)?;
        let member = self.shared.config.member;
        if self.shared.inbound.sink.is_removed(from) {
            if self.shared.quiet.may_log() {
                tracing::warn!(
                    "local-member-id" = %member,
                    "remote-peer-id-from" = %from,
                    "rejected stream from remote peer because it was removed"
                );
            }
            return Err(text(StatusCode::GONE, "removed member"));
        }
        let Some(peer) = self.peer(from) else {
            if let Some(urls) = headers::peer_urls(request) {
                self.note_sender(from, &urls);
            }
            if self.shared.quiet.may_log() {
                tracing::warn!(
                    "local-member-id" = %member,
                    "remote-peer-id-from" = %from,
                    "cluster-id" = %self.shared.config.cluster,
                    "failed to find remote peer in cluster"
                );
            }
            return Err(text(StatusCode::NOT_FOUND, "error sender not found"));
        };
        let to = headers::text(request, &headers::RAFT_TO);
        if to != member.to_string() {
            if self.shared.quiet.may_log() {
                tracing::warn!(
                    "local-member-id" = %member,
                    "remote-peer-id-header" = to,
                    "remote-peer-id-from" = %from,
                    "cluster-id" = %self.shared.config.cluster,
                    "ignored streaming request; ID mismatch"
                );
            }
            return Err(text(StatusCode::PRECONDITION_FAILED, "to field mismatch"));
        }
        // Removed in between: the same answer as had it come a moment later.
        let stream = peer.attach(kind);
        let not_found = || text(StatusCode::NOT_FOUND, "error sender not found");
        Ok(Response::new(Body::stream(stream.ok_or_else(not_found)?)))
    }
}

/// Which stream is asked for, and by whom.
fn parse_path(path: &str) -> Result<(StreamKind, MemberId), Response> {
    let invalid_path = || text(StatusCode::NOT_FOUND, "invalid path");
    let (directory, from) = path.rsplit_once('/').ok_or_else(invalid_path)?;
    let kind = [StreamKind::MsgAppV2, StreamKind::Message]
        .into_iter()
        .find(|kind| kind.path() == directory)
        .ok_or_else(invalid_path)?;
    let from =
        headers::parse_id(from).ok_or_else(|| text(StatusCode::NOT_FOUND, "invalid from"))?;
    Ok((kind, from))
}
