//! Posting to a peer: what every such request carries and what its answer means.

use http::{Method, Request, StatusCode, header, response};

use crate::{
    config::Config,
    exchange::{ExchangeError, RequestBody, request},
    headers,
    pipeline::Pipe,
    url::PeerUrl,
};

/// Why a posted message was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    #[error("{0}")]
    Exchange(#[from] ExchangeError),
    /// The peer says that this member is none any more.
    #[error("the member has been permanently removed from the cluster")]
    Removed,
    #[error("incompatible version")]
    Incompatible,
    #[error("cluster ID mismatch")]
    ClusterMismatch,
    #[error("unhandled error {0:?} when precondition failed")]
    Precondition(String),
    #[error("unexpected http status {status} while posting to \"{url}{path}\"")]
    Status { status: String, url: String, path: &'static str },
    #[error("stopped")]
    Stopped,
}

/// A request that posts `body`.
pub(crate) fn post_request(
    config: &Config,
    url: &PeerUrl,
    path: &str,
    content_type: &'static str,
    body: RequestBody,
) -> Result<Request<RequestBody>, ExchangeError> {
    let mut request = request(Method::POST, url, path, body)?;
    headers::of_request(config, request.headers_mut());
    let content_type = header::HeaderValue::from_static(content_type);
    request.headers_mut().insert(header::CONTENT_TYPE, content_type);
    Ok(request)
}

/// What the answer to a post says.
pub(crate) fn check_answer(
    pipe: &Pipe,
    (url, path): (&PeerUrl, &'static str),
    answer: &response::Parts,
    body: &[u8],
) -> Result<(), PostError> {
    match answer.status {
        StatusCode::NO_CONTENT => Ok(()),
        StatusCode::FORBIDDEN => Err(PostError::Removed),
        StatusCode::PRECONDITION_FAILED => {
            let text = String::from_utf8_lossy(body);
            Err(match text.trim_end_matches('\n') {
                "incompatible version" => {
                    if pipe.quiet.may_log() {
                        let peer = pipe.peer;
                        tracing::error!(
                            "remote-peer-id" = %peer,
                            "request sent was ignored by peer"
                        );
                    }
                    PostError::Incompatible
                }
                "cluster ID mismatch" => {
                    if pipe.quiet.may_log() {
                        let cluster = headers::text(&answer.headers, &headers::CLUSTER_ID);
                        tracing::error!(
                            "remote-peer-id" = %pipe.peer,
                            "remote-peer-cluster-id" = cluster,
                            "local-member-cluster-id" = %pipe.config.cluster,
                            "request sent was ignored due to cluster ID mismatch"
                        );
                    }
                    PostError::ClusterMismatch
                }
                other => PostError::Precondition(other.to_owned()),
            })
        }
        status => Err(PostError::Status {
            status: status.canonical_reason().unwrap_or_default().to_owned(),
            url: url.to_string(),
            path,
        }),
    }
}
