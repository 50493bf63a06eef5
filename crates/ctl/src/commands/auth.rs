//! `auth`: authentication of the whole cluster.

use api::{
    error::Error as Etcd,
    etcdserverpb::{
        AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthStatusRequest,
        AuthUserGrantRoleRequest,
    },
};
use client::{client::Client, error::Error};

use crate::{
    cli::{Command, Group, Invocation},
    exit::{Failure, Outcome},
    printer::Answer,
    session::{Session, say},
};

/// `auth`.
pub(crate) static COMMAND: Command = Command {
    usage: "auth <enable or disable>",
    short: "Turns authentication on or off: `etcdctl auth --help` lists subcommands",
    long: "Turns authentication on or off",
    group: Some(Group::Authentication),
    children: &[&ENABLE, &DISABLE, &STATUS],
    ..Command::BASE
};

static ENABLE: Command = Command {
    usage: "enable",
    short: "Turns authentication on",
    run: Some(enable),
    ..Command::BASE
};

static DISABLE: Command = Command {
    usage: "disable",
    short: "Turns authentication off",
    run: Some(disable),
    ..Command::BASE
};

static STATUS: Command = Command {
    usage: "status",
    short: "Tells whether authentication is on",
    run: Some(status),
    ..Command::BASE
};

fn enable(invocation: &Invocation) -> Outcome {
    refuse_arguments(invocation, "enable")?;
    let session = Session::open(invocation)?;
    let client = session.timed_client()?;
    session.run(enable_with_root(&client))?;
    say("Authentication Enabled")
}

/// Turns authentication on; gives the user root its role when that is what is missing. Any other
/// refusal is tried again once the role was granted, as it may have been the cause.
async fn enable_with_root(client: &Client) -> Result<(), Error> {
    let answer = client.auth_enable(AuthEnableRequest {}).await;
    match answer {
        Err(error) if error.is(Etcd::RootRoleNotExist) => {
            let root = || "root".to_owned();
            client.role_add(AuthRoleAddRequest { name: root() }).await?;
            let grant = AuthUserGrantRoleRequest { user: root(), role: root() };
            client.user_grant_role(grant).await?;
            client.auth_enable(AuthEnableRequest {}).await?;
            Ok(())
        }
        answer => answer.map(drop),
    }
}

fn disable(invocation: &Invocation) -> Outcome {
    refuse_arguments(invocation, "disable")?;
    let session = Session::open(invocation)?;
    session.run(session.timed_client()?.auth_disable(AuthDisableRequest {}))?;
    say("Authentication Disabled")
}

fn status(invocation: &Invocation) -> Outcome {
    refuse_arguments(invocation, "status")?;
    let session = Session::open(invocation)?;
    let answer = session.run(session.timed_client()?.auth_status(AuthStatusRequest {}))?;
    session.print(&Answer::AuthStatus(&answer))
}

fn refuse_arguments(invocation: &Invocation, name: &str) -> Outcome {
    if invocation.args.is_empty() {
        return Ok(());
    }
    Err(Failure::bad_args(format!("auth {name} command does not accept any arguments")))
}
