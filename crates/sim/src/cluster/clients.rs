//! Clients: each asks one member one thing at a time, waits for the answer, and after a while gives
//! up without knowing what became of it.

use api::{
    etcdserverpb::{InternalRaftRequest, LeaseRevokeRequest, RequestHeader},
    ids::Term,
};
use mutants::{Mutant, is_on};
use prost::Message;
use rand::Rng;
use replica::Input;

use super::{
    Event, LOCK_LEASES, World,
    history::{Asked, Expiry, Told, Who},
    lockers::Locker,
    reads::Waits,
};
use crate::requests;

/// A client waits no longer than one of these. Who waits long for a member that does not answer asks
/// nobody else meanwhile, and nobody sees what the others do.
const PATIENCE_US: [u64; 4] = [100_000, 400_000, 1_500_000, 5_000_000];
/// Leases are short, so that they end within a run.
const TTL_MAX: i64 = 8;

/// One client.
#[derive(Default)]
pub(super) struct Client {
    /// What it waits for.
    waits: Option<usize>,
    /// Who it is.
    who: Who,
    /// What it does, if that is to count under a lock.
    pub(super) locker: Option<Locker>,
}

impl Client {
    pub(super) fn locker() -> Client {
        Client { locker: Some(Locker::default()), ..Client::default() }
    }
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
        if self.clients[client].locker.is_some() {
            return self.locker_acts(client, member);
        }
        self.log_in(client, member);
        let revision = self.slots[&member]
            .live
            .as_ref()
            .map_or(1, |live| live.machine.shared().store.revision());
        let who = self.clients[client].who.clone();
        let kind = self.rng.random_range(0..100);
        if kind < 55 {
            let request = self.random_change(revision);
            self.ask_change(client, member, request, who).map(|_| ())
        } else if kind < 75 {
            let request = requests::range(&mut self.rng, revision);
            let operation = self.begin(client, Asked::Read(request), who);
            self.pass(member, Waits::Read(operation))
        } else if kind < 85 {
            let request = requests::range(&mut self.rng, revision);
            let operation = self.begin(client, Asked::LocalRead(request), who);
            self.answer_read(member, operation)
        } else {
            let lease = self.lease_to_renew();
            let operation = self.begin(client, Asked::Renewal(lease), who);
            let leads = |id: &&u64| self.slots[id].live.as_ref().is_some_and(|live| live.leads);
            let leaders: Vec<u64> = running.iter().filter(leads).copied().collect();
            if leaders.is_empty() {
                self.end(operation, Told::Refused);
                return Ok(());
            }
            // Most often the one that was replaced and does not know it yet.
            let term = |id: &u64| self.slots[id].live.as_ref().map(|live| live.node.status().term);
            let oldest = leaders.iter().copied().min_by_key(term).unwrap_or(leaders[0]);
            let any = leaders[self.rng.random_range(0..leaders.len())];
            let leader = if self.rng.random_bool(0.7) { oldest } else { any };
            self.renew(leader, operation)
        }
    }

    /// A lease that clients grant and revoke, or one of those that lockers trust in.
    fn lease_to_renew(&mut self) -> i64 {
        // One whose end is on its way, or has just come.
        if self.rng.random_bool(0.2) {
            return self.last_expired;
        }
        let of_lockers = self.next_lease - LOCK_LEASES;
        if of_lockers > 0 && self.rng.random_bool(0.5) {
            return self.next_lease - self.rng.random_range(0..of_lockers.min(5));
        }
        requests::lease_id(&mut self.rng)
    }

    /// With authentication in the mix clients are somebody, and seldom look whether they still are.
    fn log_in(&mut self, client: usize, member: u64) {
        if !self.swarm.auth || self.rng.random_bool(0.7) {
            return;
        }
        let Some(live) = &self.slots[&member].live else { return };
        let revision = live.machine.shared().auth.read().revision();
        let (user, revision) = requests::sender(&mut self.rng, revision);
        self.clients[client].who = Who { user, revision };
    }

    fn random_change(&mut self, revision: i64) -> InternalRaftRequest {
        if self.swarm.auth && self.rng.random_bool(0.15) {
            return requests::auth_change(&mut self.rng);
        }
        let mut request = requests::request(&mut self.rng, revision, 0);
        if let Some(grant) = &mut request.lease_grant
            && (TTL_MAX..1_000).contains(&grant.ttl)
        {
            grant.ttl %= TTL_MAX;
        }
        request
    }

    pub(super) fn begin(&mut self, client: usize, asked: Asked, who: Who) -> usize {
        let operation = self.history.begin(asked, who, self.now_us);
        self.clients[client].waits = Some(operation);
        let patience = PATIENCE_US[self.rng.random_range(0..PATIENCE_US.len())];
        self.after(patience, Event::GiveUp { client, operation });
        operation
    }

    /// Asks for a change in somebody's name; returns the operation.
    pub(super) fn ask_change(
        &mut self,
        client: usize,
        member: u64,
        request: InternalRaftRequest,
        who: Who,
    ) -> Result<usize, String> {
        let operation = self.begin(client, Asked::Change(Box::new(request.clone())), who.clone());
        self.send_change(member, operation, request, who)?;
        Ok(operation)
    }

    fn send_change(
        &mut self,
        member: u64,
        operation: usize,
        mut request: InternalRaftRequest,
        who: Who,
    ) -> Result<(), String> {
        let id = self.id();
        let Who { user: username, revision: auth_revision } = who;
        request.header = Some(RequestHeader { id, username, auth_revision });
        self.history.by_id.insert(id, operation);
        let Some(live) = &mut self.slot(member).live else { return Ok(()) };
        live.waiting.insert(id);
        let data = request.encode_to_vec().into();
        self.feed(member, Input::Propose { ticket: id, data })
    }

    pub(super) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The lessor of the leader of `term` has found these leases expired, at `decided_us`
    /// and with this much of the log applied.
    pub(super) fn revoke(
        &mut self,
        member: u64,
        leases: Vec<i64>,
        term: Term,
        (decided_us, applied): (u64, u64),
    ) -> Result<(), String> {
        for lease in leases {
            let id = self.id();
            self.history.expiries.insert(id, Expiry { lease, member, decided_us, applied });
            // The server may have too much to do: the lessor asks again. A fault like others, though
            // drawn always: seven in a row would keep a lease for a minute.
            if self.rng.random_bool(0.1) && self.faulty {
                self.count("expired leases put off");
                continue;
            }
            let Some(live) = &mut self.slot(member).live else { return Ok(()) };
            let shared = live.machine.shared();
            let root = {
                let auth = shared.auth.read();
                if auth.is_enabled() { auth.root() } else { auth::Identity::nobody() }
            };
            let (username, auth_revision) = (root.user, root.revision);
            let request = InternalRaftRequest {
                header: Some(RequestHeader { id, username, auth_revision }),
                lease_revoke: Some(LeaseRevokeRequest { id: lease }),
                ..InternalRaftRequest::default()
            };
            live.waiting.insert(id);
            let data = request.encode_to_vec().into();
            self.feed(member, Input::ProposeAsLeader { ticket: id, data, term })?;
        }
        Ok(())
    }

    /// An operation is answered, unless its client has given up.
    pub(super) fn end(&mut self, operation: usize, told: Told) {
        let client = self.clients.iter().position(|client| client.waits == Some(operation));
        let Some(client) = client else { return };
        self.clients[client].waits = None;
        self.locker_told(client, operation, &told);
        self.history.end(operation, self.now_us, told);
        self.next(client);
    }

    pub(super) fn client_gives_up(&mut self, client: usize, operation: usize) {
        if self.clients[client].waits != Some(operation) {
            return;
        }
        let again = is_on(Mutant::TxnRetried) && !self.quiet;
        if let (true, Asked::Change(request)) = (again, self.history.asked(operation)) {
            let (request, who) = ((**request).clone(), self.history.who(operation).clone());
            let members: Vec<u64> = self.slots.keys().copied().collect();
            let member = members[self.rng.random_range(0..members.len())];
            self.after(PATIENCE_US[3], Event::GiveUp { client, operation });
            self.after(1_000, Event::Again { member, operation, request: Box::new(request), who });
            return;
        }
        self.clients[client].waits = None;
        self.locker_told(client, operation, &Told::Refused);
        self.next(client);
    }

    /// A client that retries what it must not sends its request again.
    pub(super) fn again(
        &mut self,
        member: u64,
        operation: usize,
        request: InternalRaftRequest,
        who: Who,
    ) -> Result<(), String> {
        self.send_change(member, operation, request, who)
    }

    fn next(&mut self, client: usize) {
        if self.clients[client].locker.is_some() {
            return;
        }
        let pause = self.rng.random_range(1_000..200_000);
        self.after(pause, Event::Client(client));
    }
}
