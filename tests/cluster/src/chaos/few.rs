//! Changes of membership of one or two members: a learner joins a member on its own, becomes a voter,
//! one of the two goes, and so on. Between these steps faults strike as ever.
//!
//! A second voter that has never run could not be added: the first would answer nothing until it does.
//!
//! Of two voters both are a quorum. So one is removed only while both run and the network is whole,
//! and is wiped only after the other has written something durable on its own: had its power gone
//! before, it might not know that the removal was committed, and could never learn it any more.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use api::etcdserverpb as pb;
use rand::{Rng, seq::IndexedRandom};

use super::{fault::Fault, membership::Change, nemesis::Nemesis};
use crate::cluster::{Cluster, READY_LIMIT};

impl Nemesis<'_> {
    /// One step of an operator of one or two members.
    pub(super) async fn operate_few(&mut self, cluster: &mut Cluster) -> Result<()> {
        let two = cluster.configured().len() > 1;
        if !two && self.rng.random_bool(0.7) {
            // It is on its own for half of the time.
            return Ok(());
        }
        if two && self.rng.random_bool(0.3) {
            self.count(Fault::MoveLeader, "");
            return self.move_leader(cluster).await;
        }
        self.prepare_change(cluster)?;
        self.settle(cluster).await?;
        let changed = match self.learner(cluster).await? {
            _ if !two => self.grow(cluster).await,
            Some(learner) if self.rng.random_bool(0.7) => self.promote(cluster, learner).await,
            learner => self.shrink(cluster, learner).await,
        };
        self.end_process(cluster)?;
        changed
    }

    /// Waits until all members serve; if they do not soon, the network is made whole.
    async fn settle(&mut self, cluster: &mut Cluster) -> Result<()> {
        let mut last = cluster.wait_ready(Duration::from_secs(3)).await;
        for _ in 0..3 {
            if last.is_ok() {
                break;
            }
            self.end_network(cluster)?;
            self.collect_crashes(cluster);
            self.end_process(cluster)?;
            last = cluster.wait_ready(READY_LIMIT / 2).await;
        }
        last.context("before a change of members")
    }

    /// The slot of the learner, as a quorum knows it.
    async fn learner(&mut self, cluster: &mut Cluster) -> Result<Option<usize>> {
        let members = self.ask_members(cluster).await?;
        let Some(learner) = members.iter().find(|member| member.is_learner) else {
            return Ok(None);
        };
        let mut slots = cluster.configured().into_iter();
        let slot = slots.find(|&slot| {
            let own = cluster.member(slot).peer_url();
            learner.peer_urls.iter().any(|url| url == own)
        });
        slot.context("a learner is in no slot").map(Some)
    }

    /// The members; asked once more when the network is whole.
    async fn ask_members(&mut self, cluster: &mut Cluster) -> Result<Vec<pb::Member>> {
        if let Ok(members) = cluster.members().await {
            return Ok(members);
        }
        self.end_network(cluster)?;
        self.settle(cluster).await?;
        cluster.members().await.context("ask for the members")
    }

    /// Makes a voter of the learner, if there is one: neither hashes nor watches can be had of it.
    pub(super) async fn promote_last(&mut self, cluster: &mut Cluster) -> Result<()> {
        self.settle(cluster).await?;
        match self.learner(cluster).await? {
            Some(learner) => self.promote(cluster, learner).await,
            None => Ok(()),
        }
    }

    async fn grow(&mut self, cluster: &mut Cluster) -> Result<()> {
        let Some(&newcomer) = cluster.spare().first() else { return Ok(()) };
        self.count(Fault::Grow, &format!("[{newcomer}]"));
        self.insist(cluster, Change::AddLearner(newcomer)).await?;
        cluster.member(newcomer).start()
    }

    async fn promote(&mut self, cluster: &mut Cluster, learner: usize) -> Result<()> {
        self.count(Fault::Promote, &format!("[{learner}]"));
        self.insist(cluster, Change::Promote(learner)).await?;
        Ok(())
    }

    /// One of two goes: the learner, or either of two voters.
    async fn shrink(&mut self, cluster: &mut Cluster, learner: Option<usize>) -> Result<()> {
        self.end_network(cluster)?;
        let all = cluster.configured();
        let leaving = learner.unwrap_or(*all.choose(&mut self.rng).expect("there are two"));
        let Some(&staying) = all.iter().find(|&&slot| slot != leaving) else { return Ok(()) };
        self.settle(cluster).await?;
        self.count(Fault::Shrink, &format!("[{leaving}]"));
        self.insist(cluster, Change::Remove(leaving)).await?;
        self.end_removed(cluster, leaving).await;
        self.write_alone(cluster, staying).await.context("the other of two was removed")?;
        cluster.member(leaving).replace()
    }

    /// Has a member write to its log; what it writes is no change of a key.
    async fn write_alone(&mut self, cluster: &mut Cluster, slot: usize) -> Result<()> {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            let mut lease = cluster.connection(slot).lease;
            let granted = lease.lease_grant(pb::LeaseGrantRequest { ttl: 5, id: 0 }).await;
            let Err(status) = granted else { return Ok(()) };
            cluster.member(slot).ensure_alive()?;
            if Instant::now() > deadline {
                bail!("member {slot} does not serve on its own: {status}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
