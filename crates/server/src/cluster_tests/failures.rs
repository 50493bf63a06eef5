//! Partitions and lost leaders.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_majority_goes_on_without_its_leader() {
    let rig = Rig::started(3).await;
    let old = rig.leader().await;
    rig.put(old, "a", "1").await;
    rig.isolate(old);
    let majority: Vec<usize> = rig.numbers().into_iter().filter(|n| *n != old).collect();
    eventually("the others elect another leader", || {
        majority.iter().any(|n| rig.handle(*n).progress.leader() == rig.handle(*n).member)
    })
    .await;
    let new = rig.leader_among(&majority).await;
    assert_ne!(new, old);
    rig.put(new, "b", "2").await;
    // Whom nobody answers knows that it does not lead, and reads nothing.
    eventually("the old leader gives up", || rig.handle(old).progress.leader() == MemberId(0))
        .await;
    let read = tokio::time::timeout(Duration::from_secs(1), rig.handle(old).linearizable());
    assert!(!matches!(read.await, Ok(Ok(()))));
    assert_eq!(rig.value(old, "b"), None);
    rig.rejoin(old);
    rig.put(old, "c", "3").await;
    rig.assert_equal().await;
    assert_eq!(rig.value(old, "b").as_deref(), Some("2"));
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_away_does_not_disturb() {
    let rig = Rig::started(3).await;
    let follower = rig.follower().await;
    let leader = rig.leader().await;
    rig.isolate(follower);
    let term = rig.handle(leader).progress.term();
    eventually("the follower misses its leader", || {
        rig.handle(follower).progress.leader() == MemberId(0)
    })
    .await;
    rig.put(leader, "a", "1").await;
    rig.rejoin(follower);
    rig.assert_equal().await;
    assert_eq!(rig.handle(leader).progress.term(), term, "prevotes raise no term");
    assert_eq!(rig.leader().await, leader);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_goes_where_it_is_sent() {
    let rig = Rig::started(3).await;
    let (leader, follower) = (rig.leader().await, rig.follower().await);
    let target = rig.handle(follower).member;
    rig.handle(leader).transfer_leader(target, PATIENCE).await.unwrap();
    assert_eq!(rig.leader().await, follower);
    rig.put(leader, "a", "1").await;
    rig.assert_equal().await;
    rig.end().await;
}
