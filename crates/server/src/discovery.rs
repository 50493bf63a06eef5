//! Finding the other members of a new cluster before the first start (spec raft-server.md section
//! 8): by SRV records of a DNS domain (`srv`), or by keys in another etcd (`registry`).
//!
//! Either ends in what `--initial-cluster` would have said; everything after that is as if it had.

mod registry;
mod srv;

use anyhow::{Context, Result, anyhow, ensure};
use config::{Config, UrlsMap};
use vfs::os::OsFs;
use wal::Wal;

use crate::settings::Settings;

/// Puts what discovery finds in the place of `--initial-cluster`. A member that has a log already
/// knows its cluster.
pub(crate) async fn discover(settings: &mut Settings) -> Result<()> {
    if Wal::exists(&OsFs, &settings.wal_dir).context("failed to look for the WAL")? {
        return Ok(());
    }
    let discovery = &settings.config.discovery;
    if !discovery.endpoints.is_empty() {
        discover_by_registry(settings).await
    } else if !discovery.srv.is_empty() {
        discover_by_dns(settings).await
    } else {
        Ok(())
    }
}

/// Members that come to the same token become one cluster.
async fn discover_by_registry(settings: &mut Settings) -> Result<()> {
    let Config { discovery, name, .. } = &settings.config;
    if !settings.config.is_new_cluster() {
        return Ok(()); // Refused by the check of joining.
    }
    tracing::info!("Bootstrapping cluster using v3 discovery.");
    let id = membership::member_id(&settings.peer_urls, &discovery.token, None);
    let own: Vec<String> = settings.peer_urls.iter().map(|url| format!("{name}={url}")).collect();
    let token = discovery.token.clone();
    let joined = registry::join(discovery, id, &own.join(",")).await;
    if let Err(error) = &joined {
        tracing::error!(%error, "discovery failed to join cluster");
    }
    let cluster = joined.map_err(|error| anyhow!("failed to join discovery cluster ({error})"))?;
    tracing::info!(%cluster, "discovery joined cluster successfully");
    let urls = UrlsMap::parse(&cluster).map_err(anyhow::Error::msg)?.urls();
    let duplicate = urls.windows(2).any(|pair| pair[0] == pair[1]);
    ensure!(!duplicate, "discovery cluster {cluster} has duplicate url");
    use_cluster(settings, cluster);
    settings.config.initial_cluster_token.clone_from(&token);
    settings.initial_cluster_token = token;
    Ok(())
}

async fn discover_by_dns(settings: &mut Settings) -> Result<()> {
    let discovery = &settings.config.discovery;
    let resolver =
        client::dns::Resolver::of_system().context("failed to read the DNS configuration")?;
    let found = srv::members(
        &resolver,
        &discovery.srv,
        &discovery.srv_name,
        &settings.name,
        &settings.peer_urls,
    )
    .await;
    if !found.errors.is_empty() {
        let error = found.errors.join("\n");
        tracing::warn!(%error, "failed to resolve during SRV discovery");
        ensure!(!found.members.is_empty(), "error setting up initial cluster: {error}");
    }
    for member in &found.members {
        tracing::info!(node = %member, "got bootstrap from DNS for etcd-server");
    }
    let cluster = found.members.join(",");
    let by_name = UrlsMap::parse(&cluster)
        .map_err(|error| anyhow!("error setting up initial cluster: {error}"))?;
    ensure!(
        by_name.0.contains_key(&settings.name),
        "error setting up initial cluster: cannot find local etcd member {:?} in SRV records",
        settings.name
    );
    let has_authority = !settings.config.peer_tls.trusted_ca_file.is_empty();
    if cluster.contains("https://") && !has_authority {
        // Certificates by a public authority name the domain, not each member.
        settings.peer_server_name = Some(settings.config.discovery.srv.clone());
    }
    use_cluster(settings, cluster);
    Ok(())
}

fn use_cluster(settings: &mut Settings, cluster: String) {
    settings.config.initial_cluster.clone_from(&cluster);
    settings.initial_cluster = cluster;
}
