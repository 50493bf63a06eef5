//! The JSON format: one line, in the member names of etcd's protocol files.

use std::io::Write;

use api::{
    etcdserverpb::{self as pb, response_op::Response},
    kv::RawKeyValue,
    mvccpb::Event,
};
use client::watch::WatchResponse;

use super::{Answer, Printer, decoded};
use crate::{
    exit::Outcome,
    gotext::json::{self, Object},
};

/// The JSON format.
pub(super) struct Json {
    /// Ids of members and clusters as hex texts, in answers about members.
    pub(super) hex: bool,
}

type Header = Option<pb::ResponseHeader>;

impl Printer for Json {
    fn print(&self, answer: &Answer<'_>, out: &mut dyn Write) -> Outcome {
        let mut text = String::new();
        match answer {
            Answer::EndpointHealth(list) => json::array(&mut text, *list, |out, health| {
                json::object(out, |o| {
                    o.text_always("endpoint", &health.endpoint);
                    o.flag_always("health", health.healthy);
                    o.text_always("took", &health.took);
                    o.text("error", &health.error);
                });
            }),
            // Without a single answer the list is null.
            Answer::EndpointStatus([]) | Answer::EndpointHashKv([]) => text.push_str("null"),
            Answer::EndpointStatus(list) => json::array(&mut text, *list, |out, one| {
                json::object(out, |o| {
                    o.text_always("Endpoint", &one.endpoint);
                    o.object("Status", |o| status(o, &one.response));
                });
            }),
            Answer::EndpointHashKv(list) => json::array(&mut text, *list, |out, one| {
                json::object(out, |o| {
                    o.text_always("Endpoint", &one.endpoint);
                    o.object("HashKV", |o| {
                        header(o, one.response.header);
                        o.number("hash", one.response.hash);
                        o.number("compact_revision", one.response.compact_revision);
                        o.number("hash_revision", one.response.hash_revision);
                    });
                });
            }),
            answer => json::object(&mut text, |o| self.members(o, answer)),
        }
        text.push('\n');
        out.write_all(text.as_bytes())?;
        Ok(())
    }
}

impl Json {
    /// Answers about members, whose ids may be texts; then everything else.
    fn members(&self, o: &mut Object<'_>, answer: &Answer<'_>) {
        let members: &[pb::Member] = match answer {
            Answer::MemberAdd(r) => &r.members,
            Answer::MemberRemove { response, .. } => &response.members,
            Answer::MemberUpdate { response, .. } => &response.members,
            Answer::MemberPromote { response, .. } => &response.members,
            Answer::MemberList(r) => &r.members,
            answer => return keys(o, answer),
        };
        let all = match answer {
            Answer::MemberAdd(r) => r.header,
            Answer::MemberRemove { response, .. } => response.header,
            Answer::MemberUpdate { response, .. } => response.header,
            Answer::MemberPromote { response, .. } => response.header,
            Answer::MemberList(r) => r.header,
            _ => None,
        };
        let added = match answer {
            Answer::MemberAdd(r) => r.member.as_ref(),
            _ => None,
        };
        if !self.hex {
            header(o, all);
            if let Some(added) = added {
                o.object("member", |o| member(o, added));
            }
            o.list("members", members, |out, one| json::object(out, |o| member(o, one)));
            return;
        }
        let all = all.unwrap_or_default();
        o.object("header", |o| {
            o.text_always("cluster_id", &format!("{:x}", all.cluster_id));
            o.text_always("member_id", &format!("{:x}", all.member_id));
            o.number("revision", all.revision);
            o.number("raft_term", all.raft_term);
        });
        if let Some(added) = added {
            o.object("member", |o| hex_member(o, added));
        }
        o.list_always("members", members, |out, one| json::object(out, |o| hex_member(o, one)));
    }
}

