//! Chaos on a cluster of processes: `cargo run -p cluster --bin chaos -- --minutes 30 --members 3`.
//!
//! Kills, pauses, cuts, delays, moves leaders and changes the membership while clients read, write
//! and watch; judges what they recorded. Ends with 1 when anything was found.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Parser;
use cluster::{
    binary::Binary,
    chaos::{self, plant, summary::Summary},
    load,
    network::Network,
};
use rand::{SeedableRng, rngs::SmallRng};

/// Chaos on a cluster of processes.
#[derive(Parser)]
struct Arguments {
    /// How long faults are made, in minutes.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Voters. With 1 or 2, a second comes and goes.
    #[arg(long, default_value_t = 3)]
    members: usize,
    /// Decides faults and requests.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Network namespaces, for faults of the network; needs root. On where it is possible.
    #[arg(long)]
    netns: bool,
    /// Loopback, without faults of the network.
    #[arg(long, conflicts_with = "netns")]
    loopback: bool,
    /// What members run, in turn: `oxetcd`, `etcd` (a real one) or a path.
    #[arg(long, default_value = "oxetcd", value_delimiter = ',')]
    binary: Vec<String>,
    /// Clients that read and write.
    #[arg(long, default_value_t = 16)]
    clients: u32,
    /// Requests a second of all clients.
    #[arg(long, default_value_t = 400)]
    rate: u32,
    /// Keys that clients use.
    #[arg(long, default_value_t = 200)]
    keys: u32,
    /// Revisions kept when history is compacted; 0: never compacted.
    #[arg(long, default_value_t = 20_000)]
    keep: i64,
    /// Further flags of members, such as `--flag=--snapshot-count=1000`.
    #[arg(long, allow_hyphen_values = true)]
    flag: Vec<String>,
    /// A disk of its own for each member, so that disks can hang too; needs root.
    #[arg(long)]
    disks: bool,
    /// A disk in memory for each member that loses, with the power, what was not synced, and can be
    /// full, slow or failing; needs root and FUSE.
    #[arg(long, conflicts_with = "disks")]
    powerloss: bool,
    /// Mutual TLS for peers and clients.
    #[arg(long)]
    tls: bool,
    /// Where logs and data are kept; a new directory below `target/chaos` without.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Then plants faults into the recorded history, and shows which the checkers find.
    #[arg(long)]
    plant: bool,
    /// Tells each fault.
    #[arg(long, short)]
    verbose: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let wired = wired(&arguments)?;
    let started = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
    let directory = arguments.out.clone().unwrap_or_else(|| {
        PathBuf::from("target/chaos").join(format!("{}-{started}", arguments.seed))
    });
    std::fs::create_dir_all(&directory)?;
    let plan = chaos::Plan {
        members: arguments.members,
        binaries: arguments.binary.iter().map(|name| Binary::named(name)).collect::<Result<_>>()?,
        duration: Duration::from_secs_f64(arguments.minutes * 60.0),
        seed: arguments.seed,
        wired,
        tls: arguments.tls,
        disks: arguments.disks,
        power_loss: arguments.powerloss,
        load: load::Plan {
            clients: arguments.clients,
            rate: arguments.rate,
            keys: arguments.keys,
            keep: arguments.keep,
            ..load::Plan::default()
        },
        flags: arguments.flag,
        directory: Some(directory.canonicalize()?),
        verbose: arguments.verbose,
    };
    let summary = chaos::run(&plan)?;
    println!("{summary}");
    println!("logs: {}", directory.display());
    let mut ok = summary.is_ok();
    if arguments.plant {
        ok &= plant_all(&summary, arguments.seed);
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether members get namespaces; says why not when they cannot.
fn wired(arguments: &Arguments) -> Result<bool> {
    if arguments.loopback {
        return Ok(false);
    }
    match Network::wired_is_impossible() {
        None => Ok(true),
        Some(why) if arguments.netns => anyhow::bail!("no network namespaces: {why}"),
        Some(why) => {
            println!("no network namespaces, hence no faults of the network: {why}");
            Ok(false)
        }
    }
}

/// Plants each kind of fault into copies of the history; whether all were found.
fn plant_all(summary: &Summary, seed: u64) -> bool {
    println!("planted faults:");
    let mut all = true;
    for &what in plant::ALL {
        let mut copy = summary.history.clone();
        let mut rng = SmallRng::seed_from_u64(seed);
        let name = format!("{what:?}");
        if !plant::plant(what, &mut copy, &mut rng) {
            println!("  {name:<18} no place for it in this history");
            continue;
        }
        let report = checker::check(&mut copy, summary.options);
        let by: Vec<&str> = report
            .verdicts()
            .into_iter()
            .filter(|(_, verdict)| matches!(verdict, checker::Verdict::Violation(_)))
            .map(|(name, _)| name)
            .collect();
        let found = if by.is_empty() { "NOT FOUND".to_owned() } else { by.join(", ") };
        all &= !by.is_empty();
        println!("  {name:<18} {found}");
    }
    all
}
