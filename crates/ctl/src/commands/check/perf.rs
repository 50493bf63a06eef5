//! `check perf`: puts at a steady rate for a minute.

use std::time::Duration;

use super::{
    COMPACT, DEFRAG, compact, defragment, delete_keys, load, load_index, refuse_keys, report_errors,
};
use crate::{
    cli::{
        Command, Invocation,
        flag::{Flag, Kind},
    },
    exit::{Failure, Outcome},
    process::Interrupt,
    session::{Session, say},
};

/// `check perf`.
pub(super) static COMMAND: Command = Command {
    usage: "perf [options]",
    short: "Tests whether a cluster keeps up with writes",
    long: "Writes keys for a minute: 150 (s), 1000 (m), 8000 (l) or 15000 (xl) a second from 50, \
           200, 500\nor 1000 clients. Passes at 90% of the rate, no write above 500 ms, and a \
           standard deviation of\nat most 100 ms.",
    flags: &[
        Flag::new("load", Kind::Text, "s(mall), m(edium), l(arge) or xl (xLarge)")
            .default("s")
            .hints(&["small", "medium", "large", "xLarge"]),
        Flag::new("prefix", Kind::Text, "where the test's keys begin")
            .default("/etcdctl-check-perf/"),
        COMPACT,
        DEFRAG,
    ],
    run: Some(run),
    ..Command::BASE
};

/// Rates and numbers of clients, in the order of the loads.
const LOADS: [(u64, usize); 4] = [(150, 50), (1000, 200), (8000, 500), (15000, 1000)];
const DURATION: Duration = Duration::from_secs(60);

fn run(invocation: &Invocation) -> Outcome {
    let (rate, count) = LOADS[load_index(invocation.flags.text("load"))?];
    let session = Session::open_parallel(invocation)?;
    let prefix = session.flags.text("prefix").to_owned();
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(session.client()?);
    }
    let client = clients[0].clone();
    let report = session.run(async {
        let hint = format!("'etcdctl del --prefix {prefix}'");
        refuse_keys(&client, &prefix, &hint).await?;
        let interrupt = Interrupt::catch()?;
        let load = load::Load {
            prefix: prefix.clone(),
            key_bytes: 256,
            value_bytes: 1024,
            puts: None,
            rate: Some(rate),
            duration: Some(DURATION),
        };
        let report = load::run(clients, load, interrupt.wait()).await;
        match delete_keys(&client.with_timeout(super::CLEANUP), &prefix).await {
            Ok(revision) if session.flags.bool("auto-compact") => {
                compact(&client, revision).await?;
            }
            Ok(_) => {}
            Err(error) => {
                say(format_args!("FAIL: Cleanup failed during key deletion: ERROR({error})"))?;
            }
        }
        Ok::<_, Failure>(report)
    })?;
    if session.flags.bool("auto-defrag") {
        defragment(&session)?;
    }
    judge(&report, rate)
}

fn judge(report: &load::Report, rate: u64) -> Outcome {
    report_errors(report)?;
    let mut passed = report.errors.is_empty();
    let reached = report.rate() as u64 + 1;
    if report.rate() / rate as f64 <= 0.9 {
        passed = false;
        say(format_args!("FAIL: Throughput too low: {reached} writes/s"))?;
    } else {
        say(format_args!("PASS: Throughput is {reached} writes/s"))?;
    }
    let slowest = report.slowest();
    if slowest > 0.5 {
        passed = false;
        say(format_args!("Slowest request took too long: {slowest:.6}s"))?;
    } else {
        say(format_args!("PASS: Slowest request took {slowest:.6}s"))?;
    }
    let deviation = report.deviation();
    if deviation > 0.1 {
        passed = false;
        say(format_args!("Stddev too high: {deviation:.6}s"))?;
    } else {
        say(format_args!("PASS: Stddev is {deviation:.6}s"))?;
    }
    say(if passed { "PASS" } else { "FAIL" })?;
    if passed { Ok(()) } else { Err(Failure::silent(1)) }
}