/// Answers about keys and leases; then everything else.
fn keys(o: &mut Object<'_>, answer: &Answer<'_>) {
    match answer {
        Answer::Get(r) => range(o, r),
        Answer::Put(r) => put(o, r),
        Answer::Del(r) => del(o, r),
        Answer::Txn(r) => txn(o, r),
        Answer::Watch(r) => watch(o, r),
        Answer::Grant(r) => {
            header_members(o, r.header);
            o.number_always("ID", r.id);
            o.number_always("TTL", r.ttl);
            o.text_always("Error", &r.error);
        }
        Answer::Revoke { response, .. } => header(o, response.header),
        Answer::KeepAlive(r) => {
            header_members(o, r.header);
            o.number_always("ID", r.id);
            o.number_always("TTL", r.ttl);
        }
        Answer::TimeToLive { response: r, .. } => {
            header_members(o, r.header);
            o.number_always("id", r.id);
            o.number_always("ttl", r.ttl);
            o.number_always("granted-ttl", r.granted_ttl);
            match r.keys.is_empty() {
                true => o.null("keys"),
                false => o.list("keys", &r.keys, |out, key| json::bytes(out, key)),
            }
        }
        Answer::Leases(r) => {
            header_members(o, r.header);
            o.list_always("leases", &r.leases, |out, lease| {
                json::object(out, |o| o.number_always("id", lease.id));
            });
        }
        Answer::Alarm(r) => {
            header(o, r.header);
            o.list("alarms", &r.alarms, |out, alarm| {
                json::object(out, |o| {
                    o.number("memberID", alarm.member_id);
                    o.number("alarm", alarm.alarm);
                });
            });
        }
        answer => auth(o, answer),
    }
}

/// Answers about users and roles, and those that have little more than a header.
fn auth(o: &mut Object<'_>, answer: &Answer<'_>) {
    let texts = |out: &mut String, text: &String| json::text(out, text);
    match answer {
        Answer::MoveLeader { response, .. } => header(o, response.header),
        Answer::Downgrade { response, .. } => {
            header(o, response.header);
            o.text("version", &response.version);
        }
        Answer::AuthStatus(r) => {
            header(o, r.header);
            o.flag("enabled", r.enabled);
            o.number("authRevision", r.auth_revision);
        }
        Answer::RoleAdd { response, .. } => header(o, response.header),
        Answer::RoleGet { response, .. } => {
            header(o, response.header);
            o.list("perm", &response.perm, |out, perm| {
                json::object(out, |o| {
                    o.number("permType", perm.perm_type);
                    o.bytes("key", &perm.key);
                    o.bytes("range_end", &perm.range_end);
                });
            });
        }
        Answer::RoleDelete { response, .. } => header(o, response.header),
        Answer::RoleList(r) => {
            header(o, r.header);
            o.list("roles", &r.roles, texts);
        }
        Answer::RoleGrant { response, .. } => header(o, response.header),
        Answer::RoleRevoke { response, .. } => header(o, response.header),
        Answer::UserAdd { response, .. } => header(o, response.header),
        Answer::UserGet { response, .. } => {
            header(o, response.header);
            o.list("roles", &response.roles, texts);
        }
        Answer::UserList(r) => {
            header(o, r.header);
            o.list("users", &r.users, texts);
        }
        Answer::UserPassword(r) => header(o, r.header),
        Answer::UserGrant { response, .. } => header(o, response.header),
        Answer::UserRevoke { response, .. } => header(o, response.header),
        Answer::UserDelete { response, .. } => header(o, response.header),
        _ => unreachable!("every answer is written by one of the functions"),
    }
}

/// The header as a member of its own.
fn header(o: &mut Object<'_>, header: Header) {
    if header.is_some() {
        o.object("header", |o| header_members(o, header));
    }
}

fn header_members(o: &mut Object<'_>, header: Header) {
    let header = header.unwrap_or_default();
    o.number("cluster_id", header.cluster_id);
    o.number("member_id", header.member_id);
    o.number("revision", header.revision);
    o.number("raft_term", header.raft_term);
}

fn kv(o: &mut Object<'_>, raw: &RawKeyValue) {
    let kv = decoded(raw);
    o.bytes("key", &kv.key);
    o.number("create_revision", kv.create_revision);
    o.number("mod_revision", kv.mod_revision);
    o.number("version", kv.version);
    o.bytes("value", &kv.value);
    o.number("lease", kv.lease);
}

