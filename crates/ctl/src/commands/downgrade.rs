//! `downgrade`: prepares a cluster for members of an older version.

use api::etcdserverpb::{DowngradeRequest, downgrade_request::DowngradeAction};

use crate::{
    cli::{Command, Group, Invocation},
    exit::{Failure, Outcome},
    printer::Answer,
    session::Session,
};

/// `downgrade`.
pub(crate) static COMMAND: Command = Command {
    usage: "downgrade <TARGET_VERSION>",
    short: "Downgrades the cluster: `etcdctl downgrade --help` lists subcommands",
    long: "Downgrades the cluster to an older version",
    group: Some(Group::Maintenance),
    children: &[&VALIDATE, &ENABLE, &CANCEL],
    ..Command::BASE
};

static VALIDATE: Command = Command {
    usage: "validate <TARGET_VERSION>",
    short: "Tells whether the cluster could be downgraded",
    run: Some(validate),
    ..Command::BASE
};

static ENABLE: Command = Command {
    usage: "enable <TARGET_VERSION>",
    short: "Begins a downgrade",
    run: Some(enable),
    ..Command::BASE
};

static CANCEL: Command = Command {
    usage: "cancel",
    short: "Ends a downgrade that is under way",
    run: Some(cancel),
    ..Command::BASE
};

fn validate(invocation: &Invocation) -> Outcome {
    act(invocation, DowngradeAction::Validate, version(invocation)?)
}

fn enable(invocation: &Invocation) -> Outcome {
    act(invocation, DowngradeAction::Enable, version(invocation)?)
}

fn cancel(invocation: &Invocation) -> Outcome {
    act(invocation, DowngradeAction::Cancel, String::new())
}

fn act(invocation: &Invocation, action: DowngradeAction, version: String) -> Outcome {
    let session = Session::open(invocation)?;
    let request = DowngradeRequest { action: action.into(), version };
    let response = session.run(session.timed_client()?.downgrade(request))?;
    let action = action.as_str_name().to_lowercase();
    session.print(&Answer::Downgrade { action: &action, response: &response })
}

/// The only argument.
fn version(invocation: &Invocation) -> Result<String, Failure> {
    match &invocation.args[..] {
        [] => Err(Failure::bad_args("TARGET_VERSION not provided")),
        [version] if version.is_empty() => Err(Failure::bad_args("target version not provided")),
        [version] => Ok(String::from_utf8_lossy(version).into_owned()),
        _ => Err(Failure::bad_args("too many arguments")),
    }
}
