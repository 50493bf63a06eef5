//! A disk that hangs: the member on it stops to answer, the cluster does not.
//!
//! Skipped, with the reason, where loop devices cannot be mounted.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use cluster::{
    binary::Binary,
    cluster::{Cluster, Options, READY_LIMIT},
    disk::Disk,
};

/// A hanging disk shows after a moment, then an election follows.
const LIMIT: Duration = Duration::from_secs(15);

#[test]
fn a_leader_whose_disk_hangs_gives_way() -> Result<()> {
    if let Some(why) = Disk::is_impossible() {
        eprintln!("SKIPPED: needs disks that can hang: {why}");
        return Ok(());
    }
    let binary = Binary::under_test()?;
    Cluster::with(Options::of(binary, 3).disks(), async |cluster| {
        let old = cluster.wait_leader(READY_LIMIT).await?;
        let survivor = cluster.connection((old + 1) % 3);
        survivor.put("before", "1").await?;
        // Another log than the leader's must have what was written.
        cluster.member(old).freeze_disk()?;
        let frozen = Instant::now();
        let mut accepted = None;
        while accepted.is_none() && frozen.elapsed() < LIMIT {
            // The old leader may still take part in a write or two: another has to lead.
            let leader = cluster.leader().await;
            let put = survivor.put("during", "2");
            let put = tokio::time::timeout(Duration::from_secs(1), put).await;
            if matches!(put, Ok(Ok(_))) && leader.is_some_and(|leader| leader != old) {
                accepted = Some(frozen.elapsed());
            }
        }
        cluster.member(old).thaw_disk()?;
        let Some(accepted) = accepted else {
            anyhow::bail!("the others accepted no write for {LIMIT:?}");
        };
        println!("others lead and write after {accepted:.1?}");
        cluster.wait_ready(READY_LIMIT).await?;
        let read = cluster.connection(old).get("during", false).await?;
        ensure!(read.as_deref() == Some("2"), "read {read:?}");
        cluster.wait_equal(READY_LIMIT).await?;
        Ok(())
    })
}
