//! The simple format: what people read.

use std::io::{self, Write};

use api::{
    authpb::{Permission, permission},
    etcdserverpb::{self as pb, AlarmType, response_op::Response},
    kv::RawKeyValue,
    mvccpb::event::EventType,
    range::prefix_end,
};
use client::watch::WatchResponse;

use super::{Answer, Health, Printer, decoded, rows};
use crate::{decode::text, exit::Outcome};

/// The simple format.
pub(super) struct Simple {
    /// Keys and values as `\xNN`.
    pub(super) hex: bool,
    /// Values without their keys.
    pub(super) value_only: bool,
    /// Keys go to a terminal, which must not be sent what it would act upon.
    pub(super) terminal: bool,
}

impl Printer for Simple {
    fn print(&self, answer: &Answer<'_>, out: &mut dyn Write) -> Outcome {
        match answer {
            Answer::Get(response) => self.kvs(&response.kvs, out)?,
            Answer::Put(response) => self.put(response, out)?,
            Answer::Del(response) => self.del(response, out)?,
            Answer::Txn(response) => self.txn(response, out)?,
            Answer::Watch(response) => self.watch(response, out)?,
            Answer::MoveLeader { leader, target, .. } => {
                writeln!(out, "Leadership transferred from {leader:x} to {target:x}")?;
            }
            Answer::Downgrade { action, response } => {
                let version = &response.version;
                writeln!(out, "Downgrade {action} success, cluster version {version}")?;
            }
            Answer::Alarm(response) => alarm(response, out)?,
            Answer::AuthStatus(response) => {
                writeln!(out, "Authentication Status: {}", response.enabled)?;
                writeln!(out, "AuthRevision: {}", response.auth_revision)?;
            }
            Answer::EndpointHealth(list) => health(list, out)?,
            Answer::EndpointStatus(list) => lines(&rows::status(list), out)?,
            Answer::EndpointHashKv(list) => lines(&rows::hashes(list), out)?,
            answer => other(answer, out)?,
        }
        Ok(())
    }
}

impl Simple {
    fn kv(&self, kv: &RawKeyValue, out: &mut dyn Write) -> io::Result<()> {
        let kv = decoded(kv);
        if !self.value_only {
            self.key(&kv.key, out)?;
        }
        self.bytes(&kv.value, out)
    }

    fn key(&self, key: &[u8], out: &mut dyn Write) -> io::Result<()> {
        match self.terminal && !self.hex {
            true => writeln!(out, "{}", text::key(key)),
            false => self.bytes(key, out),
        }
    }

    fn bytes(&self, bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
        if !self.hex {
            out.write_all(bytes)?;
            return out.write_all(b"\n");
        }
        for byte in bytes {
            write!(out, "\\x{byte:02x}")?;
        }
        out.write_all(b"\n")
    }

    fn kvs(&self, kvs: &[RawKeyValue], out: &mut dyn Write) -> io::Result<()> {
        kvs.iter().try_for_each(|kv| self.kv(kv, out))
    }

    fn put(&self, response: &pb::PutResponse, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "OK")?;
        response.prev_kv.iter().try_for_each(|kv| self.kv(kv, out))
    }

    fn del(&self, response: &pb::DeleteRangeResponse, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", response.deleted)?;
        self.kvs(&response.prev_kvs, out)
    }

    fn txn(&self, response: &pb::TxnResponse, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", if response.succeeded { "SUCCESS" } else { "FAILURE" })?;
        for op in &response.responses {
            writeln!(out)?;
            match &op.response {
                Some(Response::ResponseRange(range)) => self.kvs(&range.kvs, out)?,
                Some(Response::ResponsePut(put)) => self.put(put, out)?,
                Some(Response::ResponseDeleteRange(del)) => self.del(del, out)?,
                Some(Response::ResponseTxn(txn)) => self.txn(txn, out)?,
                None => writeln!(out, "unexpected response {op:?}")?,
            }
        }
        Ok(())
    }

    fn watch(&self, response: &WatchResponse, out: &mut dyn Write) -> io::Result<()> {
        for event in &response.events {
            let kind = match event.r#type() {
                EventType::Put => "PUT",
                EventType::Delete => "DELETE",
            };
            writeln!(out, "{kind}")?;
            event.prev_kv.iter().try_for_each(|kv| self.kv(kv, out))?;
            self.kv(event.kv.as_ref().unwrap_or(&RawKeyValue::default()), out)?;
        }
        Ok(())
    }
}

