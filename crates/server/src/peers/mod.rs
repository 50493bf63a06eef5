//! The other members: the transport, what comes from it and goes into it, and the listener on which
//! they reach this member.
//!
//! The transport holds this member (its `Sink`) and the member holds the transport: [`Peers::stop`]
//! ends both the connections and the circle.

mod listener;
mod receive;
mod send;
mod sink;

use std::{sync::Arc, time::Instant};

use api::{
    ids::MemberId,
    raftpb::{Message, MessageType},
};
use membership::Member;
use parking_lot::RwLock;
use transport::{Stats, Transport};

pub(crate) use listener::serve;
pub(crate) use receive::{received_path, remove_temporary};
pub(crate) use sink::MemberSink;

use crate::handle::Handle;

/// The connections to the other members. Without a transport (before the start, after the end)
/// nobody is connected and messages are lost, as raft expects of them now and then.
#[derive(Default)]
pub(crate) struct Peers {
    transport: RwLock<Option<Transport>>,
}

impl Peers {
    /// Puts the transport in its place.
    pub(crate) fn start(&self, transport: Transport) {
        *self.transport.write() = Some(transport);
    }

    /// Ends all connections.
    pub(crate) fn stop(&self) {
        let transport = self.transport.write().take();
        if let Some(transport) = transport {
            transport.stop();
        }
    }

    /// The transport, while there is one.
    pub(crate) fn transport(&self) -> Option<Transport> {
        self.transport.read().clone()
    }

    /// Since when this member is connected to another one.
    pub(crate) fn active_since(&self, id: MemberId) -> Option<Instant> {
        self.transport.read().as_ref()?.active_since(id)
    }

    /// How many members this one is connected to.
    pub(crate) fn active_count(&self) -> usize {
        self.transport.read().as_ref().map_or(0, Transport::active_peers)
    }

    /// The counters of the connections.
    pub(crate) fn stats(&self) -> Option<Arc<Stats>> {
        self.transport.read().as_ref().map(Transport::stats)
    }

    /// Begins to talk to a member. URLs that no transport takes were refused before they became
    /// part of the membership; of a member of another release they are logged.
    pub(crate) fn add(&self, id: MemberId, urls: &[String]) {
        let transport = self.transport.read();
        let added = transport.as_ref().map(|transport| transport.add_peer(id, urls));
        if let Some(Err(error)) = added {
            tracing::warn!("remote-peer-id" = %id, %error, "failed to add remote peer");
        }
    }

    /// Remembers a member that can be answered before it is known to be one.
    pub(crate) fn add_remote(&self, id: MemberId, urls: &[String]) {
        let transport = self.transport.read();
        let added = transport.as_ref().map(|transport| transport.add_remote(id, urls));
        if let Some(Err(error)) = added {
            tracing::warn!("remote-peer-id" = %id, %error, "failed to add remote peer");
        }
    }

    /// A member has moved.
    pub(crate) fn update(&self, id: MemberId, urls: &[String]) {
        let transport = self.transport.read();
        let updated = transport.as_ref().map(|transport| transport.update_peer(id, urls));
        if let Some(Err(error)) = updated {
            tracing::warn!("remote-peer-id" = %id, %error, "failed to update remote peer");
        }
    }

    /// A member has left.
    pub(crate) fn remove(&self, id: MemberId) {
        if let Some(transport) = &*self.transport.read() {
            transport.remove_peer(id);
        }
    }

    /// Talks to exactly these members but `own`: a snapshot has replaced the membership.
    pub(crate) fn replace_all<'a>(&self, own: MemberId, members: impl Iterator<Item = &'a Member>) {
        let Some(transport) = self.transport() else { return };
        transport.remove_all();
        for member in members.filter(|member| member.id != own) {
            self.add(member.id, &member.peer_urls);
        }
    }
}

/// Sends what raft has to say. A snapshot goes its own way, beside everything else: the answer says
/// whether there was one.
pub(crate) fn send(handle: &Handle, mut messages: Vec<Message>) -> bool {
    let has_snapshot = messages.iter().any(|message| message.r#type == MessageType::MsgSnap as i32);
    if has_snapshot {
        let (snapshots, others): (Vec<_>, Vec<_>) = std::mem::take(&mut messages)
            .into_iter()
            .partition(|message| message.r#type == MessageType::MsgSnap as i32);
        messages = others;
        for snapshot in snapshots {
            send::snapshot(handle, snapshot);
        }
    }
    handle.v2_stats.sent(&messages, sink::size_of_message);
    if let Some(transport) = &*handle.network.transport.read() {
        transport.send(messages);
    }
    has_snapshot
}
