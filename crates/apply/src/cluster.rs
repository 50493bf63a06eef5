//! Entries that members propose about the cluster itself: its version, their names, a downgrade.

use api::{
    ids::MemberId,
    membershippb::{
        ClusterMemberAttrSetRequest, ClusterVersionSetRequest, DowngradeInfoSetRequest,
    },
    version,
};
use membership::{AttributesOutcome, Downgrade, Version};

use crate::{Effect, Response, Shared, outcome::Traces, v2};

/// Sets the version that the cluster agreed on.
///
/// # Panics
/// When the version is not one, or is newer than this release: it must not go on.
pub(crate) fn set_version(
    shared: &Shared,
    request: &ClusterVersionSetRequest,
    traces: &mut Traces,
) -> Response {
    let version = Version::parse(&request.ver)
        .unwrap_or_else(|| panic!("apply: cluster version {:?} is not a version", request.ver));
    assert_not_older_than(version);
    let mut membership = shared.membership.write();
    let last = membership.cluster_version();
    membership.set_version(version, &mut traces.ops);
    v2::cluster_changed(shared, "/0/version", traces);
    traces.effects.push(Effect::ClusterVersion { version, last });
    Response::Empty
}

/// Sets what a member publishes of itself. A member that is gone is passed over.
pub(crate) fn set_attributes(
    shared: &Shared,
    request: ClusterMemberAttrSetRequest,
    traces: &mut Traces,
) -> Response {
    let attributes = request.member_attributes.unwrap_or_default();
    let id = MemberId(request.member_id);
    let mut membership = shared.membership.write();
    let outcome =
        membership.set_attributes(id, &attributes.name, &attributes.client_urls, &mut traces.ops);
    if outcome == AttributesOutcome::Updated {
        v2::cluster_changed(shared, &format!("/0/members/{id}/attributes"), traces);
    }
    Response::Empty
}

/// Begins or ends a downgrade.
pub(crate) fn set_downgrade(
    shared: &Shared,
    request: DowngradeInfoSetRequest,
    traces: &mut Traces,
) -> Response {
    let downgrade = match request.enabled {
        true => Downgrade { enabled: true, target_version: request.ver },
        false => Downgrade::default(),
    };
    shared.membership.write().set_downgrade(downgrade, &mut traces.ops);
    Response::Empty
}

/// This release's version; the cluster's must not be newer in major or minor.
pub(crate) fn is_older_than(cluster: Version) -> bool {
    let server = Version::parse(version::SERVER).expect("the release names a version");
    server.minor_only() < cluster
}

fn assert_not_older_than(cluster: Version) {
    assert!(
        !is_older_than(cluster),
        "invalid downgrade; server version is lower than determined cluster version"
    );
}
