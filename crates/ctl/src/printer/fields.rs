//! The fields format: a `"Name" : value` line for each field.

use std::io::{self, Write};

use api::{
    etcdserverpb::{self as pb, AlarmType, response_op::Response},
    kv::RawKeyValue,
    mvccpb::event::EventType,
};

use super::{Answer, Hash, Health, Printer, Status, decoded, unsupported};
use crate::{exit::Outcome, gotext::quote::quote};

/// The fields format.
pub(super) struct Fields {
    /// Ids in hex.
    pub(super) hex: bool,
}

type Header = Option<pb::ResponseHeader>;

impl Printer for Fields {
    fn print(&self, answer: &Answer<'_>, out: &mut dyn Write) -> Outcome {
        match answer {
            Answer::Get(response) => self.get(response, out)?,
            Answer::Put(response) => self.put(response, out)?,
            Answer::Del(response) => self.del(response, out)?,
            Answer::Txn(response) => self.txn(response, out)?,
            Answer::Watch(response) => {
                self.header(&Some(response.header), out)?;
                for event in &response.events {
                    let kind = match event.r#type() {
                        EventType::Put => "PUT",
                        EventType::Delete => "DELETE",
                    };
                    writeln!(out, "\"Type\" : {kind}")?;
                    event.prev_kv.iter().try_for_each(|kv| self.kv("Prev", kv, out))?;
                    self.kv("", event.kv.as_ref().unwrap_or(&RawKeyValue::default()), out)?;
                }
            }
            Answer::MemberList(response) => self.members(response, out)?,
            Answer::EndpointHealth(list) => health(list, out)?,
            Answer::EndpointStatus(list) => {
                list.iter().try_for_each(|status| self.status(status, out))?;
            }
            Answer::EndpointHashKv(list) => {
                list.iter().try_for_each(|hash| self.hash(hash, out))?;
            }
            Answer::Alarm(response) => self.alarm(response, out)?,
            Answer::RoleGet { response, .. } => self.role(response, out)?,
            Answer::RoleList(response) => {
                self.header(&response.header, out)?;
                let roles = response.roles.iter().map(|role| format!(" {}", quote(role)));
                writeln!(out, "\"Roles\" :{}", roles.collect::<String>())?;
            }
            answer => return self.other(answer, out),
        }
        Ok(())
    }
}

impl Fields {
    /// Answers of leases, and those of which only the header is shown.
    fn other(&self, answer: &Answer<'_>, out: &mut dyn Write) -> Outcome {
        match answer {
            Answer::Grant(r) => {
                self.header(&r.header, out)?;
                self.lease("ID", r.id, out)?;
                writeln!(out, "\"TTL\" : {}", r.ttl)?;
            }
            Answer::KeepAlive(r) => {
                self.header(&r.header, out)?;
                self.lease("ID", r.id, out)?;
                writeln!(out, "\"TTL\" : {}", r.ttl)?;
            }
            Answer::TimeToLive { response: r, .. } => {
                self.header(&r.header, out)?;
                self.lease("ID", r.id, out)?;
                writeln!(out, "\"TTL\" : {}", r.ttl)?;
                writeln!(out, "\"GrantedTTL\" : {}", r.granted_ttl)?;
                r.keys.iter().try_for_each(|key| writeln!(out, "\"Key\" : {}", quote(key)))?;
            }
            Answer::Leases(r) => {
                self.header(&r.header, out)?;
                r.leases.iter().try_for_each(|lease| self.lease("ID", lease.id, out))?;
            }
            Answer::Revoke { response, .. } => self.header(&response.header, out)?,
            Answer::RoleAdd { response, .. } => self.header(&response.header, out)?,
            Answer::RoleDelete { response, .. } => self.header(&response.header, out)?,
            Answer::RoleGrant { response, .. } => self.header(&response.header, out)?,
            Answer::RoleRevoke { response, .. } => self.header(&response.header, out)?,
            Answer::UserAdd { response, .. } => self.header(&response.header, out)?,
            Answer::UserPassword(response) => self.header(&response.header, out)?,
            Answer::UserGrant { response, .. } => self.header(&response.header, out)?,
            Answer::UserRevoke { response, .. } => self.header(&response.header, out)?,
            Answer::UserDelete { response, .. } => self.header(&response.header, out)?,
            _ => return Err(unsupported("fields")),
        }
        Ok(())
    }

