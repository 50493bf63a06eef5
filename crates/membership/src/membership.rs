//! The members of the cluster and its version, in memory and as ops for the backend.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    ids::{ClusterId, MemberId},
    raftpb::ConfState,
};
use storage::{Op, schema};

use crate::{Change, Member, Version, json};

/// Whether the cluster is on its way to an older version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Downgrade {
    /// Whether a downgrade is under way.
    pub enabled: bool,
    /// Where to; empty when none is under way.
    pub target_version: String,
}

/// What became of published attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributesOutcome {
    /// The member has them now.
    Updated,
    /// The member was removed meanwhile; nothing changed.
    Removed,
    /// There never was such a member; nothing changed.
    Unknown,
}

/// The members of one cluster.
#[derive(Clone, Debug, Default)]
pub struct Membership {
    cluster_id: ClusterId,
    max_learners: usize,
    pub(crate) members: BTreeMap<MemberId, Member>,
    pub(crate) removed: BTreeSet<MemberId>,
    pub(crate) version: Option<Version>,
    pub(crate) downgrade: Downgrade,
}

impl Membership {
    /// A cluster without members.
    pub fn new(cluster_id: ClusterId, max_learners: usize) -> Membership {
        Membership { cluster_id, max_learners, ..Membership::default() }
    }

    /// A cluster of these members, as answered by a peer or given at the first start.
    pub fn from_members(
        cluster_id: ClusterId,
        max_learners: usize,
        members: impl IntoIterator<Item = Member>,
    ) -> Membership {
        let members = members.into_iter().map(|member| (member.id, member)).collect();
        Membership { members, ..Membership::new(cluster_id, max_learners) }
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    /// How many learners the cluster may have at most.
    pub fn max_learners(&self) -> usize {
        self.max_learners
    }

    /// All members, by ascending id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// The members with a vote, by ascending id.
    pub fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members().filter(|member| !member.is_learner)
    }

    /// The members without a vote, by ascending id.
    pub fn learners(&self) -> impl Iterator<Item = &Member> {
        self.members().filter(|member| member.is_learner)
    }

    /// A member.
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// The member of this name, the one with the lowest id if several have it.
    pub fn member_by_name(&self, name: &str) -> Option<&Member> {
        self.members().find(|member| member.name == name)
    }

    /// Whether a member of this id was removed.
    pub fn is_removed(&self, id: MemberId) -> bool {
        self.removed.contains(&id)
    }

    /// The ids of removed members, ascending.
    pub fn removed(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.removed.iter().copied()
    }

    /// The cluster version, once decided.
    pub fn cluster_version(&self) -> Option<Version> {
        self.version
    }

    /// The members as raft counts them.
    pub fn conf_state(&self) -> ConfState {
        ConfState {
            voters: self.voters().map(|member| member.id.0).collect(),
            learners: self.learners().map(|member| member.id.0).collect(),
            ..ConfState::default()
        }
    }

    /// The state of a downgrade.
    pub fn downgrade(&self) -> &Downgrade {
        &self.downgrade
    }

    /// Whether enough members have started that one more voter cannot cost the quorum. A cluster of
    /// one started member may always grow: that is how a cluster is restored.
    pub fn is_ready_to_add_voter(&self) -> bool {
        let (voters, started) = self.count_voters(None);
        (started == 1 && voters == 1) || started >= quorum(voters + 1)
    }

    /// Whether the voters that remain without `id` are started to a quorum of their number.
    pub fn is_ready_to_remove_voter(&self, id: MemberId) -> bool {
        let (voters, started) = self.count_voters(Some(id));
        started >= quorum(voters)
    }

    /// Whether enough members have started to make a learner a voter; it counts as started itself.
    pub fn is_ready_to_promote(&self) -> bool {
        let (voters, started) = self.count_voters(None);
        started + 1 >= quorum(voters + 1)
    }

    fn count_voters(&self, without: Option<MemberId>) -> (usize, usize) {
        let counted = || self.voters().filter(|member| Some(member.id) != without);
        (counted().count(), counted().filter(|member| member.is_started()).count())
    }

    /// Carries out a change that [`Membership::validate`] let pass.
    pub fn apply(&mut self, change: &Change, ops: &mut Vec<Op>) {
        match change {
            Change::Add(member) => {
                self.members.insert(member.id, member.clone());
                self.store(member.id, ops);
            }
            Change::Promote(id) => {
                let member = self.members.get_mut(id).expect("a promoted member was validated");
                member.is_learner = false;
                self.store(*id, ops);
            }
            Change::Remove(id) => self.remove(*id, ops),
            Change::Update { id, peer_urls } => {
                let member = self.members.get_mut(id).expect("an updated member was validated");
                member.peer_urls.clone_from(peer_urls);
                self.store(*id, ops);
            }
        }
        ops.push(self.conf_state_op());
    }

    fn remove(&mut self, id: MemberId, ops: &mut Vec<Op>) {
        self.members.remove(&id);
        self.removed.insert(id);
        ops.push(schema::members::delete(id));
        ops.push(schema::members_removed::put(id));
    }

    /// Sets what a member has published of itself.
    pub fn set_attributes(
        &mut self,
        id: MemberId,
        name: &str,
        client_urls: &[String],
        ops: &mut Vec<Op>,
    ) -> AttributesOutcome {
        let Some(member) = self.members.get_mut(&id) else {
            let removed = self.removed.contains(&id);
            return if removed { AttributesOutcome::Removed } else { AttributesOutcome::Unknown };
        };
        member.name = name.to_owned();
        member.client_urls = client_urls.to_vec();
        self.store(id, ops);
        AttributesOutcome::Updated
    }

    /// Sets the cluster version.
    pub fn set_version(&mut self, version: Version, ops: &mut Vec<Op>) {
        self.version = Some(version);
        ops.push(schema::cluster::put_version(&version.to_string()));
    }

    /// Sets the state of a downgrade.
    pub fn set_downgrade(&mut self, downgrade: Downgrade, ops: &mut Vec<Op>) {
        ops.push(schema::cluster::put_downgrade(json::downgrade_to_json(&downgrade).into()));
        self.downgrade = downgrade;
    }

    /// Everything as ops, for a store that has none of it yet.
    pub fn store_all(&self, ops: &mut Vec<Op>) {
        for id in self.members.keys() {
            self.store(*id, ops);
        }
        ops.extend(self.removed.iter().map(|id| schema::members_removed::put(*id)));
        ops.push(self.conf_state_op());
        if let Some(version) = self.version {
            ops.push(schema::cluster::put_version(&version.to_string()));
        }
    }

    fn store(&self, id: MemberId, ops: &mut Vec<Op>) {
        let json = json::member_to_json(&self.members[&id]);
        ops.push(schema::members::put(id, json.into()));
    }

    fn conf_state_op(&self) -> Op {
        let voters: Vec<MemberId> = self.voters().map(|member| member.id).collect();
        let learners: Vec<MemberId> = self.learners().map(|member| member.id).collect();
        schema::meta::put_conf_state(json::conf_state(&voters, &learners).into())
    }
}

fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

#[cfg(test)]
mod tests;
