//! Changes of members, as clients and other members ask for them: whether they are safe now
//! (`reconfig`), then through raft (spec grpc.md section 7, raft-server.md section 7).
//!
//! Only the leader knows how far a learner is. A promotion asked of another member is passed on to
//! it, over and over until the request's time is up.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use api::{
    error::Error,
    ids::MemberId,
    raftpb::{ConfChange, ConfChangeType},
};
use http::HeaderValue;
use membership::{Member, Membership};
use tokio::time::{Instant as Deadline, sleep};

use crate::{
    handle::Handle,
    leadership::time_left,
    peer_client::promote::Promotion,
    reconfig::{self, Links},
    status::Failure,
};

/// Pause between two tries to have the leader promote.
const RETRY: Duration = Duration::from_millis(50);

/// A member that a client wants to add, with the id that it gets now.
pub(crate) fn new_member(peer_urls: &[String], is_learner: bool) -> Result<Member, Failure> {
    let peer_urls = membership::urls::parse(peer_urls.iter().map(String::as_str))
        .map_err(|_| Failure::from(Error::MemberBadUrls))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let id = membership::member_id(&peer_urls, "", i64::try_from(now).ok());
    Ok(Member { id, peer_urls, is_learner, ..Member::default() })
}

/// Adds a member; returns all of them.
pub(crate) async fn add(handle: &Handle, new: &Member) -> Result<Vec<Member>, Failure> {
    if handle.limits.strict_reconfig {
        judge(handle, "add", new.id, |members, links| reconfig::may_add(members, new, links))?;
    }
    let kind = match new.is_learner {
        true => ConfChangeType::ConfChangeAddLearnerNode,
        false => ConfChangeType::ConfChangeAddNode,
    };
    let context = membership::member_to_json(new);
    handle.propose_conf_change(change(kind, new.id, context)).await
}

/// Removes a member; returns those that are left.
pub(crate) async fn remove(handle: &Handle, id: MemberId) -> Result<Vec<Member>, Failure> {
    if handle.limits.strict_reconfig {
        judge(handle, "remove", id, |members, links| reconfig::may_remove(members, id, links))?;
    }
    let kind = ConfChangeType::ConfChangeRemoveNode;
    handle.propose_conf_change(change(kind, id, Vec::new())).await
}

/// Moves a member to other peer URLs; returns all members.
pub(crate) async fn update(
    handle: &Handle,
    id: MemberId,
    peer_urls: Vec<String>,
) -> Result<Vec<Member>, Failure> {
    // etcd takes any text, and all its members then stop at a peer without a URL.
    if membership::urls::parse(peer_urls.iter().map(String::as_str)).is_err() {
        return Err(Error::MemberBadUrls.into());
    }
    let context = membership::member_to_json(&Member { id, peer_urls, ..Member::default() });
    let kind = ConfChangeType::ConfChangeUpdateNode;
    handle.propose_conf_change(change(kind, id, context)).await
}

/// Makes a learner a voter; returns all members. `token` names who asks, for the leader to judge.
pub(crate) async fn promote(
    handle: &Handle,
    id: MemberId,
    token: Option<&HeaderValue>,
) -> Result<Vec<Member>, Failure> {
    let not_leader = Failure::from(Error::NotLeader);
    match promote_here(handle, id).await {
        Err(failure) if failure == not_leader => promote_at_leader(handle, id, token).await,
        done => {
            handle.metrics.promoted(done.as_ref().err().map(|failure| &*failure.message));
            done
        }
    }
}

async fn promote_here(handle: &Handle, id: MemberId) -> Result<Vec<Member>, Failure> {
    handle.catch_up().await?;
    let inspection = handle.inspect().await.ok_or(Error::Stopped)?;
    reconfig::learner_in_sync(&inspection.peers, handle.member, id)?;
    if handle.limits.strict_reconfig {
        judge(handle, "promote", id, |members, _| reconfig::may_promote(members))?;
    }
    let context = membership::change_context(&Member { id, ..Member::default() }, true);
    let kind = ConfChangeType::ConfChangeAddNode;
    handle.propose_conf_change(change(kind, id, context)).await
}

async fn promote_at_leader(
    handle: &Handle,
    id: MemberId,
    token: Option<&HeaderValue>,
) -> Result<Vec<Member>, Failure> {
    let deadline = Deadline::now() + handle.limits.request_timeout;
    while Deadline::now() < deadline {
        let leader = handle.wait_leader(deadline).await?;
        if leader.id == handle.member {
            match promote_here(handle, id).await {
                Err(failure) if failure == Error::NotLeader.into() => {}
                done => return done,
            }
        }
        for url in leader.peer_urls.iter().filter(|_| leader.id != handle.member) {
            match handle.peers.promote(url, id, token, time_left(deadline)).await {
                Promotion::Done(members) => return Ok(members),
                Promotion::Refused(failure) => return Err(failure),
                Promotion::Retry(error) => {
                    tracing::debug!(%url, %error, "failed to promote at the leader");
                }
            }
        }
        sleep(RETRY).await;
    }
    Err(Error::Timeout.into())
}

fn change(kind: ConfChangeType, id: MemberId, context: Vec<u8>) -> ConfChange {
    let (r#type, context) = (kind as i32, context.into());
    ConfChange { r#type, node_id: id.0, context, ..ConfChange::default() }
}

/// Runs a check on the members as they are and the connections as they are.
fn judge(
    handle: &Handle,
    what: &str,
    id: MemberId,
    check: impl Fn(&Membership, &Links) -> Result<(), Error>,
) -> Result<(), Failure> {
    let active_since = |id| handle.active_since(id);
    let links = Links { own: handle.member, now: Instant::now(), active_since: &active_since };
    let judged = check(&handle.shared.membership.read(), &links);
    judged.map_err(|error| {
        let reason = error.message();
        tracing::warn!(
            "local-member-id" = %handle.member,
            "requested-member" = %id,
            error = reason,
            "rejecting member {what} request"
        );
        error.into()
    })
}
