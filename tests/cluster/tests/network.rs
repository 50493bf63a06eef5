//! What clusters survive when the network fails, each member in a namespace of its own.
//!
//! Skipped, with the reason, where namespaces cannot be made.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::{
    binary::Binary,
    cluster::{Cluster, Options, READY_LIMIT},
    network::{Network, Rule},
};

/// Options on a wire; `None`, with a line that says why, where that is impossible.
fn options(members: usize) -> Option<Options> {
    if let Some(why) = Network::wired_is_impossible() {
        eprintln!("SKIPPED: needs network namespaces: {why}");
        return None;
    }
    let binary = Binary::under_test().expect("the binary under test is built");
    Some(Options::of(binary, members).wired())
}

async fn put_until_accepted(cluster: &Cluster, slot: usize, key: &str) -> Result<()> {
    let deadline = Instant::now() + READY_LIMIT;
    while let Err(status) = cluster.connection(slot).put(key, "value").await {
        ensure!(Instant::now() < deadline, "put at {slot}: {status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[test]
fn a_leader_that_is_cut_off_serves_nothing_and_comes_back() -> Result<()> {
    let Some(options) = options(3) else { return Ok(()) };
    Cluster::with(options, async |cluster| {
        let old = cluster.wait_leader(READY_LIMIT).await?;
        put_until_accepted(cluster, old, "before").await?;
        cluster.network().wire()?.partition(&[old]);
        let survivor = (old + 1) % 3;
        put_until_accepted(cluster, survivor, "during").await?;
        let alone = cluster.connection(old);
        ensure!(alone.put("during", "lost").await.is_err(), "a minority accepted a write");
        ensure!(alone.get("before", false).await.is_err(), "a minority served a read");
        ensure!(alone.get("before", true).await?.as_deref() == Some("value"), "serializable");
        cluster.network().wire()?.heal();
        cluster.wait_ready(READY_LIMIT).await?;
        ensure!(cluster.connection(old).get("during", false).await?.as_deref() == Some("value"));
        cluster.wait_equal(READY_LIMIT).await?;
        Ok(())
    })
}

#[test]
fn a_leader_that_hears_nobody_steps_down() -> Result<()> {
    let Some(options) = options(3) else { return Ok(()) };
    Cluster::with(options, async |cluster| {
        let old = cluster.wait_leader(READY_LIMIT).await?;
        put_until_accepted(cluster, old, "before").await?;
        let others: Vec<usize> = (0..3).filter(|&slot| slot != old).collect();
        let wire = cluster.network().wire()?;
        for &from in &others {
            wire.set(from, old, Rule { cut: true, ..Rule::default() });
        }
        put_until_accepted(cluster, others[0], "during").await?;
        cluster.network().wire()?.heal();
        cluster.wait_ready(READY_LIMIT).await?;
        cluster.wait_equal(READY_LIMIT).await?;
        Ok(())
    })
}

#[test]
fn a_follower_that_was_cut_off_disturbs_nobody_when_it_returns() -> Result<()> {
    let Some(options) = options(3) else { return Ok(()) };
    Cluster::with(options, async |cluster| {
        let leader = cluster.wait_leader(READY_LIMIT).await?;
        put_until_accepted(cluster, leader, "before").await?;
        let term = cluster.connection(leader).status().await?.raft_term;
        cluster.network().wire()?.partition(&[(leader + 1) % 3]);
        // Long enough for it to ask for votes many times, were it not for pre-vote.
        tokio::time::sleep(Duration::from_secs(6)).await;
        cluster.network().wire()?.heal();
        cluster.wait_ready(READY_LIMIT).await?;
        let status = cluster.connection(leader).status().await?;
        ensure!(status.raft_term == term, "term {term} became {}", status.raft_term);
        cluster.wait_equal(READY_LIMIT).await?;
        Ok(())
    })
}

#[test]
fn late_and_lost_packets_delay_and_lose_nothing() -> Result<()> {
    let Some(options) = options(3) else { return Ok(()) };
    Cluster::with(options, async |cluster| {
        let wire = cluster.network().wire()?;
        let delay = Duration::from_millis(10);
        let rule = Rule { loss: 0.05, delay, jitter: delay, cut: false };
        for (a, b) in [(0, 1), (1, 2), (2, 0)] {
            wire.set_both(a, b, rule);
        }
        for i in 0..20 {
            put_until_accepted(cluster, i % 3, &format!("key{i}")).await?;
        }
        cluster.network().wire()?.heal();
        cluster.wait_ready(READY_LIMIT).await?;
        let (_, dropped) = cluster.network().wire()?.counts();
        ensure!(dropped > 0, "no packet was lost");
        cluster.wait_equal(READY_LIMIT).await?;
        Ok(())
    })
}
