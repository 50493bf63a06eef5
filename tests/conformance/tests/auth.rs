//! Logins, tokens, users over restarts, and what never reaches the disk.

use std::{path::Path, time::Duration};

use anyhow::Result;
use api::{
    authpb::{UserAddOptions, permission::Type},
    etcdserverpb as pb,
};
use conformance::{
    authentication::{add_user, allow, enable, login, login_with, with_token},
    client::Client,
    member::Member,
};
use tonic::{Code, Request, Status};

/// Hashes that cost little, where their cost is not the matter.
const CHEAP: &str = "--bcrypt-cost=4";

fn range(key: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: key.to_owned().into(), ..Default::default() }
}

async fn get_as(client: &mut Client, token: &str, key: &str) -> Result<(), Status> {
    client.kv.range(with_token(range(key), token)).await.map(drop)
}

async fn put_as(client: &mut Client, token: &str, key: &str) -> Result<(), Status> {
    let put = pb::PutRequest { key: key.to_owned().into(), ..Default::default() };
    client.kv.put(with_token(put, token)).await.map(drop)
}

#[track_caller]
fn refused<T>(result: Result<T, Status>) -> (Code, String) {
    let status = result.err().expect("this is refused");
    (status.code(), status.message().to_owned())
}

/// A member with root and `alice`, who may read and write `a`, authentication on.
async fn guarded(extra: &[&str]) -> Result<(Member, Client)> {
    let member = Member::under_test(extra).await;
    let mut client = member.client().await;
    add_user(&mut client, "alice").await?;
    allow(&mut client, "alice", Type::Readwrite, "a", "").await?;
    enable(&mut client).await?;
    Ok((member, client))
}

#[tokio::test]
async fn a_simple_token_is_letters_and_the_index_of_its_entry() -> Result<()> {
    let (member, mut client) = guarded(&[CHEAP]).await?;
    let token = login(&mut client, "alice").await?;
    let (letters, index) = token.split_once('.').expect("two parts");
    assert!(letters.len() == 16 && letters.chars().all(|c| c.is_ascii_alphabetic()), "{token}");
    let root = login(&mut client, "root").await?;
    let status = client.maintenance.status(with_token(pb::StatusRequest {}, &root)).await?;
    let (index, applied) = (index.parse::<u64>()?, status.into_inner().raft_applied_index);
    assert!(index > 8 && index < applied, "{index} before {applied}");
    put_as(&mut client, &token, "a").await?;
    let (code, text) = refused(get_as(&mut client, &token, "b").await);
    assert_eq!((code, &text[..]), (Code::PermissionDenied, "etcdserver: permission denied"));
    drop(member);
    Ok(())
}

#[tokio::test]
async fn tokens_come_in_two_headers() -> Result<()> {
    let (_member, mut client) = guarded(&[CHEAP]).await?;
    let token = login(&mut client, "alice").await?;
    for value in [token.clone(), format!("Bearer {token}")] {
        let mut request = Request::new(range("a"));
        request.metadata_mut().insert("authorization", value.parse()?);
        client.kv.range(request).await?;
    }
    Ok(())
}

#[tokio::test]
async fn tokens_end_with_what_they_stand_for() -> Result<()> {
    let (_member, mut client) = guarded(&[CHEAP]).await?;
    add_user(&mut client, "eve").await.expect_err("authentication is on");
    let root = login(&mut client, "root").await?;
    let alice = login(&mut client, "alice").await?;
    get_as(&mut client, &alice, "a").await?;
    // Rights may change under a token: it stays good.
    let role = pb::AuthRoleAddRequest { name: "other".into() };
    client.auth.role_add(with_token(role, &root)).await?;
    get_as(&mut client, &alice, "a").await?;
    let change = pb::AuthUserChangePasswordRequest {
        name: "alice".into(),
        password: "new".into(),
        ..Default::default()
    };
    client.auth.user_change_password(with_token(change, &root)).await?;
    let void = (Code::Unauthenticated, "etcdserver: invalid auth token".to_owned());
    assert_eq!(refused(get_as(&mut client, &alice, "a").await), void);
    assert_eq!(refused(login(&mut client, "alice").await).0, Code::InvalidArgument);
    let alice = login_with(&mut client, "alice", "new").await?;
    get_as(&mut client, &alice, "a").await?;
    let delete = pb::AuthUserDeleteRequest { name: "alice".into() };
    client.auth.user_delete(with_token(delete, &root)).await?;
    assert_eq!(refused(get_as(&mut client, &alice, "a").await), void);
    client.auth.auth_disable(with_token(pb::AuthDisableRequest {}, &root)).await?;
    // Nobody asks for tokens now, not even for good ones.
    get_as(&mut client, &alice, "a").await?;
    let off = refused(login(&mut client, "root").await);
    assert_eq!(off, (Code::FailedPrecondition, "etcdserver: authentication is not enabled".into()));
    client.auth.auth_enable(pb::AuthEnableRequest {}).await?;
    assert_eq!(refused(get_as(&mut client, &root, "a").await), void);
    Ok(())
}

