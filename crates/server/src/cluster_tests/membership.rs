//! Members that come and go.

use super::*;
use crate::members;

#[tokio::test(flavor = "multi_thread")]
async fn members_join_learn_vote_and_leave() {
    let mut rig = Rig::new(3);
    rig.config.max_learners = 2;
    // Otherwise a removal waits until its members have been connected for five seconds.
    rig.config.strict_reconfig_check = false;
    rig.try_start(1, rig.settings_of(1, [1], "new")).await.unwrap();
    rig.wait_ready().await;
    rig.put(1, "a", "1").await;
    // Nobody may join before it is known which version the cluster has.
    eventually("the version is decided", || {
        rig.handle(1).shared.membership.read().cluster_version().is_some()
    })
    .await;

    for number in [2, 3] {
        let learner = members::new_member(&[rig.peer_url(number)], true).unwrap();
        members::add(rig.handle(1), &learner).await.unwrap();
        rig.try_start(number, rig.settings_of(number, 1..=number, "existing")).await.unwrap();
        eventually("the learner has the key", || rig.value(number, "a").is_some()).await;
        assert_eq!(rig.handle(number).member, learner.id);
        let membership = rig.handle(number).shared.membership.read().clone();
        assert!(membership.member(learner.id).unwrap().is_learner);
    }
    for number in [2, 3] {
        let id = rig.handle(number).member;
        persist("promote a learner", || members::promote(rig.handle(1), id, None)).await;
    }
    rig.wait_ready().await;
    rig.put(2, "b", "2").await;
    rig.put(3, "c", "3").await;
    rig.assert_equal().await;

    let gone = rig.handle(1).member;
    persist("remove the first member", || members::remove(rig.handle(2), gone)).await;
    let Running { handle, task, stop } = rig.members[0].take().unwrap();
    drop(handle);
    tokio::time::timeout(PATIENCE, task).await.expect("a removed member stops").unwrap();
    drop(stop);
    rig.put(2, "d", "4").await;
    rig.assert_equal().await;
    assert_eq!(rig.handle(3).shared.membership.read().members().count(), 2);
    // It must not come back.
    rig.wait_unlocked(1).await;
    rig.try_start(1, rig.settings_of(1, [1], "new")).await.unwrap();
    let Running { handle, task, stop } = rig.members[0].take().unwrap();
    drop(handle);
    tokio::time::timeout(PATIENCE, task).await.expect("it is told so").unwrap();
    drop(stop);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_cannot_join() {
    let mut rig = Rig::new(3);
    rig.try_start(1, rig.settings_of(1, [1], "new")).await.unwrap();
    rig.wait_ready().await;
    let error = rig.try_start(2, rig.settings_of(2, [1, 2], "existing")).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("error validating peerURLs {ClusterID:"), "{text}");
    assert!(text.ends_with(": member count is unequal"), "{text}");
    let error = rig.try_start(3, rig.settings_of(3, [2, 3], "existing")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from the \
         given URLs"
    );
    rig.end().await;
}
