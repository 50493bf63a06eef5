//! Conf changes: what an entry asks for, and whether the cluster as it is allows it.

use std::collections::BTreeSet;

use api::{
    error::Error,
    ids::MemberId,
    raftpb::{ConfChange, ConfChangeType},
};

use crate::{Member, Membership, json};

/// A valid change of the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new member, voter or learner.
    Add(Member),
    /// A learner becomes a voter.
    Promote(MemberId),
    /// A member leaves for ever.
    Remove(MemberId),
    /// A member moves to other peer URLs.
    Update {
        /// Which member.
        id: MemberId,
        /// Its new peer URLs.
        peer_urls: Vec<String>,
    },
}

/// Why a conf change is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The cluster does not allow it (any more): the client is told, the entry has no effect.
    #[error("{0}")]
    Refused(Error),
    /// No member proposes such an entry.
    #[error("malformed conf change: {0}")]
    Malformed(String),
}

impl Membership {
    /// Checks a conf change against the members as they are when it is applied. Every member comes
    /// to the same result.
    pub fn validate(&self, change: &ConfChange) -> Result<Change, Invalid> {
        let id = MemberId(change.node_id);
        if self.is_removed(id) {
            return Err(Invalid::Refused(Error::MemberNotFound));
        }
        match ConfChangeType::try_from(change.r#type) {
            Ok(ConfChangeType::ConfChangeAddNode) => self.validate_add(change, false),
            Ok(ConfChangeType::ConfChangeAddLearnerNode) => self.validate_add(change, true),
            Ok(ConfChangeType::ConfChangeRemoveNode) => {
                self.require(id)?;
                Ok(Change::Remove(id))
            }
            Ok(ConfChangeType::ConfChangeUpdateNode) => self.validate_update(change),
            Err(unknown) => Err(Invalid::Malformed(unknown.to_string())),
        }
    }

    fn validate_add(&self, change: &ConfChange, as_learner: bool) -> Result<Change, Invalid> {
        let id = MemberId(change.node_id);
        let context = json::read_change_context(&change.context);
        let (member, is_promote) = context.map_err(|error| malformed(&error))?;
        if is_promote {
            if !self.require(id)?.is_learner {
                return Err(Invalid::Refused(Error::MemberNotLearner));
            }
            same_id(id, &member)?;
            return Ok(Change::Promote(id));
        }
        if self.member(id).is_some() {
            return Err(Invalid::Refused(Error::MemberExist));
        }
        self.require_free_urls(&member, None)?;
        let learners = self.learners().count();
        if member.is_learner && as_learner && learners + 1 > self.max_learners() {
            return Err(Invalid::Refused(Error::TooManyLearners));
        }
        same_id(id, &member)?;
        Ok(Change::Add(member))
    }

    fn validate_update(&self, change: &ConfChange) -> Result<Change, Invalid> {
        let id = MemberId(change.node_id);
        self.require(id)?;
        let member = json::member_from_json(&change.context).map_err(|error| malformed(&error))?;
        self.require_free_urls(&member, Some(id))?;
        same_id(id, &member)?;
        Ok(Change::Update { id, peer_urls: member.peer_urls })
    }

    fn require(&self, id: MemberId) -> Result<&Member, Invalid> {
        self.member(id).ok_or(Invalid::Refused(Error::MemberNotFound))
    }

    fn require_free_urls(&self, member: &Member, except: Option<MemberId>) -> Result<(), Invalid> {
        let others = self.members().filter(|other| Some(other.id) != except);
        let used: BTreeSet<&String> = others.flat_map(|other| &other.peer_urls).collect();
        if member.peer_urls.iter().any(|url| used.contains(url)) {
            return Err(Invalid::Refused(Error::PeerUrlExist));
        }
        Ok(())
    }
}

fn same_id(id: MemberId, member: &Member) -> Result<(), Invalid> {
    if member.id == id {
        return Ok(());
    }
    Err(Invalid::Malformed(format!("entry is for member {id}, its context for {}", member.id)))
}

fn malformed(error: &serde_json::Error) -> Invalid {
    Invalid::Malformed(format!("context: {error}"))
}

#[cfg(test)]
mod tests;
