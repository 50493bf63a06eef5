//! Leases: terms, renewal, expiry with its deletions, attachment of keys, restarts.
//!
//! Source: behaviour of etcd 3.5 and 3.7. The shortest term that a server grants is 2 s, so the
//! tests that wait for expiry take that long.

use std::time::{Duration, Instant};

use anyhow::Result;
use api::etcdserverpb as pb;
use conformance::{
    client::{Client, decode_one, revision},
    member::Member,
    watching::{WatchStream, watch_prefix},
};
use tonic::Code;

/// Puts a key that is attached to a lease.
async fn attach(client: &mut Client, key: &str, lease: i64) -> Result<i64, tonic::Status> {
    let key = key.to_owned().into();
    client.put_with(pb::PutRequest { key, value: "v".into(), lease, ..Default::default() }).await
}

/// The keys attached to a lease, sorted.
async fn attached(client: &mut Client, lease: i64) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    for key in client.time_to_live(lease).await?.keys {
        keys.push(String::from_utf8(key.to_vec())?);
    }
    keys.sort();
    Ok(keys)
}

/// Waits until the lease is gone.
async fn gone(client: &mut Client, lease: i64, limit: Duration) -> Result<Duration> {
    let started = Instant::now();
    while client.time_to_live(lease).await?.ttl != -1 {
        assert!(started.elapsed() < limit, "lease {lease} is still there after {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(started.elapsed())
}

#[tokio::test]
async fn granted_terms_have_bounds() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    for (asked, granted) in [(0, 2), (-5, 2), (1, 2), (2, 2), (3, 3), (i64::MIN, 2)] {
        let answer = client.grant(0, asked).await?;
        assert_eq!(answer.ttl, granted, "asked for {asked}");
        assert!(answer.id > 0, "a chosen id is positive: {answer:?}");
        assert_eq!(answer.error, "");
        client.revoke(answer.id).await?;
    }
    let longest = client.grant(1, 9_000_000_000).await?;
    assert_eq!((longest.id, longest.ttl), (1, 9_000_000_000));
    for ttl in [9_000_000_001, i64::MAX] {
        let error = client.grant(2, ttl).await.unwrap_err();
        assert_eq!(error.code(), Code::OutOfRange);
        assert_eq!(error.message(), "etcdserver: too large lease TTL");
    }
    Ok(())
}

#[tokio::test]
async fn ids_are_unique_and_may_be_negative() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    for id in [1, -1, i64::MAX, i64::MIN] {
        let answer = client.grant(id, 600).await?;
        assert_eq!((answer.id, answer.ttl), (id, 600));
        assert_eq!(revision(&answer.header), 1, "a lease makes no revision");
        let error = client.grant(id, 600).await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition);
        assert_eq!(error.message(), "etcdserver: lease already exists");
    }
    let listed = client.lease.lease_leases(pb::LeaseLeasesRequest {}).await?.into_inner();
    let mut ids: Vec<i64> = listed.leases.iter().map(|lease| lease.id).collect();
    ids.sort();
    assert_eq!(ids, [i64::MIN, -1, 1, i64::MAX]);
    Ok(())
}

#[tokio::test]
async fn leases_are_listed_by_remaining_time() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    for (id, ttl) in [(1, 500), (2, 100), (3, 900), (4, 300)] {
        client.grant(id, ttl).await?;
    }
    let listed = client.lease.lease_leases(pb::LeaseLeasesRequest {}).await?.into_inner();
    let ids: Vec<i64> = listed.leases.iter().map(|lease| lease.id).collect();
    assert_eq!(ids, [2, 4, 1, 3]);
    Ok(())
}

#[tokio::test]
async fn unknown_leases() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    let error = client.revoke(42).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert_eq!(error.message(), "etcdserver: requested lease not found");

    let error = attach(&mut client, "k", 42).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert_eq!(error.message(), "etcdserver: requested lease not found");
    assert!(client.get("k").await?.is_none());

    let answer = client.time_to_live(42).await?;
    assert_eq!((answer.id, answer.ttl, answer.granted_ttl, answer.keys.len()), (42, -1, 0, 0));

    let answer = client.keep_alive(42).await?;
    assert_eq!((answer.id, answer.ttl), (42, 0));
    Ok(())
}

