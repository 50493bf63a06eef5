//! `member`: who belongs to the cluster.

use api::etcdserverpb::{
    MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
    MemberUpdateRequest,
};

use super::{
    get::{CONSISTENCY, serializable},
    peer_urls,
};
use crate::{
    cli::{
        Command, Group, Invocation,
        flag::{Flag, Kind},
    },
    exit::{Code, Failure, Outcome},
    gotext::{number, quote::quote},
    printer::{Answer, Format},
    session::{Session, say},
};

/// `member`.
pub(crate) static COMMAND: Command = Command {
    usage: "member <subcommand>",
    short: "Manages members: `etcdctl member --help` lists subcommands",
    long: "Manages the members of the cluster",
    group: Some(Group::Maintenance),
    children: &[&ADD, &REMOVE, &UPDATE, &LIST, &PROMOTE],
    ..Command::BASE
};

static ADD: Command = Command {
    usage: "add <memberName> [options]",
    short: "Adds a member",
    flags: &[
        Flag::new("peer-urls", Kind::Text, "peer URLs of the member, separated by commas"),
        Flag::new("learner", Kind::Bool, "add a member that does not vote yet"),
    ],
    run: Some(add),
    ..Command::BASE
};

static REMOVE: Command = Command {
    usage: "remove <memberID>",
    short: "Removes a member",
    run: Some(remove),
    ..Command::BASE
};

static UPDATE: Command = Command {
    usage: "update <memberID> [options]",
    short: "Changes the peer URLs of a member",
    flags: &[Flag::new("peer-urls", Kind::Text, "new peer URLs, separated by commas")],
    run: Some(update),
    ..Command::BASE
};

static LIST: Command = Command {
    usage: "list",
    short: "Lists the members",
    long: "Lists the members. In the simple format a line has: ID, status, name, peer addresses, \
           client\naddresses, is learner.",
    flags: &[CONSISTENCY],
    run: Some(list),
    ..Command::BASE
};

static PROMOTE: Command = Command {
    usage: "promote <memberID>",
    short: "Makes a learner a voting member",
    run: Some(promote),
    ..Command::BASE
};

fn add(invocation: &Invocation) -> Outcome {
    let name = match &invocation.args[..] {
        [] => return Err(Failure::bad_args("member name not provided")),
        [name] => String::from_utf8_lossy(name),
        names => {
            let mut text = "too many arguments".to_owned();
            for name in names.iter().map(|name| String::from_utf8_lossy(name)) {
                if name.to_lowercase().starts_with("http") {
                    text.push_str(&format!(", did you mean --peer-urls={name}"));
                }
            }
            return Err(Failure::bad_args(text));
        }
    };
    let urls = invocation.flags.text("peer-urls");
    if urls.is_empty() {
        return Err(Failure::bad_args("member peer urls not provided"));
    }
    let session = Session::open(invocation)?;
    let client = session.timed_client()?;
    let is_learner = session.flags.bool("learner");
    let request = MemberAddRequest { peer_urls: peer_urls::parse(urls)?, is_learner };
    let answer = session.run(client.member_add(request))?;
    session.print(&Answer::MemberAdd(&answer))?;
    if session.format != Format::Simple {
        return Ok(());
    }
    let added = answer.member.unwrap_or_default().id;
    let mut cluster = Vec::new();
    for member in &answer.members {
        let name = if member.id == added { &name } else { member.name.as_str() };
        cluster.extend(member.peer_urls.iter().map(|url| format!("{name}={url}")));
    }
    say(format_args!("\nETCD_NAME={}", quote(name.as_bytes())))?;
    say(format_args!("ETCD_INITIAL_CLUSTER={}", quote(cluster.join(","))))?;
    say(format_args!("ETCD_INITIAL_ADVERTISE_PEER_URLS={}", quote(urls)))?;
    say("ETCD_INITIAL_CLUSTER_STATE=\"existing\"")
}

fn remove(invocation: &Invocation) -> Outcome {
    let id = id(invocation)?;
    let session = Session::open(invocation)?;
    let response =
        session.run(session.timed_client()?.member_remove(MemberRemoveRequest { id }))?;
    session.print(&Answer::MemberRemove { id, response: &response })
}

fn update(invocation: &Invocation) -> Outcome {
    let id = id(invocation)?;
    let urls = invocation.flags.text("peer-urls");
    if urls.is_empty() {
        return Err(Failure::bad_args("member peer urls not provided"));
    }
    let session = Session::open(invocation)?;
    let client = session.timed_client()?;
    let request = MemberUpdateRequest { id, peer_urls: peer_urls::parse(urls)? };
    let response = session.run(client.member_update(request))?;
    session.print(&Answer::MemberUpdate { id, response: &response })
}

fn list(invocation: &Invocation) -> Outcome {
    let linearizable = !serializable(&invocation.flags)?;
    let session = Session::open(invocation)?;
    let request = MemberListRequest { linearizable };
    let answer = session.run(session.timed_client()?.member_list(request))?;
    session.print(&Answer::MemberList(&answer))
}

fn promote(invocation: &Invocation) -> Outcome {
    let id = id(invocation)?;
    let session = Session::open(invocation)?;
    let request = MemberPromoteRequest { id };
    let response = session.run(session.timed_client()?.member_promote(request))?;
    session.print(&Answer::MemberPromote { id, response: &response })
}

/// The only argument as a member in hex.
fn id(invocation: &Invocation) -> Result<u64, Failure> {
    let [argument] = &invocation.args[..] else {
        return Err(Failure::bad_args("member ID is not provided"));
    };
    number::parse_uint(&String::from_utf8_lossy(argument), 16).map_err(|why| {
        Failure::new(Code::BadArgs, format!("bad member ID arg ({why}), expecting ID in Hex"))
    })
}
