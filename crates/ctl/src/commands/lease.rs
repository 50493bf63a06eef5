//! `lease`: keys that live for a time.

use api::etcdserverpb::{
    LeaseGrantRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
};
use client::error::Error;

use crate::{
    cli::{
        Command, Group, Invocation,
        flag::{Flag, Kind},
    },
    exit::{Code, Failure, Outcome},
    gotext::number,
    printer::{Answer, Format},
    session::{Session, say},
};

/// `lease`.
pub(crate) static COMMAND: Command = Command {
    usage: "lease <subcommand>",
    short: "Manages leases: `etcdctl lease --help` lists subcommands",
    long: "Manages leases",
    group: Some(Group::KeyValue),
    children: &[&GRANT, &REVOKE, &TIME_TO_LIVE, &LIST, &KEEP_ALIVE],
    ..Command::BASE
};

static GRANT: Command =
    Command { usage: "grant <ttl>", short: "Makes a lease", run: Some(grant), ..Command::BASE };

static REVOKE: Command = Command {
    usage: "revoke <leaseID>",
    short: "Ends a lease and deletes its keys",
    run: Some(revoke),
    ..Command::BASE
};

static TIME_TO_LIVE: Command = Command {
    usage: "timetolive <leaseID> [options]",
    short: "Shows what is left of a lease",
    flags: &[Flag::new("keys", Kind::Bool, "show the keys attached to the lease")],
    run: Some(time_to_live),
    ..Command::BASE
};

static LIST: Command =
    Command { usage: "list", short: "Lists all leases", run: Some(list), ..Command::BASE };

static KEEP_ALIVE: Command = Command {
    usage: "keep-alive [options] <leaseID>",
    short: "Renews a lease again and again",
    flags: &[Flag::new("once", Kind::Bool, "renew the lease once")],
    run: Some(keep_alive),
    ..Command::BASE
};

fn grant(invocation: &Invocation) -> Outcome {
    let [ttl] = &invocation.args[..] else {
        return Err(Failure::bad_args("lease grant command needs TTL argument"));
    };
    let ttl = number::parse_int(&String::from_utf8_lossy(ttl), 10)
        .map_err(|why| Failure::bad_args(format!("bad TTL ({why})")))?;
    let session = Session::open(invocation)?;
    let request = LeaseGrantRequest { ttl, id: 0 };
    let answer = session.run(session.timed_client()?.lease_grant(request));
    let answer = answer
        .map_err(|error| Failure::new(Code::Error, format!("failed to grant lease ({error})")))?;
    session.print(&Answer::Grant(&answer))
}

fn revoke(invocation: &Invocation) -> Outcome {
    let id = id(invocation, "lease revoke command needs 1 argument")?;
    let session = Session::open(invocation)?;
    let answer = session.run(session.timed_client()?.lease_revoke(LeaseRevokeRequest { id }));
    let response = answer
        .map_err(|error| Failure::new(Code::Error, format!("failed to revoke lease ({error})")))?;
    session.print(&Answer::Revoke { id, response: &response })
}

fn time_to_live(invocation: &Invocation) -> Outcome {
    one_argument(invocation, "lease timetolive command needs lease ID as argument")?;
    let session = Session::open(invocation)?;
    let client = session.client()?;
    let id = id(invocation, "")?;
    let keys = session.flags.bool("keys");
    let response = session
        .run(client.lease_time_to_live(LeaseTimeToLiveRequest { id, keys }))
        .map_err(unreachable_lease)?;
    session.print(&Answer::TimeToLive { response: &response, keys })
}

fn list(invocation: &Invocation) -> Outcome {
    let session = Session::open(invocation)?;
    let answer = session.run(session.client()?.lease_leases(LeaseLeasesRequest {}));
    session.print(&Answer::Leases(&answer.map_err(unreachable_lease)?))
}

fn keep_alive(invocation: &Invocation) -> Outcome {
    let id = id(invocation, "lease keep-alive command needs lease ID as argument")?;
    let session = Session::open(invocation)?;
    let client = session.client()?;
    if session.flags.bool("once") {
        let answer = session.run(client.keep_alive_once(id)).map_err(unreachable_lease)?;
        return session.print(&Answer::KeepAlive(&answer));
    }
    session.run(async {
        let mut renewals = client.keep_alive(id);
        while let Some(answer) = renewals.next().await {
            session.print(&Answer::KeepAlive(&answer))?;
        }
        Ok::<(), Failure>(())
    })?;
    if session.format == Format::Simple {
        say(format_args!("lease {id:016x} expired or revoked."))?;
    }
    Ok(())
}

/// Commands without a timeout call any failure one of the connection.
fn unreachable_lease(error: Error) -> Failure {
    Failure::new(Code::BadConnection, error)
}

fn one_argument<'a>(invocation: &'a Invocation, usage: &str) -> Result<&'a [u8], Failure> {
    match &invocation.args[..] {
        [argument] => Ok(argument),
        _ => Err(Failure::bad_args(usage)),
    }
}

/// The only argument as a lease in hex.
fn id(invocation: &Invocation, usage: &str) -> Result<i64, Failure> {
    let argument = one_argument(invocation, usage)?;
    number::parse_int(&String::from_utf8_lossy(argument), 16)
        .map_err(|why| Failure::bad_args(format!("bad lease ID arg ({why}), expecting ID in Hex")))
}
