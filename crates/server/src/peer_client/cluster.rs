//! What other members say of the cluster: its members, their versions, whether a downgrade is under
//! way. Asked before a member starts, and by the leader that watches the versions.

use std::time::Duration;

use api::ids::{ClusterId, MemberId};
use http::{HeaderMap, Method};
use membership::{Member, Version};
use serde::Deserialize;

use super::{Answer, Ask, CLUSTER_ID, PeerClient, PeerError};
use crate::cluster_version::decide;

/// The longest list of members that is read.
const ANSWER_MAX: usize = 4 << 20;

/// The versions that a member tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Versions {
    /// Of the server.
    #[serde(rename = "etcdserver")]
    pub(crate) server: String,
    /// Of the cluster, or `not_decided`.
    #[serde(rename = "etcdcluster")]
    pub(crate) cluster: String,
}

impl PeerClient {
    async fn get(&self, url: &str, path: &str, limit: Duration) -> Result<Answer, PeerError> {
        let (headers, body) = (HeaderMap::new(), Default::default());
        let answer_max = ANSWER_MAX;
        self.ask(Ask { method: Method::GET, url, path, headers, body, limit, answer_max }).await
    }

    /// The cluster as the first of these URLs tells it that answers at all; `limit` for each. `None`
    /// when none does.
    pub(crate) async fn cluster_of(
        &self,
        urls: &[String],
        limit: Duration,
    ) -> Option<(ClusterId, Vec<Member>)> {
        for url in urls {
            match self.get(url, "/members", limit).await {
                Ok(answer) => match read_members(&answer) {
                    Some(cluster) => return Some(cluster),
                    None => tracing::debug!(%url, "the answer of /members is none of a member"),
                },
                Err(error) => tracing::debug!(%url, %error, "failed to get cluster response"),
            }
        }
        None
    }

    /// The versions of a member, by the first of its URLs that answers.
    pub(crate) async fn versions(&self, member: &Member, limit: Duration) -> Option<Versions> {
        for url in &member.peer_urls {
            let versions = match self.get(url, "/version", limit).await {
                Ok(answer) => serde_json::from_slice(&answer.body).map_err(|e| e.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match versions {
                Ok(versions) => return Some(versions),
                Err(error) => tracing::warn!(
                    address = %format_args!("{url}/version"),
                    "remote-member-id" = %member.id,
                    %error,
                    "failed to reach the peer URL"
                ),
            }
        }
        tracing::warn!("remote-member-id" = %member.id, "failed to get version");
        None
    }

    /// Whether a downgrade is under way, as the first of these members tells that answers.
    async fn is_downgrading(&self, members: &[Member], limit: Duration) -> bool {
        for url in members.iter().flat_map(|member| &member.peer_urls) {
            let answer = self.get(url, "/downgrade/enabled", limit).await;
            match answer.as_ref().map(|answer| &answer.body[..]) {
                Ok(b"true") => return true,
                Ok(b"false") => return false,
                _ => tracing::warn!(address = %url, "failed to get downgrade enabled status"),
            }
        }
        false
    }

    /// Whether a member of this release, `own`, may join the cluster of these members.
    pub(crate) async fn is_compatible(
        &self,
        members: &[Member],
        own: MemberId,
        limit: Duration,
    ) -> bool {
        let others: Vec<Member> =
            members.iter().filter(|member| member.id != own).cloned().collect();
        let mut clusters = Vec::new();
        for member in &others {
            let versions = self.versions(member, limit).await;
            clusters.push(versions.and_then(|versions| Version::parse(&versions.cluster)));
        }
        let downgrading = self.is_downgrading(&others, limit).await;
        decide::may_join(clusters, downgrading)
    }
}

/// Reads an answer of `/members`. One without members is none.
fn read_members(answer: &Answer) -> Option<(ClusterId, Vec<Member>)> {
    let id = answer.headers.get(CLUSTER_ID)?.to_str().ok()?;
    let id = ClusterId(u64::from_str_radix(id, 16).ok()?);
    let members = membership::members_from_json(&answer.body).ok()?;
    (!members.is_empty()).then_some((id, members))
}
