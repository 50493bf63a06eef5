//! Clients: each asks one member one thing at a time, waits for the answer, and after a while gives
//! up without knowing what became of it.

use api::etcdserverpb::{InternalRaftRequest, LeaseRevokeRequest, RequestHeader};
use mvcc::RangeQuery;
use prost::Message;
use rand::Rng;
use replica::Input;

use super::{
    Event, World,
    history::{Asked, Told},
};
use crate::requests;

/// A client waits no longer than this.
const PATIENCE_US: u64 = 5_000_000;

/// One client.
#[derive(Default)]
pub(super) struct Client {
    /// What it waits for.
    waits: Option<usize>,
}

impl World {
    /// A client that waits for nothing asks for something.
    pub(super) fn client_acts(&mut self, client: usize) -> Result<(), String> {
        if self.clients[client].waits.is_some() || self.quiet {
            return Ok(());
        }
        let members = self.members();
        let is_open = |id: &u64| self.faulty || members.contains(id);
        let running = self.slots.iter().filter(|(id, slot)| slot.live.is_some() && is_open(id));
        let running: Vec<u64> = running.map(|(id, _)| *id).collect();
        if running.is_empty() {
            self.after(100_000, Event::Client(client));
            return Ok(());
        }
        let member = running[self.rng.random_range(0..running.len())];
        let revision = self.slots[&member]
            .live
            .as_ref()
            .map_or(1, |live| live.machine.shared().store.revision());
        let kind = self.rng.random_range(0..100);
        if kind < 60 {
            self.ask_change(client, member, revision)
        } else if kind < 90 {
            self.ask_read(client, member, revision)
        } else {
            let request = requests::range(&mut self.rng, revision);
            let operation = self.begin(client, Asked::LocalRead(request));
            self.answer_read(member, operation);
            Ok(())
        }
    }

    fn begin(&mut self, client: usize, asked: Asked) -> usize {
        let operation = self.history.begin(asked, self.now_us);
        self.clients[client].waits = Some(operation);
        self.after(PATIENCE_US, Event::GiveUp { client, operation });
        operation
    }

    fn ask_change(&mut self, client: usize, member: u64, revision: i64) -> Result<(), String> {
        let id = self.id();
        let request = requests::request(&mut self.rng, revision, id);
        let operation = self.begin(client, Asked::Change(Box::new(request.clone())));
        self.history.by_id.insert(id, operation);
        self.propose(member, id, &request)
    }

    fn ask_read(&mut self, client: usize, member: u64, revision: i64) -> Result<(), String> {
        let request = requests::range(&mut self.rng, revision);
        let operation = self.begin(client, Asked::Read(request));
        let id = self.id();
        self.slot(member).reads.insert(id, (operation, None));
        self.feed(member, Input::ReadIndex { id })
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn propose(
        &mut self,
        member: u64,
        id: u64,
        request: &InternalRaftRequest,
    ) -> Result<(), String> {
        let Some(live) = &mut self.slot(member).live else { return Ok(()) };
        live.waiting.insert(id);
        let data = request.encode_to_vec().into();
        self.feed(member, Input::Propose { ticket: id, data })
    }

    /// The lessor of a leader wants leases revoked.
    pub(super) fn revoke(&mut self, member: u64, leases: Vec<i64>) -> Result<(), String> {
        for lease in leases {
            let id = self.id();
            self.history.expiries.insert(id, (lease, self.now_us));
            let request = InternalRaftRequest {
                header: Some(RequestHeader { id, ..RequestHeader::default() }),
                lease_revoke: Some(LeaseRevokeRequest { id: lease }),
                ..InternalRaftRequest::default()
            };
            self.propose(member, id, &request)?;
        }
        Ok(())
    }

    /// Reads from a member's store, as it is now.
    pub(super) fn answer_read(&mut self, member: u64, operation: usize) {
        let request = match self.history.asked(operation) {
            Asked::Read(request) | Asked::LocalRead(request) => request.clone(),
            Asked::Change(_) => return,
        };
        let Some(live) = &self.slot(member).live else { return };
        let position = live.applied().0;
        let answer = live.machine.shared().store.range(&RangeQuery::from(&request));
        let answer = answer.map_err(|error| match error {
            mvcc::ReadError::Compacted => api::error::Error::Compacted.message().to_owned(),
            mvcc::ReadError::Future => api::error::Error::FutureRev.message().to_owned(),
            mvcc::ReadError::Storage(error) => error.to_string(),
        });
        self.end(operation, Told::Read { position, answer });
    }

    /// An operation is answered, unless its client has given up.
    pub(super) fn end(&mut self, operation: usize, told: Told) {
        let client = self.clients.iter().position(|client| client.waits == Some(operation));
        let Some(client) = client else { return };
        self.history.end(operation, self.now_us, told);
        self.next(client);
    }

    pub(super) fn client_gives_up(&mut self, client: usize, operation: usize) {
        if self.clients[client].waits == Some(operation) {
            self.next(client);
        }
    }

    fn next(&mut self, client: usize) {
        self.clients[client].waits = None;
        let pause = self.rng.random_range(1_000..200_000);
        self.after(pause, Event::Client(client));
    }
}
