//! What clients and other members ask of a member about the cluster.

use api::{
    error::Error,
    etcdserverpb::{
        DowngradeRequest, LeaseGrantRequest, LeaseTimeToLiveRequest, MemberAddRequest,
        MemberListRequest, MemberPromoteRequest, MemberRemoveRequest, MemberUpdateRequest,
        MoveLeaderRequest, RangeRequest, StatusRequest, WatchCreateRequest,
        downgrade_request::DowngradeAction,
    },
};
use client::{
    client::Client, config::Config as ClientConfig, endpoint::Endpoint, error::Error as ClientError,
};
use http::{HeaderMap, Method};

use super::*;
use crate::{
    cluster_version::storage,
    discovery, members,
    peer_client::{Answer, Ask},
    status::Failure,
};

impl Rig {
    async fn client(&self, number: usize) -> Client {
        let endpoint = Endpoint::parse(&self.client_url(number));
        Client::new(ClientConfig::new(vec![endpoint])).await.unwrap()
    }

    fn member_id(&self, number: usize) -> u64 {
        self.handle(number).member.0
    }

    /// A request to the peer listener of a member.
    async fn ask(&self, number: usize, method: Method, path: &str, body: &[u8]) -> Answer {
        let url = self.peer_url(number);
        let ask = Ask {
            method,
            url: &url,
            path,
            headers: HeaderMap::new(),
            body: bytes::Bytes::copy_from_slice(body),
            limit: PATIENCE,
            answer_max: 1 << 20,
        };
        self.handle(number).peers.ask(ask).await.unwrap()
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, ClientError>, expected: Error) {
    let failure = answer.expect_err("a refusal");
    assert_eq!(failure.message(), expected.message());
    assert_eq!(failure.code() as i32, expected.code() as i32);
}

/// As [`refused`], of what goes through raft: on a busy machine the leader may be replaced meanwhile,
/// and then it is asked again.
async fn refused_by_all<T: std::fmt::Debug, F: Future<Output = Result<T, ClientError>>>(
    ask: impl Fn() -> F,
    expected: Error,
) {
    let mut answer = ask().await;
    for _ in 0..4 {
        let failure = answer.as_ref().expect_err("a refusal");
        if !failure.message().starts_with(Error::Timeout.message()) {
            break;
        }
        answer = ask().await;
    }
    refused(answer, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_kept_alive_through_any_member() {
    let mut rig = Rig::serving(3);
    rig.start_all().await;
    let granted = rig.client(1).await.lease_grant(LeaseGrantRequest { id: 77, ttl: 600 }).await;
    assert_eq!(granted.unwrap().ttl, 600);
    for number in 1..=3 {
        let client = rig.client(number).await;
        let mut alive = client.keep_alive(77);
        let answer = alive.next().await.expect("it is alive");
        assert_eq!((answer.id, answer.ttl), (77, 600), "through member {number}");
        let request = LeaseTimeToLiveRequest { id: 77, keys: true };
        let left = client.lease_time_to_live(request).await.unwrap();
        assert_eq!((left.id, left.granted_ttl), (77, 600), "through member {number}");
        assert_eq!(left.header.unwrap().member_id, rig.member_id(number));
        let unknown = LeaseTimeToLiveRequest { id: 78, keys: false };
        let left = client.lease_time_to_live(unknown).await.unwrap();
        assert_eq!((left.ttl, left.granted_ttl), (-1, 0), "through member {number}");
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_does_not_say_that_a_lease_is_gone() {
    let mut rig = Rig::serving(3);
    rig.start_all().await;
    let old = rig.leader().await;
    rig.isolate(old);
    // A lease that the others may have granted meanwhile. Nobody confirms that it leads.
    for (path, body) in [("/leases", &b"\x08\x4d"[..]), ("/leases/internal", b"\x0a\x02\x08\x4d")] {
        let asked = rig.ask(old, Method::POST, path, body);
        let answer = tokio::time::timeout(Duration::from_millis(300), asked).await;
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status != 404), "{path}");
    }
    rig.rejoin(old);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_members_are_refused_for_etcds_reasons() {
    let mut rig = Rig::serving(3);
    rig.start_all().await;
    let leader = rig.leader().await;
    let follower = rig.follower().await;
    for number in [leader, follower] {
        let client = rig.client(number).await;
        let add = |url: &str, is_learner| {
            client.member_add(MemberAddRequest { peer_urls: vec![url.into()], is_learner })
        };
        // Nobody has been connected for five seconds.
        refused(add("http://127.0.0.1:1", false).await, Error::UnhealthyCluster);
        refused(add("http://127.0.0.1:1", true).await, Error::UnhealthyCluster);
        refused(add("127.0.0.1:1", true).await, Error::MemberBadUrls);
        let id = rig.member_id(follower);
        refused(client.member_remove(MemberRemoveRequest { id }).await, Error::UnhealthyCluster);
        let unknown = || client.member_remove(MemberRemoveRequest { id: 99 });
        refused_by_all(unknown, Error::MemberNotFound).await;
        let update = |id, url: &str| {
            client.member_update(MemberUpdateRequest { id, peer_urls: vec![url.into()] })
        };
        refused_by_all(|| update(99, "http://127.0.0.1:1"), Error::MemberNotFound).await;
        refused_by_all(|| update(id, &rig.peer_url(leader)), Error::PeerUrlExist).await;
        refused(update(id, "nonsense").await, Error::MemberBadUrls);
        let promote = |id| client.member_promote(MemberPromoteRequest { id });
        refused_by_all(|| promote(99), Error::MemberNotFound).await;
        refused_by_all(|| promote(id), Error::MemberNotLearner).await;
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_serves_little_and_waits_for_its_vote() {
    let mut rig = Rig::serving(3);
    rig.config.strict_reconfig_check = false;
    for number in [1, 2] {
        rig.try_start(number, rig.settings_of(number, [1, 2], "new")).await.unwrap();
    }
    rig.wait_ready().await;
    let first = rig.client(1).await;
    let added = MemberAddRequest { peer_urls: vec![rig.peer_url(3)], is_learner: true };
    let added = first.member_add(added).await.unwrap();
    assert_eq!((added.member.unwrap().is_learner, added.members.len()), (true, 3));
    let another = MemberAddRequest { peer_urls: vec!["http://a:1".into()], is_learner: true };
    refused(first.member_add(another).await, Error::TooManyLearners);
    let learner = rig.handle(1).shared.membership.read().learners().next().unwrap().id;
    for number in [1, 2] {
        let promote = MemberPromoteRequest { id: learner.0 };
        let refusal = rig.client(number).await.member_promote(promote).await;
        refused(refusal, Error::LearnerNotReady);
    }
    let leader = rig.leader().await;
    let to_learner = MoveLeaderRequest { target_id: learner.0 };
    let refusal = rig.client(leader).await.move_leader(to_learner).await;
    refused(refusal, Error::BadLeaderTransferee);

    rig.try_start(3, rig.settings_of(3, 1..=3, "existing")).await.unwrap();
    rig.wait_ready().await;
    let client = rig.client(3).await;
    let read = |serializable| client.range(RangeRequest { serializable, ..client::kv::get("a") });
    refused(read(false).await, Error::NotSupportedForLearner);
    assert!(read(true).await.is_ok());
    assert!(client.status(StatusRequest {}).await.unwrap().is_learner);
    let list = MemberListRequest { linearizable: false };
    refused(client.member_list(list).await, Error::NotSupportedForLearner);
    // Asked of a follower, so that the leader has to be.
    let follower = if leader == 1 { 2 } else { 1 };
    let promote = MemberPromoteRequest { id: learner.0 };
    let promoted = persist("promote the learner", || async {
        let promoted = rig.client(follower).await.member_promote(promote).await;
        promoted.map_err(|error| Failure::from(error.etcd().expect("an error of the table")))
    })
    .await;
    assert!(promoted.members.iter().all(|member| !member.is_learner));
    refused(rig.client(follower).await.member_promote(promote).await, Error::MemberNotLearner);
    eventually("the new voter reads", || !rig.handle(3).is_learner()).await;
    assert!(read(false).await.is_ok());
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_moves_to_whom_the_leader_is_told() {
    let mut rig = Rig::serving(3);
    rig.start_all().await;
    let (leader, follower) = (rig.leader().await, rig.follower().await);
    let target_id = rig.member_id(follower);
    let ask = |number, target_id| {
        let client = rig.client(number);
        async move { client.await.move_leader(MoveLeaderRequest { target_id }).await }
    };
    refused(ask(follower, target_id).await, Error::NotLeader);
    refused(ask(leader, 99).await, Error::BadLeaderTransferee);
    assert_eq!(ask(leader, target_id).await.unwrap().header, None);
    assert_eq!(rig.handle(leader).progress.leader().0, target_id);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_need_a_leader_end_without_one() {
    let mut rig = Rig::serving(3);
    rig.start_all().await;
    let follower = rig.follower().await;
    let client = rig.client(follower).await;
    let watch = |key: &'static [u8]| WatchCreateRequest { key: key.into(), ..Default::default() };
    let mut bound = client.require_leader().watch(watch(b"a")).await;
    let mut free = client.watch(watch(b"a")).await;
    rig.isolate(follower);
    let ended = async { bound.next().await };
    let ended = tokio::time::timeout(PATIENCE, ended).await.expect("the stream ends");
    let failure = ended.expect("its end is told").error().expect("as an error");
    assert_eq!(failure.message(), Error::NoLeader.message());
    let request = client.require_leader().range(client::kv::get("a")).await;
    refused(request, Error::NoLeader);
    rig.rejoin(follower);
    rig.leader().await;
    rig.put(follower, "a", "1").await;
    let event = tokio::time::timeout(PATIENCE, free.next()).await.expect("it goes on");
    assert_eq!(event.expect("an event").events.len(), 1);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_downgrade_lowers_the_version_until_it_is_taken_back() {
    let mut rig = Rig::serving(2);
    for number in [1, 2] {
        let mut settings = rig.settings(number);
        settings.monitors.version_check = Duration::from_millis(50);
        rig.try_start(number, settings).await.unwrap();
    }
    rig.wait_ready().await;
    let versions = |number: usize| {
        let handle = rig.handle(number);
        let cluster = handle.shared.membership.read().cluster_version();
        let text = |version: Option<::membership::Version>| version.map(|v| v.to_string());
        (text(cluster).unwrap_or_default(), text(storage::version(handle)).unwrap_or_default())
    };
    let all_at = |version: &str| {
        (1..=2).all(|number| versions(number) == (version.to_owned(), version.to_owned()))
    };
    eventually("the cluster decides its version", || all_at("3.7.0")).await;
    let client = rig.client(1).await;
    let ask = |action: DowngradeAction, version: &str| {
        client.downgrade(DowngradeRequest { action: action as i32, version: version.into() })
    };
    let validate = DowngradeAction::Validate;
    assert_eq!(ask(validate, "3.6").await.unwrap().version, "3.7");
    refused(ask(validate, "3.5").await, Error::InvalidDowngradeTargetVersion);
    refused(ask(validate, "x").await, Error::WrongDowngradeVersionFormat);
    assert_eq!(ask(DowngradeAction::Cancel, "").await.unwrap().version, "3.7");
    assert_eq!(ask(DowngradeAction::Enable, "3.6.0").await.unwrap().version, "3.7");
    refused(ask(validate, "3.6").await, Error::DowngradeInProcess);
    eventually("the cluster is at the older version", || all_at("3.6.0")).await;
    let enabled = rig.ask(2, Method::GET, "/downgrade/enabled", b"").await;
    assert_eq!(enabled.text(), "true");
    let status = rig.client(2).await.status(StatusRequest {}).await.unwrap();
    assert_eq!(status.storage_version, "3.6.0");
    assert_eq!(status.downgrade_info.unwrap().target_version, "3.6.0");
    ask(DowngradeAction::Cancel, "").await.unwrap();
    eventually("the version rises again", || all_at("3.7.0")).await;
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_history_goes_by_itself() {
    let mut rig = Rig::new(2);
    rig.config.auto_compaction_retention = "200ms".into();
    rig.start_all().await;
    for value in ["1", "2", "3"] {
        rig.put(1, "a", value).await;
    }
    let compacted = |number: usize| rig.handle(number).shared.store.compact_revision();
    eventually("both members have forgotten", || compacted(1) == 4 && compacted(2) == 4).await;
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peer_routes_answer_as_etcds_do() {
    let mut rig = Rig::new(1);
    rig.start_all().await;
    let (get, post) = (Method::GET, Method::POST);
    let own = format!("/members/promote/{}", rig.member_id(1));
    let cases: &[(&Method, &str, &[u8], u16, &str)] = &[
        (&post, "/members", b"", 405, "Method Not Allowed\n"),
        (&get, "/members/", b"", 404, "404 page not found\n"),
        (&get, "/members/hashkv", b"", 400, "error unmarshalling request\n"),
        (
            &get,
            "/members/hashkv",
            br#"{"revision":99}"#,
            400,
            "mvcc: required revision is a future revision\n",
        ),
        (&get, "/leases", b"", 405, "Method Not Allowed\n"),
        (&post, "/leases", b"\xff", 400, "error unmarshalling request\n"),
        (&post, "/leases", b"\x08\x4d", 404, "lease not found\n"),
        (&post, "/leases", &[0; 70_000], 413, "request body too large\n"),
        (&post, "/leases/internal", b"\x0a\x02\x08\x4d", 404, "lease not found\n"),
        (&post, "/leases/internal", b"", 404, "lease not found\n"),
        (&post, &own, b"", 412, "membership: can only promote a learner member\n"),
        (&post, "/members/promote/9", b"", 404, "membership: ID not found\n"),
        (&post, "/members/promote/x", b"", 404, "member x not found in cluster\n"),
        (&get, "/members/promote/9", b"", 405, "Method Not Allowed\n"),
        (&get, "/downgrade/enabled", b"", 200, "false"),
        (&get, "/elsewhere", b"", 404, "404 page not found\n"),
    ];
    for (method, path, body, status, text) in cases {
        let answer = rig.ask(1, (*method).clone(), path, body).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (*status, *text), "{path}");
    }
    let hash = rig.ask(1, get.clone(), "/members/hashkv", b"{}").await.text();
    assert!(hash.starts_with(r#"{"header":{"revision":1},"hash":"#), "{hash}");
    assert!(hash.ends_with(r#","compact_revision":-1,"hash_revision":1}"#), "{hash}");
    let listed = rig.ask(1, get, "/members", b"").await;
    assert_eq!(listed.headers["x-etcd-cluster-id"], rig.handle(1).cluster.to_string());
    let listed = ::membership::members_from_json(&listed.body).unwrap();
    assert_eq!(listed[0].peer_urls, [rig.peer_url(1)]);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_come_to_one_token_become_a_cluster() {
    let mut registry = Rig::serving(1);
    registry.start_all().await;
    let rig = Rig::new(3);
    let settings = |number: usize| {
        let mut settings = rig.settings_of(number, [number], "new");
        settings.config.discovery.token = "t".into();
        settings.config.discovery.endpoints = vec![registry.client_url(1)];
        settings
    };
    let mut nobody = settings(1);
    let error = discovery::discover(&mut nobody).await.unwrap_err().to_string();
    assert_eq!(error, "failed to join discovery cluster (discovery: size key not found)");

    registry.put(1, "/_etcd/registry/t/_config/size", "2").await;
    let (mut first, mut second) = (settings(1), settings(2));
    let (one, other) =
        tokio::join!(discovery::discover(&mut first), discovery::discover(&mut second));
    one.unwrap();
    other.unwrap();
    assert_eq!(first.initial_cluster, second.initial_cluster);
    assert_eq!(first.initial_cluster_token, "t");
    for number in [1, 2] {
        let member = format!("m{number}={}", rig.peer_url(number));
        assert!(first.initial_cluster.contains(&member), "{}", first.initial_cluster);
    }
    let error = discovery::discover(&mut settings(3)).await.unwrap_err().to_string();
    assert_eq!(error, "failed to join discovery cluster (discovery: cluster is full)");
    // Those who are in come back as long as they have no log.
    discovery::discover(&mut settings(1)).await.unwrap();
    registry.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_of_many_tries_ends_in_time() {
    let mut rig = Rig::new(2);
    rig.start_all().await;
    let follower = rig.follower().await;
    rig.isolate(follower);
    eventually("it has no leader", || rig.handle(follower).progress.leader().0 == 0).await;
    let failure = members::promote(rig.handle(follower), MemberId(9), None).await.unwrap_err();
    assert_eq!(failure, Error::NoLeader.into());
    rig.end().await;
}