/// Answers of leases, members, users and roles.
fn other(answer: &Answer<'_>, out: &mut dyn Write) -> io::Result<()> {
    let cluster = |header: &Option<pb::ResponseHeader>| header.map_or(0, |h| h.cluster_id);
    match answer {
        Answer::Grant(r) => writeln!(out, "lease {:016x} granted with TTL({}s)", r.id, r.ttl),
        Answer::Revoke { id, .. } => writeln!(out, "lease {id:016x} revoked"),
        Answer::KeepAlive(r) => {
            writeln!(out, "lease {:016x} keepalived with TTL({})", r.id, r.ttl)
        }
        Answer::TimeToLive { response, keys } => time_to_live(response, *keys, out),
        Answer::Leases(response) => {
            writeln!(out, "found {} leases", response.leases.len())?;
            response.leases.iter().try_for_each(|lease| writeln!(out, "{:016x}", lease.id))
        }
        Answer::MemberAdd(response) => {
            let member = response.member.clone().unwrap_or_default();
            let learner = if member.is_learner { " as learner " } else { " " };
            let cluster = cluster(&response.header);
            writeln!(out, "Member {:16x} added{learner}to cluster {cluster:16x}", member.id)
        }
        Answer::MemberRemove { id, response } => {
            let cluster = cluster(&response.header);
            writeln!(out, "Member {id:16x} removed from cluster {cluster:16x}")
        }
        Answer::MemberUpdate { id, response } => {
            let cluster = cluster(&response.header);
            writeln!(out, "Member {id:16x} updated in cluster {cluster:16x}")
        }
        Answer::MemberPromote { id, response } => {
            let cluster = cluster(&response.header);
            writeln!(out, "Member {id:16x} promoted in cluster {cluster:16x}")
        }
        Answer::MemberList(response) => lines(&rows::members(response), out),
        answer => auth(answer, out),
    }
}

/// Answers about users and roles.
fn auth(answer: &Answer<'_>, out: &mut dyn Write) -> io::Result<()> {
    match answer {
        Answer::RoleAdd { role, .. } => writeln!(out, "Role {role} created"),
        Answer::RoleGet { role, response } => role_get(role, response, out),
        Answer::RoleDelete { role, .. } => writeln!(out, "Role {role} deleted"),
        Answer::RoleList(r) => r.roles.iter().try_for_each(|role| writeln!(out, "{role}")),
        Answer::RoleGrant { role, .. } => writeln!(out, "Role {role} updated"),
        Answer::RoleRevoke { role, key, end, .. } => role_revoke(role, key, end, out),
        Answer::UserAdd { user, .. } => writeln!(out, "User {user} created"),
        Answer::UserGet { user, response } => {
            let roles: String = response.roles.iter().map(|role| format!(" {role}")).collect();
            writeln!(out, "User: {user}\nRoles:{roles}")
        }
        Answer::UserList(r) => r.users.iter().try_for_each(|user| writeln!(out, "{user}")),
        Answer::UserPassword(_) => writeln!(out, "Password updated"),
        Answer::UserGrant { user, role, .. } => {
            writeln!(out, "Role {role} is granted to user {user}")
        }
        Answer::UserRevoke { user, role, .. } => {
            writeln!(out, "Role {role} is revoked from user {user}")
        }
        Answer::UserDelete { user, .. } => writeln!(out, "User {user} deleted"),
        _ => unreachable!("every answer is printed by one of the three functions"),
    }
}

