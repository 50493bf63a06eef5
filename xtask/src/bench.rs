//! `bench`: a comparison of a release build with a real etcd 3.5, and the page made of it.

use anyhow::Result;

use crate::{
    peers,
    shell::{command, root, run as sh},
};

/// Builds, fetches, compares, draws, writes. `options` go to `oxetcd bench compare`.
pub(crate) fn run(options: &[String]) -> Result<()> {
    let etcd = peers::etcd_35()?;
    sh(command("cargo").args(["build", "--release", "-p", "oxetcd"]))?;
    let oxetcd = root().join("target/release/oxetcd");
    let (json, plots) = (root().join("target/compare.json"), root().join("target/plots"));
    let mut compare = command(&oxetcd);
    compare.args(["bench", "compare", "--oxetcd"]).arg(&oxetcd).arg("--etcd").arg(&etcd);
    sh(compare.arg("--json").arg(&json).args(options))?;
    sh(command(&oxetcd).args(["bench", "plot"]).arg(&json).arg("--dir").arg(plots))?;
    sh(command(&oxetcd).args(["bench", "page"]).arg(&json))
}
