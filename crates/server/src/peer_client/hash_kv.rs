//! The hash of a member's history, as other members ask for it to find corruption.

use std::time::Duration;

use api::ids::{ClusterId, MemberId};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use membership::Member;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Ask, CLUSTER_ID, PeerClient};

const ANSWER_MAX: usize = 64 * 1024;

/// The request, in the JSON of Go's encoder.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HashRequest {
    /// The revision; 0 for the current one.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) revision: i64,
}

/// The answer, likewise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HashAnswer {
    /// Only the revision is filled in.
    pub(crate) header: HashHeader,
    /// The hash.
    #[serde(skip_serializing_if = "is_zero_u32")]
    pub(crate) hash: u32,
    /// The compact revision that it was made with.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) compact_revision: i64,
    /// The revision up to which history was hashed.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) hash_revision: i64,
}

/// The header of a [`HashAnswer`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HashHeader {
    /// The member's current revision.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) revision: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn is_zero_u32(number: &u32) -> bool {
    *number == 0
}

/// Why a member gave no hash.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum HashError {
    /// It has forgotten that revision.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    /// It has not come to that revision yet.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    Future,
    /// It belongs to another cluster.
    #[error("etcdserver: cluster ID mismatch")]
    OtherCluster,
    /// Anything else.
    #[error("{0}")]
    Unknown(String),
}

/// A member's hash, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerHash {
    /// The member.
    pub(crate) id: MemberId,
    /// What it said.
    pub(crate) answer: Result<HashAnswer, HashError>,
}

impl PeerClient {
    /// Asks a member, by each of its URLs until one answers; `limit` for each.
    pub(crate) async fn hash_kv(
        &self,
        cluster: ClusterId,
        member: &Member,
        revision: i64,
        limit: Duration,
    ) -> PeerHash {
        let mut answer = Err(HashError::Unknown("no peer URLs".into()));
        for url in &member.peer_urls {
            answer = self.hash_kv_at(cluster, url, revision, limit).await;
            match &answer {
                Ok(_) => break,
                Err(error) => tracing::warn!(
                    "requested-revision" = revision,
                    "remote-peer-endpoint" = %url,
                    %error,
                    "failed hash kv request"
                ),
            }
        }
        PeerHash { id: member.id, answer }
    }

    async fn hash_kv_at(
        &self,
        cluster: ClusterId,
        url: &str,
        revision: i64,
        limit: Duration,
    ) -> Result<HashAnswer, HashError> {
        let body = serde_json::to_vec(&HashRequest { revision }).expect("numbers are JSON");
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let id = HeaderValue::from_str(&cluster.to_string()).expect("hex digits are a value");
        headers.insert(CLUSTER_ID, id);
        let ask = Ask {
            method: Method::GET,
            url,
            path: "/members/hashkv",
            headers,
            body: Bytes::from(body),
            limit,
            answer_max: ANSWER_MAX,
        };
        let answer = self.ask(ask).await.map_err(|error| HashError::Unknown(error.to_string()))?;
        read(answer.status, &answer.text())
    }
}

/// What an answer means.
fn read(status: StatusCode, body: &str) -> Result<HashAnswer, HashError> {
    match status {
        StatusCode::OK => serde_json::from_str(body)
            .map_err(|error| HashError::Unknown(format!("unreadable answer: {error}"))),
        StatusCode::BAD_REQUEST if body.contains("mvcc: required revision has been compacted") => {
            Err(HashError::Compacted)
        }
        StatusCode::BAD_REQUEST
            if body.contains("mvcc: required revision is a future revision") =>
        {
            Err(HashError::Future)
        }
        StatusCode::PRECONDITION_FAILED if body.contains("cluster ID mismatch") => {
            Err(HashError::OtherCluster)
        }
        _ => Err(HashError::Unknown(format!("unknown error: {body}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_etcds_json() {
        let answer = HashAnswer {
            header: HashHeader { revision: 5 },
            hash: 7,
            compact_revision: -1,
            hash_revision: 5,
        };
        let json = r#"{"header":{"revision":5},"hash":7,"compact_revision":-1,"hash_revision":5}"#;
        assert_eq!(serde_json::to_string(&answer).unwrap(), json);
        assert_eq!(read(StatusCode::OK, json), Ok(answer));
        // etcd 3.5 has no hash_revision, and fills the header.
        let old = r#"{"header":{"cluster_id":1,"revision":5},"hash":7,"compact_revision":3}"#;
        assert_eq!(read(StatusCode::OK, old).unwrap().compact_revision, 3);
        assert_eq!(serde_json::to_string(&HashRequest { revision: 0 }).unwrap(), "{}");
    }

    #[test]
    fn refusals_are_told_by_their_text() {
        let bad = StatusCode::BAD_REQUEST;
        let compacted = "mvcc: required revision has been compacted\n";
        assert_eq!(read(bad, compacted), Err(HashError::Compacted));
        let future = "mvcc: required revision is a future revision\n";
        assert_eq!(read(bad, future), Err(HashError::Future));
        let other = read(StatusCode::PRECONDITION_FAILED, "cluster ID mismatch\n");
        assert_eq!(other, Err(HashError::OtherCluster));
        assert!(matches!(read(bad, "bad path\n"), Err(HashError::Unknown(_))));
        assert!(matches!(read(StatusCode::OK, "{"), Err(HashError::Unknown(_))));
    }
}