    fn header(&self, header: &Header, out: &mut dyn Write) -> io::Result<()> {
        let header = header.unwrap_or_default();
        writeln!(out, "\"ClusterID\" : {}", self.id(header.cluster_id))?;
        writeln!(out, "\"MemberID\" : {}", self.id(header.member_id))?;
        if header.revision > 0 {
            writeln!(out, "\"Revision\" : {}", header.revision)?;
        }
        writeln!(out, "\"RaftTerm\" : {}", header.raft_term)
    }

    fn id(&self, id: u64) -> String {
        if self.hex { format!("{id:x}") } else { id.to_string() }
    }

    fn lease(&self, name: &str, id: i64, out: &mut dyn Write) -> io::Result<()> {
        match self.hex {
            true => writeln!(out, "\"{name}\" : {id:016x}"),
            false => writeln!(out, "\"{name}\" : {id}"),
        }
    }

    fn kv(&self, prefix: &str, kv: &RawKeyValue, out: &mut dyn Write) -> io::Result<()> {
        let kv = decoded(kv);
        writeln!(out, "\"{prefix}Key\" : {}", quote(&kv.key))?;
        writeln!(out, "\"{prefix}CreateRevision\" : {}", kv.create_revision)?;
        writeln!(out, "\"{prefix}ModRevision\" : {}", kv.mod_revision)?;
        writeln!(out, "\"{prefix}Version\" : {}", kv.version)?;
        writeln!(out, "\"{prefix}Value\" : {}", quote(&kv.value))?;
        self.lease(&format!("{prefix}Lease"), kv.lease, out)
    }

    fn get(&self, response: &pb::RangeResponse, out: &mut dyn Write) -> io::Result<()> {
        self.header(&response.header, out)?;
        response.kvs.iter().try_for_each(|kv| self.kv("", kv, out))?;
        writeln!(out, "\"More\" : {}", response.more)?;
        writeln!(out, "\"Count\" : {}", response.count)
    }

    fn put(&self, response: &pb::PutResponse, out: &mut dyn Write) -> io::Result<()> {
        self.header(&response.header, out)?;
        response.prev_kv.iter().try_for_each(|kv| self.kv("Prev", kv, out))
    }

    fn del(&self, response: &pb::DeleteRangeResponse, out: &mut dyn Write) -> io::Result<()> {
        self.header(&response.header, out)?;
        writeln!(out, "\"Deleted\" : {}", response.deleted)?;
        response.prev_kvs.iter().try_for_each(|kv| self.kv("Prev", kv, out))
    }

    fn txn(&self, response: &pb::TxnResponse, out: &mut dyn Write) -> io::Result<()> {
        self.header(&response.header, out)?;
        writeln!(out, "\"Succeeded\" : {}", response.succeeded)?;
        for op in &response.responses {
            match &op.response {
                Some(Response::ResponseRange(range)) => self.get(range, out)?,
                Some(Response::ResponsePut(put)) => self.put(put, out)?,
                Some(Response::ResponseDeleteRange(del)) => self.del(del, out)?,
                Some(Response::ResponseTxn(txn)) => self.txn(txn, out)?,
                None => writeln!(out, "\"Unknown\" : {}", quote(format!("{op:?}")))?,
            }
        }
        Ok(())
    }

