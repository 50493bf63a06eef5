//! The rows that the simple and the table format share.

use api::etcdserverpb as pb;

use super::{Hash, Health, Status};
use crate::gotext::size;

/// Headings and rows.
pub(super) struct Rows {
    pub(super) headings: &'static [&'static str],
    pub(super) rows: Vec<Vec<String>>,
}

/// One row a member.
pub(super) fn members(response: &pb::MemberListResponse) -> Rows {
    let row = |member: &pb::Member| {
        vec![
            format!("{:x}", member.id),
            if member.name.is_empty() { "unstarted" } else { "started" }.to_owned(),
            member.name.clone(),
            member.peer_urls.join(","),
            member.client_urls.join(","),
            member.is_learner.to_string(),
        ]
    };
    Rows {
        headings: &["ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"],
        rows: response.members.iter().map(row).collect(),
    }
}

/// One row an endpoint.
pub(super) fn health(list: &[Health]) -> Rows {
    let row = |health: &Health| {
        vec![
            health.endpoint.clone(),
            health.healthy.to_string(),
            health.took.clone(),
            health.error.clone(),
        ]
    };
    Rows {
        headings: &["ENDPOINT", "HEALTH", "TOOK", "ERROR"],
        rows: list.iter().map(row).collect(),
    }
}

/// One row an endpoint.
pub(super) fn status(list: &[Status]) -> Rows {
    Rows {
        headings: &[
            "ENDPOINT",
            "ID",
            "VERSION",
            "STORAGE VERSION",
            "DB SIZE",
            "IN USE",
            "PERCENTAGE NOT IN USE",
            "QUOTA",
            "IS LEADER",
            "IS LEARNER",
            "RAFT TERM",
            "RAFT INDEX",
            "RAFT APPLIED INDEX",
            "ERRORS",
            "DOWNGRADE TARGET VERSION",
            "DOWNGRADE ENABLED",
        ],
        rows: list.iter().map(status_row).collect(),
    }
}

fn status_row(status: &Status) -> Vec<String> {
    let response = &status.response;
    let member = response.header.map_or(0, |header| header.member_id);
    let size = |bytes: i64| size::bytes(bytes.cast_unsigned());
    let in_use = i128::from(response.db_size_in_use) * 100;
    // A member that has not told its size yet has nothing unused.
    let used = in_use.checked_div(i128::from(response.db_size)).unwrap_or(100);
    let downgrade = response.downgrade_info.clone().unwrap_or_default();
    vec![
        status.endpoint.clone(),
        format!("{member:x}"),
        response.version.clone(),
        response.storage_version.clone(),
        size(response.db_size),
        size(response.db_size_in_use),
        format!("{}%", 100 - used),
        size(response.db_size_quota),
        (response.leader == member).to_string(),
        response.is_learner.to_string(),
        response.raft_term.to_string(),
        response.raft_index.to_string(),
        response.raft_applied_index.to_string(),
        response.errors.join(", "),
        downgrade.target_version,
        downgrade.enabled.to_string(),
    ]
}

/// One row an endpoint.
pub(super) fn hashes(list: &[Hash]) -> Rows {
    let row = |hash: &Hash| {
        vec![
            hash.endpoint.clone(),
            hash.response.hash.to_string(),
            hash.response.hash_revision.to_string(),
        ]
    };
    Rows { headings: &["ENDPOINT", "HASH", "HASH REVISION"], rows: list.iter().map(row).collect() }
}
