//! Patroni's failover on a cluster of members, over the JSON gateway and over the v2 API. It takes two
//! minutes and needs PostgreSQL, so it runs only when it is asked for.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::shell::{command, run as sh};

/// Runs both. `PATRONI_PYTHON` names an interpreter with the packages `patroni[etcd3]` and
/// `psycopg2-binary`, if it is not `python3`.
pub(crate) fn run(oxetcd: &Path) -> Result<()> {
    let python = std::env::var("PATRONI_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let imports = command(&python).args(["-c", "import patroni.dcs.etcd3, psycopg2"]).status();
    let installed = imports.context("run Python")?.success();
    ensure!(installed, "{python} has no Patroni: pip install 'patroni[etcd3]' psycopg2-binary");
    ensure!(Path::new("/usr/lib/postgresql").exists(), "PostgreSQL is not installed");
    let server = format!("{} server", oxetcd.display());
    for api in ["etcd3", "etcd"] {
        let mut patroni = command(&python);
        patroni.args(["tests/clients/patroni.py", &server, api]);
        sh(&mut patroni).with_context(|| format!("Patroni over {api}"))?;
    }
    Ok(())
}
