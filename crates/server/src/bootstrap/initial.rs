//! The first start of a member of a new cluster whose members are all named in advance. Every
//! member computes the same ids and writes the same first entries.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use api::{
    ids::{ClusterId, MemberId},
    raftpb::{Entry, HardState},
    walpb::Metadata,
};
use membership::{InitialCluster, Member};
use replica::bootstrap_entries;

use super::{Identity, check_learners, urls_of_others};
use crate::{peer_client::PeerClient, settings::Settings};

/// How long each URL of another member may take to answer whether this one is known already.
const PROBE: Duration = Duration::from_secs(1);

/// The members of `--initial-cluster` with their ids.
fn members(settings: &Settings) -> Result<Vec<Member>> {
    let cluster = InitialCluster::parse(&settings.initial_cluster)?;
    Ok(cluster.members(&settings.initial_cluster_token)?)
}

/// Checks the flags and finds out who this member is. One that the others know as started has lost
/// its data and must not come back under the same id.
pub(super) async fn identify(settings: &Settings, client: &PeerClient) -> Result<Identity> {
    ensure!(
        !settings.initial_cluster.is_empty(),
        "initial cluster unset and no discovery endpoints found"
    );
    let config = settings.config.clone();
    let checked = tokio::task::spawn_blocking(move || config.verify_bootstrap()).await;
    checked.context("the check of the flags ended")?.map_err(|error| anyhow!(error))?;
    let members = members(settings)?;
    check_learners(settings, members.iter())?;
    let own = members.iter().find(|member| member.name == settings.name);
    let id = own.context("the initial cluster has this member")?.id;
    let others = urls_of_others(members.iter(), &settings.name);
    if let Some((_, known)) = client.cluster_of(&others, PROBE).await {
        let started = known.iter().any(|member| member.id == id && !member.client_urls.is_empty());
        ensure!(!started, "member {id} has already been bootstrapped");
    }
    let cluster = membership::cluster_id(members.iter().map(|member| member.id));
    tracing::info!("local-member-id" = %id, "cluster-id" = %cluster, "starting local member");
    Ok(Identity { member: id, cluster, remotes: Vec::new(), founders: members })
}

/// The first entries of the log with this metadata; none when its member joins a running cluster,
/// which sends them. A start that ended before its first entries were written comes here again.
pub(super) fn first_entries(
    settings: &Settings,
    metadata: &Metadata,
) -> Result<Option<(HardState, Vec<Entry>)>> {
    if !settings.config.is_new_cluster() {
        return Ok(None);
    }
    let members = members(settings)?;
    let cluster = membership::cluster_id(members.iter().map(|member| member.id));
    let own = members.iter().any(|member| member.id == MemberId(metadata.node_id));
    if cluster != ClusterId(metadata.cluster_id) || !own {
        return Ok(None);
    }
    let contexts: Vec<_> = members
        .iter()
        .map(|member| (member.id, membership::member_to_json(member).into()))
        .collect();
    Ok(Some(bootstrap_entries(&contexts)))
}
