//! The first start of a member that was added to a running cluster: the others tell its id.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use membership::{Member, Membership};

use super::{Identity, check_learners, urls_of_others};
use crate::{peer_client::PeerClient, settings::Settings};

/// How long each URL of another member may take to tell the members.
const FETCH: Duration = Duration::from_secs(10);

/// Fetches the members from the others, and finds itself among them by its peer URLs.
pub(super) async fn identify(settings: &Settings, client: &PeerClient) -> Result<Identity> {
    settings.config.verify_join().map_err(|error| anyhow!(error))?;
    ensure!(
        settings.config.discovery.endpoints.is_empty(),
        "discovery URL should not be set when joining existing initial cluster"
    );
    let local = Membership::from_initial_cluster(
        &settings.initial_cluster,
        &settings.initial_cluster_token,
        settings.learners_max,
    )?;
    let (matched, remotes) = find_self(settings, client, local).await?;
    let cluster = matched.cluster_id();
    let own = matched.member_by_name(&settings.name).context("the list has this member")?;
    let members: Vec<_> = matched.members().cloned().collect();
    // The cluster may be without a quorum until this member runs: its answers are not waited for as
    // long as etcd does.
    let limit = Duration::from_secs(1) + settings.limits.election_timeout;
    ensure!(
        client.is_compatible(&members, own.id, limit).await,
        "incompatible with current running cluster"
    );
    check_learners(settings, remotes.iter())?;
    tracing::info!("local-member-id" = %own.id, "cluster-id" = %cluster, "starting local member");
    Ok(Identity { member: own.id, cluster, remotes, founders: Vec::new() })
}

/// Asks one member after the other for the cluster, until one knows of this member. (etcd takes the
/// first answer; but who has just joined, or is slow, may not have heard yet.) Returns the cluster as
/// this member's flags name it, with the ids that it has, and as it was told.
async fn find_self(
    settings: &Settings,
    client: &PeerClient,
    local: Membership,
) -> Result<(Membership, Vec<Member>)> {
    let mut failure = None;
    for url in urls_of_others(local.members(), &settings.name) {
        let Some((cluster, remotes)) = client.cluster_of(&[url], FETCH).await else { continue };
        let existing = Membership::from_members(cluster, settings.learners_max, remotes.clone());
        let shown = describe(&existing);
        let local = local.clone();
        let matched = tokio::task::spawn_blocking(move || {
            local.with_ids_of(&existing, config::same_addresses)
        });
        match matched.await.context("the comparison of URLs ended")? {
            Ok(matched) => return Ok((matched, remotes)),
            Err(error) => {
                let error = anyhow!("error validating peerURLs {shown}: {error}");
                tracing::warn!(%error, "a member does not know this one");
                failure.get_or_insert(error);
            }
        }
    }
    Err(failure.unwrap_or_else(|| {
        let reason = "could not retrieve cluster information from the given URLs";
        anyhow!("cannot fetch cluster info from peer urls: {reason}")
    }))
}

/// The cluster as etcd shows it in errors.
fn describe(cluster: &Membership) -> String {
    let members: Vec<String> = cluster
        .members()
        .map(|member| {
            let (id, name, learner) = (member.id, &member.name, member.is_learner);
            let (peers, clients) = (member.peer_urls.join(" "), member.client_urls.join(" "));
            format!(
                "&{{ID:{id} RaftAttributes:{{PeerURLs:[{peers}] IsLearner:{learner}}} \
                 Attributes:{{Name:{name} ClientURLs:[{clients}]}}}}"
            )
        })
        .collect();
    format!(
        "{{ClusterID:{} Members:[{}] RemovedMemberIDs:[]}}",
        cluster.cluster_id(),
        members.join(" ")
    )
}
