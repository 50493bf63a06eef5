//! Who leads: waiting for a leader, being sure of the own leadership, and ending the streams of
//! clients that asked for a member with a leader.

use std::time::Duration;

use api::{error::Error, ids::MemberId};
use membership::Member;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{handle::Handle, reconfig::Links, status::Failure};

/// Election timeouts without a leader after which streams that need one end.
const LEADERLESS_MAX: u32 = 3;

impl Handle {
    /// Whether this member leads, as far as it knows.
    pub(crate) fn leads(&self) -> bool {
        self.progress.leader() == self.member
    }

    /// Whether this member has no vote.
    pub(crate) fn is_learner(&self) -> bool {
        let membership = self.shared.membership.read();
        membership.member(self.member).is_some_and(|member| member.is_learner)
    }

    /// The leader's membership, as soon as there is one that is a member with URLs; until `deadline`.
    pub(crate) async fn wait_leader(&self, deadline: Instant) -> Result<Member, Failure> {
        let mut leader = self.progress.watch_leader();
        loop {
            let id = MemberId(*leader.borrow_and_update());
            if let Some(member) = self.shared.membership.read().member(id) {
                return match member.peer_urls.is_empty() {
                    true => Err(Error::NoLeader.into()),
                    false => Ok(member.clone()),
                };
            }
            // The leader may be known before its membership is.
            let poll = sleep(self.limits.election_timeout);
            let change = async {
                tokio::select! {
                    changed = leader.changed() => changed.expect("the sender is in self"),
                    () = poll => {}
                }
            };
            tokio::select! {
                changed = timeout_at(deadline, change) => {
                    changed.map_err(|_| Failure::from(Error::NoLeader))?;
                }
                () = self.progress.wait_stopping() => return Err(Error::Stopped.into()),
            }
        }
    }

    /// Whether, at any time since `began_ms`, this member had no connection to what it needs: a quorum
    /// of the members as their leader, the leader otherwise.
    pub(crate) fn was_cut_off_since(&self, began_ms: u64) -> bool {
        let now = std::time::Instant::now();
        let age = Duration::from_millis(self.clock.now_ms().saturating_sub(began_ms));
        let since = now.checked_sub(age).expect("the request began after the clock");
        let active_since = |id| self.active_since(id);
        if self.leads() {
            let links = Links { own: self.member, now, active_since: &active_since };
            return !links.has_quorum_since(&self.shared.membership.read(), since);
        }
        active_since(self.progress.leader()).is_none_or(|active| active >= since)
    }

    /// Whether this member still leads. One whose ticks stalled may have been replaced without
    /// knowing: it asks a quorum.
    pub(crate) async fn ensure_leadership(&self) -> bool {
        const TICKS_LATE_MAX: u32 = 3;
        let late_max = (TICKS_LATE_MAX * self.limits.heartbeat).as_millis() as u64;
        let late = self.clock.now_ms().saturating_sub(self.signals.ticked_ms());
        if late < late_max {
            return true;
        }
        if let Err(failure) = self.linearizable().await {
            tracing::warn!(error = %failure.message, "failed to check the own leadership");
            return false;
        }
        self.leads()
    }

    /// Whether a quorum says, after this call, that this member leads. One that stood still may have
    /// been replaced without knowing; its clock does not tell. Also, what had been answered before
    /// this call is applied here after it: a learner can have applied more than its leader.
    pub(crate) async fn is_confirmed_leader(&self) -> bool {
        let alone = self.shared.membership.read().members().nth(1).is_none();
        let term = self.progress.term();
        alone || (self.linearizable().await.is_ok() && self.leads() && self.progress.term() == term)
    }
}

/// Watches for a leader until the member stops; tells streams when there has been none for long.
pub(crate) async fn watch_streams(handle: Handle) {
    let mut without = 0;
    loop {
        tokio::select! {
            () = sleep(handle.limits.election_timeout) => {}
            () = handle.progress.wait_stopping() => return,
        }
        without = if handle.progress.leader() == MemberId(0) { without + 1 } else { 0 };
        // Reconnecting costs a client much more than a refused request: streams wait longer.
        if without >= LEADERLESS_MAX {
            handle.signals.leaderless();
        }
    }
}

/// The time of one try at forwarding, for loops that go on until `deadline`.
pub(crate) fn time_left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
