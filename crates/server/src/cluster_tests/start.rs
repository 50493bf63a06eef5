//! Starts, restarts, and refusals to start.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn three_members_become_one_cluster() {
    let rig = Rig::started(3).await;
    let follower = rig.follower().await;
    rig.put(follower, "a", "1").await;
    rig.put(rig.leader().await, "b", "2").await;
    rig.assert_equal().await;
    for number in 1..=3 {
        assert_eq!(rig.value(number, "a").as_deref(), Some("1"));
        let membership = rig.handle(number).shared.membership.read().clone();
        let names: Vec<_> = membership.members().map(|member| member.name.clone()).collect();
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(sorted, ["m1", "m2", "m3"]);
        assert!(membership.members().all(|member| !member.client_urls.is_empty()));
    }
    persist("read on a follower", || rig.handle(follower).linearizable()).await;
    let series = String::from_utf8(rig.handle(follower).metrics.expose(rig.handle(follower)));
    let series = series.unwrap();
    for name in [
        "etcd_server_heartbeat_send_failures_total",
        "etcd_server_read_indexes_failed_total",
        "etcd_server_slow_read_indexes_total",
        "etcd_server_snapshot_apply_in_progress_total",
        "etcd_server_is_leader",
    ] {
        assert!(series.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}");
    }
    let active = series.lines().filter(|line| line.starts_with("etcd_network_active_peers{"));
    assert_eq!(active.filter(|line| line.ends_with(" 1")).count(), 2, "{series}");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_back_with_what_they_had() {
    let mut rig = Rig::started(3).await;
    rig.put(1, "a", "1").await;
    let follower = rig.follower().await;
    rig.stop(follower).await;
    for i in 0..20 {
        rig.put(rig.leader().await, &format!("k{i}"), "while it was away").await;
    }
    rig.start(follower).await;
    rig.wait_ready().await;
    rig.assert_equal().await;
    assert_eq!(rig.value(follower, "k19").as_deref(), Some("while it was away"));
    for number in 1..=3 {
        rig.stop(number).await;
    }
    rig.start_all().await;
    rig.put(2, "b", "2").await;
    rig.assert_equal().await;
    assert_eq!(rig.value(3, "a").as_deref(), Some("1"));
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lost_its_data_must_not_come_back() {
    let mut rig = Rig::started(3).await;
    rig.stop(2).await;
    std::fs::remove_dir_all(rig.data_dir(2)).unwrap();
    let id = rig.handle(1).shared.membership.read().member_by_name("m2").unwrap().id;
    let error = rig.try_start(2, rig.settings(2)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("member {id} has already been bootstrapped"));
    rig.end().await;
}

/// A log that says whose it is and nothing else.
fn leave_empty_log(rig: &Rig, number: usize, id: MemberId, cluster: api::ids::ClusterId) {
    let fs: std::sync::Arc<dyn vfs::Fs> = std::sync::Arc::new(vfs::os::OsFs);
    let metadata = api::walpb::Metadata { node_id: id.0, cluster_id: cluster.0 };
    let options = wal::Options { sync: false, ..wal::Options::default() };
    let wal_dir = rig.data_dir(number).join("member/wal");
    drop(wal::Wal::create(fs, &wal_dir, &metadata, options).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_that_was_cut_off_goes_on() {
    let mut rig = Rig::new(3);
    let settings = rig.settings(1);
    let initial = ::membership::InitialCluster::parse(&settings.initial_cluster).unwrap();
    let members = initial.members(&settings.initial_cluster_token).unwrap();
    let cluster = ::membership::cluster_id(members.iter().map(|member| member.id));
    for member in &members {
        let number = member.name[1..].parse().unwrap();
        leave_empty_log(&rig, number, member.id, cluster);
    }
    drop(settings);
    rig.start_all().await;
    rig.put(2, "a", "1").await;
    rig.assert_equal().await;
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_that_was_cut_off_goes_on() {
    let mut rig = Rig::new(2);
    rig.try_start(1, rig.settings_of(1, [1], "new")).await.unwrap();
    rig.wait_ready().await;
    rig.put(1, "a", "1").await;
    let learner = crate::members::new_member(&[rig.peer_url(2)], true).unwrap();
    crate::members::add(rig.handle(1), &learner).await.unwrap();
    leave_empty_log(&rig, 2, learner.id, rig.handle(1).cluster);
    // Whatever the flags say by now: the log says who this is.
    rig.try_start(2, rig.settings_of(2, [1, 2], "new")).await.unwrap();
    eventually("the learner has the key", || rig.value(2, "a").is_some()).await;
    rig.assert_equal().await;
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_leader_hands_over() {
    let mut rig = Rig::started(3).await;
    let leader = rig.leader().await;
    let term = rig.handle(leader).progress.term();
    rig.stop(leader).await;
    // Handed over: the others need not wait for an election timeout, and vote once.
    let next = rig.leader().await;
    assert_ne!(next, leader);
    assert_eq!(rig.handle(next).progress.term().0, term.0 + 1);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn force_means_nothing_to_a_first_start() {
    let mut rig = Rig::serving(1);
    rig.config.force_new_cluster = true;
    rig.start_all().await;
    rig.put(1, "a", "1").await;
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_goes_on_alone_by_force() {
    let mut rig = Rig::started(3).await;
    rig.put(1, "a", "1").await;
    rig.assert_equal().await;
    let (id, cluster) = (rig.handle(2).member, rig.handle(2).cluster);
    for number in 1..=3 {
        rig.stop(number).await;
    }
    rig.config.force_new_cluster = true;
    rig.start(2).await;
    rig.wait_ready().await;
    assert_eq!((rig.handle(2).member, rig.handle(2).cluster), (id, cluster));
    rig.put(2, "b", "2").await;
    assert_eq!(rig.value(2, "a").as_deref(), Some("1"));
    let members: Vec<_> =
        rig.handle(2).shared.membership.read().members().map(|member| member.id).collect();
    assert_eq!(members, [id]);
    rig.stop(2).await;
    rig.config.force_new_cluster = false;
    rig.start(2).await;
    rig.wait_ready().await;
    rig.put(2, "c", "3").await;
    rig.end().await;
}
