//! Looking for members whose data differs (spec raft-server.md section 13). What hashes mean is
//! decided in `judge`; here they are collected, and alarms raised.
//!
//! Three looks: once before a member with data serves anybody, against its peers; at intervals by
//! the leader, at its current revision; at intervals by the leader, at the revisions of the last
//! compactions, which all members have hashed under the same conditions.

mod judge;

use std::time::Duration;

use api::{
    etcdserverpb::{AlarmRequest, AlarmType, InternalRaftRequest, alarm_request::AlarmAction},
    ids::MemberId,
};
use membership::Member;
use mvcc::{HashKv, ReadError};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{handle::Handle, peer_client::hash_kv::PeerHash, status::Failure};
use judge::{Compared, Own};

/// Compares this member with its peers before it serves anybody (gate InitialCorruptCheck). Peers
/// that do not answer, or are ahead or behind, are passed over.
pub(crate) async fn check_initially(handle: &Handle) -> anyhow::Result<()> {
    let own = handle.member;
    let limit = handle.limits.request_timeout;
    tracing::info!(
        "local-member-id" = %own, timeout = ?limit, "starting initial corruption check"
    );
    let hash = match own_hash(handle, 0).await {
        Ok(hash) => hash,
        Err(failure) => anyhow::bail!("{own} failed to fetch hash ({})", failure.message),
    };
    let peers = peer_hashes(handle, hash.revision).await;
    let different = judge::different(hash, &peers);
    for peer in &different {
        tracing::warn!(
            "local-member-id" = %own,
            "local-member-revision" = hash.revision,
            "local-member-hash" = hash.hash,
            "remote-peer-id" = %peer,
            "found different hash values from remote peer"
        );
    }
    anyhow::ensure!(different.is_empty(), "{own} found data inconsistency with peers");
    tracing::info!(
        "local-member-id" = %own, "initial corruption checking passed; no corruption"
    );
    Ok(())
}

/// Compares the members each `period` while this one leads, until it stops
/// (`--corrupt-check-time`).
pub(crate) async fn check_periodically(handle: Handle, period: Duration) {
    tracing::info!(
        "local-member-id" = %handle.member, interval = ?period, "enabled corruption checking"
    );
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.tick().await; // The first comes at once.
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = handle.progress.wait_stopping() => return,
        }
        if !handle.leads() {
            continue;
        }
        if let Err(failure) = check_now(&handle).await {
            tracing::warn!(error = %failure.message, "failed to check hash KV");
        }
    }
}

/// One look at the current revision: at most one alarm.
async fn check_now(handle: &Handle) -> Result<(), Failure> {
    let first = own_hash(handle, 0).await?;
    let peers = peer_hashes(handle, first.revision).await;
    handle.linearizable().await?;
    let second = own_hash(handle, 0).await?;
    let revision = handle.shared.store.revision();
    let own = Own { id: handle.member, first, second, revision };
    if let Some(corrupt) = judge::now(&own, &peers) {
        tracing::warn!("member-id" = %corrupt, "found hash mismatch");
        raise(handle, corrupt);
    }
    let checked = peers.iter().filter(|peer| peer.answer.is_ok()).count();
    tracing::info!("number-of-peers-checked" = checked, "finished peer corruption check");
    Ok(())
}

/// Compares the hashes of compactions each `period` while this member leads, until it stops (gate
/// CompactHashCheck, `--compact-hash-check-time`).
pub(crate) async fn check_compactions(handle: Handle, period: Duration) {
    // The newest revision at which all members were found equal.
    let mut checked = 0;
    loop {
        tokio::select! {
            () = sleep(period) => {}
            () = handle.progress.wait_stopping() => return,
        }
        if handle.leads() {
            check_compaction_hashes(&handle, &mut checked).await;
        }
    }
}

/// Newest first, until one revision is settled: all members are equal there, or somebody is not.
async fn check_compaction_hashes(handle: &Handle, checked: &mut i64) {
    let mut hashes = handle.shared.store.compaction_hashes();
    hashes.sort_by_key(|hash| std::cmp::Reverse(hash.revision));
    hashes.retain(|hash| hash.revision > *checked);
    let mut count = 0;
    for hash in hashes {
        count += 1;
        let peers = peer_hashes(handle, hash.revision).await;
        if peers.is_empty() {
            continue;
        }
        match judge::compaction(handle.member, hash, &peers) {
            Compared::Equal { all: true } => {
                *checked = hash.revision;
                break;
            }
            Compared::Equal { all: false } => tracing::warn!(
                revision = hash.revision,
                "skipped revision in compaction hash check; was not able to check all peers"
            ),
            Compared::Different { corrupt } => {
                tracing::error!(
                    "leader-id" = %handle.member,
                    revision = hash.revision,
                    corrupt = ?corrupt,
                    "Detected compaction hash mismatch"
                );
                corrupt.into_iter().for_each(|id| raise(handle, id));
                break;
            }
        }
    }
    tracing::info!("number-of-hashes-checked" = count, "finished compaction hash check");
}

/// This member's hash.
async fn own_hash(handle: &Handle, revision: i64) -> Result<HashKv, Failure> {
    Ok(hash(handle, revision).await?)
}

/// This member's hash, off the threads that serve connections: it may read everything.
pub(crate) async fn hash(handle: &Handle, revision: i64) -> Result<HashKv, ReadError> {
    let store = handle.shared.store.clone();
    let hashed = tokio::task::spawn_blocking(move || store.hash_kv(revision)).await;
    hashed.expect("hashing does not panic")
}

/// The hashes of all other members, in the order of their ids.
async fn peer_hashes(handle: &Handle, revision: i64) -> Vec<PeerHash> {
    let others: Vec<Member> = {
        let membership = handle.shared.membership.read();
        let others = membership.members().filter(|member| member.id != handle.member);
        others.filter(|member| !member.peer_urls.is_empty()).cloned().collect()
    };
    let mut asked = JoinSet::new();
    for member in others {
        let handle = handle.clone();
        asked.spawn(async move {
            let limit = handle.limits.request_timeout;
            handle.peers.hash_kv(handle.cluster, &member, revision, limit).await
        });
    }
    let mut hashes = asked.join_all().await;
    hashes.sort_by_key(|peer| peer.id);
    hashes
}

/// Proposes the CORRUPT alarm of a member; of the whole cluster for id 0.
fn raise(handle: &Handle, member: MemberId) {
    let handle = handle.clone();
    tokio::spawn(async move {
        let alarm = Some(AlarmRequest {
            action: AlarmAction::Activate as i32,
            member_id: member.0,
            alarm: AlarmType::Corrupt as i32,
        });
        let request = InternalRaftRequest { alarm, ..Default::default() };
        if let Err(failure) = handle.propose(request).await {
            tracing::warn!(error = %failure.message, "failed to raise the CORRUPT alarm");
        }
    });
}
