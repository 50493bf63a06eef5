//! The version of the storage schema: it follows the cluster version, and stands in the store from
//! 3.6 on. Members of the cluster that read a snapshot of ours go by it.
//!
//! etcd refuses to lower it while its log holds what the older release cannot read. Ours can be
//! lowered at once: no release of etcd opens our store, and the images made of it carry no log.

use membership::Version;
use storage::{Op, schema::meta};

use super::decide;
use crate::{driver::storage_loop, handle::Handle};

/// The version of a store that has none recorded.
const UNRECORDED: Version = Version { major: 3, minor: 5, patch: 0 };
/// The first version that is recorded.
const RECORDED_FROM: Version = Version { major: 3, minor: 6, patch: 0 };

/// The version of the store; `None` as long as nothing is in it.
pub(crate) fn version(handle: &Handle) -> Option<Version> {
    let view = handle.backend.read().expect("the store can be read");
    let recorded = meta::read_storage_version(&*view).expect("the store can be read");
    if let Some(recorded) = recorded {
        return Version::parse(&recorded);
    }
    let consistent = meta::read_consistent(&*view).expect("the store can be read");
    consistent.filter(|(_, term)| term.0 != 0).map(|_| UNRECORDED)
}

/// Takes the store to the version of the cluster. May block for a commit.
pub(crate) fn follow_cluster(handle: &Handle) {
    let cluster = handle.shared.membership.read().cluster_version();
    let Some(cluster) = cluster.filter(|cluster| *cluster != decide::minimum()) else { return };
    let target = cluster.minor_only();
    let current = version(handle);
    if current.is_some_and(|current| current.minor_only() == target) {
        return;
    }
    if let Some(current) = current {
        tracing::info!(
            "cluster-version" = %cluster,
            "storage-version" = %current,
            "cluster version differs from storage version."
        );
    }
    if let Some(op) = step(current, target) {
        handle.window.append_background(vec![op]);
        storage_loop::flush(handle);
        tracing::info!("new-storage-version" = %target, "updated storage version");
    }
    let membership = handle.shared.membership.read();
    if membership.downgrade().enabled && version(handle) == Some(target) {
        let target_version = &membership.downgrade().target_version;
        tracing::info!(
            "target-version" = %target_version,
            "server-version" = api::version::SERVER,
            "The server is ready to downgrade"
        );
    }
}

/// What takes a store from one version to another; `None` when nothing does (now).
fn step(current: Option<Version>, target: Version) -> Option<Op> {
    // A store without a first entry waits for that.
    let current = current?;
    if target >= RECORDED_FROM {
        return Some(meta::put_storage_version(&target.to_string()));
    }
    if target == UNRECORDED && current > target {
        return Some(meta::delete_storage_version());
    }
    tracing::error!("cluster-version" = %target, "failed to update storage version");
    None
}
