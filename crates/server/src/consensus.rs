//! What services ask of consensus itself: changes of members, transfer of leadership, how far
//! followers are (spec raft-server.md sections 6 and 7).
//!
//! Nothing here checks whether a change is wise: the callers do, in etcd's order.

use std::time::{Duration, Instant};

use api::{
    error::{Code, Error},
    ids::MemberId,
    raftpb::{ConfChange, ConfChangeType},
};
use apply::Response;
use membership::Member;
use replica::PeerProgress;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::{driver::NodeEvent, handle::Handle, status::Failure, waiters::Ended};

/// A member's consensus at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Inspection {
    /// Term, role, leader, positions.
    #[cfg(test)]
    pub(crate) status: replica::Status,
    /// All members as this leader sees them, itself among them; empty when it does not lead.
    pub(crate) peers: Vec<PeerProgress>,
}

impl Handle {
    /// Takes a change of members through raft and returns the members after it. The change's id is
    /// set here. A leader that is to be removed hands over first.
    pub(crate) async fn propose_conf_change(
        &self,
        mut change: ConfChange,
    ) -> Result<Vec<Member>, Failure> {
        if self.progress.stopping() {
            return Err(Error::Stopped.into());
        }
        change.id = self.ids.next();
        if change.r#type() == ConfChangeType::ConfChangeRemoveNode
            && change.node_id == self.member.0
        {
            // Otherwise the others would miss their leader for an election timeout.
            self.hand_over_leadership().await;
        }
        let began_ms = self.clock.now_ms();
        let had_leader = self.progress.leader() != MemberId(0);
        let mut wait = self.wait_for(change.id);
        self.node.push_always(NodeEvent::ProposeConfChange { change });
        match wait.result().await {
            Ended::Answered(Ok(Response::Members(members))) => Ok(members),
            Ended::Answered(Ok(other)) => {
                panic!("a change of members is answered with members: {other:?}")
            }
            Ended::Answered(Err(failure)) => Err(failure),
            Ended::Dropped => Err(Error::Stopped.into()),
            Ended::Expired => {
                self.metrics.proposals_failed.inc();
                Err(self.timed_out(began_ms, had_leader))
            }
        }
    }

    /// Hands leadership to `target` and waits until it leads, as this member hears of it; within
    /// `limit`. The caller has checked that the target votes.
    pub(crate) async fn transfer_leader(
        &self,
        target: MemberId,
        limit: Duration,
    ) -> Result<(), Failure> {
        let from = self.progress.leader();
        tracing::info!(
            "local-member-id" = %self.member,
            "current-leader-member-id" = %from,
            "transferee-member-id" = %target,
            "leadership transfer starting"
        );
        self.node.push_always(NodeEvent::TransferLeader { target });
        let arrived = self.progress.wait_leader(|leader| leader == target);
        if timeout(limit, arrived).await.is_err() {
            let message = "etcdserver: request timed out, leader transfer took too long".into();
            return Err(Failure { code: Code::Unknown, message });
        }
        tracing::info!(
            "local-member-id" = %self.member,
            "old-leader-member-id" = %from,
            "new-leader-member-id" = %target,
            "leadership transfer finished"
        );
        Ok(())
    }

    /// Before a member stops: leadership goes to the voter that has been connected for longest.
    /// Failing that is only logged, the others will elect somebody.
    pub(crate) async fn hand_over_leadership(&self) {
        if self.progress.leader() != self.member {
            return;
        }
        let voters: Vec<MemberId> =
            self.shared.membership.read().voters().map(|member| member.id).collect();
        if voters.len() <= 1 {
            return;
        }
        let others = voters.into_iter().filter(|id| *id != self.member);
        let connected = others.filter_map(|id| Some((self.active_since(id)?, id)));
        let Some((_, heir)) = connected.min() else {
            let error = Error::UnhealthyCluster.message();
            tracing::warn!("local-member-id" = %self.member, error, "leadership transfer failed");
            return;
        };
        // Raft gives it up by then; an heir that goes away itself is not waited for.
        let limit = self.limits.election_timeout + self.limits.heartbeat;
        let gone = async {
            while self.active_since(heir).is_some() {
                sleep(self.limits.heartbeat).await;
            }
            let message = Error::UnhealthyCluster.message().into();
            Err(Failure { code: Code::Unavailable, message })
        };
        let transferred = tokio::select! {
            transferred = self.transfer_leader(heir, limit) => transferred,
            gone = gone => gone,
        };
        if let Err(failure) = transferred {
            let error = &failure.message;
            tracing::warn!("local-member-id" = %self.member, %error, "leadership transfer failed");
        }
    }

    /// Since when this member is connected to another one; `None` while it is not.
    pub(crate) fn active_since(&self, id: MemberId) -> Option<Instant> {
        self.network.active_since(id)
    }

    /// How consensus stands at the moment; `None` once the member has stopped.
    pub(crate) async fn inspect(&self) -> Option<Inspection> {
        let (sender, receiver) = oneshot::channel();
        self.node.push_always(NodeEvent::Inspect(sender));
        receiver.await.ok()
    }
}