fn kvs(o: &mut Object<'_>, name: &str, list: &[RawKeyValue]) {
    o.list(name, list, |out, one| json::object(out, |o| kv(o, one)));
}

fn range(o: &mut Object<'_>, r: &pb::RangeResponse) {
    header(o, r.header);
    kvs(o, "kvs", &r.kvs);
    o.flag("more", r.more);
    o.number("count", r.count);
}

fn put(o: &mut Object<'_>, r: &pb::PutResponse) {
    header(o, r.header);
    if let Some(previous) = &r.prev_kv {
        o.object("prev_kv", |o| kv(o, previous));
    }
}

fn del(o: &mut Object<'_>, r: &pb::DeleteRangeResponse) {
    header(o, r.header);
    o.number("deleted", r.deleted);
    kvs(o, "prev_kvs", &r.prev_kvs);
}

fn txn(o: &mut Object<'_>, r: &pb::TxnResponse) {
    header(o, r.header);
    o.flag("succeeded", r.succeeded);
    o.list("responses", &r.responses, |out, op| {
        json::object(out, |o| o.object("Response", |o| op_response(o, op)));
    });
}

fn op_response(o: &mut Object<'_>, op: &pb::ResponseOp) {
    match &op.response {
        Some(Response::ResponseRange(r)) => o.object("response_range", |o| range(o, r)),
        Some(Response::ResponsePut(r)) => o.object("response_put", |o| put(o, r)),
        Some(Response::ResponseDeleteRange(r)) => {
            o.object("response_delete_range", |o| del(o, r));
        }
        Some(Response::ResponseTxn(r)) => o.object("response_txn", |o| txn(o, r)),
        None => {}
    }
}

fn watch(o: &mut Object<'_>, r: &WatchResponse) {
    o.object("Header", |o| header_members(o, Some(r.header)));
    match r.events.is_empty() {
        true => o.null("Events"),
        false => o.list("Events", &r.events, |out, one| json::object(out, |o| event(o, one))),
    }
    o.number_always("CompactRevision", r.compact_revision);
    o.flag_always("Canceled", r.canceled);
    o.flag_always("Created", false);
    o.text_always("CancelReason", "");
}

fn event(o: &mut Object<'_>, event: &Event) {
    o.number("type", event.r#type);
    if let Some(current) = &event.kv {
        o.object("kv", |o| kv(o, current));
    }
    if let Some(previous) = &event.prev_kv {
        o.object("prev_kv", |o| kv(o, previous));
    }
}

fn member(o: &mut Object<'_>, member: &pb::Member) {
    o.number("ID", member.id);
    member_rest(o, member);
}

fn hex_member(o: &mut Object<'_>, member: &pb::Member) {
    o.text_always("ID", &format!("{:x}", member.id));
    member_rest(o, member);
}

fn member_rest(o: &mut Object<'_>, member: &pb::Member) {
    o.text("name", &member.name);
    o.list("peerURLs", &member.peer_urls, |out, url| json::text(out, url));
    o.list("clientURLs", &member.client_urls, |out, url| json::text(out, url));
    o.flag("isLearner", member.is_learner);
}

fn status(o: &mut Object<'_>, r: &pb::StatusResponse) {
    header(o, r.header);
    o.text("version", &r.version);
    o.number("dbSize", r.db_size);
    o.number("leader", r.leader);
    o.number("raftIndex", r.raft_index);
    o.number("raftTerm", r.raft_term);
    o.number("raftAppliedIndex", r.raft_applied_index);
    o.list("errors", &r.errors, |out, error| json::text(out, error));
    o.number("dbSizeInUse", r.db_size_in_use);
    o.flag("isLearner", r.is_learner);
    o.text("storageVersion", &r.storage_version);
    o.number("dbSizeQuota", r.db_size_quota);
    if let Some(downgrade) = &r.downgrade_info {
        o.object("downgradeInfo", |o| {
            o.flag("enabled", downgrade.enabled);
            o.text("targetVersion", &downgrade.target_version);
        });
    }
}
