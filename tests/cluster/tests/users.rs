//! Authentication in a cluster: a token is good at every member, whoever gave it, also where some
//! members are real etcd; and users come with a snapshot.

use anyhow::{Context, Result, ensure};
use api::{
    authpb::{Permission, permission::Type},
    etcdserverpb::{self as pb, auth_client::AuthClient},
};
use cluster::{
    binary::Binary,
    cluster::{Cluster, Options, READY_LIMIT},
};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

/// Cheap hashes: the tests are not about them.
const CHEAP: &str = "--bcrypt-cost=4";

fn auth(cluster: &Cluster, slot: usize) -> Result<AuthClient<Channel>> {
    let address = cluster.server(slot).address;
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.timeout(READY_LIMIT);
    Ok(AuthClient::new(endpoint.connect_lazy()))
}

/// Adds root and `alice`, who may use the key `a`; each request goes to another member.
async fn set_up(cluster: &Cluster) -> Result<()> {
    let slots = cluster.running();
    let mut turn = slots.iter().cycle();
    let mut next = || auth(cluster, *turn.next().expect("a member runs"));
    for name in ["root", "alice"] {
        let (name, password) = (name.to_owned(), name.to_owned());
        let request = pb::AuthUserAddRequest { name, password, ..Default::default() };
        next()?.user_add(request).await?;
    }
    next()?.role_add(pb::AuthRoleAddRequest { name: "users".into() }).await?;
    let perm =
        Permission { perm_type: Type::Readwrite as i32, key: "a".into(), ..Default::default() };
    let grant = pb::AuthRoleGrantPermissionRequest { name: "users".into(), perm: Some(perm) };
    next()?.role_grant_permission(grant).await?;
    for (user, role) in [("root", "root"), ("alice", "users")] {
        let (user, role) = (user.to_owned(), role.to_owned());
        next()?.user_grant_role(pb::AuthUserGrantRoleRequest { user, role }).await?;
    }
    next()?.auth_enable(pb::AuthEnableRequest {}).await?;
    Ok(())
}

async fn login(cluster: &Cluster, slot: usize, name: &str) -> Result<String> {
    let request = pb::AuthenticateRequest { name: name.to_owned(), password: name.to_owned() };
    let answer = auth(cluster, slot)?.authenticate(request).await;
    Ok(answer.with_context(|| format!("log in at member {slot}"))?.into_inner().token)
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("token", token.parse().expect("tokens are ASCII"));
    request
}

async fn put(cluster: &Cluster, slot: usize, token: &str, key: &str) -> Result<(), Status> {
    let put = pb::PutRequest { key: key.to_owned().into(), ..Default::default() };
    cluster.connection(slot).kv.put(with_token(put, token)).await.map(drop)
}

async fn get(cluster: &Cluster, slot: usize, token: &str, key: &str) -> Result<(), Status> {
    let range =
        pb::RangeRequest { key: key.to_owned().into(), serializable: true, ..Default::default() };
    cluster.connection(slot).kv.range(with_token(range, token)).await.map(drop)
}

/// Logs in at each member and uses the token at every other at once.
async fn tokens_are_good_everywhere(cluster: &Cluster) -> Result<()> {
    for giver in cluster.running() {
        let token = login(cluster, giver, "alice").await?;
        for user in cluster.running() {
            let what = format!("token of {giver} at {user}: {token}");
            put(cluster, user, &token, "a").await.with_context(|| what.clone())?;
            get(cluster, user, &token, "a").await.with_context(|| what.clone())?;
            let denied = put(cluster, user, &token, "b").await.expect_err("not alice's");
            ensure!(denied.code() == Code::PermissionDenied, "{what}: {denied}");
        }
    }
    Ok(())
}

#[test]
fn a_token_is_good_at_every_member() -> Result<()> {
    let options = Options::of(Binary::under_test()?, 3).flag(CHEAP);
    Cluster::with(options, async |cluster| {
        set_up(cluster).await?;
        tokens_are_good_everywhere(cluster).await?;
        // What changes at one member holds at all.
        let token = login(cluster, 0, "alice").await?;
        let root = login(cluster, 1, "root").await?;
        let delete = pb::AuthUserDeleteRequest { name: "alice".into() };
        auth(cluster, 2)?.user_delete(with_token(delete, &root)).await?;
        for slot in cluster.running() {
            let refused = put(cluster, slot, &token, "a").await.expect_err("no such user");
            // A member that has not heard of it proposes the write in her old name.
            let codes = [Code::Unauthenticated, Code::PermissionDenied, Code::InvalidArgument];
            ensure!(codes.contains(&refused.code()), "member {slot}: {refused}");
        }
        Ok(())
    })
}

/// Needs `OXETCD_REFERENCE_ETCD`: tokens are the same text at members of both kinds.
#[test]
fn a_token_is_good_at_members_that_are_real_etcd() -> Result<()> {
    if std::env::var_os("OXETCD_REFERENCE_ETCD").is_none() {
        return Ok(());
    }
    let (ours, theirs) = (Binary::under_test()?, Binary::reference()?);
    let mut options = Options::of(ours.clone(), 3).flag(CHEAP);
    options.binaries = vec![ours.clone(), theirs, ours];
    Cluster::with(options, async |cluster| {
        set_up(cluster).await?;
        tokens_are_good_everywhere(cluster).await
    })
}

#[test]
fn users_come_with_a_snapshot() -> Result<()> {
    let binary = Binary::under_test()?;
    let mut options = Options::of(binary.clone(), 3).flag(CHEAP);
    options.flags.extend(binary.short_log_flags(50, 20));
    Cluster::with(options, async |cluster| {
        let leader = cluster.wait_leader(READY_LIMIT).await?;
        let away = (leader + 1) % 3;
        cluster.member(away).kill();
        set_up(cluster).await?;
        let token = login(cluster, leader, "alice").await?;
        for _ in 0..200 {
            put(cluster, leader, &token, "a").await?;
        }
        cluster.member(away).start()?;
        // A token that was given meanwhile is in no snapshot; the name and the password are.
        let deadline = tokio::time::Instant::now() + READY_LIMIT;
        let token = loop {
            match login(cluster, away, "alice").await {
                Ok(token) => break token,
                Err(error) if tokio::time::Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        };
        ensure!(cluster.member(away).log().contains("applied snapshot"), "no snapshot was applied");
        put(cluster, away, &token, "a").await?;
        get(cluster, away, &token, "a").await?;
        let denied = get(cluster, away, &token, "b").await.expect_err("not alice's");
        ensure!(denied.code() == Code::PermissionDenied, "{denied}");
        Ok(())
    })
}
