//! What clusters on loopback survive: kills, restarts, snapshots, changes of membership.
//!
//! `OXETCD_BIN` may name a real etcd: every test must pass with it too.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::{
    binary::Binary,
    cluster::{Cluster, Options, READY_LIMIT},
    connection::Connection,
};

fn options(members: usize) -> Options {
    Options::of(Binary::under_test().expect("the binary under test is built"), members)
}

/// Writes until a write is accepted; without a leader for a moment some are not.
async fn put(connection: &Connection, key: &str, value: &str) -> Result<i64> {
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        match connection.put(key, value).await {
            Ok(revision) => return Ok(revision),
            Err(status) if Instant::now() > deadline => {
                return Err(status).with_context(|| format!("put {key}"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The value of a key at every running member, each asked for a linearizable read.
async fn expect(cluster: &Cluster, key: &str, value: &str) -> Result<()> {
    for slot in cluster.running() {
        let read = cluster.connection(slot).get(key, false).await;
        let read = read.with_context(|| format!("read {key} at {slot}"))?;
        ensure!(read.as_deref() == Some(value), "member {slot}: {key} is {read:?}");
    }
    Ok(())
}

fn follower(cluster: &Cluster, leader: usize) -> usize {
    let others: Vec<usize> = cluster.running().into_iter().filter(|&s| s != leader).collect();
    others[0]
}

#[test]
fn the_survivors_of_a_killed_leader_accept_writes_and_it_comes_back() -> Result<()> {
    Cluster::with(options(3), async |cluster| {
        let first = cluster.wait_leader(READY_LIMIT).await?;
        put(&cluster.connection(first), "before", "1").await?;
        cluster.member(first).kill();
        let survivor = follower(cluster, first);
        put(&cluster.connection(survivor), "while", "2").await?;
        let second = cluster.wait_leader(READY_LIMIT).await?;
        ensure!(second != first, "a dead member leads");
        cluster.restart(first).await?;
        expect(cluster, "before", "1").await?;
        expect(cluster, "while", "2").await?;
        cluster.wait_equal(READY_LIMIT).await?;
        Ok(())
    })
}

#[test]
fn everything_is_there_after_all_members_were_killed() -> Result<()> {
    Cluster::with(options(3), async |cluster| {
        let connection = cluster.connection(0);
        for i in 0..50 {
            put(&connection, &format!("key{i}"), &format!("value{i}")).await?;
        }
        let before = cluster.wait_equal(READY_LIMIT).await?;
        for slot in 0..3 {
            cluster.member(slot).kill();
        }
        for slot in 0..3 {
            cluster.member(slot).start()?;
        }
        cluster.wait_ready(READY_LIMIT).await?;
        ensure!(cluster.wait_equal(READY_LIMIT).await? == before, "something changed");
        expect(cluster, "key49", "value49").await
    })
}

#[test]
fn five_members_bear_the_loss_of_two() -> Result<()> {
    Cluster::with(options(5), async |cluster| {
        let leader = cluster.wait_leader(READY_LIMIT).await?;
        let other = follower(cluster, leader);
        cluster.member(leader).kill();
        cluster.member(other).kill();
        let survivor = cluster.running()[0];
        put(&cluster.connection(survivor), "key", "value").await?;
        // A third is one too many.
        let third = cluster.running()[1];
        cluster.member(third).kill();
        let refused = cluster.connection(survivor).put("key", "never").await;
        ensure!(refused.is_err(), "a minority accepted a write: {refused:?}");
        for slot in [leader, other, third] {
            cluster.member(slot).start()?;
        }
        cluster.wait_ready(READY_LIMIT).await?;
        // The write without a quorum may have happened since, or not; all agree on which.
        cluster.wait_equal(READY_LIMIT).await?;
        Ok(())
    })
}

#[test]
fn a_stopping_leader_hands_over() -> Result<()> {
    Cluster::with(options(3), async |cluster| {
        let first = cluster.wait_leader(READY_LIMIT).await?;
        // A leader gives way to members it has been connected with for a moment.
        put(&cluster.connection(first), "key", "1").await?;
        let survivor = follower(cluster, first);
        cluster.member(first).terminate().await?;
        let log = cluster.member(first).log();
        ensure!(log.contains("leadership transfer"), "the log tells of no transfer");
        put(&cluster.connection(survivor), "key", "2").await?;
        cluster.member(first).start()?;
        cluster.wait_ready(READY_LIMIT).await?;
        expect(cluster, "key", "2").await
    })
}

#[test]
fn the_leadership_moves_on_request() -> Result<()> {
    Cluster::with(options(3), async |cluster| {
        let first = cluster.wait_leader(READY_LIMIT).await?;
        let wanted = follower(cluster, first);
        cluster.move_leader(wanted).await?;
        let second = cluster.wait_leader(READY_LIMIT).await?;
        ensure!(second == wanted, "{second} leads, {wanted} should");
        put(&cluster.connection(first), "key", "value").await?;
        expect(cluster, "key", "value").await
    })
}

#[test]
fn a_learner_comes_and_is_promoted_and_a_removed_member_ends() -> Result<()> {
    Cluster::with(options(3).spare(1), async |cluster| {
        put(&cluster.connection(0), "key", "value").await?;
        until(async || cluster.add(3, true).await, cluster_limit()).await?;
        cluster.member(3).start()?;
        cluster.wait_member(3, Instant::now() + READY_LIMIT).await?;
        let learner = cluster.connection(3);
        let refused = learner.put("key", "never").await.expect_err("a learner takes no writes");
        ensure!(refused.message() == "etcdserver: rpc not supported for learner", "{refused}");
        cluster.promote(3, READY_LIMIT).await?;
        put(&learner, "key", "written at the newcomer").await?;
        let leaving = cluster.wait_leader(READY_LIMIT).await?;
        until(async || cluster.remove(leaving).await, cluster_limit()).await?;
        cluster.member(leaving).wait_end(READY_LIMIT).await?;
        let log = cluster.member(leaving).log();
        ensure!(log.contains("the member has been permanently removed from the cluster"), "{log}");
        cluster.member(leaving).replace()?;
        put(&learner, "after", "1").await?;
        ensure!(cluster.members().await?.len() == 3);
        cluster.wait_equal(READY_LIMIT).await?;
        Ok(())
    })
}

#[test]
fn a_wiped_member_is_replaced() -> Result<()> {
    Cluster::with(options(3), async |cluster| {
        put(&cluster.connection(0), "key", "value").await?;
        let old = cluster.id_of(2).await?;
        cluster.member(2).kill();
        until(async || cluster.remove(2).await, cluster_limit()).await?;
        cluster.member(2).replace()?;
        until(async || cluster.add(2, false).await, cluster_limit()).await?;
        cluster.member(2).start()?;
        cluster.wait_member(2, Instant::now() + READY_LIMIT).await?;
        ensure!(cluster.id_of(2).await? != old, "the wiped member has its old id");
        expect(cluster, "key", "value").await?;
        cluster.wait_equal(READY_LIMIT).await?;
        Ok(())
    })
}

#[test]
fn a_member_that_was_away_too_long_gets_a_snapshot() -> Result<()> {
    let mut options = options(3);
    options.flags = options.binaries[0].short_log_flags(100, 50);
    Cluster::with(options, async |cluster| {
        let leader = cluster.wait_leader(READY_LIMIT).await?;
        let away = follower(cluster, leader);
        put(&cluster.connection(leader), "before", "1").await?;
        cluster.member(away).kill();
        let connection = cluster.connection(leader);
        for i in 0..600 {
            put(&connection, &format!("key{}", i % 100), &format!("{i}")).await?;
        }
        cluster.member(away).start()?;
        cluster.wait_member(away, Instant::now() + READY_LIMIT).await?;
        cluster.wait_equal(READY_LIMIT).await?;
        let log = cluster.member(away).log();
        ensure!(log.contains("applied snapshot"), "no snapshot was applied");
        // It also stands on its own feet: with the snapshot in its directory it starts again.
        cluster.restart(away).await?;
        expect(cluster, "key99", "599").await?;
        cluster.wait_equal(READY_LIMIT).await?;
        Ok(())
    })
}

/// A change of membership right after a start is refused until connections are five seconds old.
fn cluster_limit() -> Duration {
    Duration::from_secs(30)
}

async fn until(mut change: impl AsyncFnMut() -> Result<()>, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        match change().await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(300)).await,
        }
    }
}