#[tokio::test]
async fn keepalive_restores_the_whole_term() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    client.grant(7, 3).await?;
    attach(&mut client, "k", 7).await?;
    let started = Instant::now();
    // Three terms pass; renewed in time, the lease outlives them.
    while started.elapsed() < Duration::from_secs(7) {
        let answer = client.keep_alive(7).await?;
        assert_eq!((answer.id, answer.ttl), (7, 3));
        let left = client.time_to_live(7).await?;
        assert_eq!(left.granted_ttl, 3);
        assert!((2..=3).contains(&left.ttl), "{left:?}");
        tokio::time::sleep(Duration::from_millis(1000)).await;
    }
    assert!(client.get("k").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn one_stream_renews_many_leases_in_order() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    client.grant(1, 100).await?;
    client.grant(2, 200).await?;
    let wanted = [2, 1, 99, 2, 1];
    let requests = tokio_stream::iter(wanted.map(|id| pb::LeaseKeepAliveRequest { id }));
    let mut answers = client.lease.lease_keep_alive(requests).await?.into_inner();
    let mut got = Vec::new();
    // This side is closed after the last request: the stream ends without an error.
    while let Some(answer) = answers.message().await? {
        got.push((answer.id, answer.ttl));
    }
    assert_eq!(got, [(2, 200), (1, 100), (99, 0), (2, 200), (1, 100)]);
    Ok(())
}

#[tokio::test]
async fn expiry_deletes_the_keys_in_one_revision() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    let (mut stream, _) = WatchStream::create(&client, watch_prefix("")).await?;
    client.grant(5, 2).await?;
    let granted = Instant::now();
    for key in ["b", "a", "c"] {
        attach(&mut client, key, 5).await?;
    }
    client.put("free", "v").await?;
    stream.until_event(5).await?;

    let limit = Duration::from_secs(6);
    let response = stream.next_within(limit).await?.expect("the expiry is an event");
    let waited = granted.elapsed();
    // A grant just before a tick of the server's clock may lose a little of its term.
    assert!(waited > Duration::from_millis(1900), "expired after {waited:?}");
    assert!(waited < limit, "expired after {waited:?}");
    let deleted: Vec<_> = response
        .events
        .iter()
        .map(|event| {
            let kv = decode_one(event.kv.as_ref().unwrap());
            (event.r#type, kv.key, kv.mod_revision)
        })
        .collect();
    let expected = ["a", "b", "c"].map(|key| (1, key.into(), 6));
    assert_eq!(deleted, expected, "one revision, keys in order");
    assert_eq!(client.list("").await?.len(), 1);
    assert_eq!(client.time_to_live(5).await?.ttl, -1);
    assert_eq!(client.keep_alive(5).await?.ttl, 0);
    Ok(())
}

#[tokio::test]
async fn an_empty_lease_expires_without_a_revision() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    client.grant(5, 2).await?;
    gone(&mut client, 5, Duration::from_secs(6)).await?;
    assert_eq!(client.put("a", "1").await?, 2);
    Ok(())
}

#[tokio::test]
async fn revoke_deletes_the_keys_in_one_revision() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    let (mut stream, _) = WatchStream::create(&client, watch_prefix("")).await?;
    client.grant(5, 600).await?;
    attach(&mut client, "y", 5).await?;
    attach(&mut client, "x", 5).await?;
    let header = client.revoke(5).await?.header;
    assert_eq!(revision(&header), 4);
    let responses = stream.until_event(4).await?;
    let last = responses.last().unwrap();
    let keys: Vec<_> =
        last.events.iter().map(|event| decode_one(event.kv.as_ref().unwrap()).key).collect();
    assert_eq!(keys, ["x", "y"]);

    client.grant(6, 600).await?;
    let header = client.revoke(6).await?.header;
    assert_eq!(revision(&header), 4, "nothing attached, no revision");
    Ok(())
}