fn lines(rows: &rows::Rows, out: &mut dyn Write) -> io::Result<()> {
    rows.rows.iter().try_for_each(|row| writeln!(out, "{}", row.join(", ")))
}

/// Healthy endpoints to `out`, the others to standard error.
fn health(list: &[Health], out: &mut dyn Write) -> io::Result<()> {
    for Health { endpoint, took, error, .. } in list {
        if error.is_empty() {
            let done = "successfully committed proposal";
            writeln!(out, "{endpoint} is healthy: {done}: took = {took}")?;
        } else {
            out.flush()?;
            eprintln!("{endpoint} is unhealthy: failed to commit proposal: {error}");
        }
    }
    Ok(())
}

/// As protobuf's text format shows a message: zero members are left out.
fn alarm(response: &pb::AlarmResponse, out: &mut dyn Write) -> io::Result<()> {
    for alarm in &response.alarms {
        let mut parts = Vec::new();
        if alarm.member_id != 0 {
            parts.push(format!("memberID:{}", alarm.member_id));
        }
        match AlarmType::try_from(alarm.alarm) {
            Ok(AlarmType::None) => {}
            Ok(kind) => parts.push(format!("alarm:{}", kind.as_str_name())),
            Err(_) => parts.push(format!("alarm:{}", alarm.alarm)),
        }
        writeln!(out, "{}", parts.join(" "))?;
    }
    Ok(())
}

fn time_to_live(
    response: &pb::LeaseTimeToLiveResponse,
    keys: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (id, granted, ttl) = (response.id, response.granted_ttl, response.ttl);
    if granted == 0 && ttl == -1 {
        return writeln!(out, "lease {id:016x} already expired");
    }
    write!(out, "lease {id:016x} granted with TTL({granted}s), remaining({ttl}s)")?;
    if keys {
        out.write_all(b", attached keys([")?;
        for (at, key) in response.keys.iter().enumerate() {
            if at > 0 {
                out.write_all(b" ")?;
            }
            out.write_all(key)?;
        }
        out.write_all(b"])")?;
    }
    out.write_all(b"\n")
}

fn role_get(role: &str, response: &pb::AuthRoleGetResponse, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "Role {role}")?;
    let everything = role == "root" && response.perm.is_empty();
    for (title, kind) in
        [("KV Read:", permission::Type::Read), ("KV Write:", permission::Type::Write)]
    {
        writeln!(out, "{title}")?;
        if everything {
            writeln!(out, "\t[, <open ended>")?;
        }
        for perm in &response.perm {
            if perm.perm_type() == kind || perm.perm_type() == permission::Type::Readwrite {
                permission(perm, out)?;
            }
        }
    }
    Ok(())
}

fn permission(perm: &Permission, out: &mut dyn Write) -> io::Result<()> {
    let (key, end) = (&perm.key[..], &perm.range_end[..]);
    if end.is_empty() {
        return out.write_all(&[b"\t", key, b"\n"].concat());
    }
    match end {
        b"\0" => out.write_all(&[b"\t[", key, b", <open ended>"].concat())?,
        end => out.write_all(&[b"\t[", key, b", ", end, b")"].concat())?,
    }
    if !key.is_empty() && prefix_end(key) == end {
        out.write_all(&[b" (prefix ", key, b")"].concat())?;
    }
    out.write_all(b"\n")
}

fn role_revoke(role: &str, key: &[u8], end: &[u8], out: &mut dyn Write) -> io::Result<()> {
    let what = match end {
        b"" => [b"key ", key].concat(),
        b"\0" => [b"range [", key, b", <open ended>"].concat(),
        end => [b"range [", key, b", ", end, b")"].concat(),
    };
    out.write_all(b"Permission of ")?;
    out.write_all(&what)?;
    writeln!(out, " is revoked from role {role}")
}
