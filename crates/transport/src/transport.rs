//! The peers of a member and what is sent to them.

use std::{collections::BTreeMap, sync::Arc, task::Waker, time::Instant};

use api::{ids::MemberId, raftpb::Message};
use parking_lot::RwLock;

use crate::{
    config::{Config, REMOTES_MAX},
    handler::Places,
    inbound::Inbound,
    peer::{Peer, Remote},
    quiet::Quiet,
    sink::Sink,
    snapshot::SnapshotBody,
    stats::Stats,
    url::{UrlError, parse_urls},
};

/// The connections of a member to all others. Cheap to clone; all clones are one.
///
/// Nothing here blocks: messages go into bounded queues, and what does not fit is dropped and told
/// to the [`Sink`].
#[derive(Clone)]
pub struct Transport {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) inbound: Inbound,
    /// Places for databases that are being received.
    pub(crate) receiving: Arc<Places>,
    /// For the lines about requests that are refused.
    pub(crate) quiet: Quiet,
    members: RwLock<Members>,
}

/// **Invariant:** no member is both a peer and a remote for longer than it takes to replace one.
#[derive(Default)]
struct Members {
    peers: BTreeMap<MemberId, Arc<Peer>>,
    remotes: BTreeMap<MemberId, Arc<Remote>>,
    stopped: bool,
}

impl Transport {
    /// A transport without peers.
    pub fn new(config: Config, sink: Arc<dyn Sink>) -> Transport {
        let (stats, quiet) = (Arc::default(), Arc::default());
        let inbound = Inbound { member: config.member, sink, stats, quiet };
        let config = Arc::new(config);
        let receiving = Arc::<Places>::default();
        let (quiet, members) = (Quiet::default(), RwLock::default());
        Transport { shared: Arc::new(Shared { config, inbound, receiving, quiet, members }) }
    }

    /// The counters of all peers.
    pub fn stats(&self) -> Arc<Stats> {
        self.shared.inbound.stats.clone()
    }

    /// Adds a member and starts to talk to it. Nothing happens when it is there already.
    pub fn add_peer(&self, id: MemberId, urls: &[String]) -> Result<(), UrlError> {
        let parsed = parse_urls(urls)?;
        let Shared { config, inbound, members, .. } = &*self.shared;
        let mut members = members.write();
        if members.stopped || members.peers.contains_key(&id) {
            return Ok(());
        }
        members.peers.insert(id, Arc::new(Peer::start(id, parsed, config, inbound)));
        let remote = members.remotes.remove(&id);
        drop(members);
        drop(remote);
        tracing::info!(
            "local-member-id" = %config.member,
            "remote-peer-id" = %id,
            "remote-peer-urls" = ?urls,
            "added remote peer"
        );
        Ok(())
    }

    /// Replaces the URLs of a peer. Nothing happens when it is not there.
    pub fn update_peer(&self, id: MemberId, urls: &[String]) -> Result<(), UrlError> {
        let parsed = parse_urls(urls)?;
        let Some(peer) = self.peer(id) else { return Ok(()) };
        peer.update(parsed);
        tracing::info!(
            "local-member-id" = %self.shared.config.member,
            "updated-remote-peer-id" = %id,
            "updated-remote-peer-urls" = ?urls,
            "updated remote peer"
        );
        Ok(())
    }

    /// Removes a peer: its streams end, what waits for it is dropped.
    pub fn remove_peer(&self, id: MemberId) {
        let removed = self.shared.members.write().peers.remove(&id);
        if removed.is_some() {
            tracing::info!(
                "local-member-id" = %self.shared.config.member,
                "removed-remote-peer-id" = %id,
                "removed remote peer"
            );
        } else {
            tracing::warn!(
                "local-member-id" = %self.shared.config.member,
                "removed-remote-peer-id" = %id,
                "skipped removing already removed peer"
            );
        }
    }

    /// Removes all peers, as before the members of a snapshot are added.
    pub fn remove_all(&self) {
        let removed = std::mem::take(&mut self.shared.members.write().peers);
        drop(removed);
    }