#[tokio::test]
async fn a_key_follows_its_last_put() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    client.grant(1, 600).await?;
    client.grant(2, 600).await?;
    attach(&mut client, "moved", 1).await?;
    attach(&mut client, "kept", 1).await?;
    attach(&mut client, "detached", 1).await?;
    attach(&mut client, "deleted", 1).await?;
    assert_eq!(attached(&mut client, 1).await?, ["deleted", "detached", "kept", "moved"]);

    attach(&mut client, "moved", 2).await?;
    client.put("detached", "v").await?;
    client.delete("deleted").await?;
    let ignore = pb::PutRequest {
        key: "kept".into(),
        value: "w".into(),
        ignore_lease: true,
        ..Default::default()
    };
    client.put_with(ignore).await?;
    assert_eq!(attached(&mut client, 1).await?, ["kept"]);
    assert_eq!(attached(&mut client, 2).await?, ["moved"]);
    let kept = client.get("kept").await?.unwrap();
    assert_eq!((&kept.value[..], kept.lease), (&b"w"[..], 1));

    client.revoke(1).await?;
    let keys: Vec<_> = client.list("").await?.into_iter().map(|kv| kv.key).collect();
    assert_eq!(keys, ["detached", "moved"]);
    // Keys are told only when asked for.
    let request = pb::LeaseTimeToLiveRequest { id: 2, keys: false };
    let answer = client.lease.lease_time_to_live(request).await?.into_inner();
    assert_eq!(answer.keys.len(), 0);
    assert!(answer.granted_ttl == 600 && answer.ttl > 590, "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn leases_survive_restarts() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    client.grant(1, 600).await?;
    client.grant(-2, 600).await?;
    client.grant(3, 600).await?;
    attach(&mut client, "a", 1).await?;
    attach(&mut client, "b", 1).await?;
    attach(&mut client, "b", -2).await?;
    client.revoke(3).await?;
    let at = client.put("last", "v").await?;

    for crash in [true, false] {
        if crash {
            member.kill();
        } else {
            member.terminate().await?;
        }
        member.restart().await?;
        client = member.client().await;
        let answer = client.time_to_live(1).await?;
        assert!(answer.granted_ttl == 600 && answer.ttl > 580, "{answer:?}");
        assert_eq!(attached(&mut client, 1).await?, ["a"]);
        assert_eq!(attached(&mut client, -2).await?, ["b"]);
        assert_eq!(client.time_to_live(3).await?.ttl, -1);
        assert_eq!(client.keep_alive(1).await?.ttl, 600);
    }
    let header = client.revoke(1).await?.header;
    assert_eq!(revision(&header), at + 1);
    assert!(client.get("a").await?.is_none() && client.get("b").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn a_term_that_ends_while_the_server_is_down_still_ends() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    client.grant(1, 2).await?;
    attach(&mut client, "k", 1).await?;
    member.kill();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    member.restart().await?;
    client = member.client().await;
    // The term begins anew with the new leader, and so the key is still there at first.
    assert!(client.get("k").await?.is_some());
    gone(&mut client, 1, Duration::from_secs(8)).await?;
    assert!(client.get("k").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn many_leases_expire_together() -> Result<()> {
    const LEASES: i64 = 300;
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    for id in 1..=LEASES {
        client.grant(id, 3).await?;
        attach(&mut client, &format!("k/{id}"), id).await?;
    }
    let deadline = Instant::now() + Duration::from_secs(12);
    while !client.list("k/").await?.is_empty() {
        assert!(Instant::now() < deadline, "keys of expired leases are left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let listed = client.lease.lease_leases(pb::LeaseLeasesRequest {}).await?.into_inner();
    assert_eq!(listed.leases.len(), 0);
    // Each lease is a revision of its own, even when they end together.
    assert_eq!(client.put("after", "v").await?, 1 + 2 * LEASES + 1);
    Ok(())
}
