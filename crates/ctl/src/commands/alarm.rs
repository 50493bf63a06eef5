//! `alarm`: what members complain of.

use api::etcdserverpb::{AlarmRequest, AlarmResponse, AlarmType, alarm_request::AlarmAction};

use crate::{
    cli::{Command, Group, Invocation},
    exit::{Failure, Outcome},
    printer::Answer,
    session::Session,
};

/// `alarm`.
pub(crate) static COMMAND: Command = Command {
    usage: "alarm <subcommand>",
    short: "Lists or clears alarms: `etcdctl alarm --help` lists subcommands",
    long: "Lists or clears alarms",
    group: Some(Group::Maintenance),
    children: &[&DISARM, &LIST],
    ..Command::BASE
};

static DISARM: Command =
    Command { usage: "disarm", short: "Clears all alarms", run: Some(disarm), ..Command::BASE };

static LIST: Command =
    Command { usage: "list", short: "Lists all alarms", run: Some(list), ..Command::BASE };

fn list(invocation: &Invocation) -> Outcome {
    if !invocation.args.is_empty() {
        return Err(Failure::bad_args("alarm list command accepts no arguments"));
    }
    let session = Session::open(invocation)?;
    let answer = session.run(session.timed_client()?.alarm(all()))?;
    session.print(&Answer::Alarm(&answer))
}

/// Clears one alarm after the other; the answer has no header of its own.
fn disarm(invocation: &Invocation) -> Outcome {
    if !invocation.args.is_empty() {
        return Err(Failure::bad_args("alarm disarm command accepts no arguments"));
    }
    let session = Session::open(invocation)?;
    let client = session.timed_client()?;
    let mut cleared = AlarmResponse::default();
    session.run(async {
        for raised in client.alarm(all()).await?.alarms {
            let request = AlarmRequest {
                action: AlarmAction::Deactivate.into(),
                member_id: raised.member_id,
                alarm: raised.alarm,
            };
            cleared.alarms.extend(client.alarm(request).await?.alarms);
        }
        Ok::<(), Failure>(())
    })?;
    session.print(&Answer::Alarm(&cleared))
}

/// Asks for all alarms of all members.
pub(crate) fn all() -> AlarmRequest {
    AlarmRequest { action: AlarmAction::Get.into(), member_id: 0, alarm: AlarmType::None.into() }
}
