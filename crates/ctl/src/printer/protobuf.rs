//! The protobuf format: the encoded response and nothing else.
//!
//! Answers about leases are the header alone: etcdctl wraps those responses in types of its own,
//! and encodes what they embed.

use std::io::Write;

use api::etcdserverpb as pb;
use prost::Message;

use super::{Answer, Printer, unsupported};
use crate::exit::{Failure, Outcome};

/// The protobuf format.
pub(super) struct Protobuf;

impl Printer for Protobuf {
    fn print(&self, answer: &Answer<'_>, out: &mut dyn Write) -> Outcome {
        let bytes = match answer {
            Answer::Get(r) => r.encode_to_vec(),
            Answer::Put(r) => r.encode_to_vec(),
            Answer::Del(r) => r.encode_to_vec(),
            Answer::Txn(r) => r.encode_to_vec(),
            Answer::Watch(r) => pb::WatchResponse {
                header: Some(r.header),
                events: r.events.clone(),
                compact_revision: r.compact_revision,
                canceled: r.canceled,
                ..pb::WatchResponse::default()
            }
            .encode_to_vec(),
            Answer::Grant(r) => header(r.header),
            Answer::KeepAlive(r) => header(r.header),
            Answer::TimeToLive { response, .. } => header(response.header),
            Answer::Leases(r) => header(r.header),
            Answer::Revoke { .. } => {
                let text = "marshal unsupported for type *clientv3.LeaseRevokeResponse";
                return Err(Failure::bad_feature(text));
            }
            Answer::EndpointHealth(_) | Answer::EndpointStatus(_) | Answer::EndpointHashKv(_) => {
                return Err(unsupported("protobuf"));
            }
            answer => members_and_auth(answer),
        };
        out.write_all(&bytes)?;
        Ok(())
    }
}

fn header(header: Option<pb::ResponseHeader>) -> Vec<u8> {
    header.unwrap_or_default().encode_to_vec()
}

fn members_and_auth(answer: &Answer<'_>) -> Vec<u8> {
    match answer {
        Answer::MemberAdd(r) => r.encode_to_vec(),
        Answer::MemberRemove { response, .. } => response.encode_to_vec(),
        Answer::MemberUpdate { response, .. } => response.encode_to_vec(),
        Answer::MemberPromote { response, .. } => response.encode_to_vec(),
        Answer::MemberList(r) => r.encode_to_vec(),
        Answer::MoveLeader { response, .. } => response.encode_to_vec(),
        Answer::Downgrade { response, .. } => response.encode_to_vec(),
        Answer::Alarm(r) => r.encode_to_vec(),
        Answer::AuthStatus(r) => r.encode_to_vec(),
        Answer::RoleAdd { response, .. } => response.encode_to_vec(),
        Answer::RoleGet { response, .. } => response.encode_to_vec(),
        Answer::RoleDelete { response, .. } => response.encode_to_vec(),
        Answer::RoleList(r) => r.encode_to_vec(),
        Answer::RoleGrant { response, .. } => response.encode_to_vec(),
        Answer::RoleRevoke { response, .. } => response.encode_to_vec(),
        Answer::UserAdd { response, .. } => response.encode_to_vec(),
        Answer::UserGet { response, .. } => response.encode_to_vec(),
        Answer::UserList(r) => r.encode_to_vec(),
        Answer::UserPassword(r) => r.encode_to_vec(),
        Answer::UserGrant { response, .. } => response.encode_to_vec(),
        Answer::UserRevoke { response, .. } => response.encode_to_vec(),
        Answer::UserDelete { response, .. } => response.encode_to_vec(),
        _ => unreachable!("every answer is encoded by one of the two functions"),
    }
}
