//! The loops that keep versions: the leader decides the cluster version and ends downgrades, every
//! member takes its store along.

use std::time::Duration;

use api::{etcdserverpb::InternalRaftRequest, membershippb::ClusterVersionSetRequest};
use membership::{Member, Version};
use tokio::{task::JoinSet, time::sleep};

use super::{decide, downgrade, storage};
use crate::handle::Handle;

/// Decides the cluster version at the beginning of a leadership and each `interval` of it, until the
/// member stops.
pub(crate) async fn watch_cluster(handle: Handle, interval: Duration) {
    let mut first_commit = handle.signals.watch_first_commit();
    loop {
        tokio::select! {
            changed = first_commit.changed() => changed.expect("the sender is in the handle"),
            () = sleep(interval) => {}
            () = handle.progress.wait_stopping() => return,
        }
        if handle.leads() {
            update_cluster(&handle).await;
        }
    }
}

async fn update_cluster(handle: &Handle) {
    let lowest = decide::lowest(servers(handle).await);
    let (current, downgrade) = {
        let membership = handle.shared.membership.read();
        (membership.cluster_version(), membership.downgrade().clone())
    };
    match decide::cluster_version(current, lowest, &downgrade) {
        Ok(None) => {}
        Ok(Some(version)) => set_cluster(handle, current, version).await,
        Err(error) => tracing::error!(
            %error,
            "downgrade-target" = %downgrade.target_version,
            "Failed to monitor cluster version"
        ),
    }
}

async fn set_cluster(handle: &Handle, current: Option<Version>, version: Version) {
    let shown = decide::shown(version);
    match current {
        None => tracing::info!(
            "cluster-version" = %shown,
            "setting up initial cluster version using v3 API"
        ),
        Some(current) => tracing::info!(
            from = %decide::shown(current),
            to = %shown,
            "updating cluster version using v3 API"
        ),
    }
    let cluster_version_set = Some(ClusterVersionSetRequest { ver: version.to_string() });
    let request = InternalRaftRequest { cluster_version_set, ..Default::default() };
    match handle.propose(request).await {
        Ok(_) => tracing::info!("cluster-version" = %shown, "cluster version is updated"),
        Err(failure) => {
            tracing::warn!(error = %failure.message, "failed to update cluster version");
        }
    }
}

/// The server versions of all members; `None` for each that did not answer, or with nonsense.
async fn servers(handle: &Handle) -> Vec<Option<Version>> {
    let others: Vec<Member> = {
        let membership = handle.shared.membership.read();
        membership.members().filter(|member| member.id != handle.member).cloned().collect()
    };
    let mut asked = JoinSet::new();
    for member in others {
        let handle = handle.clone();
        asked.spawn(async move {
            let limit = handle.limits.request_timeout;
            let versions = handle.peers.versions(&member, limit).await?;
            let server = Version::parse(&versions.server);
            if server.is_some_and(|server| server > decide::server()) {
                tracing::warn!(
                    "remote-member-id" = %member.id,
                    "remote-member-version" = %versions.server,
                    "leader found higher-versioned member"
                );
            }
            server
        });
    }
    let mut servers = vec![Some(decide::server())];
    while let Some(answer) = asked.join_next().await {
        servers.push(answer.expect("asking for a version does not panic"));
    }
    servers
}

/// Ends a downgrade that all members have followed, while this member leads.
pub(crate) async fn watch_downgrade(handle: Handle, interval: Duration) {
    loop {
        tokio::select! {
            () = sleep(interval) => {}
            () = handle.progress.wait_stopping() => return,
        }
        let downgrade = handle.shared.membership.read().downgrade().clone();
        if !handle.leads() || !downgrade.enabled {
            continue;
        }
        let Some(target) = Version::parse(&downgrade.target_version) else { continue };
        if !decide::is_complete(target, servers(&handle).await) {
            continue;
        }
        tracing::info!("cluster-version" = %target, "the cluster has been downgraded");
        if let Err(failure) = downgrade::set(&handle, None).await {
            tracing::warn!(error = %failure.message, "failed to cancel downgrade");
        }
    }
}

/// Takes the store to the version of the cluster, when that changes and each `interval`.
pub(crate) async fn watch_storage(handle: Handle, interval: Duration) {
    let mut cluster_version = handle.signals.watch_cluster_version();
    loop {
        tokio::select! {
            changed = cluster_version.changed() => changed.expect("the sender is in the handle"),
            () = sleep(interval) => {}
            () = handle.progress.wait_stopping() => return,
        }
        let handle = handle.clone();
        let done = tokio::task::spawn_blocking(move || storage::follow_cluster(&handle)).await;
        done.expect("a failed store ends the process");
    }
}