#[tokio::test]
async fn an_unused_token_ends_and_a_used_one_does_not() -> Result<()> {
    let (_member, mut client) = guarded(&[CHEAP, "--auth-token-ttl=2"]).await?;
    let idle = login(&mut client, "alice").await?;
    let used = login(&mut client, "alice").await?;
    // Six times half a life.
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        get_as(&mut client, &used, "a").await?;
    }
    assert_eq!(refused(get_as(&mut client, &idle, "a").await).0, Code::Unauthenticated);
    Ok(())
}

#[tokio::test]
async fn users_outlive_a_crash_and_simple_tokens_do_not() -> Result<()> {
    let (mut member, mut client) = guarded(&[CHEAP]).await?;
    let token = login(&mut client, "alice").await?;
    put_as(&mut client, &token, "a").await?;
    member.kill();
    member.restart().await?;
    let mut client = member.client().await;
    // What the store had not taken yet is applied again, logins too: they are as good as before.
    let replayed = get_as(&mut client, &token, "a").await;
    assert!(replayed.is_ok() || refused(replayed).0 == Code::Unauthenticated);
    let token = login(&mut client, "alice").await?;
    get_as(&mut client, &token, "a").await?;
    assert_eq!(refused(get_as(&mut client, &token, "b").await).0, Code::PermissionDenied);
    member.terminate().await?;
    member.restart().await?;
    let mut client = member.client().await;
    let status = client.auth.auth_status(pb::AuthStatusRequest {}).await?.into_inner();
    assert!(status.enabled && status.auth_revision == 7, "{status:?}");
    Ok(())
}

/// A token of an entry that was never made is waited for, and not for ever.
#[tokio::test]
async fn tokens_from_the_future_are_refused() -> Result<()> {
    let (_member, mut client) = guarded(&[CHEAP]).await?;
    let mut waiting = client.clone();
    let future = tokio::spawn(async move {
        get_as(&mut waiting, &format!("abcdefghijklmnop.{}", u64::MAX), "a").await
    });
    for bad in ["", ".", "a", "a.b", "a.1.2", "a.-1", "abcdefghijklmnop.1"] {
        let refusal = refused(get_as(&mut client, bad, "a").await);
        assert_eq!(refusal.0, Code::Unauthenticated, "{bad:?}");
    }
    assert_eq!(refused(future.await?).0, Code::Unauthenticated);
    Ok(())
}

fn testdata(name: &str) -> String {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    repository.join("crates/server/src/auth/jwt/testdata").join(name).display().to_string()
}

#[tokio::test]
async fn signed_tokens_outlive_a_restart_but_not_a_change() -> Result<()> {
    let keys = (testdata("p256_sec1.pem"), testdata("p256_pub.pem"));
    let flag = format!(
        "--auth-token=jwt,sign-method=ES256,priv-key={},pub-key={},ttl=10m",
        keys.0, keys.1
    );
    let (mut member, mut client) = guarded(&[CHEAP, &flag]).await?;
    let token = login(&mut client, "alice").await?;
    assert_eq!(token.split('.').count(), 3, "{token}");
    put_as(&mut client, &token, "a").await?;
    member.terminate().await?;
    member.restart().await?;
    let mut client = member.client().await;
    get_as(&mut client, &token, "a").await?;
    let root = login(&mut client, "root").await?;
    let role = pb::AuthRoleAddRequest { name: "other".into() };
    client.auth.role_add(with_token(role, &root)).await?;
    let old = (Code::InvalidArgument, "etcdserver: revision of auth store is old".to_owned());
    assert_eq!(refused(get_as(&mut client, &token, "a").await), old);
    assert_eq!(refused(put_as(&mut client, &token, "a").await), old);
    // Administration does not ask for the revision.
    client.auth.user_list(with_token(pb::AuthUserListRequest {}, &root)).await?;
    let token = login(&mut client, "alice").await?;
    put_as(&mut client, &token, "a").await?;
    Ok(())
}

