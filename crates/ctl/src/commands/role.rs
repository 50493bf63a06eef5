//! `role`: what users may do.

use api::{
    authpb::{Permission, permission},
    etcdserverpb::{
        AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGetRequest,
        AuthRoleGrantPermissionRequest, AuthRoleListRequest, AuthRoleRevokePermissionRequest,
    },
    range::prefix_end,
};
use bytes::Bytes;

use crate::{
    cli::{
        Command, Group, Invocation,
        flag::{Flag, Flags, Kind},
    },
    exit::{Failure, Outcome},
    printer::Answer,
    session::Session,
};

/// `role`.
pub(crate) static COMMAND: Command = Command {
    usage: "role <subcommand>",
    short: "Manages roles: `etcdctl role --help` lists subcommands",
    long: "Manages roles",
    group: Some(Group::Authentication),
    children: &[&ADD, &DELETE, &GET, &LIST, &GRANT, &REVOKE],
    ..Command::BASE
};

static ADD: Command =
    Command { usage: "add <role name>", short: "Adds a role", run: Some(add), ..Command::BASE };

static DELETE: Command = Command {
    usage: "delete <role name>",
    short: "Deletes a role",
    run: Some(delete),
    ..Command::BASE
};

static GET: Command = Command {
    usage: "get <role name>",
    short: "Shows the permissions of a role",
    run: Some(get),
    ..Command::BASE
};

static LIST: Command =
    Command { usage: "list", short: "Lists all roles", run: Some(list), ..Command::BASE };

static GRANT: Command = Command {
    usage: "grant-permission [options] <role name> <permission type> <key> [endkey]",
    short: "Lets a role read or write keys",
    flags: &[
        Flag::new("prefix", Kind::Bool, "all keys with this prefix"),
        Flag::new("from-key", Kind::Bool, "all keys from this one on, in byte order"),
    ],
    run: Some(grant),
    ..Command::BASE
};

static REVOKE: Command = Command {
    usage: "revoke-permission <role name> <key> [endkey]",
    short: "Takes a permission from a role",
    flags: &[
        Flag::new("prefix", Kind::Bool, "all keys with this prefix"),
        Flag::new("from-key", Kind::Bool, "all keys from this one on, in byte order"),
    ],
    run: Some(revoke),
    ..Command::BASE
};

fn add(invocation: &Invocation) -> Outcome {
    let role = name(invocation, "role add command requires role name as its argument")?;
    let session = Session::open(invocation)?;
    let request = AuthRoleAddRequest { name: role.clone() };
    let response = session.run(session.client()?.role_add(request))?;
    session.print(&Answer::RoleAdd { role: &role, response: &response })
}

fn delete(invocation: &Invocation) -> Outcome {
    let role = name(invocation, "role delete command requires role name as its argument")?;
    let session = Session::open(invocation)?;
    let request = AuthRoleDeleteRequest { role: role.clone() };
    let response = session.run(session.client()?.role_delete(request))?;
    session.print(&Answer::RoleDelete { role: &role, response: &response })
}

fn get(invocation: &Invocation) -> Outcome {
    let role = name(invocation, "role get command requires role name as its argument")?;
    let session = Session::open(invocation)?;
    let request = AuthRoleGetRequest { role: role.clone() };
    let response = session.run(session.client()?.role_get(request))?;
    session.print(&Answer::RoleGet { role: &role, response: &response })
}

fn list(invocation: &Invocation) -> Outcome {
    if !invocation.args.is_empty() {
        return Err(Failure::bad_args("role list command requires no arguments"));
    }
    let session = Session::open(invocation)?;
    let answer = session.run(session.client()?.role_list(AuthRoleListRequest {}))?;
    session.print(&Answer::RoleList(&answer))
}

fn grant(invocation: &Invocation) -> Outcome {
    let [role, kind, keys @ ..] = &invocation.args[..] else {
        return Err(Failure::bad_args(GRANT_USAGE));
    };
    if keys.is_empty() {
        return Err(Failure::bad_args(GRANT_USAGE));
    }
    let kind = String::from_utf8_lossy(kind);
    let perm_type = permission::Type::from_str_name(&kind.to_uppercase())
        .ok_or_else(|| Failure::bad_args(format!("invalid permission type: {kind}")))?;
    let (key, range_end) = range(&invocation.flags, keys)?;
    let session = Session::open(invocation)?;
    let role = String::from_utf8_lossy(role);
    let request = AuthRoleGrantPermissionRequest {
        name: role.clone().into_owned(),
        perm: Some(Permission { perm_type: perm_type.into(), key, range_end }),
    };
    let response = session.run(session.client()?.role_grant_permission(request))?;
    session.print(&Answer::RoleGrant { role: &role, response: &response })
}

const GRANT_USAGE: &str =
    "role grant command requires role name, permission type, and key [endkey] as its argument";

fn revoke(invocation: &Invocation) -> Outcome {
    let usage =
        "role revoke-permission command requires role name and key [endkey] as its argument";
    let [role, keys @ ..] = &invocation.args[..] else {
        return Err(Failure::bad_args(usage));
    };
    let [given, ..] = keys else { return Err(Failure::bad_args(usage)) };
    let (key, range_end) = range(&invocation.flags, keys)?;
    let session = Session::open(invocation)?;
    let role = String::from_utf8_lossy(role);
    let request = AuthRoleRevokePermissionRequest {
        role: role.clone().into_owned(),
        key,
        range_end: range_end.clone(),
    };
    let response = session.run(session.client()?.role_revoke_permission(request))?;
    let (key, end) = (given.as_slice(), &range_end[..]);
    session.print(&Answer::RoleRevoke { role: &role, key, end, response: &response })
}

fn name(invocation: &Invocation, usage: &str) -> Result<String, Failure> {
    match &invocation.args[..] {
        [name] => Ok(String::from_utf8_lossy(name).into_owned()),
        _ => Err(Failure::bad_args(usage)),
    }
}

/// Key and end of a permission. The empty key stands for the first possible one.
fn range(flags: &Flags, keys: &[Vec<u8>]) -> Result<(Bytes, Bytes), Failure> {
    let (prefix, from_key) = (flags.bool("prefix"), flags.bool("from-key"));
    let everything = Bytes::from_static(&[0]);
    let end = keys.get(1);
    let both = prefix && from_key && (end.is_none() || keys[0].is_empty());
    if both {
        return Err(Failure::bad_args("--from-key and --prefix flags are mutually exclusive"));
    }
    if keys[0].is_empty() {
        let end = if prefix || from_key { everything.clone() } else { Bytes::new() };
        return Ok((everything, end));
    }
    let key = Bytes::from(keys[0].clone());
    let end = match end {
        Some(_) if prefix || from_key => {
            let flag = if prefix { "--prefix" } else { "--from-key" };
            let text = format!("unexpected endkey argument with {flag} flag");
            return Err(Failure::bad_args(text));
        }
        Some(end) => end.clone().into(),
        None if prefix => prefix_end(&key),
        None if from_key => everything,
        None => Bytes::new(),
    };
    Ok((key, end))
}
