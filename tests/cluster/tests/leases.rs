//! Leases while leaders change.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use api::etcdserverpb as pb;
use cluster::{
    binary::{Binary, Kind},
    cluster::{Cluster, Options, READY_LIMIT},
    connection::Connection,
    network::{Network, Rule},
};
use tokio::task::JoinSet;

/// Seconds that the lease lives.
const TTL: u64 = 3;

/// One renewal; the answered time to live.
async fn renew(connection: &Connection, id: i64) -> Result<i64> {
    let requests = tokio_stream::once(pb::LeaseKeepAliveRequest { id });
    let mut answers = connection.lease.clone().lease_keep_alive(requests).await?.into_inner();
    Ok(answers.message().await?.context("no answer")?.ttl)
}

/// A leader stands still, is replaced, and goes on without knowing: what it answers about leases
/// before it learns must still be true. (etcd renews in the memory of such a leader for up to an
/// election timeout; `CLUSTER_KNOWN_SINS` shows it.)
#[test]
fn a_leader_that_was_replaced_promises_nothing() -> Result<()> {
    if let Some(why) = Network::wired_is_impossible() {
        eprintln!("SKIPPED: needs network namespaces: {why}");
        return Ok(());
    }
    let binary = Binary::under_test()?;
    if binary.kind() == Kind::Etcd && std::env::var_os("CLUSTER_KNOWN_SINS").is_none() {
        eprintln!("SKIPPED: etcd does promise");
        return Ok(());
    }
    Cluster::with(Options::of(binary, 3).wired(), async |cluster| {
        let old = cluster.wait_leader(READY_LIMIT).await?;
        let (stale, survivor) = (cluster.connection(old), cluster.connection((old + 1) % 3));
        let request = pb::LeaseGrantRequest { ttl: TTL as i64, id: 7 };
        stale.lease.clone().lease_grant(request).await?;
        let request = pb::PutRequest {
            key: "leased".into(),
            value: "value".into(),
            lease: 7,
            ..Default::default()
        };
        stale.kv.clone().put(request).await?;
        ensure!(renew(&stale, 7).await? == TTL as i64);
        cluster.member(old).pause()?;
        let wire = cluster.network().wire()?;
        let rule = Rule { delay: Duration::from_millis(250), ..Rule::default() };
        for (a, b) in [(0, 1), (1, 2), (2, 0)] {
            wire.set_both(a, b, rule);
        }
        // The new leader starts the lease's time again, and adds an election timeout. Renewals wait
        // at the old one when it goes on, and come while it does not know.
        tokio::time::sleep(Duration::from_millis(4000)).await;
        let mut renewals = JoinSet::new();
        for number in 0..60 {
            if number == 5 {
                cluster.member(old).resume()?;
            }
            let stale = stale.clone();
            renewals.spawn(async move {
                let sent = Instant::now();
                let answer = tokio::time::timeout(Duration::from_secs(2), renew(&stale, 7)).await;
                matches!(answer, Ok(Ok(ttl)) if ttl > 0).then_some((sent, sent.elapsed()))
            });
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while survivor.get("leased", true).await?.is_some() {
            ensure!(Instant::now() < deadline, "the lease never ends");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let gone = Instant::now();
        for (sent, took) in renewals.join_all().await.into_iter().flatten() {
            let early = (sent + Duration::from_secs(TTL)).saturating_duration_since(gone);
            ensure!(early.is_zero(), "answered after {took:?}, the lease ended {early:?} early");
        }
        cluster.network().wire()?.heal();
        cluster.wait_ready(READY_LIMIT).await?;
        cluster.wait_equal(READY_LIMIT).await?;
        Ok(())
    })
}

/// A leader stands still for longer than a lease lives, is replaced, and goes on: by its clock the
/// lease has ended, yet its successor renewed it.
#[test]
fn a_leader_that_was_replaced_ends_nothing() -> Result<()> {
    if let Some(why) = Network::wired_is_impossible() {
        eprintln!("SKIPPED: needs network namespaces: {why}");
        return Ok(());
    }
    Cluster::with(Options::of(Binary::under_test()?, 3).wired(), async |cluster| {
        let old = cluster.wait_leader(READY_LIMIT).await?;
        let (stale, survivor) = (cluster.connection(old), cluster.connection((old + 1) % 3));
        for id in 1..=40 {
            let request = pb::LeaseGrantRequest { ttl: TTL as i64, id };
            stale.lease.clone().lease_grant(request).await?;
            let (key, value) = (format!("leased/{id}").into(), "value".into());
            let request = pb::PutRequest { key, value, lease: id, ..Default::default() };
            stale.kv.clone().put(request).await?;
        }
        // One that is sent to the leader that stands still gets no answer; it is sent again.
        let renew_all = async || -> Result<()> {
            let renewals = (1..=40).map(|id| {
                let survivor = survivor.clone();
                tokio::time::timeout(Duration::from_millis(700), async move {
                    (id, renew(&survivor, id).await)
                })
            });
            for answer in renewals.collect::<JoinSet<_>>().join_all().await.into_iter().flatten() {
                ensure!(!matches!(answer.1, Ok(0)), "lease {} is gone", answer.0);
            }
            Ok(())
        };
        renew_all().await?;
        cluster.member(old).pause()?;
        let paused = Instant::now();
        while paused.elapsed() < Duration::from_secs(TTL + 3) {
            renew_all().await?;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        cluster.member(old).resume()?;
        let resumed = Instant::now();
        while resumed.elapsed() < Duration::from_secs(2) {
            renew_all().await?;
        }
        cluster.wait_ready(READY_LIMIT).await?;
        cluster.wait_equal(READY_LIMIT).await?;
        Ok(())
    })
}
