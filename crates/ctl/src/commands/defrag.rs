//! `defrag`: gives unused space back.

use std::time::Instant;

use api::etcdserverpb::DefragmentRequest;

use super::endpoint::{CLUSTER, endpoints};
use crate::{
    cli::{Command, Group, Invocation},
    exit::{Code, Failure, Outcome},
    gotext::duration,
    progress::{Progress, Unit},
    session::{Session, say},
};

/// `defrag`.
pub(crate) static COMMAND: Command = Command {
    usage: "defrag",
    short: "Defragments the storage of members",
    group: Some(Group::Maintenance),
    persistent: CLUSTER,
    run: Some(run),
    ..Command::BASE
};

fn run(invocation: &Invocation) -> Outcome {
    let session = Session::open(invocation)?;
    let mut failed = false;
    for endpoint in endpoints(&session)? {
        let client = session.client_at(&endpoint)?.with_timeout(session.timeout());
        let start = Instant::now();
        let progress = Progress::new(format!("defragmenting {endpoint}"), Unit::Seconds);
        let answer = session.run(progress.during(client.defragment(DefragmentRequest {})));
        let took = duration::format(start.elapsed());
        match answer {
            Ok(_) => {
                say(format_args!("Finished defragmenting etcd member[{endpoint}]. took {took}"))?;
            }
            Err(error) => {
                eprintln!("Failed to defragment etcd member[{endpoint}]. took {took}. ({error})");
                failed = true;
            }
        }
    }
    if failed { Err(Failure::silent(Code::Error as u8)) } else { Ok(()) }
}
