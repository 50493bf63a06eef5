//! Takes out of an answer what may differ between two servers that behave the same: ids, terms,
//! addresses, and the order of what etcd leaves unordered.

use api::{
    etcdserverpb::{
        self as pb, range_request::SortTarget, request_op::Request, response_op::Response,
    },
    kv::{KeyValue, RawKeyValue},
};

use super::op::{Answer, Op, Watched};
use crate::client::decode_one;

/// What a server puts into headers.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: u64,
    /// The member.
    pub member_id: u64,
    /// The term; nothing in a run changes it.
    pub raft_term: u64,
}

/// Stands for a server's own id or term.
const OWN: u64 = 1;

impl Identity {
    /// Makes the answer to `op` comparable.
    pub fn normalise(&self, op: &Op, answer: &mut Answer) {
        match answer {
            Answer::Range(answer) => {
                self.header(&mut answer.header);
                if let Op::Range(request) | Op::RangeStream(request) = op {
                    settle_ties(request, answer);
                }
            }
            Answer::Put(answer) => self.header(&mut answer.header),
            Answer::DeleteRange(answer) => self.header(&mut answer.header),
            Answer::Txn(answer) => {
                self.header(&mut answer.header);
                if let Op::Txn(request) = op {
                    for_each_range(request, answer, &mut |request, answer| {
                        settle_ties(request, answer);
                    });
                }
            }
            Answer::Compact(answer) => self.header(&mut answer.header),
            Answer::LeaseGrant(answer) => self.header(&mut answer.header),
            Answer::LeaseRevoke(answer) => self.header(&mut answer.header),
            Answer::LeaseKeepAlive(answer) => self.header(&mut answer.header),
            Answer::LeaseTimeToLive(answer) => {
                self.header(&mut answer.header);
                answer.keys.sort();
            }
            Answer::LeaseLeases(answer) => {
                self.header(&mut answer.header);
                // Ordered by remaining time, which may be equal.
                answer.leases.sort_by_key(|lease| lease.id);
            }
            Answer::MemberList(answer) => {
                self.header(&mut answer.header);
                answer.members.iter_mut().for_each(|member| self.member(member));
            }
            Answer::Alarm(answer) => self.header(&mut answer.header),
            Answer::HashKv(answer) => self.header(&mut answer.header),
            Answer::Watched(watched) => self.watched(watched),
            Answer::Gathered(all) => {
                all.iter_mut().for_each(|(_, watched)| self.watched(watched));
            }
            Answer::Nothing | Answer::Error(_) => {}
        }
    }

    /// Replaces what is the server's own; a foreign or missing id stays to be seen.
    fn header(&self, header: &mut Option<pb::ResponseHeader>) {
        let Some(header) = header else { return };
        for (field, own) in [
            (&mut header.cluster_id, self.cluster_id),
            (&mut header.member_id, self.member_id),
            (&mut header.raft_term, self.raft_term),
        ] {
            if *field == own {
                *field = OWN;
            }
        }
    }

    fn member(&self, member: &mut pb::Member) {
        if member.id == self.member_id {
            member.id = OWN;
        }
        for url in member.peer_urls.iter_mut().chain(&mut member.client_urls) {
            if let Some((address, _port)) = url.rsplit_once(':') {
                *url = format!("{address}:port");
            }
        }
    }

    fn watched(&self, watched: &mut Watched) {
        for response in watched.created.iter_mut().chain(&mut watched.cancelled) {
            self.header(&mut response.header);
        }
    }
}

/// Calls `visit` for every range of a transaction's executed branches, with its request.
pub fn for_each_range(
    request: &pb::TxnRequest,
    answer: &mut pb::TxnResponse,
    visit: &mut impl FnMut(&pb::RangeRequest, &mut pb::RangeResponse),
) {
    let requests = if answer.succeeded { &request.success } else { &request.failure };
    for (request, answer) in requests.iter().zip(&mut answer.responses) {
        match (&request.request, &mut answer.response) {
            (Some(Request::RequestRange(request)), Some(Response::ResponseRange(answer))) => {
                visit(request, answer);
            }
            (Some(Request::RequestTxn(request)), Some(Response::ResponseTxn(answer))) => {
                for_each_range(request, answer, visit);
            }
            _ => {}
        }
    }
}

/// Orders key-values that are equal by the sort target by key: etcd's sort is not stable, so any
/// order among them is right. Where a limit cuts through such a group, which of them are shown is
/// open too, and only their number is left to compare.
pub fn settle_ties(request: &pb::RangeRequest, answer: &mut pb::RangeResponse) {
    let Ok(target) = SortTarget::try_from(request.sort_target) else { return };
    if target == SortTarget::Key {
        return;
    }
    let blank = request.keys_only && target == SortTarget::Value;
    let mut kvs: Vec<KeyValue> = answer.kvs.iter().map(decode_one).collect();
    // Values that are not shown may all be equal, or not: nothing is known of the groups.
    let equal = |a: &KeyValue, b: &KeyValue| match target {
        SortTarget::Value => blank || a.value == b.value,
        SortTarget::Version => a.version == b.version,
        SortTarget::Create => a.create_revision == b.create_revision,
        SortTarget::Mod => a.mod_revision == b.mod_revision,
        SortTarget::Key => false,
    };
    let mut groups: Vec<&mut [KeyValue]> = kvs.chunk_by_mut(equal).collect();
    let last = groups.len().saturating_sub(1);
    for (i, group) in groups.iter_mut().enumerate() {
        if i == last && answer.more {
            group.iter_mut().for_each(|kv| keep_target_only(kv, target));
        } else {
            group.sort_by(|a, b| a.key.cmp(&b.key));
        }
    }
    answer.kvs = kvs.iter().map(KeyValue::to_raw).collect::<Vec<RawKeyValue>>();
}

fn keep_target_only(kv: &mut KeyValue, target: SortTarget) {
    let whole = std::mem::take(kv);
    match target {
        SortTarget::Value => kv.value = whole.value,
        SortTarget::Version => kv.version = whole.version,
        SortTarget::Create => kv.create_revision = whole.create_revision,
        SortTarget::Mod => kv.mod_revision = whole.mod_revision,
        SortTarget::Key => kv.key = whole.key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(key: &'static str, version: i64) -> KeyValue {
        KeyValue { key: key.into(), version, ..Default::default() }
    }

    fn settled(kvs: &[KeyValue], more: bool) -> Vec<KeyValue> {
        let sort_target = SortTarget::Version as i32;
        let request = pb::RangeRequest { sort_target, ..Default::default() };
        let kvs = kvs.iter().map(KeyValue::to_raw).collect();
        let mut answer = pb::RangeResponse { kvs, more, ..Default::default() };
        settle_ties(&request, &mut answer);
        answer.kvs.iter().map(decode_one).collect()
    }

    #[test]
    fn ties_are_ordered_by_key() {
        let kvs = [kv("b", 1), kv("a", 1), kv("d", 2), kv("c", 2)];
        assert_eq!(settled(&kvs, false), [kv("a", 1), kv("b", 1), kv("c", 2), kv("d", 2)]);
    }

    #[test]
    fn groups_keep_their_order() {
        let kvs = [kv("z", 2), kv("a", 1)];
        assert_eq!(settled(&kvs, false), kvs);
    }

    #[test]
    fn a_group_cut_by_the_limit_is_only_counted() {
        let kvs = [kv("b", 1), kv("a", 1), kv("d", 2)];
        assert_eq!(settled(&kvs, true), [kv("a", 1), kv("b", 1), kv("", 2)]);
    }
}
