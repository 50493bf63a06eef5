//! Keep-alives and times to live, asked of the leader by the members whose clients want them.

use std::time::Duration;

use api::{
    etcdserverpb::{
        LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseTimeToLiveRequest,
        LeaseTimeToLiveResponse,
    },
    leasepb::{LeaseInternalRequest, LeaseInternalResponse},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use prost::Message;
use thiserror::Error;

use super::{Answer, Ask, PeerClient, PeerError};

/// The longest answer: a lease may have many keys.
const ANSWER_MAX: usize = 100 << 20;

/// Why the leader did not answer for a lease.
#[derive(Debug, Error)]
pub(crate) enum LeaseError {
    /// There is no such lease: this is final.
    #[error("lease not found")]
    NotFound,
    /// Ask again, perhaps somebody else.
    #[error("{0}")]
    Retry(String),
}

impl From<PeerError> for LeaseError {
    fn from(error: PeerError) -> LeaseError {
        LeaseError::Retry(error.to_string())
    }
}

impl PeerClient {
    /// Renews a lease at `url`; returns its time to live.
    pub(crate) async fn renew(
        &self,
        url: &str,
        id: i64,
        limit: Duration,
    ) -> Result<i64, LeaseError> {
        let request = LeaseKeepAliveRequest { id };
        let answer = self.post_lease(url, "/leases", &request, limit).await?;
        let answer: LeaseKeepAliveResponse = decode(&answer)?;
        match answer.id == id {
            true => Ok(answer.ttl),
            false => Err(LeaseError::Retry("lease: renew id mismatch".into())),
        }
    }

    /// The time to live of a lease, asked at `url`.
    pub(crate) async fn time_to_live(
        &self,
        url: &str,
        request: LeaseTimeToLiveRequest,
        limit: Duration,
    ) -> Result<LeaseTimeToLiveResponse, LeaseError> {
        let request = LeaseInternalRequest { lease_time_to_live_request: Some(request) };
        let answer = self.post_lease(url, "/leases/internal", &request, limit).await?;
        let answer: LeaseInternalResponse = decode(&answer)?;
        let answer = answer.lease_time_to_live_response.unwrap_or_default();
        match answer.id == request.lease_time_to_live_request.map_or(0, |request| request.id) {
            true => Ok(answer),
            false => Err(LeaseError::Retry("lease: TTL id mismatch".into())),
        }
    }

    async fn post_lease(
        &self,
        url: &str,
        path: &str,
        request: &impl Message,
        limit: Duration,
    ) -> Result<Answer, LeaseError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/protobuf"));
        let (method, body) = (Method::POST, request.encode_to_vec().into());
        let answer_max = ANSWER_MAX;
        let answer = self.ask(Ask { method, url, path, headers, body, limit, answer_max }).await?;
        match answer.status {
            StatusCode::OK => Ok(answer),
            StatusCode::NOT_FOUND => Err(LeaseError::NotFound),
            _ => Err(LeaseError::Retry(format!("lease: unknown error({})", answer.text()))),
        }
    }
}

fn decode<M: Message + Default>(answer: &Answer) -> Result<M, LeaseError> {
    M::decode(answer.body.clone())
        .map_err(|error| LeaseError::Retry(format!("lease: unreadable answer: {error}")))
}
