//! The client library against a member: locks, elections, sessions, and watches that outlive it.

use std::time::Duration;

use api::etcdserverpb::{LeaseRevokeRequest, PutRequest, WatchCreateRequest};
use client::{
    client::Client,
    config::Config,
    election::{self, Election},
    endpoint::Endpoint,
    error::Error,
    kv,
    mutex::Mutex,
    session::Session,
};
use conformance::member::Member;
use tokio::{sync::mpsc, time::timeout};

/// Long enough for anything that should happen, on a busy machine.
const LONG: Duration = Duration::from_secs(20);
/// Long enough to show that something does not happen.
const SHORT: Duration = Duration::from_millis(300);

async fn client(member: &Member) -> Client {
    Client::new(Config::new(vec![Endpoint::parse(&member.client_url())])).await.unwrap()
}

#[tokio::test]
async fn a_lock_has_one_owner_and_a_queue() {
    let member = Member::under_test(&[]).await;
    let client = client(&member).await;
    let sessions = [
        Session::new(&client, 10).await.unwrap(),
        Session::new(&client, 10).await.unwrap(),
        Session::new(&client, 10).await.unwrap(),
    ];
    let mut first = Mutex::new(&sessions[0], "l");
    first.lock().await.unwrap();
    assert_eq!(first.key(), format!("l/{:x}", sessions[0].lease()));
    // Whoever has it may take it again.
    first.lock().await.unwrap();

    let mut second = Mutex::new(&sessions[1], "l");
    assert!(timeout(SHORT, second.lock()).await.is_err());
    let mut third = Mutex::new(&sessions[2], "l");
    let waiting = async { timeout(LONG, third.lock()).await.unwrap().unwrap() };
    let leaving = async {
        // The second gives up its place, the first the lock.
        second.unlock().await.unwrap();
        first.unlock().await.unwrap();
    };
    tokio::join!(waiting, leaving);
    assert!(third.header().revision > first.header().revision);
    third.unlock().await.unwrap();
}

#[tokio::test]
async fn a_lock_goes_with_its_session() {
    let member = Member::under_test(&[]).await;
    let client = client(&member).await;
    let lost = Session::new(&client, 10).await.unwrap();
    Mutex::new(&lost, "l").lock().await.unwrap();
    let heir = Session::new(&client, 10).await.unwrap();
    let mut mutex = Mutex::new(&heir, "l");
    let (locked, ()) = tokio::join!(timeout(LONG, mutex.lock()), async {
        lost.close().await.unwrap();
    });
    locked.unwrap().unwrap();

    // A place whose lease is gone is no lock.
    let owner = Session::new(&client, 10).await.unwrap();
    Mutex::new(&owner, "m").lock().await.unwrap();
    let mut late = Mutex::new(&heir, "m");
    let (locked, ()) = tokio::join!(timeout(LONG, late.lock()), async {
        tokio::time::sleep(SHORT).await;
        client.lease_revoke(LeaseRevokeRequest { id: heir.lease() }).await.unwrap();
        owner.close().await.unwrap();
    });
    assert_eq!(locked.unwrap(), Err(Error::Recipe("mutex: session is expired")));
    timeout(LONG, heir.done()).await.unwrap();
}

#[tokio::test]
async fn an_election_has_one_leader_after_the_other() {
    let member = Member::under_test(&[]).await;
    let client = client(&member).await;
    let (leaders, mut seen) = mpsc::channel(8);
    let observer = client.clone();
    tokio::spawn(async move { election::observe(&observer, "e", leaders).await });
    let mut leader = async || {
        let answer = timeout(LONG, seen.recv()).await.unwrap().unwrap();
        String::from_utf8(answer.kvs[0].decode().unwrap().value.to_vec()).unwrap()
    };

    let (one, two) =
        (Session::new(&client, 10).await.unwrap(), Session::new(&client, 10).await.unwrap());
    let mut first = Election::new(&one, "e");
    let mut second = Election::new(&two, "e");
    first.campaign("first").await.unwrap();
    assert_eq!(leader().await, "first");
    first.proclaim("still first").await.unwrap();
    assert_eq!(leader().await, "still first");
    assert!(timeout(SHORT, second.campaign("second")).await.is_err());
    let (elected, ()) = tokio::join!(timeout(LONG, second.campaign("second too")), async {
        first.resign().await.unwrap();
    });
    elected.unwrap().unwrap();
    // The candidate of the campaign that was given up stood on, and proclaims anew.
    assert!(["second", "second too"].contains(&leader().await.as_str()));
    assert_eq!(first.proclaim("x").await, Err(Error::Recipe("election: not leader")));
    second.resign().await.unwrap();
}

#[tokio::test]
async fn a_watch_outlives_the_member() {
    let mut member = Member::under_test(&[]).await;
    let client = client(&member).await;
    let put = async |value: &'static str| {
        let put = PutRequest { key: "k".into(), value: value.into(), ..PutRequest::default() };
        timeout(LONG, client.put(put)).await.unwrap()
    };
    let request = WatchCreateRequest { key: "k".into(), ..WatchCreateRequest::default() };
    let mut watcher = client.watch(request).await;
    let mut values = Vec::new();
    put("1").await.unwrap();
    for value in ["2", "3"] {
        member.kill();
        member.restart().await.unwrap();
        // The first call after a loss may meet the lost connection; a read waits that out.
        timeout(LONG, client.range(kv::get("k"))).await.unwrap().unwrap();
        put(value).await.unwrap();
    }
    while values.len() < 3 {
        let response = timeout(LONG, watcher.next()).await.unwrap().unwrap();
        assert_eq!(response.error(), None);
        let value = |event: &api::mvccpb::Event| event.kv.as_ref().unwrap().decode().unwrap().value;
        values.extend(response.events.iter().map(value));
    }
    assert_eq!(values, ["1", "2", "3"]);
}
