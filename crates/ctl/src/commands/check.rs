//! `check`: whether a cluster is fit for a load.

mod datascale;
mod load;
mod memory;
mod perf;

use api::{
    etcdserverpb::{CompactionRequest, DefragmentRequest, DeleteRangeRequest, RangeRequest},
    range::prefix_end,
};
use client::{client::Client, error::Error, kv};

use crate::{
    cli::{
        Command, Group,
        flag::{Flag, Kind},
    },
    exit::{Code, Failure, Outcome},
    gotext::quote::quote,
    session::{Session, say},
};

/// How long cleaning up may take.
const CLEANUP: std::time::Duration = std::time::Duration::from_secs(30);

/// `check`.
pub(crate) static COMMAND: Command = Command {
    usage: "check <subcommand>",
    short: "Tests what a cluster can do: `etcdctl check --help` lists subcommands",
    long: "Tests what a cluster can do",
    group: Some(Group::Utility),
    children: &[&perf::COMMAND, &datascale::COMMAND],
    ..Command::BASE
};

const COMPACT: Flag = Flag::new("auto-compact", Kind::Bool, "forget the test's history afterwards");
const DEFRAG: Flag = Flag::new("auto-defrag", Kind::Bool, "defragment the members afterwards");

/// The sizes of a load, as `--load` names them.
const LOADS: [(&str, &str); 4] =
    [("s", "small"), ("m", "medium"), ("l", "large"), ("xl", "xLarge")];

/// The position in [`LOADS`] of what `--load` says.
fn load_index(name: &str) -> Result<usize, Failure> {
    let known = LOADS.iter().position(|(short, long)| [*short, *long].contains(&name));
    known.ok_or_else(|| Failure::bad_feature(format!("unknown load option {name}")))
}

/// Refuses a prefix that has keys: the test deletes them all.
async fn refuse_keys(client: &Client, prefix: &str, hint: &str) -> Outcome {
    let request = RangeRequest {
        range_end: prefix_end(prefix.as_bytes()),
        limit: 1,
        ..kv::get(prefix.to_owned())
    };
    if client.range(request).await?.kvs.is_empty() {
        return Ok(());
    }
    let text = format!("prefix {} has keys. Delete with {hint} first", quote(prefix));
    Err(Failure::new(Code::InvalidInput, text))
}

/// Deletes the test's keys; the revision of the deletion.
async fn delete_keys(client: &Client, prefix: &str) -> Result<i64, Error> {
    let request = DeleteRangeRequest {
        key: prefix.to_owned().into(),
        range_end: prefix_end(prefix.as_bytes()),
        prev_kv: false,
    };
    Ok(client.delete_range(request).await?.header.unwrap_or_default().revision)
}

/// `--auto-compact`.
async fn compact(client: &Client, revision: i64) -> Outcome {
    say(format_args!("Compacting with revision {revision}"))?;
    let request = CompactionRequest { revision, physical: true };
    client.with_timeout(CLEANUP).compact(request).await?;
    say(format_args!("Compacted with revision {revision}"))
}

/// `--auto-defrag`: every endpoint, one after the other.
fn defragment(session: &Session) -> Outcome {
    for endpoint in &session.spec.endpoints {
        say(format_args!("Defragmenting {}", quote(endpoint)))?;
        let client = session.client_at(endpoint)?.with_timeout(CLEANUP);
        session.run(client.defragment(DefragmentRequest {}))?;
        say(format_args!("Defragmented {}", quote(endpoint)))?;
    }
    Ok(())
}

/// Tells of errors, if there were any.
fn report_errors(report: &load::Report) -> Outcome {
    if report.errors.is_empty() {
        return Ok(());
    }
    say("FAIL: too many errors")?;
    report
        .errors
        .iter()
        .try_for_each(|(error, count)| say(format_args!("FAIL: ERROR({error}) -> {count}")))
}
