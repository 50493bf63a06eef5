//! oxetcd beside a real etcd: the real etcdctl, other languages' clients, the differential run.

mod ctl;
mod go;
mod patroni;
mod server;
mod transcript;

use std::path::Path;

use anyhow::{Context, Result};

use crate::{
    peers::Peers,
    shell::{command, root, run as sh},
};
use server::Server;

/// Operations of the differential run here; `--ops 50000` is run by hand and before releases.
const DIFFERENTIAL_OPS: &str = "6000";

/// Runs everything, or only the named parts, with a release build or the binary that `OXETCD_BIN`
/// names; the first difference is an error.
pub(crate) fn run(parts: &[String]) -> Result<()> {
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let peers = Peers::fetch()?;
    let oxetcd = match std::env::var_os("OXETCD_BIN") {
        Some(binary) => binary.into(),
        None => {
            sh(command("cargo").args(["build", "--release"]))?;
            root().join("target/release/oxetcd")
        }
    };
    if wanted("clients") {
        clients(&peers, &oxetcd)?;
    }
    if wanted("transcripts") {
        transcripts(&peers, &oxetcd)?;
    }
    if wanted("ctl") {
        ctl(&peers, &oxetcd)?;
    }
    if wanted("ctl-v2") {
        ctl_v2(&peers, &oxetcd)?;
    }
    if wanted("server-v2") {
        server_v2(&peers, &oxetcd)?;
    }
    if wanted("differential") {
        differential(&peers, &oxetcd)?;
    }
    // Not part of everything: it needs PostgreSQL.
    if parts.iter().any(|part| part == "patroni") {
        patroni::run(&oxetcd)?;
    }
    Ok(())
}

/// The Python, Node, Rust and Go clients against a member, Go's against clusters and proxies too.
fn clients(peers: &Peers, oxetcd: &Path) -> Result<()> {
    let server = Server::start(oxetcd, &["server"])?;
    let mut python = command("python3");
    python.env("PYTHONPATH", &peers.python);
    python.env("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python");
    python.args(["tests/clients/python_basic.py", "127.0.0.1", &server.port.to_string()]);
    sh(&mut python).context("Python client")?;
    let mut gateway = command("python3");
    gateway.env("PYTHONPATH", &peers.python);
    gateway.args(["tests/clients/python_gateway.py", "127.0.0.1", &server.port.to_string()]);
    sh(&mut gateway).context("Python client of the gateway")?;
    let mut node = command("node");
    node.env("NODE_PATH", &peers.node).args(["tests/clients/node_basic.js", &server.endpoint()]);
    sh(&mut node).context("Node client")?;
    sh(command(&peers.rust).arg(server.endpoint())).context("Rust client")?;
    drop(server);
    go::run(oxetcd)
}

/// The same etcdctl commands against oxetcd and etcd 3.5, answers compared.
fn transcripts(peers: &Peers, oxetcd: &Path) -> Result<()> {
    for (release, bin) in [("3.5", &peers.etcd_35), ("3.4", &peers.etcd_34)] {
        let ours = Server::start(oxetcd, &["server"])?;
        let theirs = Server::start(&peers.etcd_35.join("etcd"), &[])?;
        let compared = transcript::compare(&bin.join("etcdctl"), &ours, &theirs)
            .with_context(|| format!("transcript of etcdctl {release}"))?;
        println!("etcdctl {release}: {compared} invocations, same output from oxetcd and etcd 3.5");
    }
    let ours = Server::start_with_tls(oxetcd, &["server"])?;
    let theirs = Server::start_with_tls(&peers.etcd_35.join("etcd"), &[])?;
    let compared = transcript::compare(&peers.etcd_35.join("etcdctl"), &ours, &theirs)
        .context("transcript of etcdctl 3.5 with TLS")?;
    println!("etcdctl 3.5 with TLS: {compared} invocations, same output");
    let ours = Server::start(oxetcd, &["server"])?;
    let proxy = ours.proxied(oxetcd, &[])?;
    let theirs = Server::start(&peers.etcd_35.join("etcd"), &[])?;
    let compared = transcript::compare(&peers.etcd_35.join("etcdctl"), &proxy, &theirs)
        .context("transcript of etcdctl 3.5 through a gRPC proxy")?;
    println!("etcdctl 3.5 through a gRPC proxy: {compared} invocations, same output");
    Ok(())
}

