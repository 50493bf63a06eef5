//! A cluster as a unit file of systemd starts it: certificates for peers and clients, both sides.

use std::time::Duration;

use anyhow::{Result, ensure};
use cluster::{
    binary::{Binary, Kind},
    cluster::{Cluster, Options, READY_LIMIT},
    connection::{Connection, Server},
};

const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn members_and_clients_show_certificates() -> Result<()> {
    let options = Options::of(Binary::under_test()?, 3).tls();
    Cluster::with(options, async |cluster| {
        cluster.connection(0).put("key", "value").await?;
        let members = cluster.connection(1).members().await?;
        ensure!(members.len() == 3);
        for member in &members {
            let urls = member.peer_urls.iter().chain(&member.client_urls);
            ensure!(urls.clone().all(|url| url.starts_with("https://")), "{member:?}");
        }
        strangers_are_refused(cluster).await?;
        let leader = cluster.wait_leader(READY_LIMIT).await?;
        cluster.restart(leader).await?;
        ensure!(cluster.connection(leader).get("key", false).await?.as_deref() == Some("value"));
        cluster.wait_equal(READY_LIMIT).await?;
        Ok(())
    })
}

async fn strangers_are_refused(cluster: &mut Cluster) -> Result<()> {
    let certificates = cluster.certificates().expect("the cluster has TLS").clone();
    for holder in [None, Some("stranger"), Some("peer")] {
        for slot in 0..3 {
            let server =
                Server { tls: Some(certificates.connector(holder)?), ..cluster.server(slot) };
            let answer = Connection::to(&server, LIMIT)?.get("key", false).await;
            ensure!(answer.is_err(), "{holder:?} was served: {answer:?}");
        }
    }
    let plain = Server { tls: None, ..cluster.server(0) };
    let answer = Connection::to(&plain, LIMIT)?.get("key", false).await;
    ensure!(answer.is_err(), "served in plain text: {answer:?}");
    Ok(())
}

/// The command line tool with its flags of certificates, as operators call it.
#[test]
fn the_tool_lists_members_over_tls() -> Result<()> {
    let binary = Binary::under_test()?;
    if binary.kind() == Kind::Etcd {
        eprintln!("SKIPPED: a real etcd has its tool in another file");
        return Ok(());
    }
    let options = Options::of(binary.clone(), 3).tls();
    Cluster::with(options, async move |cluster| {
        let certificates = cluster.certificates().expect("the cluster has TLS").clone();
        let user = certificates.pair("user");
        let run = async |with_certificate: bool| {
            let mut command = tokio::process::Command::new(binary.path());
            command.args(["ctl", "--command-timeout=5s", "--dial-timeout=2s"]);
            command.arg(format!("--endpoints=https://{}", cluster.server(0).address));
            command.arg(format!("--cacert={}", certificates.ca("client").display()));
            if with_certificate {
                command.arg(format!("--cert={}", user.cert.display()));
                command.arg(format!("--key={}", user.key.display()));
            }
            command.args(["member", "list"]).kill_on_drop(true).output().await
        };
        let output = run(true).await?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        ensure!(text.lines().count() == 3, "{text}");
        for line in text.lines() {
            // ID, status, name, peer URLs, client URLs, and whether it is a learner.
            let columns: Vec<&str> = line.split(", ").collect();
            ensure!(columns.len() == 6 && columns[1] == "started", "{line}");
        }
        ensure!(!run(false).await?.status.success(), "a client without a certificate was served");
        Ok(())
    })
}
