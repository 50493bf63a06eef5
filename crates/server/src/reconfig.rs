//! Which changes of members are safe now (spec raft-server.md section 7): the checks that etcd makes
//! before it proposes one, under `--strict-reconfig-check`.
//!
//! Pure: connections are given as a function from a member to the time since when it is connected.
//! What the change itself must satisfy (ids, URLs, the learner limit) is checked when it is applied.
//!
//! Two numbers count: how many voters have *started* (published a name), so that the quorum after the
//! change exists at all, and how many have been *connected* to this member for five seconds, so that
//! it is alive now.

use std::time::{Duration, Instant};

use api::{error::Error, ids::MemberId};
use membership::{Member, Membership};
use replica::PeerProgress;

/// How long a connection must have lasted to count.
pub(crate) const HEALTH: Duration = Duration::from_secs(5);
/// What part of the leader's log a learner must have to be promoted.
const READY_PART: f64 = 0.9;

/// This member's connections at one moment.
pub(crate) struct Links<'a> {
    /// This member: always connected to itself.
    pub(crate) own: MemberId,
    /// Now.
    pub(crate) now: Instant,
    /// Since when another member is connected; `None` when it is not.
    pub(crate) active_since: &'a dyn Fn(MemberId) -> Option<Instant>,
}

impl Links<'_> {
    /// How many of these are this member, or connected to it since before `since`.
    fn connected(&self, members: impl Iterator<Item = MemberId>, since: Instant) -> usize {
        let is_connected =
            |id: MemberId| (self.active_since)(id).is_some_and(|active| active < since);
        members.filter(|id| *id == self.own || is_connected(*id)).count()
    }

    /// How many voters have been connected for long enough.
    fn healthy(&self, membership: &Membership) -> usize {
        let since = self.now.checked_sub(HEALTH).expect("the clock began long ago");
        self.connected(membership.voters().map(|member| member.id), since)
    }

    /// Whether this member has been connected to a quorum of all members since before `since`.
    pub(crate) fn has_quorum_since(&self, membership: &Membership, since: Instant) -> bool {
        let count = membership.members().count();
        self.connected(membership.members().map(|member| member.id), since) >= quorum(count)
    }
}

/// Whether a member may be added.
pub(crate) fn may_add(membership: &Membership, new: &Member, links: &Links) -> Result<(), Error> {
    if !new.is_learner && !membership.is_ready_to_add_voter() {
        return Err(Error::NotEnoughStartedMembers);
    }
    let voters = membership.voters().count();
    // A single voter may always take a second: that is how every cluster grows.
    if voters != 1 && links.healthy(membership) < quorum(voters + 1) {
        return Err(Error::UnhealthyCluster);
    }
    Ok(())
}

/// Whether a member may be removed.
pub(crate) fn may_remove(
    membership: &Membership,
    id: MemberId,
    links: &Links,
) -> Result<(), Error> {
    if membership.member(id).is_some_and(|member| member.is_learner) {
        return Ok(());
    }
    if !membership.is_ready_to_remove_voter(id) {
        return Err(Error::NotEnoughStartedMembers);
    }
    // One that is down is no part of the quorum that is alive.
    if id != links.own && (links.active_since)(id).is_none() {
        return Ok(());
    }
    let voters = membership.voters().count();
    let left = links.healthy(membership).saturating_sub(1);
    if left < 1 + voters.saturating_sub(1) / 2 {
        return Err(Error::UnhealthyCluster);
    }
    Ok(())
}

/// Whether a learner is in sync with its leader, whose view of all members `peers` is. A member that
/// does not lead has no such view.
pub(crate) fn learner_in_sync(
    peers: &[PeerProgress],
    own: MemberId,
    id: MemberId,
) -> Result<(), Error> {
    let matched = |id| peers.iter().find(|peer| peer.id == id).map(|peer| peer.matched.0);
    let leader = matched(own).ok_or(Error::NotLeader)?;
    let learner = matched(id).ok_or(Error::MemberNotFound)?;
    // Not less than the part: 0 of 0 is no number, and ready, as in etcd.
    if (learner as f64 / leader as f64) < READY_PART {
        return Err(Error::LearnerNotReady);
    }
    Ok(())
}

/// Whether there are enough started voters to make a learner one more.
pub(crate) fn may_promote(membership: &Membership) -> Result<(), Error> {
    match membership.is_ready_to_promote() {
        true => Ok(()),
        false => Err(Error::NotEnoughStartedMembers),
    }
}

fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

#[cfg(test)]
mod tests;
