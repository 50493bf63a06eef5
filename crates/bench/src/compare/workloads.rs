//! The named workloads. A load is kept as the command line that runs it by hand.

use crate::args::{Cli, Command, Verb};
use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser as _;

/// What one name stands for.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    /// The name.
    pub(crate) name: String,
    /// What is run.
    pub(crate) kind: Kind,
}

/// What is run.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// A load.
    Load(Box<Verb>),
    /// A server at rest.
    Idle,
    /// A kill and a restart.
    Restart {
        /// How often every key was put.
        revisions: u64,
        /// Whether the page cache is cold.
        cold: bool,
    },
    /// A load on three members.
    Cluster(Box<Verb>),
}

/// Names and command lines of the loads. Numbers of clients and connections of `put` are those of
/// etcd's own published benchmarks.
const LOADS: &[(&str, &str)] = &[
    ("put-10", "put --clients 10 --connections 10 --val-size 256"),
    ("put-300", "put --clients 300 --connections 30 --val-size 256"),
    ("put-1", "put --clients 1 --connections 1 --val-size 256"),
    ("put-100", "put --clients 100 --connections 10 --val-size 256"),
    ("put-1000", "put --clients 1000 --connections 100 --val-size 256"),
    ("put-rate-2000", "put --clients 1000 --connections 10 --val-size 256 --rate 2000"),
    (
        "range-s-100",
        "range --fill --key-space-size 10000 --serializable --clients 100 --connections 10",
    ),
    ("range-l-100", "range --fill --key-space-size 10000 --clients 100 --connections 10"),
    (
        "range-s-1000",
        "range --fill --key-space-size 10000 --serializable --clients 1000 --connections 100",
    ),
    ("range-l-1000", "range --fill --key-space-size 10000 --clients 1000 --connections 100"),
    (
        "list-500",
        "range --fill --key-space-size 10000 --val-size 1024 --span 500 --clients 10 \
         --connections 2",
    ),
    (
        "list-10k",
        "range --fill --key-space-size 10000 --val-size 1024 --span 10000 --clients 1 \
         --connections 1",
    ),
    (
        "list-10k-16",
        "range --fill --key-space-size 10000 --val-size 1024 --span 10000 --clients 16 \
         --connections 16",
    ),
    (
        "range-stream-10k",
        "range-stream --fill --key-space-size 10000 --val-size 1024 --span 10000 --clients 1 \
         --connections 1",
    ),
    (
        "put-while-lists",
        "put --clients 100 --connections 10 --val-size 256 --rate 1000 --beside lists",
    ),
    (
        "put-while-compaction",
        "put --clients 100 --connections 10 --val-size 256 --rate 1000 --beside compaction \
         --beside-keys 1000000",
    ),
    (
        "put-while-snapshot",
        "put --clients 100 --connections 10 --val-size 256 --rate 1000 --beside snapshot \
         --beside-keys 500000",
    ),
    (
        "put-while-defrag",
        "put --clients 100 --connections 10 --val-size 256 --rate 1000 --beside defrag \
         --beside-keys 500000",
    ),
    (
        "put-while-catch-up",
        "put --clients 100 --connections 10 --val-size 256 --rate 1000 --beside catch-up",
    ),
    (
        "put-while-leases",
        "put --clients 100 --connections 10 --val-size 256 --rate 1000 --beside leases",
    ),
    (
        "put-while-leases-1m",
        "put --clients 100 --connections 10 --val-size 256 --rate 1000 --duration 70s \
         --beside leases --beside-keys 1000000 --beside-ttl 60",
    ),
    (
        "put-5000-while-snapshot-1g",
        "put --clients 100 --connections 10 --val-size 256 --rate 5000 --beside snapshot \
         --beside-keys 1000000 --beside-val-size 1024",
    ),
    (
        "txn-k8s",
        "txn-k8s --key-prefix /registry/pods/default/ --key-size 48 --key-space-size 10000 \
         --val-size 1024 --clients 100 --connections 10",
    ),
    ("txn-mixed", "txn-mixed --fill --key-space-size 10000 --clients 100 --connections 10"),
    ("stm", "stm --clients 100 --connections 10"),
    ("watch-get", "watch-get --clients 100 --connections 10 --events 100"),
    ("watch-1000", "watch --watchers 1000 --connections 10"),
    ("watch-latency", "watch-latency --watchers 1000 --connections 10 --clients 100 --rate 1000"),
    ("lease-grant", "lease-grant --clients 100 --connections 10"),
    ("keepalive-100", "lease-keepalive --clients 100 --connections 10"),
    ("keepalive", "lease-keepalive --clients 1000 --connections 10"),
];

