//! The v2 API on clusters: what was acknowledged is on every member, whatever happens to one.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::{
    binary::Binary,
    cluster::{Cluster, Options, READY_LIMIT},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

fn options(members: usize) -> Options {
    let binary = Binary::under_test().expect("the binary under test is built");
    Options::of(binary, members).flag("--enable-v2")
}

/// Sends a request to a member: `METHOD /v2/...`. The status and the body.
async fn ask(cluster: &Cluster, slot: usize, request: &str, form: &str) -> Result<(u16, String)> {
    let endpoint = cluster.network().client_endpoint(slot);
    let address = endpoint.rsplit('/').next().context("an address")?;
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    tokio::time::timeout(READY_LIMIT, stream.read_to_end(&mut answer)).await??;
    let answer = String::from_utf8(answer)?;
    let status = answer.split(' ').nth(1).context("a status")?.parse()?;
    let (head, body) = answer.split_once("\r\n\r\n").context("a head")?;
    // Large answers of etcd come in chunks.
    let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
        let mut whole = String::new();
        let mut left = body;
        while let Some((length, rest)) = left.split_once("\r\n") {
            let length = usize::from_str_radix(length, 16)?;
            whole += rest.get(..length).context("a whole chunk")?;
            left = rest.get(length + 2..).unwrap_or_default();
        }
        whole
    } else {
        body.to_owned()
    };
    Ok((status, body))
}