/// The same commands through our etcdctl and the real one, against oxetcd, what users see compared.
fn ctl(peers: &Peers, oxetcd: &Path) -> Result<()> {
    let (first, second) =
        (Server::start(oxetcd, &["server"])?, Server::start(oxetcd, &["server"])?);
    let real = peers.etcd_35.join("etcdctl");
    let ours = ctl::Side { program: oxetcd, first: &["ctl"], server: &first };
    let theirs = ctl::Side { program: &real, first: &[], server: &second };
    let script = ctl::Script { file: "ctl.txt", api: None, servers: false };
    let compared =
        ctl::compare(script, &ours, &theirs).context("our etcdctl beside etcdctl 3.5")?;
    ctl::check_length(&compared)?;
    let ctl::Compared { commands, differing } = compared;
    println!("our etcdctl: {commands} invocations as etcdctl 3.5, {differing} listed differences");
    Ok(())
}

/// Commands of the v2 store through our etcdctl and the real one, each against an etcd 3.4.
fn ctl_v2(peers: &Peers, oxetcd: &Path) -> Result<()> {
    let (etcd, real) = (peers.etcd_34.join("etcd"), peers.etcd_34.join("etcdctl"));
    for tls in [false, true] {
        let start = || Server::start_as(&etcd, &["--enable-v2"], tls);
        let (first, second) = (start()?, start()?);
        let ours = ctl::Side { program: oxetcd, first: &["ctl"], server: &first };
        let theirs = ctl::Side { program: &real, first: &[], server: &second };
        let script = ctl::Script { file: "ctl-v2.txt", api: Some("2"), servers: false };
        let compared = ctl::compare(script, &ours, &theirs);
        let compared = compared.context("our etcdctl beside etcdctl 3.4, v2")?;
        ctl::check_length(&compared)?;
        let ctl::Compared { commands, differing } = compared;
        let how = if tls { "with TLS" } else { "in plain text" };
        println!(
            "our etcdctl, v2, {how}: {commands} invocations as etcdctl 3.4, {differing} listed \
             differences"
        );
    }
    Ok(())
}

/// Commands of the v2 store through the real etcdctl against oxetcd and etcd 3.4.
fn server_v2(peers: &Peers, oxetcd: &Path) -> Result<()> {
    let real = peers.etcd_34.join("etcdctl");
    let first = Server::start(oxetcd, &["server", "--enable-v2"])?;
    let second = Server::start(&peers.etcd_34.join("etcd"), &["--enable-v2"])?;
    let side = |server| ctl::Side { program: &real, first: &[], server };
    let script = ctl::Script { file: "ctl-v2.txt", api: Some("2"), servers: true };
    let compared = ctl::compare(script, &side(&first), &side(&second));
    let compared = compared.context("etcdctl 3.4, v2, against oxetcd and etcd 3.4")?;
    ctl::check_length(&compared)?;
    let ctl::Compared { commands, differing } = compared;
    println!(
        "etcdctl 3.4, v2: {commands} invocations, same output from oxetcd and etcd 3.4, \
         {differing} listed differences"
    );
    // The answers that are kept are those of this etcd, and ours.
    for server in [&peers.etcd_34.join("etcd"), oxetcd] {
        let mut requests = command("cargo");
        requests.args(["test", "--quiet", "--package", "conformance", "--test", "v2"]);
        requests.args(["transcript"]).env("OXETCD_BIN", server);
        sh(&mut requests).context("requests of the v2 API")?;
    }
    let mut shared = command("cargo");
    shared.args(["test", "--quiet", "--package", "cluster", "--test", "v2"]);
    shared.env("OXETCD_BIN", oxetcd).env("OXETCD_REFERENCE_ETCD", peers.etcd_35.join("etcd"));
    sh(&mut shared).context("v2 keys in clusters shared with etcd 3.5")
}

/// The same random operations against oxetcd and etcd 3.5, every answer compared.
fn differential(peers: &Peers, oxetcd: &Path) -> Result<()> {
    let mut differential = command("cargo");
    differential.args([
        "run",
        "--quiet",
        "--package",
        "conformance",
        "--bin",
        "differential",
        "--",
    ]);
    differential.args(["--ops", DIFFERENTIAL_OPS, "--seed", "1"]);
    differential.env("OXETCD_BIN", oxetcd);
    differential.env("OXETCD_REFERENCE_ETCD", peers.etcd_35.join("etcd"));
    sh(&mut differential)
}
