//! Acknowledged writes survive kill -9.
//!
//! The server dies at random moments of a storm of writes and starts again on the same directory;
//! what it acknowledged must be there, at the revision it told, now and in the history.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use conformance::{
    durability::{Writer, verify},
    member::Member,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

const ROUNDS: usize = 20;
const CONNECTIONS: usize = 4;
const WRITERS: usize = 24;
/// No round begins later, so that a slow machine tests less and not longer.
const TIME_LIMIT: Duration = Duration::from_secs(35);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kill_9() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let mut writers: Vec<Writer> = (0..WRITERS).map(Writer::new).collect();
    let mut since = 1;
    let mut acknowledged = 0;
    let mut rng = StdRng::seed_from_u64(9);
    let started = Instant::now();
    let mut rounds = 0;
    while rounds < ROUNDS && (rounds < 3 || started.elapsed() < TIME_LIMIT) {
        rounds += 1;
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(member.client().await);
        }
        let tasks: Vec<_> = writers
            .drain(..)
            .enumerate()
            .map(|(i, writer)| tokio::spawn(writer.storm(clients[i % CONNECTIONS].clone())))
            .collect();
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..500))).await;
        member.kill();
        for task in tasks {
            writers.push(task.await?);
        }
        acknowledged += writers.iter().map(Writer::acknowledged).sum::<usize>();

        member.restart().await?;
        let mut client = member.client().await;
        let verified = verify(&mut client, &mut writers, since).await;
        since = verified.with_context(|| format!("round {rounds}"))?;
    }
    assert!(acknowledged > 200, "{acknowledged} writes in {rounds} rounds are no storm");
    println!("{acknowledged} acknowledged writes, {rounds} rounds, {:?}", started.elapsed());
    Ok(())
}

/// A second crash while the first is being recovered from must find the same state.
#[tokio::test]
async fn a_crash_during_recovery_loses_nothing() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let mut writers = vec![Writer::new(0), Writer::new(1)];
    let client = member.client().await;
    let tasks: Vec<_> =
        writers.drain(..).map(|writer| tokio::spawn(writer.storm(client.clone()))).collect();
    tokio::time::sleep(Duration::from_millis(400)).await;
    member.kill();
    for task in tasks {
        writers.push(task.await?);
    }
    for pause in [1, 5, 20, 60, 150] {
        // Not waited for: killed while it starts.
        let _ = tokio::time::timeout(Duration::from_millis(pause), member.restart()).await;
        member.kill();
    }
    member.restart().await?;
    verify(&mut member.client().await, &mut writers, 1).await?;
    Ok(())
}

/// The check itself: a server that comes back with less than it acknowledged must be found out.
#[tokio::test]
async fn lost_writes_are_noticed() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    client.put("before", "x").await?;
    let storm = tokio::spawn(Writer::new(1).storm(client));
    tokio::time::sleep(Duration::from_millis(200)).await;
    member.kill();
    let mut writers = vec![storm.await?];
    assert!(writers[0].acknowledged() > 0);
    std::fs::remove_dir_all(member.data_dir())?;
    member.restart().await?;
    let error = verify(&mut member.client().await, &mut writers, 2).await.unwrap_err();
    assert!(error.to_string().contains("revision went back"), "{error:#}");
    Ok(())
}
