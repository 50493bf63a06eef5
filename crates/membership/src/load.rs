//! Reading the membership back from the backend.

use api::ids::ClusterId;
use storage::{ReadTx, schema};

use crate::{Membership, Version, json};

/// Why the stored membership could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The backend failed, or a key is no member id.
    #[error("read membership: {0}")]
    Storage(#[from] storage::Error),
    /// A record is not what it should be.
    #[error("{record} is corrupt: {reason}")]
    Corrupt {
        /// Which record.
        record: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Membership {
    /// Reads what is stored. An empty store gives a cluster without members.
    pub fn load(
        tx: &dyn ReadTx,
        cluster_id: ClusterId,
        max_learners: usize,
    ) -> Result<Membership, LoadError> {
        let mut loaded = Membership::new(cluster_id, max_learners);
        for (id, json) in schema::members::all(tx)? {
            let member = json::member_from_json(&json);
            let mut member = member.map_err(|error| corrupt(format!("member {id}"), &error))?;
            member.id = id;
            loaded.members.insert(id, member);
        }
        loaded.removed.extend(schema::members_removed::all(tx)?);
        if let Some(text) = schema::cluster::read_version(tx)? {
            let text = String::from_utf8_lossy(&text);
            let version = Version::parse(&text).ok_or_else(|| corrupt("cluster version", &text))?;
            loaded.version = Some(version);
        }
        if let Some(json) = schema::cluster::read_downgrade(tx)? {
            let downgrade = json::downgrade_from_json(&json);
            loaded.downgrade = downgrade.map_err(|error| corrupt("downgrade record", &error))?;
        }
        Ok(loaded)
    }
}

fn corrupt(record: impl Into<String>, reason: &dyn std::fmt::Display) -> LoadError {
    LoadError::Corrupt { record: record.into(), reason: reason.to_string() }
}
