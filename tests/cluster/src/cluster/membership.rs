//! Changes of membership, as an operator makes them: call, then look whether it happened.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use api::etcdserverpb as pb;
use tonic::Status;

use super::Cluster;
use crate::connection::Connection;

impl Cluster {
    /// The members as a quorum knows them, asked from whoever answers.
    pub async fn members(&self) -> Result<Vec<pb::Member>> {
        self.anyone(async |connection| connection.members().await).await
    }

    /// The id of the member in a slot, by its peer address.
    pub async fn id_of(&mut self, slot: usize) -> Result<u64> {
        let members = self.members().await?;
        let id = self.find(&members, slot).map(|member| member.id);
        id.with_context(|| format!("slot {slot} is not in the member list"))
    }

    fn find<'a>(&self, members: &'a [pb::Member], slot: usize) -> Option<&'a pb::Member> {
        let url = self.members[slot].peer_url();
        members.iter().find(|member| member.peer_urls.iter().any(|own| own == url))
    }

    /// Adds the member of a slot to the cluster; it is not started. An add without an answer counts
    /// when the member is in the list.
    pub async fn add(&mut self, slot: usize, learner: bool) -> Result<()> {
        let url = self.members[slot].peer_url().to_owned();
        let request = pb::MemberAddRequest { peer_urls: vec![url], is_learner: learner };
        let added = self
            .anyone(async |connection| connection.cluster.clone().member_add(request.clone()).await)
            .await;
        let members = self.members().await.context("list members after an addition")?;
        if self.find(&members, slot).is_none() {
            added.context("add a member")?;
            bail!("the added member is not in the list");
        }
        self.configure(slot, &members);
        Ok(())
    }

    /// Sets the flags of a member that is in the list already.
    fn configure(&mut self, slot: usize, members: &[pb::Member]) {
        let own = self.members[slot].peer_url().to_owned();
        let entries: Vec<String> = members
            .iter()
            .map(|member| {
                let url = member.peer_urls.first().map_or("", |url| url);
                if url == own {
                    return self.members[slot].initial_entry();
                }
                // A member that never started has no name yet; any will do for the others.
                let name = match &member.name {
                    name if name.is_empty() => format!("unnamed-{:x}", member.id),
                    name => name.clone(),
                };
                format!("{name}={url}")
            })
            .collect();
        self.members[slot].join_as(&entries.join(","), "existing");
    }

    /// Removes the member of a slot; its process is left alone. A removal without an answer counts
    /// when the member is no longer in the list.
    pub async fn remove(&mut self, slot: usize) -> Result<()> {
        let id = self.id_of(slot).await?;
        let request = pb::MemberRemoveRequest { id };
        self.members[slot].leaving = true;
        let removed = self
            .anyone_but(Some(slot), async |connection| {
                connection.cluster.clone().member_remove(request).await
            })
            .await;
        let members = self.members().await.context("list members after a removal")?;
        if self.find(&members, slot).is_some() {
            removed.context("remove a member")?;
            bail!("the removed member is still in the list");
        }
        Ok(())
    }

    /// Makes a voter of the learner in a slot, trying again while it is behind.
    pub async fn promote(&mut self, slot: usize, limit: Duration) -> Result<()> {
        let id = self.id_of(slot).await?;
        let request = pb::MemberPromoteRequest { id };
        let deadline = std::time::Instant::now() + limit;
        loop {
            let promoted = self
                .anyone_but(Some(slot), async |connection| {
                    connection.cluster.clone().member_promote(request).await
                })
                .await;
            let members = self.members().await?;
            if self.find(&members, slot).is_some_and(|member| !member.is_learner) {
                return Ok(());
            }
            if std::time::Instant::now() > deadline {
                promoted.context("promote a learner")?;
                bail!("a promoted member is still a learner");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Moves the leadership to the member of a slot.
    pub async fn move_leader(&mut self, to: usize) -> Result<()> {
        let target_id = self.id_of(to).await?;
        let leader = self.leader().await.context("no leader to move away from")?;
        let mut maintenance = self.connection(leader).maintenance;
        maintenance.move_leader(pb::MoveLeaderRequest { target_id }).await?;
        Ok(())
    }

    /// Asks running members one after the other until one answers; the last error otherwise.
    async fn anyone<T>(&self, ask: impl AsyncFn(Connection) -> Result<T, Status>) -> Result<T> {
        self.anyone_but(None, ask).await
    }

    async fn anyone_but<T>(
        &self,
        but: Option<usize>,
        ask: impl AsyncFn(Connection) -> Result<T, Status>,
    ) -> Result<T> {
        let mut last = None;
        for slot in self.running().into_iter().filter(|&slot| Some(slot) != but) {
            match ask(self.connection(slot)).await {
                Ok(answer) => return Ok(answer),
                Err(status) => last = Some(status),
            }
        }
        Err(last.context("no member runs")?.into())
    }
}
