//! `user`: who may authenticate.

use api::{
    authpb::UserAddOptions,
    etcdserverpb::{
        AuthRoleGetRequest, AuthUserAddRequest, AuthUserChangePasswordRequest,
        AuthUserDeleteRequest, AuthUserGetRequest, AuthUserGrantRoleRequest, AuthUserListRequest,
        AuthUserRevokeRoleRequest,
    },
};

use crate::{
    cli::{
        Command, Group, Invocation,
        flag::{Flag, Kind},
    },
    exit::{Failure, Outcome},
    printer::Answer,
    prompt,
    session::{Session, say},
};

/// `user`.
pub(crate) static COMMAND: Command = Command {
    usage: "user <subcommand>",
    short: "Manages users: `etcdctl user --help` lists subcommands",
    long: "Manages users",
    group: Some(Group::Authentication),
    children: &[&ADD, &DELETE, &GET, &LIST, &PASSWD, &GRANT, &REVOKE],
    ..Command::BASE
};

static ADD: Command = Command {
    usage: "add <user name or user:password> [options]",
    short: "Adds a user",
    flags: &[
        INTERACTIVE,
        Flag::new("new-user-password", Kind::Text, "the new user's password"),
        Flag::new("no-password", Kind::Bool, "a user known by certificate only"),
    ],
    run: Some(add),
    ..Command::BASE
};

/// Whether a password is asked for without showing it.
const INTERACTIVE: Flag =
    Flag::new("interactive", Kind::Bool, "ask for the password (false: read it from stdin)")
        .default("true");

static DELETE: Command = Command {
    usage: "delete <user name>",
    short: "Deletes a user",
    run: Some(delete),
    ..Command::BASE
};

static GET: Command = Command {
    usage: "get <user name> [options]",
    short: "Shows the roles of a user",
    flags: &[Flag::new("detail", Kind::Bool, "show the permissions of the roles too")],
    run: Some(get),
    ..Command::BASE
};

static LIST: Command =
    Command { usage: "list", short: "Lists all users", run: Some(list), ..Command::BASE };

static PASSWD: Command = Command {
    usage: "passwd <user name> [options]",
    short: "Changes the password of a user",
    flags: &[INTERACTIVE],
    run: Some(passwd),
    ..Command::BASE
};

static GRANT: Command = Command {
    usage: "grant-role <user name> <role name>",
    short: "Gives a role to a user",
    run: Some(grant),
    ..Command::BASE
};

static REVOKE: Command = Command {
    usage: "revoke-role <user name> <role name>",
    short: "Takes a role from a user",
    run: Some(revoke),
    ..Command::BASE
};

fn add(invocation: &Invocation) -> Outcome {
    let argument = name(invocation, "user add command requires user name as its argument")?;
    let flags = &invocation.flags;
    let no_password = flags.bool("no-password");
    let given = flags.text("new-user-password");
    let (user, password) = match argument.split_once(':') {
        _ if no_password => (argument.as_str(), String::new()),
        _ if !given.is_empty() => (argument.as_str(), given.to_owned()),
        Some(("", _)) => return Err(Failure::bad_args("empty user name is not allowed")),
        Some((user, password)) => (user, password.to_owned()),
        None => (argument.as_str(), ask(&argument, flags.bool("interactive"))?),
    };
    let session = Session::open(invocation)?;
    let request = AuthUserAddRequest {
        name: user.to_owned(),
        password,
        options: Some(UserAddOptions { no_password }),
        ..AuthUserAddRequest::default()
    };
    let response = session.run(session.client()?.user_add(request))?;
    session.print(&Answer::UserAdd { user, response: &response })
}

fn delete(invocation: &Invocation) -> Outcome {
    let user = name(invocation, "user delete command requires user name as its argument")?;
    let session = Session::open(invocation)?;
    let request = AuthUserDeleteRequest { name: user.clone() };
    let response = session.run(session.client()?.user_delete(request))?;
    session.print(&Answer::UserDelete { user: &user, response: &response })
}

