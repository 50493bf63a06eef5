//! Locks and elections as the server offers them: who holds a name, who is next, who gives up.

use std::time::Duration;

use anyhow::Result;
use api::{
    etcdserverpb as pb,
    v3electionpb::{
        CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest,
        election_client::ElectionClient,
    },
    v3lockpb::{LockRequest, UnlockRequest, lock_client::LockClient},
};
use bytes::Bytes;
use conformance::{
    authentication::{add_user, allow, enable, login, with_token},
    client::{Client, decode_one, revision},
    member::Member,
};
use tonic::{Code, Status};

async fn lock(client: &Client, name: &str, lease: i64) -> Result<Bytes, Status> {
    let mut locks = LockClient::new(client.channel.clone());
    let request = LockRequest { name: name.to_owned().into(), lease };
    Ok(locks.lock(request).await?.into_inner().key)
}

async fn unlock(client: &Client, key: Bytes) -> Result<(), Status> {
    let mut locks = LockClient::new(client.channel.clone());
    locks.unlock(UnlockRequest { key }).await.map(drop)
}

async fn campaign(
    client: &Client,
    name: &str,
    lease: i64,
    value: &str,
) -> Result<LeaderKey, Status> {
    let (name, value) = (name.to_owned().into(), value.to_owned().into());
    let request = CampaignRequest { name, lease, value };
    let answer = ElectionClient::new(client.channel.clone()).campaign(request).await?;
    Ok(answer.into_inner().leader.expect("a leader"))
}

/// Key and value of the leader.
async fn leader(client: &Client, name: &str) -> Result<(String, String), Status> {
    let request = LeaderRequest { name: name.to_owned().into() };
    let answer = ElectionClient::new(client.channel.clone()).leader(request).await?.into_inner();
    let kv = decode_one(&answer.kv.expect("a key"));
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(&kv.key), text(&kv.value)))
}

/// Waits until as many keys stand below a prefix.
async fn keys_below(client: &mut Client, prefix: &str, wanted: usize) -> Result<Vec<String>> {
    loop {
        let keys = client.list(prefix).await?;
        if keys.len() == wanted {
            let names = keys.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned());
            return Ok(names.collect());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_lock_goes_to_those_who_wait_in_their_order() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    for lease in [0x10, 0x11, 0x12] {
        client.grant(lease, 600).await?;
    }
    let first = lock(&client, "door", 0x10).await?;
    assert_eq!(first, "door/10");
    assert_eq!(lock(&client, "door", 0x10).await?, first, "its holder has it");
    let waiting = |lease| {
        let client = client.clone();
        tokio::spawn(async move { lock(&client, "door", lease).await })
    };
    let second = waiting(0x12);
    keys_below(&mut client.clone(), "door/", 2).await?;
    let third = waiting(0x11);
    keys_below(&mut client.clone(), "door/", 3).await?;
    assert!(!second.is_finished() && !third.is_finished());
    unlock(&client, first).await?;
    assert_eq!(second.await??, "door/12");
    assert!(!third.is_finished());
    // A lease that ends lets go too.
    client.revoke(0x12).await?;
    assert_eq!(third.await??, "door/11");
    Ok(())
}

#[tokio::test]
async fn a_lock_brings_a_lease_of_its_own() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    let key = lock(&client, "", 0).await?;
    let lease = client.get(key.clone()).await?.expect("the key is there").lease;
    assert_eq!(String::from_utf8_lossy(&key), format!("/{lease:x}"));
    let left = client.time_to_live(lease).await?;
    assert_eq!(left.granted_ttl, 60);
    unlock(&client, key.clone()).await?;
    assert_eq!(client.get(key).await?, None);
    assert_eq!(client.time_to_live(lease).await?.granted_ttl, 60, "the lease stays");
    client.grant(-5, 60).await?;
    assert_eq!(lock(&client, "n", -5).await?, "n/-5");
    Ok(())
}

#[tokio::test]
async fn who_stops_waiting_leaves_nothing_behind() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    for lease in [1, 2, 3] {
        client.grant(lease, 600).await?;
    }
    lock(&client, "door", 1).await?;
    let other = client.clone();
    let waiting = tokio::spawn(async move { lock(&other, "door", 2).await });
    keys_below(&mut client, "door/", 2).await?;
    waiting.abort();
    assert_eq!(keys_below(&mut client, "door/", 1).await?, ["door/1"]);
    // The same when time is up.
    let mut locks = LockClient::new(client.channel.clone());
    let mut request = tonic::Request::new(LockRequest { name: "door".into(), lease: 3 });
    request.set_timeout(Duration::from_millis(300));
    assert!(locks.lock(request).await.is_err());
    assert_eq!(keys_below(&mut client, "door/", 1).await?, ["door/1"]);
    Ok(())
}

#[tokio::test]
async fn who_loses_its_key_while_waiting_does_not_get_the_lock() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    for lease in [1, 2] {
        client.grant(lease, 600).await?;
    }
    let held = lock(&client, "door", 1).await?;
    let other = client.clone();
    let waiting = tokio::spawn(async move { lock(&other, "door", 2).await });
    keys_below(&mut client, "door/", 2).await?;
    client.revoke(2).await?;
    unlock(&client, held).await?;
    let status = waiting.await?.expect_err("its session is over");
    assert_eq!((status.code(), status.message()), (Code::Unknown, "mutex: session is expired"));
    Ok(())
}