#[tokio::test]
async fn a_public_key_alone_gives_no_tokens() -> Result<()> {
    let flag = format!("--auth-token=jwt,sign-method=RS256,pub-key={}", testdata("rsa_pub.pem"));
    let (_member, mut client) = guarded(&[CHEAP, &flag]).await?;
    let refusal = refused(login(&mut client, "alice").await);
    let text = "auth: token signing attempted with verify-only key".to_owned();
    assert_eq!(refusal, (Code::Unknown, text));
    assert_eq!(refused(login_with(&mut client, "alice", "x").await).0, Code::InvalidArgument);
    Ok(())
}

#[tokio::test]
async fn without_a_provider_nobody_logs_in() -> Result<()> {
    let (_member, mut client) = guarded(&[CHEAP, "--auth-token="]).await?;
    let refusal = refused(login(&mut client, "alice").await);
    let text = "etcdserver: authentication failed, invalid user ID or password".to_owned();
    assert_eq!(refusal, (Code::InvalidArgument, text));
    Ok(())
}

#[tokio::test]
async fn users_without_password_do_not_log_in() -> Result<()> {
    let member = Member::under_test(&[CHEAP]).await;
    let mut client = member.client().await;
    let options = Some(UserAddOptions { no_password: true });
    let request = pb::AuthUserAddRequest { name: "cert".into(), options, ..Default::default() };
    client.auth.user_add(request).await?;
    enable(&mut client).await?;
    let refusal = refused(login_with(&mut client, "cert", "").await);
    let text = "auth: authentication failed, password was given for no password user".to_owned();
    assert_eq!(refusal, (Code::Unknown, text));
    Ok(())
}

#[tokio::test]
async fn passwords_have_72_bytes_at_most() -> Result<()> {
    let member = Member::under_test(&[CHEAP]).await;
    let mut client = member.client().await;
    let mut request = pb::AuthUserAddRequest {
        name: "long".into(),
        password: "p".repeat(73),
        ..Default::default()
    };
    let refusal = refused(client.auth.user_add(request.clone()).await);
    let text = "bcrypt: password length exceeds 72 bytes".to_owned();
    assert_eq!(refusal, (Code::Unknown, text));
    request.password.pop();
    client.auth.user_add(request).await?;
    enable(&mut client).await?;
    login_with(&mut client, "long", &"p".repeat(72)).await?;
    assert!(login_with(&mut client, "long", &"p".repeat(71)).await.is_err());
    Ok(())
}

/// CVE-2021-28235 was a password in memory; on the disk there is none either.
#[tokio::test]
async fn no_password_reaches_the_disk() -> Result<()> {
    const SECRETS: [&str; 4] =
        ["first-password-of-all", "second-one-of-them", "nobody-asked-for-this", "wrong-one-given"];
    let (mut member, mut client) = guarded(&[CHEAP]).await?;
    let root = login(&mut client, "root").await?;
    for (name, no_password, password) in [("bob", false, SECRETS[0]), ("cert", true, SECRETS[2])] {
        let request = pb::AuthUserAddRequest {
            name: name.into(),
            password: password.into(),
            options: Some(UserAddOptions { no_password }),
            ..Default::default()
        };
        client.auth.user_add(with_token(request, &root)).await?;
    }
    login_with(&mut client, "bob", SECRETS[0]).await?;
    assert!(login_with(&mut client, "bob", SECRETS[3]).await.is_err());
    let change = pb::AuthUserChangePasswordRequest {
        name: "bob".into(),
        password: SECRETS[1].into(),
        ..Default::default()
    };
    client.auth.user_change_password(with_token(change, &root)).await?;
    login_with(&mut client, "bob", SECRETS[1]).await?;
    member.terminate().await?;
    let mut files = vec![member.data_dir()];
    let mut looked_at = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path)?.filter_map(|entry| Some(entry.ok()?.path())));
            continue;
        }
        let content = std::fs::read(&path)?;
        looked_at += usize::from(content.windows(3).any(|part| part == b"bob"));
        for secret in SECRETS {
            let found = content.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{secret} is in {}", path.display());
        }
    }
    assert!(looked_at >= 2, "the log and the store name the user");
    for secret in SECRETS {
        assert!(!member.log().contains(secret), "{secret} is in the log");
    }
    Ok(())
}

/// A storm of logins after a lost connection: one comparison serves all who bring one password.
#[tokio::test]
async fn thousands_of_clients_come_back() -> Result<()> {
    let (_member, client) = guarded(&[]).await?;
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..2000 {
        let mut client = client.clone();
        logins.spawn(async move { login(&mut client, "alice").await });
    }
    let mut tokens = std::collections::BTreeSet::new();
    while let Some(token) = logins.join_next().await {
        // At full cost, one after the other, they would take longer than a call may.
        tokens.insert(token??);
    }
    assert_eq!(tokens.len(), 2000);
    Ok(())
}