fn get(invocation: &Invocation) -> Outcome {
    let user = name(invocation, "user get command requires user name as its argument")?;
    let session = Session::open(invocation)?;
    let client = session.client()?;
    let response = session.run(client.user_get(AuthUserGetRequest { name: user.clone() }))?;
    if !session.flags.bool("detail") {
        return session.print(&Answer::UserGet { user: &user, response: &response });
    }
    say(format_args!("User: {user}"))?;
    for role in &response.roles {
        say("")?;
        let response = session.run(client.role_get(AuthRoleGetRequest { role: role.clone() }))?;
        session.print(&Answer::RoleGet { role, response: &response })?;
    }
    Ok(())
}

fn list(invocation: &Invocation) -> Outcome {
    if !invocation.args.is_empty() {
        return Err(Failure::bad_args("user list command requires no arguments"));
    }
    let session = Session::open(invocation)?;
    let answer = session.run(session.client()?.user_list(AuthUserListRequest {}))?;
    session.print(&Answer::UserList(&answer))
}

fn passwd(invocation: &Invocation) -> Outcome {
    let user = name(invocation, "user passwd command requires user name as its argument")?;
    let password = ask(&user, invocation.flags.bool("interactive"))?;
    let session = Session::open(invocation)?;
    let request = AuthUserChangePasswordRequest { name: user, password, ..Default::default() };
    let response = session.run(session.client()?.user_change_password(request))?;
    session.print(&Answer::UserPassword(&response))
}

fn grant(invocation: &Invocation) -> Outcome {
    let usage = "user grant command requires user name and role name as its argument";
    let (user, role) = user_and_role(invocation, usage)?;
    let session = Session::open(invocation)?;
    let request = AuthUserGrantRoleRequest { user: user.clone(), role: role.clone() };
    let response = session.run(session.client()?.user_grant_role(request))?;
    session.print(&Answer::UserGrant { user: &user, role: &role, response: &response })
}

fn revoke(invocation: &Invocation) -> Outcome {
    let usage = "user revoke-role requires user name and role name as its argument";
    let (user, role) = user_and_role(invocation, usage)?;
    let session = Session::open(invocation)?;
    let request = AuthUserRevokeRoleRequest { name: user.clone(), role: role.clone() };
    let response = session.run(session.client()?.user_revoke_role(request))?;
    session.print(&Answer::UserRevoke { user: &user, role: &role, response: &response })
}

fn name(invocation: &Invocation, usage: &str) -> Result<String, Failure> {
    match &invocation.args[..] {
        [name] => Ok(String::from_utf8_lossy(name).into_owned()),
        _ => Err(Failure::bad_args(usage)),
    }
}

fn user_and_role(invocation: &Invocation, usage: &str) -> Result<(String, String), Failure> {
    match &invocation.args[..] {
        [user, role] => Ok((
            String::from_utf8_lossy(user).into_owned(),
            String::from_utf8_lossy(role).into_owned(),
        )),
        _ => Err(Failure::bad_args(usage)),
    }
}

/// A new password: asked for twice, or the first word of standard input.
fn ask(user: &str, interactive: bool) -> Result<String, Failure> {
    if !interactive {
        let mut line = String::new();
        // Without input the password is empty, which the server refuses.
        let _ = std::io::stdin().read_line(&mut line);
        return Ok(line.split_whitespace().next().unwrap_or_default().to_owned());
    }
    let failed =
        |error: std::io::Error| Failure::bad_args(format!("failed to ask password: {error}"));
    let first = prompt::password(&format!("Password of {user}: ")).map_err(failed)?;
    if first.is_empty() {
        return Err(Failure::bad_args("empty password"));
    }
    let again = format!("Type password of {user} again for confirmation: ");
    if prompt::password(&again).map_err(failed)? != first {
        return Err(Failure::bad_args("given passwords are different"));
    }
    Ok(first)
}
