//! One member of the cluster.

use api::{etcdserverpb, ids::MemberId};

/// A member: what raft must know of it, and what it publishes of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its identity for ever.
    pub id: MemberId,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
    /// Whether it receives the log without a vote.
    pub is_learner: bool,
    /// Its name; empty until it has started and published itself.
    pub name: String,
    /// Where clients reach it; empty until published.
    pub client_urls: Vec<String>,
}

impl Member {
    /// Whether the member has started once, that is, published its name.
    pub fn is_started(&self) -> bool {
        !self.name.is_empty()
    }

    /// The form that clients see.
    pub fn to_proto(&self) -> etcdserverpb::Member {
        etcdserverpb::Member {
            id: self.id.0,
            name: self.name.clone(),
            peer_urls: self.peer_urls.clone(),
            client_urls: self.client_urls.clone(),
            is_learner: self.is_learner,
        }
    }
}
