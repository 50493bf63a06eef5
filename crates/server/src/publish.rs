//! Telling the cluster this member's name and client URLs, after which clients are served.

use std::time::Duration;

use api::{etcdserverpb::InternalRaftRequest, membershippb};
use tokio::time::sleep;

use crate::handle::{Handle, Outcome};

/// Between two attempts.
const RETRY: Duration = Duration::from_millis(500);

/// Publishes the member's name and client URLs through raft, again and again until it is accepted;
/// then clients are served.
pub(crate) async fn run(handle: Handle, name: String, client_urls: Vec<String>) {
    let cluster_member_attr_set = Some(membershippb::ClusterMemberAttrSetRequest {
        member_id: handle.member.0,
        member_attributes: Some(membershippb::Attributes {
            name: name.clone(),
            client_urls: client_urls.clone(),
        }),
    });
    let request = InternalRaftRequest { cluster_member_attr_set, ..Default::default() };
    loop {
        match attempt(&handle, request.clone()).await {
            Some(Ok(_)) => break,
            Some(Err(failure)) => {
                let error = &failure.message;
                tracing::warn!(%error, "failed to publish local member through raft");
                sleep(RETRY).await;
            }
            None => {}
        }
        if handle.progress.stopping() {
            return;
        }
    }
    let urls = client_urls.join(" ");
    tracing::info!(
        "local-member-id" = %handle.member,
        "local-member-attributes" = %format!("{{Name:{name} ClientURLs:[{urls}]}}"),
        "cluster-id" = %handle.cluster,
        "publish-timeout" = %config::GoDuration::from(handle.limits.request_timeout),
        "published local member to cluster through raft"
    );
    handle.progress.set_ready();
}

/// One attempt; `None` when it was sent to a leader that has been replaced since, and which may have
/// lost it. To be told twice does no harm.
async fn attempt(handle: &Handle, request: InternalRaftRequest) -> Option<Outcome> {
    let mut leader = handle.progress.watch_leader();
    let sent_to = *leader.borrow_and_update();
    let replaced = async {
        // Also when the same member leads again: in between it took nothing.
        let mut known = false;
        while !known {
            leader.changed().await.expect("the sender is in the handle");
            known = *leader.borrow_and_update() != 0;
        }
        sleep(RETRY).await;
    };
    tokio::select! {
        outcome = handle.propose(request) => Some(outcome),
        () = replaced, if sent_to != 0 => None,
    }
}