#[tokio::test]
async fn leaders_follow_each_other() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    for lease in [1, 2] {
        client.grant(lease, 600).await?;
    }
    let nobody = leader(&client, "crown").await.expect_err("nobody campaigned");
    assert_eq!((nobody.code(), nobody.message()), (Code::Unknown, "election: no leader"));
    let first = campaign(&client, "crown", 1, "one").await?;
    assert_eq!((&first.name[..], &first.key[..], first.lease), (&b"crown"[..], &b"crown/1"[..], 1));
    assert_eq!(leader(&client, "crown").await?, ("crown/1".into(), "one".into()));
    let other = client.clone();
    let second = tokio::spawn(async move { campaign(&other, "crown", 2, "two").await });
    keys_below(&mut client, "crown/", 2).await?;
    // The leader campaigns again with another value: that is a proclamation.
    let again = campaign(&client, "crown", 1, "uno").await?;
    assert_eq!(again.rev, first.rev);
    assert_eq!(leader(&client, "crown").await?.1, "uno");
    let mut elections = ElectionClient::new(client.channel.clone());
    let proclaim = ProclaimRequest { leader: Some(first.clone()), value: "eins".into() };
    elections.proclaim(proclaim.clone()).await?;
    assert_eq!(leader(&client, "crown").await?.1, "eins");
    assert!(!second.is_finished());
    elections.resign(ResignRequest { leader: Some(first) }).await?;
    let second = second.await??;
    assert_eq!(leader(&client, "crown").await?, ("crown/2".into(), "two".into()));
    let late = elections.proclaim(proclaim).await.expect_err("it resigned");
    assert_eq!((late.code(), late.message()), (Code::Unknown, "election: not leader"));
    // To resign without leading is no failure.
    let other = LeaderKey { rev: second.rev + 1, ..second };
    elections.resign(ResignRequest { leader: Some(other) }).await?;
    assert_eq!(leader(&client, "crown").await?.1, "two");
    Ok(())
}

#[tokio::test]
async fn observers_see_each_leader_and_what_it_says() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    for lease in [1, 2] {
        client.grant(lease, 600).await?;
    }
    let mut elections = ElectionClient::new(client.channel.clone());
    let request = LeaderRequest { name: "crown".into() };
    // A server may keep its headers back until there is a leader.
    let mut observer = elections.clone();
    let (observed, first) =
        tokio::join!(observer.observe(request), campaign(&client, "crown", 1, "one"));
    let (mut observed, first) = (observed?.into_inner(), first?);
    let mut next = async || -> Result<(String, i64, i64)> {
        let answer = observed.message().await?.expect("the stream goes on");
        let kv = decode_one(&answer.kv.expect("a key"));
        let text =
            format!("{}={}", String::from_utf8_lossy(&kv.key), String::from_utf8_lossy(&kv.value));
        Ok((text, kv.mod_revision, revision(&answer.header)))
    };
    let seen = next().await?;
    assert_eq!(seen, ("crown/1=one".into(), first.rev, first.rev));
    let proclaim = ProclaimRequest { leader: Some(first.clone()), value: "uno".into() };
    elections.proclaim(proclaim).await?;
    assert_eq!(next().await?.0, "crown/1=uno");
    let other = client.clone();
    let second = tokio::spawn(async move { campaign(&other, "crown", 2, "two").await });
    keys_below(&mut client, "crown/", 2).await?;
    client.revoke(1).await?;
    second.await??;
    assert_eq!(next().await?.0, "crown/2=two");
    Ok(())
}

/// Waiting is done with the rights of who waits, and so is giving up.
#[tokio::test]
async fn locks_are_taken_with_the_rights_of_the_caller() -> Result<()> {
    use api::authpb::permission::Type;
    let member = Member::under_test(&["--bcrypt-cost=4"]).await;
    let mut client = member.client().await;
    for lease in [1, 2] {
        client.grant(lease, 600).await?;
    }
    add_user(&mut client, "alice").await?;
    allow(&mut client, "alice", Type::Readwrite, "door/", "door0").await?;
    enable(&mut client).await?;
    let root = login(&mut client, "root").await?;
    let alice = login(&mut client, "alice").await?;
    let mut locks = LockClient::new(client.channel.clone());
    let request = |lease| LockRequest { name: "door".into(), lease };
    let nobody = locks.lock(request(1)).await.expect_err("nobody may");
    assert_eq!(
        (nobody.code(), nobody.message()),
        (Code::Unknown, "etcdserver: user name is empty")
    );
    let held = locks.lock(with_token(request(1), &root)).await?.into_inner().key;
    let mut others = locks.clone();
    let token = alice.clone();
    let waiting = tokio::spawn(async move { others.lock(with_token(request(2), &token)).await });
    let count = async |client: &mut Client| -> Result<i64> {
        let range = pb::RangeRequest {
            key: "door/".into(),
            range_end: "door0".into(),
            count_only: true,
            ..Default::default()
        };
        Ok(client.kv.range(with_token(range, &alice)).await?.into_inner().count)
    };
    while count(&mut client).await? != 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    waiting.abort();
    while count(&mut client).await? != 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    locks.unlock(with_token(UnlockRequest { key: held }, &alice)).await?;
    assert_eq!(count(&mut client).await?, 0);
    Ok(())
}
