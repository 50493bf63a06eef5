//! Alarms: which are raised, and the request that lists, raises and disarms them.

use std::collections::BTreeSet;

use api::{
    error::Code,
    etcdserverpb::{
        AlarmMember, AlarmRequest, AlarmResponse, AlarmType, alarm_request::AlarmAction,
    },
    ids::MemberId,
};
use storage::{Op, schema};

use crate::{
    ApplyError, Response, Shared,
    outcome::{Traces, header},
};

/// The raised alarms: of a kind, by a member. Kinds that this release does not know are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarms(BTreeSet<(i32, MemberId)>);

impl Alarms {
    /// The alarms as stored.
    pub(crate) fn restore(stored: impl IntoIterator<Item = AlarmMember>) -> Alarms {
        Alarms(stored.into_iter().map(|alarm| (alarm.alarm, MemberId(alarm.member_id))).collect())
    }

    /// Whether any member has raised this alarm.
    pub fn has(&self, kind: AlarmType) -> bool {
        self.list(kind as i32).next().is_some()
    }

    /// Alarms of one kind, or of all kinds for `NONE`; by kind, then by member.
    pub fn list(&self, kind: i32) -> impl Iterator<Item = AlarmMember> + '_ {
        let all = kind == AlarmType::None as i32;
        let wanted = self.0.iter().filter(move |(of, _)| all || *of == kind);
        wanted.map(|(kind, member)| AlarmMember { member_id: member.0, alarm: *kind })
    }

    /// The texts that `Status` shows.
    pub fn texts(&self) -> Vec<String> {
        self.list(AlarmType::None as i32).map(|alarm| text(&alarm)).collect()
    }

    fn raise(&mut self, alarm: &AlarmMember, ops: &mut Vec<Op>) {
        if self.0.insert((alarm.alarm, MemberId(alarm.member_id))) {
            ops.push(schema::alarm::put(alarm));
        }
    }

    fn disarm(&mut self, alarm: &AlarmMember, ops: &mut Vec<Op>) -> bool {
        let was_raised = self.0.remove(&(alarm.alarm, MemberId(alarm.member_id)));
        if was_raised {
            ops.push(schema::alarm::delete(alarm));
        }
        was_raised
    }
}

/// Lists, raises or disarms alarms; the answer names those that it was about.
pub(crate) fn alarm(
    shared: &Shared,
    request: &AlarmRequest,
    traces: &mut Traces,
) -> Result<Response, ApplyError> {
    let alarm = AlarmMember { member_id: request.member_id, alarm: request.alarm };
    let mut alarms = shared.alarms.write();
    let affected = match AlarmAction::try_from(request.action) {
        Ok(AlarmAction::Get) => alarms.list(request.alarm).collect(),
        Ok(AlarmAction::Activate) if request.alarm == AlarmType::None as i32 => Vec::new(),
        Ok(AlarmAction::Activate) => {
            alarms.raise(&alarm, &mut traces.ops);
            vec![alarm]
        }
        Ok(AlarmAction::Deactivate) => {
            let was_raised = alarms.disarm(&alarm, &mut traces.ops);
            if was_raised { vec![alarm] } else { Vec::new() }
        }
        Err(_) => return Err(unknown_action(request.action)),
    };
    let header = header(shared.store.revision());
    Ok(Response::Alarm(AlarmResponse { header, alarms: affected }))
}

/// etcd's members crash on this one.
fn unknown_action(action: i32) -> ApplyError {
    let message = format!("etcdserver: unknown alarm action {action}").into();
    ApplyError { code: Code::InvalidArgument, message }
}

fn text(alarm: &AlarmMember) -> String {
    let member = match alarm.member_id {
        0 => String::new(),
        id => format!("memberID:{id} "),
    };
    match AlarmType::try_from(alarm.alarm) {
        Ok(kind) => format!("{member}alarm:{}", kind.as_str_name()),
        Err(_) => format!("{member}alarm:{}", alarm.alarm),
    }
}
