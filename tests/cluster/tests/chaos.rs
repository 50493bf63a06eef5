//! A short run of chaos. The long ones are run by hand: `cargo run -p cluster --bin chaos`.

use std::time::Duration;

use anyhow::{Result, ensure};
use cluster::{
    binary::Binary,
    chaos::{self, plant, summary::Summary},
    disk::Disk,
    load,
    network::Network,
    volatile::Volatile,
};
use rand::{SeedableRng, rngs::SmallRng};

#[test]
fn faults_are_survived_and_planted_ones_are_found() -> Result<()> {
    let wired = match Network::wired_is_impossible() {
        None => true,
        Some(why) => {
            eprintln!("without faults of the network: no network namespaces: {why}");
            false
        }
    };
    let plan = chaos::Plan {
        members: 3,
        binaries: vec![Binary::under_test()?],
        duration: Duration::from_secs(20),
        seed: 5,
        wired,
        tls: true,
        power_loss: false,
        disks: wired && Disk::is_impossible().is_none(),
        load: load::Plan { rate: 200, ..load::Plan::default() },
        flags: Vec::new(),
        directory: None,
        verbose: true,
    };
    let summary = chaos::run(&plan)?;
    println!("{summary}");
    ensure!(summary.is_ok(), "{summary}");
    planted_faults_are_found(&summary)
}

/// A member on its own: nobody else has what it loses, and it answers reads without asking anybody. A
/// second one comes and goes.
#[test]
fn a_member_on_its_own_loses_nothing_that_it_answered() -> Result<()> {
    let impossible = Volatile::is_impossible();
    if let Some(why) = &impossible {
        eprintln!("without losses of power: no FUSE: {why}");
    }
    let plan = chaos::Plan {
        members: 1,
        binaries: vec![Binary::under_test()?],
        duration: Duration::from_secs(12),
        seed: 12,
        wired: Network::wired_is_impossible().is_none(),
        tls: false,
        power_loss: impossible.is_none(),
        disks: false,
        load: load::Plan { rate: 200, ..load::Plan::default() },
        flags: Vec::new(),
        directory: None,
        verbose: true,
    };
    let summary = chaos::run(&plan)?;
    println!("{summary}");
    ensure!(summary.is_ok(), "{summary}");
    ensure!(summary.requests.0 > 100, "hardly anything was answered: {summary}");
    ensure!(!summary.faults.is_empty(), "nothing happened");
    let (.., members) = summary.hash.clone().map_err(anyhow::Error::msg)?;
    ensure!((1..=2).contains(&members), "{members} members are left");
    planted_faults_are_found(&summary)
}

/// Each kind of fault, planted into what was recorded.
fn planted_faults_are_found(summary: &Summary) -> Result<()> {
    for &what in plant::ALL {
        // A busy machine may leave no place for a fault where the first choice would put it.
        let planted = (1..=20).find_map(|seed| {
            let mut history = summary.history.clone();
            let planted = plant::plant(what, &mut history, &mut SmallRng::seed_from_u64(seed));
            planted.then_some(history)
        });
        let Some(mut history) = planted else {
            ensure!(summary.history.operations.len() < 2000, "no place for {what:?}");
            eprintln!("the history is too short for {what:?}");
            continue;
        };
        let report = checker::check(&mut history, summary.options);
        ensure!(report.violations().next().is_some(), "{what:?} was not found: {report}");
    }
    Ok(())
}
