//! `check datascale`: what holding data costs a member in memory.

use super::{
    COMPACT, DEFRAG, compact, defragment, delete_keys, load, load_index,
    memory::{Endpoint, resident_memory},
    refuse_keys, report_errors,
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

/// `check datascale`.
pub(super) static COMMAND: Command = Command {
    usage: "datascale [options]",
    short: "Tests how much memory a member takes for data",
    long: "Writes 10000 (s), 100000 (m), 1000000 (l) or 3000000 (xl) keys of 1 KiB and compares \
           the memory\nof the member at the first endpoint before and after.",
    flags: &[
        Flag::new("load", Kind::Text, "s(mall), m(edium), l(arge) or xl (xLarge)").default("s"),
        Flag::new("prefix", Kind::Text, "where the test's keys begin")
            .default("/etcdctl-check-datascale/"),
        COMPACT,
        DEFRAG,
    ],
    run: Some(run),
    ..Command::BASE
};

/// Numbers of keys and clients, in the order of the loads.
const LOADS: [(u64, usize); 4] =
    [(10_000, 50), (100_000, 200), (1_000_000, 500), (3_000_000, 1000)];
/// Bytes of a key and of a value.
const HALF: usize = 512;

fn run(invocation: &Invocation) -> Outcome {
    let (puts, count) = LOADS[load_index(invocation.flags.text("load"))?];
    let session = Session::open_parallel(invocation)?;
    let prefix = session.flags.text("prefix").to_owned();
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(session.client()?);
    }
    let client = clients[0].clone();
    let endpoint = Endpoint::new(&session.spec)?;
    let (report, used) = session.run(async {
        refuse_keys(&client, &prefix, &format!("etcdctl del --prefix {prefix}")).await?;
        let before = memory(&endpoint, "before").await?;
        say(format_args!(
            "Start data scale check for work load [{puts} key-value pairs, {} bytes per \
             key-value, {count} concurrent clients].",
            2 * HALF
        ))?;
        let interrupt = Interrupt::catch()?;
        let load = load::Load {
            prefix: prefix.clone(),
            key_bytes: HALF,
            value_bytes: HALF,
            puts: Some(puts),
            rate: None,
            duration: None,
        };
        let report = load::run(clients, load, interrupt.wait()).await;
        let after = memory(&endpoint, "after").await?;
        let revision = delete_keys(&client, &prefix).await?;
        if session.flags.bool("auto-compact") {
            compact(&client, revision).await?;
        }
        Ok::<_, Failure>((report, after - before))
    })?;
    if session.flags.bool("auto-defrag") {
        defragment(&session)?;
    }
    report_errors(&report)?;
    if !report.errors.is_empty() {
        return Err(Failure::silent(1));
    }
    let megabytes = used / f64::from(1 << 20);
    say(format_args!("PASS: Approximate system memory used : {megabytes:.2} MB."))
}

/// The member's memory; the check cannot go on without it.
async fn memory(endpoint: &Endpoint, when: &str) -> Result<f64, Failure> {
    match resident_memory(endpoint).await {
        Ok(bytes) => Ok(bytes),
        Err(why) => {
            say(why)?;
            say(format_args!(
                "FAIL: Could not read process_resident_memory_bytes {when} the put operations."
            ))?;
            Err(Failure::silent(1))
        }
    }
}
