//! The Go client of etcd: the program of `tests/clients/go`, where a Go that can build it is present.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::server::Server;
use crate::shell::{capture, command, root, run as sh};

/// The oldest minor release of Go that builds the client library.
const GO_MINOR: u32 = 26;

/// Runs the checks against one member, three, one with TLS, and through both proxies.
pub(super) fn run(oxetcd: &Path) -> Result<()> {
    let Some(program) = build()? else {
        println!("Go client: skipped, there is no Go 1.{GO_MINOR} or newer");
        return Ok(());
    };
    let one = Server::start(oxetcd, &["server"])?;
    check(&program, &[], &[&one]).context("Go client, one member")?;
    let proxy = one.proxied(oxetcd, &[])?;
    check(&program, &["-through-proxy"], &[&proxy]).context("Go client, through a proxy")?;
    drop((proxy, one));
    let three = Server::start_three(oxetcd, &["server"])?;
    check(&program, &[], &three.iter().collect::<Vec<_>>()).context("Go client, three members")?;
    drop(three);
    let secure = Server::start_with_tls(oxetcd, &["server"])?;
    let flags = secure.etcdctl_flags();
    // The names of etcdctl's flags, with one dash.
    let flags: Vec<&str> = flags.iter().map(|flag| flag.trim_start_matches('-')).collect();
    let flags: Vec<String> =
        flags.chunks(2).map(|pair| format!("-{}={}", pair[0], pair[1])).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    check(&program, &flags, &[&secure]).context("Go client, TLS")
}

fn check(program: &Path, flags: &[&str], members: &[&Server]) -> Result<()> {
    let endpoints: Vec<String> = members.iter().map(|member| member.endpoint()).collect();
    sh(command(program).args(flags).arg(endpoints.join(",")))
}

/// The program, built; `None` where there is no Go for it.
fn build() -> Result<Option<PathBuf>> {
    let Ok(version) = capture(command("go").args(["env", "GOVERSION"])) else { return Ok(None) };
    let minor = version.trim().strip_prefix("go1.").and_then(|rest| rest.split('.').next());
    if minor.and_then(|minor| minor.parse::<u32>().ok()).is_none_or(|minor| minor < GO_MINOR) {
        return Ok(None);
    }
    let program = root().join("target/peers/go-client");
    let mut build = command("go");
    build.current_dir(root().join("tests/clients/go")).args(["build", "-o"]).arg(&program).arg(".");
    build.env("GOFLAGS", "-mod=mod -buildvcs=false").env("GOTOOLCHAIN", "local");
    sh(&mut build).context("build the Go client")?;
    Ok(Some(program))
}