#[tokio::test]
async fn logins_do_not_hold_up_writes() -> Result<()> {
    let (_member, mut client) = guarded(&[]).await?;
    let token = login(&mut client, "alice").await?;
    let mut logins = tokio::task::JoinSet::new();
    for n in 0..50 {
        let mut client = client.clone();
        logins.spawn(async move { login_with(&mut client, "alice", &format!("guess {n}")).await });
    }
    tokio::task::yield_now().await;
    for _ in 0..20 {
        put_as(&mut client, &token, "a").await?;
    }
    let mut done = 0;
    while let Some(ended) = logins.try_join_next() {
        assert!(ended?.is_err());
        done += 1;
    }
    assert!(done < 50, "the writes waited for all the logins");
    Ok(())
}

/// CVE-2026-33413: some methods looked at nobody's credentials.
#[tokio::test]
async fn cve_2026_33413_members_and_alarms_are_not_for_nobody() -> Result<()> {
    let (_member, mut client) = guarded(&[CHEAP]).await?;
    let alice = login(&mut client, "alice").await?;
    let nobody = (Code::InvalidArgument, "etcdserver: user name is empty".to_owned());
    let list = pb::MemberListRequest { linearizable: false };
    assert_eq!(refused(client.cluster.member_list(list).await), nobody);
    client.cluster.member_list(with_token(list, &alice)).await?;
    let alarms = pb::AlarmRequest::default();
    assert_eq!(refused(client.maintenance.alarm(alarms).await), nobody);
    client.maintenance.alarm(with_token(alarms, &alice)).await?;
    assert_eq!(refused(client.maintenance.status(pb::StatusRequest {}).await), nobody);
    let grant = pb::LeaseGrantRequest { id: 0, ttl: 60 };
    assert_eq!(refused(client.lease.lease_grant(grant).await), nobody);
    let compact = pb::CompactionRequest { revision: 1, physical: false };
    assert_eq!(refused(client.kv.compact(compact).await), nobody);
    let refusal = refused(client.kv.compact(with_token(compact, &alice)).await);
    assert_eq!(refusal.0, Code::PermissionDenied);
    Ok(())
}

/// CVE-2023-32082: the keys of a lease are names, and names are read.
#[tokio::test]
async fn cve_2023_32082_keys_of_a_lease_are_for_readers() -> Result<()> {
    let (_member, mut client) = guarded(&[CHEAP]).await?;
    let root = login(&mut client, "root").await?;
    let alice = login(&mut client, "alice").await?;
    for id in [1, 2] {
        let grant = pb::LeaseGrantRequest { id, ttl: 60 };
        client.lease.lease_grant(with_token(grant, &alice)).await?;
    }
    for (key, lease) in [("a", 1), ("secret", 2)] {
        let put = pb::PutRequest { key: key.into(), lease, ..Default::default() };
        client.kv.put(with_token(put, &root)).await?;
    }
    let ask = |id, keys| with_token(pb::LeaseTimeToLiveRequest { id, keys }, &alice);
    assert_eq!(client.lease.lease_time_to_live(ask(1, true)).await?.into_inner().keys, ["a"]);
    assert_eq!(
        refused(client.lease.lease_time_to_live(ask(2, true)).await).0,
        Code::PermissionDenied
    );
    let left = client.lease.lease_time_to_live(ask(2, false)).await?.into_inner();
    assert!(left.ttl > 0 && left.keys.is_empty());
    Ok(())
}

/// GHSA-xg4h-6gfc-h4m8: the right to one key let its holder watch everything after it.
#[tokio::test]
async fn ghsa_xg4h_6gfc_h4m8_one_key_is_not_all_that_follow() -> Result<()> {
    use pb::watch_request::RequestUnion;
    let (_member, mut client) = guarded(&[CHEAP]).await?;
    let alice = login(&mut client, "alice").await?;
    for (range_end, allowed) in [("", true), ("\0", false), ("b", false), ("a\0", true)] {
        let create = pb::WatchCreateRequest {
            key: "a".into(),
            range_end: range_end.into(),
            ..Default::default()
        };
        let create = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let requests = with_token(tokio_stream::once(create), &alice);
        let mut answers = client.watch.watch(requests).await?.into_inner();
        let answer = answers.message().await?.expect("an answer");
        assert_eq!(answer.canceled, !allowed, "{range_end:?}: {answer:?}");
    }
    Ok(())
}