    /// Adds a member that may only be answered, until it becomes a peer. Nothing happens when it is
    /// there already, or when there are too many of them.
    pub fn add_remote(&self, id: MemberId, urls: &[String]) -> Result<(), UrlError> {
        let Shared { config, inbound, members, .. } = &*self.shared;
        let is_known = |members: &Members| {
            members.stopped || members.peers.contains_key(&id) || members.remotes.contains_key(&id)
        };
        if is_known(&members.read()) {
            return Ok(());
        }
        let parsed = parse_urls(urls)?;
        let mut members = members.write();
        if is_known(&members) || members.remotes.len() >= REMOTES_MAX {
            return Ok(());
        }
        members.remotes.insert(id, Arc::new(Remote::start(id, parsed, config, inbound)));
        drop(members);
        tracing::info!(
            "local-member-id" = %config.member,
            "remote-peer-id" = %id,
            "remote-peer-urls" = ?urls,
            "added new remote peer"
        );
        Ok(())
    }

    /// Sends messages, each to the member in its `to`; those to unknown members and to 0 are
    /// dropped. Messages to one member over one stream keep their order.
    pub fn send(&self, messages: Vec<Message>) {
        let mut wakers: Vec<Waker> = Vec::new();
        let members = self.shared.members.read();
        for message in messages {
            let to = MemberId(message.to);
            if let Some(peer) = members.peers.get(&to) {
                peer.send(message, &mut wakers);
            } else if let Some(remote) = members.remotes.get(&to) {
                remote.send(message);
            } else if message.to != 0 {
                tracing::debug!(
                    r#type = message.r#type().as_str_name(),
                    "unknown-target-peer-id" = %to,
                    "ignored message send request; unknown remote peer target"
                );
            }
        }
        drop(members);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Sends the store to a peer: `message` is the MsgSnap, `database` the file of `size` bytes.
    /// The sink always hears how it ended.
    pub fn send_snapshot(&self, message: Message, size: u64, database: SnapshotBody) {
        let to = MemberId(message.to);
        match self.peer(to) {
            Some(peer) => peer.send_snapshot(message, size, database),
            None => self.shared.inbound.sink.snapshot_status(to, false),
        }
    }

    /// Since when the peer is active; `None` while it is not or is unknown.
    pub fn active_since(&self, id: MemberId) -> Option<Instant> {
        self.peer(id)?.active_since()
    }

    /// How many peers are active.
    pub fn active_peers(&self) -> usize {
        let members = self.shared.members.read();
        members.peers.values().filter(|peer| peer.active_since().is_some()).count()
    }

    /// True while a peer reads both its streams, so that nothing to it is posted.
    pub fn has_streams(&self, id: MemberId) -> bool {
        self.peer(id).is_some_and(|peer| peer.has_streams())
    }

    /// The peers there are, in order.
    pub fn peer_ids(&self) -> Vec<MemberId> {
        self.shared.members.read().peers.keys().copied().collect()
    }

    /// Drops all messages to and from a member until it is mended (tests of partitions).
    pub fn cut(&self, id: MemberId) {
        self.pause(id, true);
    }

    /// Ends a [`Transport::cut`].
    pub fn mend(&self, id: MemberId) {
        self.pause(id, false);
    }

    fn pause(&self, id: MemberId, paused: bool) {
        let members = self.shared.members.read();
        if let Some(peer) = members.peers.get(&id) {
            peer.pause(paused);
        }
        if let Some(remote) = members.remotes.get(&id) {
            remote.pause(paused);
        }
    }

    /// Ends all connections; from then on nothing is sent and no stream is served.
    pub fn stop(&self) {
        let stopped = Members { stopped: true, ..Members::default() };
        let before = std::mem::replace(&mut *self.shared.members.write(), stopped);
        drop(before);
    }

    pub(crate) fn peer(&self, id: MemberId) -> Option<Arc<Peer>> {
        self.shared.members.read().peers.get(&id).cloned()
    }

    /// A peer that asks for a stream may be one that this member has not heard of.
    pub(crate) fn note_sender(&self, id: MemberId, urls: &[String]) {
        if let Err(error) = self.add_remote(id, urls)
            && self.shared.quiet.may_log()
        {
            tracing::warn!("remote-peer-id" = %id, %error, "failed to add remote peer");
        }
    }
}
