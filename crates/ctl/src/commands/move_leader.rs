//! `move-leader`: lets another member lead.

use api::etcdserverpb::{MoveLeaderRequest, StatusRequest};

use crate::{
    cli::{Command, Group, Invocation},
    exit::{Failure, Outcome},
    gotext::number,
    printer::Answer,
    session::Session,
};

/// `move-leader`.
pub(crate) static COMMAND: Command = Command {
    usage: "move-leader <transferee-member-id>",
    short: "Lets another member lead the cluster",
    group: Some(Group::Maintenance),
    run: Some(run),
    ..Command::BASE
};

fn run(invocation: &Invocation) -> Outcome {
    let [target] = &invocation.args[..] else {
        return Err(Failure::bad_args("move-leader command needs 1 argument"));
    };
    let target_id =
        number::parse_uint(&String::from_utf8_lossy(target), 16).map_err(Failure::bad_args)?;
    let session = Session::open(invocation)?;
    let deadline = tokio::time::Instant::now() + session.timeout();
    for endpoint in &session.spec.endpoints {
        let client = session.client_at(endpoint)?.with_deadline(deadline);
        let status = session.run(client.status(StatusRequest {}))?;
        let leader = status.leader;
        if status.header.is_some_and(|header| header.member_id == leader) {
            let response = session.run(client.move_leader(MoveLeaderRequest { target_id }))?;
            let answer = Answer::MoveLeader { leader, target: target_id, response: &response };
            return session.print(&answer);
        }
    }
    let endpoints = session.spec.endpoints.join(" ");
    Err(Failure::bad_args(format!("no leader endpoint given at [{endpoints}]")))
}