    fn members(&self, response: &pb::MemberListResponse, out: &mut dyn Write) -> io::Result<()> {
        self.header(&response.header, out)?;
        for member in &response.members {
            writeln!(out, "\"ID\" : {}", self.id(member.id))?;
            writeln!(out, "\"Name\" : {}", quote(&member.name))?;
            for url in &member.peer_urls {
                writeln!(out, "\"PeerURL\" : {}", quote(url))?;
            }
            for url in &member.client_urls {
                writeln!(out, "\"ClientURL\" : {}", quote(url))?;
            }
            writeln!(out, "\"IsLearner\" : {}\n", member.is_learner)?;
        }
        Ok(())
    }

    fn status(&self, status: &Status, out: &mut dyn Write) -> io::Result<()> {
        let r = &status.response;
        let downgrade = r.downgrade_info.clone().unwrap_or_default();
        self.header(&r.header, out)?;
        writeln!(out, "\"Version\" : {}", quote(&r.version))?;
        writeln!(out, "\"StorageVersion\" : {}", quote(&r.storage_version))?;
        writeln!(out, "\"DBSize\" : {}", r.db_size)?;
        writeln!(out, "\"DBSizeInUse\" : {}", r.db_size_in_use)?;
        writeln!(out, "\"DBSizeQuota\" : {}", r.db_size_quota)?;
        writeln!(out, "\"Leader\" : {}", r.leader)?;
        writeln!(out, "\"IsLearner\" : {}", r.is_learner)?;
        writeln!(out, "\"RaftIndex\" : {}", r.raft_index)?;
        writeln!(out, "\"RaftTerm\" : {}", r.raft_term)?;
        writeln!(out, "\"RaftAppliedIndex\" : {}", r.raft_applied_index)?;
        writeln!(out, "\"Errors\" : [{}]", r.errors.join(" "))?;
        writeln!(out, "\"Endpoint\" : {}", quote(&status.endpoint))?;
        writeln!(out, "\"DowngradeTargetVersion\" : {}", quote(downgrade.target_version))?;
        writeln!(out, "\"DowngradeEnabled\" : {}\n", downgrade.enabled)
    }

    fn hash(&self, hash: &Hash, out: &mut dyn Write) -> io::Result<()> {
        self.header(&hash.response.header, out)?;
        writeln!(out, "\"Endpoint\" : {}", quote(&hash.endpoint))?;
        writeln!(out, "\"Hash\" : {}", hash.response.hash)?;
        writeln!(out, "\"HashRevision\" : {}\n", hash.response.hash_revision)
    }

    fn alarm(&self, response: &pb::AlarmResponse, out: &mut dyn Write) -> io::Result<()> {
        self.header(&response.header, out)?;
        for alarm in &response.alarms {
            writeln!(out, "\"MemberID\" : {}", self.id(alarm.member_id))?;
            let kind = AlarmType::try_from(alarm.alarm)
                .map_or_else(|_| alarm.alarm.to_string(), |kind| kind.as_str_name().to_owned());
            writeln!(out, "\"AlarmType\" : {kind}\n")?;
        }
        Ok(())
    }

    fn role(&self, response: &pb::AuthRoleGetResponse, out: &mut dyn Write) -> io::Result<()> {
        self.header(&response.header, out)?;
        for perm in &response.perm {
            // Two blanks: as etcdctl has them.
            writeln!(out, "\"PermType\" :  {}", perm.perm_type().as_str_name())?;
            writeln!(out, "\"Key\" : {}", quote(&perm.key))?;
            writeln!(out, "\"RangeEnd\" : {}", quote(&perm.range_end))?;
        }
        Ok(())
    }
}

fn health(list: &[Health], out: &mut dyn Write) -> io::Result<()> {
    for health in list {
        writeln!(out, "\"Endpoint\" : {}", quote(&health.endpoint))?;
        writeln!(out, "\"Health\" : {}", health.healthy)?;
        writeln!(out, "\"Took\" : {}", health.took)?;
        writeln!(out, "\"Error\" : {}\n", health.error)?;
    }
    Ok(())
}
