//! Changes of membership under faults: tried until they are done or undone.

use std::time::Duration;

use anyhow::{Result, bail};
use rand::{Rng, seq::IndexedRandom};

use super::nemesis::Nemesis;
use crate::cluster::Cluster;

/// How often one change is tried before the run fails; the network is made whole on the way.
const TRIES: usize = 30;
/// After so many tries the network is made whole.
const TRIES_UNDER_FAULTS: usize = 4;
/// How long a removed member may take to end by itself.
const REMOVED_LIMIT: Duration = Duration::from_secs(10);

impl Nemesis<'_> {
    /// A learner comes, becomes a voter, and another member goes.
    pub(super) async fn rotate(&mut self, cluster: &mut Cluster) -> Result<()> {
        let Some(&newcomer) = cluster.spare().first() else { return Ok(()) };
        let all = cluster.configured();
        let leaving = *all.choose(&mut self.rng).expect("a cluster has members");
        if !self.insist(cluster, Change::AddLearner(newcomer)).await? {
            return Ok(());
        }
        cluster.member(newcomer).start()?;
        self.say(&format!("learner {newcomer} started"));
        if !self.insist(cluster, Change::Promote(newcomer)).await? {
            bail!("learner {newcomer} was never promoted");
        }
        self.say(&format!("learner {newcomer} promoted"));
        self.leave(cluster, leaving).await
    }

    /// A member goes, and comes back with nothing.
    pub(super) async fn replace(&mut self, cluster: &mut Cluster) -> Result<()> {
        let all = cluster.configured();
        let slot = *all.choose(&mut self.rng).expect("a cluster has members");
        if self.rng.random() {
            cluster.member(slot).kill();
        }
        self.leave(cluster, slot).await?;
        if !self.insist(cluster, Change::Add(slot)).await? {
            bail!("the wiped member {slot} could not be added again");
        }
        cluster.member(slot).start()?;
        self.say(&format!("wiped member {slot} is back"));
        Ok(())
    }

    /// A member is removed, ends by itself, and its data is wiped.
    async fn leave(&mut self, cluster: &mut Cluster, slot: usize) -> Result<()> {
        if !self.insist(cluster, Change::Remove(slot)).await? {
            bail!("member {slot} could not be removed");
        }
        self.end_removed(cluster, slot).await;
        cluster.member(slot).replace()?;
        self.say(&format!("member {slot} is gone"));
        Ok(())
    }

    /// Waits for the end of a member whose removal was answered.
    pub(super) async fn end_removed(&mut self, cluster: &mut Cluster, slot: usize) {
        let member = cluster.member(slot);
        if member.is_running() {
            match member.wait_end(REMOVED_LIMIT).await {
                Ok(_) => self.summary.removed_ended += 1,
                // One that was cut off cannot know.
                Err(_) => self.summary.removed_stayed += 1,
            }
        }
        member.kill();
    }

    /// Tries a change until it is made. False when it was not and could not have been.
    pub(super) async fn insist(&mut self, cluster: &mut Cluster, change: Change) -> Result<bool> {
        let mut last = None;
        for attempt in 0..TRIES {
            if attempt == TRIES_UNDER_FAULTS {
                self.end_network(cluster)?;
                self.start_all_but(cluster, change)?;
            }
            let tried = tokio::time::timeout(Duration::from_secs(20), change.make(cluster)).await;
            match tried {
                Ok(Ok(())) => return Ok(true),
                Ok(Err(error)) => last = Some(format!("{error:#}")),
                Err(_) => last = Some("no answer".to_owned()),
            }
            self.summary.failed_changes += 1;
            self.say(&format!("{change:?}: {}", last.as_deref().unwrap_or_default()));
            let crashes = cluster.crashes();
            if !crashes.is_empty() {
                self.summary.crashes.extend(crashes);
                self.start_all_but(cluster, change)?;
            }
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        bail!("{change:?} could not be made in {TRIES} tries: {}", last.unwrap_or_default())
    }

    /// Starts every member that does not run, but for one that is to go and that no quorum needs.
    fn start_all_but(&mut self, cluster: &mut Cluster, change: Change) -> Result<()> {
        let all = cluster.configured();
        for &slot in &all {
            let spared = change == Change::Remove(slot) && all.len() > 2;
            let member = cluster.member(slot);
            if !member.is_running() && !member.is_paused() && !spared {
                member.start()?;
            }
        }
        Ok(())
    }
}

/// A change of membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    AddLearner(usize),
    Add(usize),
    Promote(usize),
    Remove(usize),
}

impl Change {
    /// Makes it once; fine when it was made already.
    async fn make(self, cluster: &mut Cluster) -> Result<()> {
        match self {
            Change::AddLearner(slot) => cluster.add(slot, true).await,
            Change::Add(slot) => cluster.add(slot, false).await,
            Change::Promote(slot) => cluster.promote(slot, Duration::from_secs(10)).await,
            Change::Remove(slot) => {
                let members = cluster.members().await?;
                let url = cluster.member(slot).peer_url().to_owned();
                if !members.iter().any(|member| member.peer_urls.contains(&url)) {
                    return Ok(());
                }
                cluster.remove(slot).await
            }
        }
    }
}
