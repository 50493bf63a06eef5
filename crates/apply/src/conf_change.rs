//! Conf changes: checked against the members as they are now, then carried out or refused.

use api::{error::Error, ids::MemberId, raftpb::ConfChange};
use membership::{Change, Invalid, Member};
use prost::Message;

use crate::{ApplyError, Effect, Response, Shared, outcome::Traces, v2};

/// Carries out a conf change of the log. Returns the id of the proposal and its answer: the members.
///
/// # Panics
/// When the entry is not one that any member proposes.
pub(crate) fn conf_change(
    shared: &Shared,
    local: MemberId,
    index: u64,
    data: &[u8],
    traces: &mut Traces,
) -> (u64, Result<Response, ApplyError>) {
    let change = ConfChange::decode(data)
        .unwrap_or_else(|error| panic!("apply: entry {index} is no conf change: {error}"));
    let id = change.id;
    let mut membership = shared.membership.write();
    match membership.validate(&change) {
        Ok(valid) => {
            membership.apply(&valid, &mut traces.ops);
            v2::conf_changed(shared, &valid, traces);
            traces.effects.push(Effect::ConfChange(change));
            traces.effects.extend(peer_effect(local, valid));
            let members: Vec<Member> = membership.members().cloned().collect();
            (id, Ok(Response::Members(members)))
        }
        Err(Invalid::Refused(error)) => {
            if error == Error::MemberExist {
                // In a database of etcd the members may be ahead of everything else. (Nobody
                // proposes an id twice: it is made of the time.)
                v2::member_added(shared, MemberId(change.node_id), traces);
            }
            traces.effects.push(Effect::ConfChange(ConfChange { node_id: 0, ..change }));
            (id, Err(error.into()))
        }
        Err(Invalid::Malformed(reason)) => {
            panic!("apply: entry {index} is a malformed conf change: {reason}")
        }
    }
}

/// What a change means for the connections to other members.
fn peer_effect(local: MemberId, change: Change) -> Option<Effect> {
    match change {
        Change::Add(Member { id, peer_urls, .. }) if id != local => {
            Some(Effect::AddPeer { id, peer_urls })
        }
        Change::Update { id, peer_urls } if id != local => {
            Some(Effect::UpdatePeer { id, peer_urls })
        }
        Change::Remove(id) if id == local => Some(Effect::RemovedSelf),
        Change::Remove(id) => Some(Effect::RemovePeer(id)),
        Change::Add(_) | Change::Update { .. } | Change::Promote(_) => None,
    }
}