/// Writes until a write is accepted; without a leader for a moment some are not.
async fn put(cluster: &Cluster, slot: usize, key: &str, form: &str) -> Result<()> {
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        let answer = ask(cluster, slot, &format!("PUT /v2/keys/{key}"), form).await;
        match answer {
            Ok((200 | 201, _)) => return Ok(()),
            answer if Instant::now() > deadline => {
                ensure!(false, "put {key} at {slot}: {answer:?}");
            }
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Every key as a member has it, without what it tells of times that pass.
async fn keys(cluster: &Cluster, slot: usize) -> Result<String> {
    let request = "GET /v2/keys?recursive=true&sorted=true";
    let (status, body) = ask(cluster, slot, request, "").await?;
    ensure!(status == 200, "{status}: {body}");
    let mut parts = body.split("\"ttl\":");
    let first = parts.next().unwrap_or_default().to_owned();
    Ok(parts.fold(first, |all, part| all + part.trim_start_matches(|c: char| c.is_ascii_digit())))
}

/// Waits until all running members have the same keys, and returns them.
async fn equal_keys(cluster: &Cluster) -> Result<String> {
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        let mut all = Vec::new();
        for slot in cluster.running() {
            all.push(keys(cluster, slot).await?);
        }
        if all.windows(2).all(|pair| pair[0] == pair[1]) {
            return Ok(all.swap_remove(0));
        }
        ensure!(Instant::now() < deadline, "keys differ:\n{}", all.join("\n"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until a key has expired.
async fn wait_gone(cluster: &Cluster, slot: usize, key: &str) -> Result<()> {
    let deadline = Instant::now() + READY_LIMIT;
    while ask(cluster, slot, &format!("GET /v2/keys/{key}"), "").await?.0 != 404 {
        ensure!(Instant::now() < deadline, "{key} is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn follower(cluster: &Cluster, leader: usize) -> Result<usize> {
    cluster.running().into_iter().find(|slot| *slot != leader).context("a follower")
}

#[test]
fn what_a_follower_took_survives_its_death() -> Result<()> {
    Cluster::with(options(3), async |cluster| {
        let leader = cluster.wait_leader(READY_LIMIT).await?;
        let follower = follower(cluster, leader)?;
        for i in 0..20 {
            put(cluster, follower, &format!("a/{i}"), &format!("value={i}")).await?;
        }
        put(cluster, follower, "soon", "value=x&ttl=1").await?;
        put(cluster, follower, "later", "value=x&ttl=1000").await?;
        cluster.member(follower).kill();
        put(cluster, leader, "meanwhile", "value=1").await?;
        cluster.restart(follower).await?;
        let request = "GET /v2/keys/meanwhile?quorum=true";
        ensure!(ask(cluster, follower, request, "").await?.0 == 200, "the entry is applied");
        wait_gone(cluster, follower, "soon").await?;
        let before = equal_keys(cluster).await?;
        ensure!(before.contains(r#""key":"/a/19","value":"19""#), "{before}");
        for slot in 0..3 {
            cluster.member(slot).kill();
        }
        for slot in 0..3 {
            cluster.member(slot).start()?;
        }
        cluster.wait_ready(READY_LIMIT).await?;
        ensure!(equal_keys(cluster).await? == before, "something changed");
        // The history came back, too.
        let request = "GET /v2/keys/a/7?wait=true&waitIndex=1";
        let (_, event) = ask(cluster, follower, request, "").await?;
        ensure!(event.contains(r#""action":"set","node":{"key":"/a/7","value":"7""#), "{event}");
        Ok(())
    })
}

/// `etcdutl rebuild` takes the keys from the peer that the store comes from.
#[test]
fn a_member_that_is_rebuilt_has_the_keys() -> Result<()> {
    let program = Binary::under_test()?.path().to_owned();
    Cluster::with(options(3), async |cluster| {
        let leader = cluster.wait_leader(READY_LIMIT).await?;
        let follower = follower(cluster, leader)?;
        for i in 0..20 {
            put(cluster, follower, &format!("a/{i}"), &format!("value={i}")).await?;
        }
        put(cluster, follower, "later", "value=x&ttl=1000").await?;
        equal_keys(cluster).await?;
        for more in [None, Some("--replace")] {
            cluster.member(follower).terminate().await?;
            put(cluster, leader, "meanwhile", "value=1").await?;
            let output = std::process::Command::new(&program)
                .args(["etcdutl", "rebuild", "--endpoints", cluster.member(leader).client_url()])
                .arg("--data-dir")
                .arg(cluster.member(follower).data_dir())
                .args(more)
                .output()?;
            let told = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{told}");
            cluster.member(follower).start()?;
            cluster.wait_ready(READY_LIMIT).await?;
            // The indexes of changes to come are the same, too.
            put(cluster, follower, "after", "value=1").await?;
            let keys = equal_keys(cluster).await?;
            ensure!(keys.contains(r#""key":"/a/19","value":"19""#), "{keys}");
            ensure!(keys.contains(r#""key":"/after""#), "{keys}");
        }
        Ok(())
    })
}

/// Fills a cluster while one member is away, so that it comes back to a snapshot.
async fn leave_behind(cluster: &mut Cluster, behind: usize) -> Result<String> {
    let writer = cluster.running().into_iter().find(|slot| *slot != behind).context("a writer")?;
    put(cluster, writer, "gone/x", "value=1").await?;
    put(cluster, writer, "kept", "value=1&ttl=1000").await?;
    equal_keys(cluster).await?;
    cluster.member(behind).kill();
    let request = "DELETE /v2/keys/gone?recursive=true";
    while ask(cluster, writer, request, "").await?.0 == 500 {}
    for i in 0..400 {
        put(cluster, writer, &format!("many/{}", i % 37), &format!("value={i}")).await?;
    }
    cluster.restart(behind).await?;
    equal_keys(cluster).await
}

#[test]
fn a_snapshot_of_the_leader_brings_the_keys() -> Result<()> {
    let mut options = options(3);
    options.flags.extend(options.binaries[0].short_log_flags(100, 20));
    Cluster::with(options, async |cluster| {
        let leader = cluster.wait_leader(READY_LIMIT).await?;
        let behind = follower(cluster, leader)?;
        let keys_then = leave_behind(cluster, behind).await?;
        ensure!(!keys_then.contains("gone") && keys_then.contains("/kept"), "{keys_then}");
        cluster.member(behind).kill();
        cluster.restart(behind).await?;
        ensure!(equal_keys(cluster).await? == keys_then, "something changed");
        Ok(())
    })
}

/// Members of etcd 3.5 and of this release share keys, and send each other their stores. Needs
/// `OXETCD_REFERENCE_ETCD`.
#[test]
fn keys_are_shared_with_members_of_etcd() -> Result<()> {
    if std::env::var_os("OXETCD_REFERENCE_ETCD").is_none() {
        return Ok(());
    }
    let reference = Binary::reference()?;
    let mut options = options(3);
    options.flags.extend(reference.short_log_flags(100, 20));
    let own = options.binaries[0].clone();
    options.binaries = vec![reference.clone(), own, reference];
    Cluster::with(options, async |cluster| {
        cluster.wait_leader(READY_LIMIT).await?;
        for slot in 0..3 {
            put(cluster, slot, &format!("at/{slot}"), "value=1").await?;
            let request = "POST /v2/keys/order";
            while ask(cluster, slot, request, "value=1").await?.0 == 500 {}
        }
        put(cluster, 1, "soon", "value=x&ttl=1").await?;
        wait_gone(cluster, 0, "soon").await?;
        for behind in [1, 0, 2] {
            leave_behind(cluster, behind).await?;
        }
        Ok(())
    })
}