/// Names of the workloads that are no loads.
const IDLE: &str = "idle";
const RESTART: &str = "restart";
const RESTARTS: [(&str, &str); 4] = [
    (RESTART, "restart"),
    ("restart-2rev", "restart --revisions 2"),
    ("restart-cold", "restart --cold"),
    ("restart-2rev-cold", "restart --revisions 2 --cold"),
];
/// Loads on three members, as their command lines.
const CLUSTERS: [(&str, &str); 1] =
    [("cluster-put-1000", "cluster put --clients 1000 --connections 99 --val-size 256")];

/// All workloads with the command lines they stand for.
pub(crate) fn list() -> Vec<(&'static str, &'static str)> {
    let mut all = vec![(IDLE, "idle")];
    all.extend(LOADS);
    all.extend(CLUSTERS);
    all.extend(RESTARTS);
    all
}

/// The workloads called `names` (all when there are none), and `own` ones, each `name=command line`.
pub(crate) fn select(names: &[String], own: &[String]) -> Result<Vec<Workload>> {
    let known = list();
    let mut chosen = Vec::new();
    if names.is_empty() && own.is_empty() {
        for (name, line) in &known {
            chosen.push(workload(name, line)?);
        }
    }
    for name in names {
        let Some((name, line)) = known.iter().find(|(known, _)| known == name) else {
            bail!("no workload is called {name:?}; --list shows them");
        };
        chosen.push(workload(name, line)?);
    }
    for text in own {
        let (name, line) = text.split_once('=').context("a workload is name=command line")?;
        ensure!(!name.is_empty(), "a workload needs a name");
        chosen.push(workload(name, line)?);
    }
    Ok(chosen)
}

fn workload(name: &str, line: &str) -> Result<Workload> {
    let kind = match line {
        "idle" => Kind::Idle,
        line if line.starts_with(RESTART) => Kind::Restart {
            revisions: if line.contains("--revisions 2") { 2 } else { 1 },
            cold: line.contains("--cold"),
        },
        line => {
            let (line, cluster) = match line.strip_prefix("cluster ") {
                Some(line) => (line, true),
                None => (line, false),
            };
            let words = std::iter::once("bench").chain(line.split_whitespace());
            let cli = Cli::try_parse_from(words).with_context(|| format!("workload {name:?}"))?;
            let Command::Verb(verb) = cli.command else {
                bail!("workload {name:?}: {line:?} is no load");
            };
            if cluster { Kind::Cluster(Box::new(verb)) } else { Kind::Load(Box::new(verb)) }
        }
    };
    Ok(Workload { name: name.to_owned(), kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_workload_is_valid_and_named_once() {
        let all = select(&[], &[]).expect("valid");
        assert_eq!(all.len(), list().len());
        let mut names: Vec<_> = all.iter().map(|workload| workload.name.as_str()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all.len());
        for workload in &all {
            if let Kind::Load(verb) = &workload.kind {
                verb.load().check().expect("valid options");
            }
        }
    }

    #[test]
    fn names_and_own_workloads_are_chosen() {
        let names = ["restart".to_owned(), "put-1".to_owned()];
        let own = ["x=put --clients 7".to_owned()];
        let chosen = select(&names, &own).expect("valid");
        let names: Vec<_> = chosen.iter().map(|workload| workload.name.as_str()).collect();
        assert_eq!(names, ["restart", "put-1", "x"]);
        let Kind::Load(verb) = &chosen[2].kind else { panic!("a load") };
        assert_eq!(verb.load().clients, 7);
    }

    #[test]
    fn what_is_no_workload_is_refused() {
        assert!(select(&["fly".to_owned()], &[]).is_err());
        for own in ["put", "=put", "x=fly", "x=compare"] {
            assert!(select(&[], &[own.to_owned()]).is_err(), "{own}");
        }
    }
}
